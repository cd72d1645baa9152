// One repository on several devices: real processes over loopback. Each writes on its own; when they meet they are equal,
// and what the network sees of it is an ordinary repository that the official library verifies.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { rm } from 'node:fs/promises'
import { ues, uesOk } from '../lib/cli.mjs'
import { DeviceNode, NOTE, agentOf, invite, note, pair } from '../lib/devices.mjs'
import { until } from '../lib/pins.mjs'
import { newAccount, signingKey } from '../lib/accounts.mjs'
import { freePort } from '../lib/process.mjs'
import { dataRoot, listAll, verifiedExport } from '../lib/repos.mjs'
import { procedure } from '../lib/xrpc.mjs'

const POST = NOTE
const post = note

const texts = async (node, did) => (await listAll(node.server, did, POST)).map((r) => r.value.text).sort()

/** Fails with what the nodes say of their sessions. */
async function explain(error, nodes) {
  const status = await Promise.all(nodes.map((node) => node.run('sync', 'status').catch(String)))
  const peers = await Promise.all(nodes.map((node) => node.run('peer', 'ls').catch(String)))
  const logs = nodes.map((node) => node.server.program.log.slice(-2000))
  throw new Error([error.message, JSON.stringify({ status, peers }, null, 1), ...logs].join('\n'))
}

/** Waits until all nodes have the same tree; returns its root. */
async function equal(did, ...nodes) {
  let roots
  await until(
    `${nodes.map((n) => n.name)} have the same records`,
    async () => {
      // A commit that a newer one replaces between two calls cannot be read any more.
      roots = await Promise.all(nodes.map((node) => dataRoot(node.server, did).catch(() => undefined)))
      return roots[0] && roots.every((root) => root === roots[0])
    },
    60,
  ).catch((error) => explain(error, nodes))
  return roots[0]
}

