// Who may read a repository over the network is what its rule says: in the protocol of repositories, for blobs, and for single
// blocks by Bitswap. Devices that hold it together are not held up.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { attach, equalRoots } from '../lib/device-repos.mjs'
import { DeviceNode, NOTE, agentOf, pair } from '../lib/devices.mjs'
import { rawCid, until } from '../lib/pins.mjs'
import { freePort } from '../lib/process.mjs'
import { bytes, listAll } from '../lib/repos.mjs'
import { query } from '../lib/xrpc.mjs'

const LIMIT = { timeout: 120_000 }
const CONTENT = Buffer.alloc(20_000, 'content of a blob ')

let owner, reader, device, did, address, peer

before(async () => {
  // Its address leads nowhere: what others have of it, they have over the peer-to-peer network.
  owner = await DeviceNode.start('owner', { env: { UES_PUBLIC_URL: `http://localhost:${await freePort()}`, UES_NETWORK_START: 'always' } })
  const env = { UES_IDENTITY_DIRECTORY: `${owner.server.url}/plc`, UES_PROXY_ALLOW_PRIVATE_ADDRESSES: 'true', UES_PINS_ROLES: 'api,planner,worker', UES_NETWORK_START: 'always' }
  reader = await DeviceNode.start('reader', { env })
  device = await DeviceNode.start('device')
  ;({ did } = await newAccount(owner.server))
  await attach(owner, did, CONTENT)
  ;[address] = await owner.run('peer', 'addresses')
  peer = (await reader.run('peer', 'addresses'))[0].split('/p2p/')[1]
  await pair(owner, did, device)
})
after(async () => {
  for (const node of [owner, reader, device]) await node?.server.close()
})

const rule = (...args) => owner.run('access', 'set', did, ...args)
const mirror = () => ues(reader.data, ['mirror', did, '--blobs', '--from', address])
const forget = () => uesOk(reader.data, ['mirror', 'rm', did])

/** Whether the reader is given a block by Bitswap. */
async function givenByBitswap(cid) {
  await uesOk(reader.data, ['pin', 'add', cid, '--origin', address, '--no-wait'])
  const status = await until('the pin has come, or why it has not', async () => {
    const lines = (await uesOk(reader.data, ['--json', 'pin', 'ls'])).split('\n').filter(Boolean)
    const pin = lines.map((line) => JSON.parse(line)).find((line) => line.pin.cid === cid)
    return pin?.status === 'pinned' ? 'pinned' : pin?.info?.status_details
  })
  await uesOk(reader.data, ['pin', 'rm', cid])
  return status === 'pinned'
}

describe('who may read', () => {
  it('is everybody while there is no rule', LIMIT, async () => {
    assert.deepEqual(await owner.run('access', 'show', did), { repo: did, rule: 'public' })
    const { code, stderr } = await mirror()
    assert.equal(code, 0, stderr)
    await until('the blob has come', async () => (await reader.run('mirror', 'status', did)).missingBlobs === 0)
    const blob = await bytes(reader.server, 'com.atproto.sync.getBlob', { did, cid: rawCid(CONTENT) })
    assert.deepEqual(Buffer.from(blob), CONTENT)
    await forget()
  })

  it('is nobody but the devices, if the rule says so', LIMIT, async () => {
    await rule('devices')
    const { code, stderr } = await mirror()
    assert.equal(code, 5, stderr)
    assert.match(stderr, /no connected peer has it/)
    await forget()
    const session = await agentOf(owner, did)
    await session.create('for devices')
    await equalRoots(did, [owner, device])
  })

  it('is those whom the rule names', LIMIT, async () => {
    await rule('peers', '--peer', '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5')
    assert.equal((await mirror()).code, 5)
    await forget()
    await rule('peers', '--peer', peer)
    const { code, stderr } = await mirror()
    assert.equal(code, 0, stderr)
    assert.equal((await listAll(reader.server, did, NOTE)).length, 2)
    await forget()
  })

  it('holds for single blocks by Bitswap', LIMIT, async () => {
    const [record] = await listAll(owner.server, did, NOTE)
    const cid = rawCid(CONTENT)
    await rule('devices')
    assert.equal(await givenByBitswap(cid), false)
    await rule('public')
    assert.equal(await givenByBitswap(cid), true)
    assert.ok(record)
  })

  it('holds for a mirror by any way', LIMIT, async () => {
    assert.equal((await mirror()).code, 0)
    assert.equal((await query(reader.server, 'com.atproto.sync.getLatestCommit', { did })).status, 200)
    await reader.run('access', 'set', did, 'devices')
    assert.equal((await query(reader.server, 'com.atproto.sync.getLatestCommit', { did })).error, 'RepoNotFound')
    assert.equal((await query(reader.server, 'com.atproto.repo.listRecords', { repo: did, collection: NOTE })).status, 400)
    await reader.run('access', 'set', did, 'public')
    assert.equal((await query(reader.server, 'com.atproto.sync.getLatestCommit', { did })).status, 200)
  })

  it('has to make sense', LIMIT, async () => {
    for (const args of [['peers'], ['public', '--peer', peer], ['peers', '--peer', 'nobody']]) {
      assert.notEqual((await ues(owner.data, ['access', 'set', did, ...args])).code, 0, args.join(' '))
    }
    assert.deepEqual(await owner.run('access', 'ls'), [])
  })
})
