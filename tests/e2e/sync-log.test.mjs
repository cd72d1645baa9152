// What the log of several devices tells, and that it does not grow for ever: real processes, and files between them.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { ues, uesOk } from '../lib/cli.mjs'
import { DeviceNode, NOTE, agentOf } from '../lib/devices.mjs'
import { newAccount } from '../lib/accounts.mjs'
import { dataRoot, listAll, verifiedExport } from '../lib/repos.mjs'

const texts = async (node, did) => (await listAll(node.server, did, NOTE)).map((r) => r.value.text).sort()

describe('the log of several devices', () => {
  const apart = { UES_NETWORK_ENABLED: 'false', UES_FIREHOSE_KEEP_EVENTS: '1' }
  let home
  let boat
  let account
  let stick

  before(async () => {
    home = await DeviceNode.start('home', { env: apart })
    boat = await DeviceNode.start('boat', { env: apart })
    stick = path.join(home.dir, 'stick')
    account = await newAccount(home.server)
    await (await agentOf(home, account.did)).create('from before the log', 'old')
    const { key } = await boat.run('device', 'key')
    const { root } = await home.run('device', 'grant', key, '--name', 'boat', '--as', account.did)
    await home.run('sync', 'export', stick, '--snapshot', '--as', account.did)
    await boat.run('sync', 'import', stick, '--root', root)
  })

  after(async () => {
    for (const node of [home, boat]) {
      await node?.stop()
      if (node) await rm(node.dir, { recursive: true, force: true })
    }
  })

  const give = async (from, to) => {
    await from.run('sync', 'export', stick, '--as', account.did)
    return to.run('sync', 'import', stick)
  }
  const uri = (rkey) => `at://${account.did}/${NOTE}/${rkey}`

  it('tells all versions of a record, who wrote them, which one counts, and why', async () => {
    const [here, there] = [await agentOf(home, account.did), await agentOf(boat, account.did)]
    await here.create('first', 'list')
    await give(home, boat)
    await here.put('list', 'as home wants it')
    await there.put('list', 'as the boat wants it')
    await give(home, boat)
    await give(boat, home)
    for (const node of [home, boat]) {
      const { versions } = await node.run('record', 'history', uri('list'))
      const told = versions.map((v) => [v.device, v.action, v.standing, v.value.text])
      assert.deepEqual(told, [
        ['first device', 'create', 'replaced', 'first'],
        ['first device', 'update', 'lost', 'as home wants it'],
        ['boat', 'update', 'won', 'as the boat wants it'],
      ])
      assert.equal(versions[1].because, 'time')
      assert.deepEqual(versions[2].over.map((lost) => [lost.device, lost.because]), [['first device', 'time']])
      assert.ok(versions[2].time > versions[1].time)
    }
    const words = await uesOk(home.data, ['record', 'history', uri('list')])
    assert.match(words, /does not count, boat #1 does: neither knew the other, and that one is later/)
    const log = await uesOk(home.data, ['log', account.did])
    assert.match(log, /boat #1 update .*list\n +counts over first device #2: neither knew the other, and this one is later/)
    // Who writes now has seen both.
    await here.put('list', 'as both want it')
    const { versions } = await home.run('record', 'history', uri('list'))
    assert.deepEqual(versions.map((v) => v.standing), ['replaced', 'replaced', 'replaced', 'won'])
    assert.deepEqual([versions[1].by.device, versions[1].by.seq], ['first device', 3])
    await give(home, boat)
  })

  it('says what is wrong where there is no such log', async () => {
    const other = await newAccount(home.server)
    const refused = await ues(home.data, ['record', 'history', `at://${other.did}/${NOTE}/x`])
    assert.notEqual(refused.code, 0)
    assert.match(refused.stderr, /on this device alone/)
    const none = await home.run('record', 'history', uri('never'))
    assert.deepEqual(none.versions, [])
  })

  it('keeps what a device may still ask for, and drops it once that device has it', async () => {
    const here = await agentOf(home, account.did)
    for (let n = 0; n < 200; n++) await here.put('often', `version ${n}`)
    const early = await home.run('sync', 'compact', '--as', account.did)
    assert.equal(early.dropped, 0)
    assert.deepEqual(early.waitingFor.map((d) => d.name), ['boat'])
    await give(home, boat)
    // The boat tells that it has it with the next thing that it writes.
    await (await agentOf(boat, account.did)).create('ahoy', 'ahoy')
    await give(boat, home)
    const done = await home.run('sync', 'compact', '--as', account.did)
    assert.ok(done.dropped > 190, JSON.stringify(done))
    const { versions } = await home.run('record', 'history', uri('often'))
    assert.deepEqual(versions.map((v) => v.value.text), ['version 199'])
    assert.equal((await give(home, boat)).refused, 0)
    assert.equal(await dataRoot(boat.server, account.did), await dataRoot(home.server, account.did))
  })

  it('has a device that was away for long catch up, and loses nothing of what it wrote', async () => {
    const [here, there] = [await agentOf(home, account.did), await agentOf(boat, account.did)]
    await there.create('written far away', 'away')
    await there.put('often', 'the boat says')
    for (let n = 0; n < 50; n++) await here.put('often', `later ${n}`)
    await here.create('only here', 'here')
    await here.remove('old')
    const done = await home.run('sync', 'compact', '--now', '--as', account.did)
    assert.ok(done.dropped > 45)
    assert.deepEqual(done.waitingFor, [])
    const caughtUp = await give(home, boat)
    assert.equal(caughtUp.refused, 0)
    const back = await give(boat, home)
    assert.deepEqual([back.refused, back.equal], [0, true])
    assert.equal(await dataRoot(boat.server, account.did), await dataRoot(home.server, account.did))
    const all = await texts(home, account.did)
    assert.ok(all.includes('written far away') && all.includes('only here') && all.includes('later 49'))
    assert.ok(!all.includes('from before the log'))
    const { versions } = await boat.run('record', 'history', uri('often'))
    assert.deepEqual(versions.map((v) => [v.value.text, v.standing]), [['the boat says', 'lost'], ['later 49', 'won']])
    await verifiedExport(home.server, account.did)
    for (const node of [home, boat]) await uesOk(node.data, ['check'])
  })

  it('has deleted content nowhere any more', async () => {
    const secret = 'a sentence that nobody shall read again 7f3a'
    const here = await agentOf(home, account.did)
    await here.create(secret, 'secret')
    await give(home, boat)
    await here.remove('secret')
    for (const node of [home, boat]) {
      await give(home, boat)
      const { cid } = (await node.run('record', 'history', uri('secret'))).versions[0]
      const params = `did=${account.did}&cids=${cid}`
      await node.run('sync', 'compact', '--now', '--as', account.did)
      const { versions } = await node.run('record', 'history', uri('secret'))
      assert.ok(!JSON.stringify(versions).includes(secret))
      assert.deepEqual(versions.map((v) => [v.cid, v.standing]), [[null, 'won']])
      const block = await fetch(`${node.server.url}/xrpc/com.atproto.sync.getBlocks?${params}`)
      assert.notEqual(block.status, 200)
    }
  })
})