describe('a repository on several devices', () => {
  let laptop
  let phone
  let account

  before(async () => {
    laptop = await DeviceNode.start('laptop', { env: { UES_ADMIN_PASSWORD: 'admin' } })
    phone = await DeviceNode.start('phone')
    account = await newAccount(laptop.server)
    for (const text of ['one', 'two', 'three']) {
      await account.agent.com.atproto.repo.createRecord({ repo: account.did, collection: POST, record: post(text) })
    }
    await pair(laptop, account.did, phone)
  })

  after(async () => {
    for (const node of [laptop, phone]) {
      await node?.stop()
      if (node) await rm(node.dir, { recursive: true, force: true })
    }
  })

  it('keeps its key, in the repository and in the DID document', async () => {
    const { server } = laptop
    const before = await signingKey(server, account.did)
    const { signingKey: other } = (await procedure(server, 'com.atproto.server.reserveSigningKey', {})).body
    const token = `Basic ${Buffer.from('admin:admin').toString('base64')}`
    const input = { did: account.did, signingKey: other }
    const refused = await procedure(server, 'com.atproto.admin.updateAccountSigningKey', input, { token })
    assert.equal(refused.status, 400)
    assert.match(refused.message, /several devices hold this repository/)
    assert.equal(await signingKey(server, account.did), before)
  })

  it('has on both what was written before the second came', async () => {
    await equal(account.did, laptop, phone)
    assert.deepEqual(await texts(phone, account.did), ['one', 'three', 'two'])
    const devices = await phone.devices(account.did)
    assert.deepEqual(devices.map((d) => d.name), ['first device', 'phone'])
    assert.deepEqual(devices.map((d) => d.here), [false, true])
  })

  it('shows on each what the other writes, and the official library verifies what the root signs', async () => {
    const there = await agentOf(phone, account.did)
    const made = await there.create('from the phone', 'fromphone')
    assert.equal(made.status, 200)
    await account.agent.com.atproto.repo.createRecord({ repo: account.did, collection: POST, record: post('from the laptop') })
    await until('both have all five', async () => {
      const all = await Promise.all([texts(laptop, account.did), texts(phone, account.did)])
      return all.every((list) => list.length === 5)
    }).catch((error) => explain(error, [laptop, phone]))
    await equal(account.did, laptop, phone)
    const { records } = await verifiedExport(laptop.server, account.did)
    assert.equal(records.get(`${POST}/fromphone`), made.cid)
  })

  it('becomes equal again after both wrote without a network', async () => {
    await phone.stop()
    const there = async () => agentOf(phone, account.did)
    await phone.up({ UES_NETWORK_ENABLED: 'false' })
    const offline = await there()
    for (let n = 0; n < 30; n++) assert.equal((await offline.create(`phone ${n}`, `phone${n}`)).status, 200)
    await offline.put('both', 'the phone says')
    await offline.remove('fromphone')
    const here = await agentOf(laptop, account.did)
    for (let n = 0; n < 30; n++) assert.equal((await here.create(`laptop ${n}`, `laptop${n}`)).status, 200)
    await here.put('both', 'the laptop says')
    // A record that one deletes and the other changes without knowing of it stays.
    await here.put('fromphone', 'changed on the laptop')
    await phone.stop()
    await phone.up()
    await equal(account.did, laptop, phone)
    const all = await texts(laptop, account.did)
    assert.equal(all.filter((text) => text.startsWith('phone ')).length, 30)
    assert.equal(all.filter((text) => text.startsWith('laptop ')).length, 30)
    assert.ok(all.includes('changed on the laptop'))
    // The later of two that did not know each other wins.
    assert.ok(all.includes('the laptop says') && !all.includes('the phone says'))
    await verifiedExport(laptop.server, account.did)
  })

  it('has a device that was away catch up once the others have dropped what it lacks', async () => {
    await phone.stop()
    await phone.up({ UES_NETWORK_ENABLED: 'false' })
    assert.equal((await (await agentOf(phone, account.did)).create('written far away', 'away')).status, 200)
    const here = await agentOf(laptop, account.did)
    for (let n = 0; n < 60; n++) assert.equal((await here.put('often', `version ${n}`)).status, 200)
    const done = await laptop.run('sync', 'compact', '--now', '--as', account.did)
    assert.ok(done.dropped > 60, JSON.stringify(done))
    await phone.stop()
    await phone.up()
    await equal(account.did, laptop, phone)
    const all = await texts(laptop, account.did)
    assert.ok(all.includes('written far away') && all.includes('version 59') && !all.includes('version 58'))
    // Both are connected, so the laptop knows that the phone has the next snapshot: nobody has to be told not to wait.
    await here.put('often', 'the last version')
    await laptop.run('sync', 'compact', '--as', account.did)
    await equal(account.did, laptop, phone)
    await until('nobody is waited for', async () => {
      const { waitingFor } = await laptop.run('sync', 'compact', '--as', account.did)
      return waitingFor.length === 0
    }).catch((error) => explain(error, [laptop, phone]))
    await verifiedExport(laptop.server, account.did)
  })

  it('loses no acknowledged write when both are killed while they write and sync', async () => {
    for (let round = 0; round < 3; round++) {
      const kept = { laptop: [], phone: [] }
      const writing = { on: true }
      const write = async (node) => {
        const agent = await agentOf(node, account.did)
        for (let n = 0; writing.on; n++) {
          const rkey = `${node.name}-${round}-${n}`
          const done = await agent.create(rkey, rkey).catch(() => ({ status: 0 }))
          if (done.status !== 200) return
          kept[node.name].push(rkey)
        }
      }
      const writers = [write(laptop), write(phone)]
      await until('some were written', () => kept.laptop.length > 20 && kept.phone.length > 20)
      await (round % 2 ? laptop : phone).kill()
      await (round % 2 ? phone : laptop).kill()
      writing.on = false
      await Promise.all(writers)
      await Promise.all([laptop.up(), phone.up()])
      await equal(account.did, laptop, phone)
      const there = new Set(await texts(laptop, account.did))
      const lost = [...kept.laptop, ...kept.phone].filter((text) => !there.has(text))
      assert.deepEqual(lost, [])
    }
    for (const node of [laptop, phone]) {
      await node.stop()
      await uesOk(node.data, ['check'])
      await node.up()
    }
  })

  for (const which of ['laptop', 'phone']) {
    it(`is found again after the ${which} came up at another address`, async () => {
      const node = { laptop, phone }[which]
      // What it has learned just now is only sure to be kept if it may say goodbye.
      await node.stop()
      node.peerPort = await freePort()
      await node.up()
      await (await agentOf(laptop, account.did)).create(`the ${which} has moved`)
      await equal(account.did, laptop, phone)
      assert.ok((await texts(phone, account.did)).includes(`the ${which} has moved`))
    })
  }

  it('has a third device, which gets what the second writes', async () => {
    const tablet = await DeviceNode.start('tablet')
    try {
      await pair(laptop, account.did, tablet)
      await equal(account.did, laptop, phone, tablet)
      assert.equal((await (await agentOf(phone, account.did)).create('for all three')).status, 200)
      await until('the tablet has it', async () => (await texts(tablet, account.did)).includes('for all three')).catch(
        (error) => explain(error, [laptop, phone, tablet]),
      )
      const status = await tablet.run('sync', 'status')
      assert.ok(status.sessions.some((session) => session.stage === 'synced'))
    } finally {
      await tablet.stop()
      await rm(tablet.dir, { recursive: true, force: true })
    }
  })

  it('refuses a link that was used, one that was never made, and one for what is here already', async () => {
    const stranger = await DeviceNode.start('stranger')
    try {
      const { link, done, child } = await invite(laptop, account.did)
      const wrong = link.replace(/code=([^&]+)/, 'code=00000-00000')
      const refused = await ues(stranger.data, ['device', 'join', '--yes', wrong])
      assert.notEqual(refused.code, 0)
      assert.match(refused.stderr, /pairing failed/)
      const again = await ues(phone.data, ['device', 'join', '--yes', link])
      assert.notEqual(again.code, 0)
      assert.match(again.stderr, /already/)
      await done
      child.kill()
      const used = await ues(stranger.data, ['device', 'join', '--yes', link])
      assert.notEqual(used.code, 0)
      assert.deepEqual((await stranger.run('account', 'ls')).accounts ?? [], [])
    } finally {
      await stranger.stop()
      await rm(stranger.dir, { recursive: true, force: true })
    }
  })

  it('takes no more writes from a device whose right was taken back', async () => {
    await laptop.run('device', 'revoke', 'phone', '--as', account.did)
    await until('the phone knows', async () => (await phone.devices(account.did)).find((d) => d.here) === undefined)
    const refused = await (await agentOf(phone, account.did)).create('too late')
    assert.equal(refused.status, 403)
    assert.equal(refused.error, 'NotAWriter')
    assert.ok(!(await texts(laptop, account.did)).includes('too late'))
  })
})
