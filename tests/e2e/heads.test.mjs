// Heads by gossip: three nodes in a line. The first has the account and an address that leads nowhere, the second mirrors it from
// the first, the third from the second. What is written at one end arrives at the other because peers tell of it.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { DeviceNode, NOTE, agentOf } from '../lib/devices.mjs'
import { until } from '../lib/pins.mjs'
import { freePort } from '../lib/process.mjs'
import { dataRoot, head, listAll } from '../lib/repos.mjs'

const LIMIT = { timeout: 120_000 }
let first, second, third, did

before(async () => {
  first = await DeviceNode.start('first', { env: { UES_PUBLIC_URL: `http://localhost:${await freePort()}`, UES_NETWORK_START: 'always' } })
  const env = { UES_IDENTITY_DIRECTORY: `${first.server.url}/plc`, UES_PROXY_ALLOW_PRIVATE_ADDRESSES: 'true' }
  second = await DeviceNode.start('second', { env })
  third = await DeviceNode.start('third', { env })
  ;({ did } = await newAccount(first.server))
})
after(async () => {
  for (const node of [first, second, third]) await node?.server.close()
})

const status = (node) => node.run('mirror', 'status', did)

/** Waits until both mirrors have what the first node has. */
const arrived = () =>
  until('both mirrors are current', async () => {
    const { cid } = await head(first.server, did)
    const mirrors = await Promise.all([second, third].map(status))
    return mirrors.every(({ commit }) => commit === cid)
  }).catch(async (e) => {
    throw new Error(`${e.message}\n${JSON.stringify(await Promise.all([second, third].map(status)), null, 1)}`)
  })

describe('heads by gossip', () => {
  it('travel through a node to one that the writer does not know', LIMIT, async () => {
    const agent = await agentOf(first, did)
    await agent.create('the first')
    await second.run('mirror', did, '--from', (await first.run('peer', 'addresses'))[0])
    await third.run('mirror', did, '--from', (await second.run('peer', 'addresses'))[0])
    const { peer: far } = (await third.run('peer', 'ls')).state
    assert.ok(!(await first.run('peer', 'ls')).state.peers.some(({ peer }) => peer === far), 'the ends are not connected')
    // Subscriptions have to get around first.
    await until('a head has reached the far end', async () => {
      await agent.create('again')
      return (await status(third)).heads.accepted > 0
    })
    await arrived()
    for (let n = 0; n < 5; n++) {
      const before = await Promise.all([second, third].map(status))
      await agent.create(`number ${n}`)
      await arrived()
      const after = await Promise.all([second, third].map(status))
      for (const [i, { heads }] of after.entries()) {
        assert.ok(heads.accepted > before[i].heads.accepted, `node ${i + 2} was told: ${JSON.stringify(heads)}`)
        assert.equal(heads.rejected, 0)
      }
    }
    assert.equal(await dataRoot(third.server, did), await dataRoot(first.server, did))
    assert.deepEqual(await listAll(third.server, did, NOTE), await listAll(first.server, did, NOTE))
  })

  it('are not told of a repository that is not for everybody', LIMIT, async () => {
    await first.run('access', 'set', did, 'devices')
    const before = await status(second)
    const agent = await agentOf(first, did)
    await agent.create('for devices')
    // The third has what the second has; the first gives nothing any more.
    assert.equal((await second.run('mirror', 'update', did)).outcome, 'same')
    const after = await status(second)
    assert.equal(after.rev, before.rev)
    assert.equal(after.heads.accepted, before.heads.accepted)
    await first.run('access', 'set', did, 'public')
    await agent.create('for all')
    await arrived()
  })
})
