// Two devices that never meet over a network: real processes, and a file that goes back and forth.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { ues, uesOk } from '../lib/cli.mjs'
import { DeviceNode, agentOf, NOTE } from '../lib/devices.mjs'
import { newAccount } from '../lib/accounts.mjs'
import { dataRoot, listAll, verifiedExport } from '../lib/repos.mjs'

const texts = async (node, did) => (await listAll(node.server, did, NOTE)).map((r) => r.value.text).sort()

describe('sync by file', () => {
  const noNetwork = { UES_NETWORK_ENABLED: 'false' }
  let home
  let boat
  let account
  let stick

  before(async () => {
    home = await DeviceNode.start('home', { env: noNetwork })
    boat = await DeviceNode.start('boat', { env: noNetwork })
    account = await newAccount(home.server)
    stick = (name) => path.join(home.dir, name)
    const here = await agentOf(home, account.did)
    for (const text of ['one', 'two', 'three']) await here.create(text, text)
  })

  after(async () => {
    for (const node of [home, boat]) {
      await node?.stop()
      if (node) await rm(node.dir, { recursive: true, force: true })
    }
  })

  const give = async (from, to, name, ...options) => {
    await from.run('sync', 'export', stick(name), '--account', account.did, ...options)
    return to.run('sync', 'import', stick(name))
  }

  it('begins a repository on a device that was granted by its key', async () => {
    const { key } = await boat.run('device', 'key')
    const granted = await home.run('device', 'grant', key, '--name', 'boat', '--as', account.did)
    await home.run('sync', 'export', stick('start'), '--snapshot', '--account', account.did)
    // Nobody begins a repository that they did not say they trust.
    const alone = await ues(boat.data, ['sync', 'import', stick('start')])
    assert.notEqual(alone.code, 0)
    assert.match(alone.stderr, /does not hold/)
    const report = await boat.run('sync', 'import', stick('start'), '--root', granted.root)
    assert.equal(report.equal, true)
    assert.deepEqual(await texts(boat, account.did), ['one', 'three', 'two'])
    assert.equal(await dataRoot(boat.server, account.did), await dataRoot(home.server, account.did))
  })

  it('makes both equal by a file each way, whichever wrote what', async () => {
    const [here, there] = [await agentOf(home, account.did), await agentOf(boat, account.did)]
    for (let n = 0; n < 40; n++) {
      assert.equal((await here.create(`home ${n}`, `home${n}`)).status, 200)
      assert.equal((await there.create(`boat ${n}`, `boat${n}`)).status, 200)
    }
    await here.put('both', 'home says')
    await there.put('both', 'the boat says')
    await there.remove('one')
    const out = await give(home, boat, 'there')
    assert.deepEqual([out.new, out.refused, out.equal], [41, 0, false])
    const back = await give(boat, home, 'back')
    assert.deepEqual([back.new, back.refused, back.equal], [42, 0, true])
    assert.equal(await dataRoot(boat.server, account.did), await dataRoot(home.server, account.did))
    const all = await texts(home, account.did)
    assert.equal(all.length, 83)
    assert.ok(all.includes('the boat says') && !all.includes('home says') && !all.includes('one'))
    // What the root signs of it is an ordinary repository.
    await verifiedExport(home.server, account.did)
  })

  it('takes the same file in twice', async () => {
    const again = await boat.run('sync', 'import', stick('there'))
    assert.deepEqual([again.new, again.refused], [0, 0])
    assert.equal(await dataRoot(boat.server, account.did), await dataRoot(home.server, account.did))
  })

  it('works on nodes that do not run, and writes only what the other lacks', async () => {
    await (await agentOf(home, account.did)).create('the last one', 'last')
    await Promise.all([home.stop(), boat.stop()])
    const { heads } = await boat.run('sync', 'heads', '--as', account.did)
    await home.run('sync', 'export', stick('all'), '--account', account.did)
    const report = await give(home, boat, 'news', '--since', heads)
    assert.deepEqual([report.new, report.known, report.equal], [1, 0, true])
    assert.ok((await stat(stick('news'))).size < 4_000)
    assert.ok((await stat(stick('all'))).size > 20_000)
    await Promise.all([home.up(noNetwork), boat.up(noNetwork)])
    assert.ok((await texts(boat, account.did)).includes('the last one'))
  })

  it('refuses what comes too early, says how much and why, and takes it once the rest is here', async () => {
    const here = await agentOf(home, account.did)
    const { heads } = await home.run('sync', 'heads', '--as', account.did)
    await here.create('first', 'first')
    const between = (await home.run('sync', 'heads', '--as', account.did)).heads
    await here.create('second', 'second')
    const file = async (name, since) => home.run('sync', 'export', stick(name), '--account', account.did, '--since', since)
    await file('first', heads)
    await file('second', between)
    // A file knows only what it was written for, so the first has both.
    const early = await ues(boat.data, ['--json', 'sync', 'import', stick('second')])
    assert.equal(early.code, 1)
    const report = JSON.parse(early.stdout)
    assert.deepEqual([report.new, report.refused], [0, 1])
    assert.match(report.reasons[0].why, /not here/)
    assert.equal((await boat.run('sync', 'import', stick('first'))).equal, true)
    assert.equal((await boat.run('sync', 'import', stick('second'))).equal, true)
  })

  it('takes nothing wrong from a file that somebody changed, cut off or made up', async () => {
    const root = await dataRoot(boat.server, account.did)
    await (await agentOf(home, account.did)).create('the whole truth', 'truth')
    await home.run('sync', 'export', stick('good'), '--account', account.did)
    const good = await readFile(stick('good'))
    const at = good.lastIndexOf(Buffer.from('the whole truth'))
    const changed = Buffer.from(good)
    changed.write('the whole lie!!', at)
    await writeFile(stick('changed'), changed)
    const refused = await ues(boat.data, ['--json', 'sync', 'import', stick('changed')])
    assert.equal(refused.code, 1)
    assert.match(JSON.parse(refused.stdout).reasons[0].why, /record is not what/)
    assert.equal(await dataRoot(boat.server, account.did), root)
    await writeFile(stick('cut'), good)
    await truncate(stick('cut'), good.length - 10)
    const cut = await ues(boat.data, ['sync', 'import', stick('cut')])
    assert.notEqual(cut.code, 0)
    assert.match(cut.stderr, /cut off/)
    await writeFile(stick('none'), 'PK\u0003\u0004 something else')
    const none = await ues(boat.data, ['sync', 'import', stick('none')])
    assert.match(none.stderr, /not a file that/)
    assert.ok((await boat.run('sync', 'import', stick('good'))).equal)
    await uesOk(boat.data, ['check'])
  })
})
