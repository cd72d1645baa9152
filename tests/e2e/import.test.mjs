// A repository that the official server exported moves to the server under test: same tree, new signature. Another comes
// while the server is killed at random moments: what it held before is there, or the new one, and nothing in between.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { newAccount } from '../lib/accounts.mjs'
import { uesOk } from '../lib/cli.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { bytes, commit, dataRoot, head, listAll, verifiedExport } from '../lib/repos.mjs'
import { Random, SEED } from '../lib/random.mjs'
import { TARGET, dataOf, scratch, startPds, startTarget, startUes } from '../lib/servers.mjs'
import { call, procedure, query } from '../lib/xrpc.mjs'

const RECORDS = Number(process.env.IMPORT_RECORDS ?? 20_000)
const POST = 'app.bsky.feed.post'
const CAR = 'application/vnd.ipld.car'

/** The nth TID of a fixed series. */
function tid(n) {
  const digits = '234567abcdefghijklmnopqrstuvwxyz'
  let rest = BigInt(n) * 1_048_576n
  let out = ''
  for (let i = 0; i < 11; i++, rest /= 32n) out = digits[Number(rest % 32n)] + out
  return `3k${out}`
}

describe(`importRepo of ${RECORDS} records`, { timeout: 900_000 }, () => {
  let target, official, source, car, sourceRoot, account
  before(async () => {
    ;[target, official] = await Promise.all([startTarget(), startPds()])
    source = await newAccount(official)
    for (let from = 0; from < RECORDS; from += 200) {
      const writes = Array.from({ length: Math.min(200, RECORDS - from) }, (_, i) => ({
        $type: 'com.atproto.repo.applyWrites#create',
        collection: POST,
        rkey: tid(from + i),
        value: { $type: POST, text: `record ${from + i}`, createdAt: '2026-01-01T00:00:00.000Z' },
      }))
      const res = await procedure(official, 'com.atproto.repo.applyWrites', { repo: source.did, writes, validate: false }, { token: source.token })
      assert.equal(res.status, 200, res.message)
    }
    car = await bytes(official, 'com.atproto.sync.getRepo', { did: source.did })
    sourceRoot = await dataRoot(official, source.did)
    account = await newAccount(target)
  })
  after(async () => {
    await target?.close()
    await official?.close()
  })

  it('is taken over whole', async () => {
    const before = await head(target, account.did)
    const res = await call(target, 'POST', 'com.atproto.repo.importRepo', { raw: car, type: CAR, token: account.token })
    assert.equal(res.status, 200, `${res.error} ${res.message}`)
    const now = await head(target, account.did)
    assert.ok(now.rev > before.rev)
    assert.equal(await dataRoot(target, account.did), sourceRoot)
  })

  it('reads back', async () => {
    const { body } = await query(target, 'com.atproto.repo.getRecord', { repo: account.did, collection: POST, rkey: tid(RECORDS - 1) })
    assert.equal(body.value.text, `record ${RECORDS - 1}`)
    const described = await bytes(target, 'com.atproto.repo.describeRepo', { repo: account.did })
    assert.deepEqual(described.collections, [POST])
    const [first] = (await bytes(target, 'com.atproto.repo.listRecords', { repo: account.did, collection: POST, limit: 1 })).records
    assert.equal(first.value.text, `record ${RECORDS - 1}`)
  })

  it('can be written on', async () => {
    const res = await procedure(
      target,
      'com.atproto.repo.createRecord',
      { repo: account.did, collection: 'com.example.after', rkey: 'a', record: { $type: 'com.example.after' } },
      { token: account.token },
    )
    assert.equal(res.status, 200, res.message)
    // The official server keeps the foreign DID in the commits that follow.
    if (TARGET === 'ues') assert.equal((await verifiedExport(target, account.did)).records.size, RECORDS + 1)
    await procedure(
      target,
      'com.atproto.repo.deleteRecord',
      { repo: account.did, collection: 'com.example.after', rkey: 'a' },
      { token: account.token },
    )
    assert.equal(await dataRoot(target, account.did), sourceRoot)
  })

  if (TARGET === 'ues') {
    it("is signed by the account's own key at once", async () => {
      const fresh = await newAccount(target)
      const res = await call(target, 'POST', 'com.atproto.repo.importRepo', { raw: car, type: CAR, token: fresh.token })
      assert.equal(res.status, 200)
      const { records } = await verifiedExport(target, fresh.did)
      assert.equal(records.size, RECORDS)
      assert.equal((await commit(target, fresh.did)).did, fresh.did)
      const sub = new Subscription(target, { cursor: 0 })
      const { cid, rev } = await head(target, fresh.did)
      const sync = await sub.until((events) => events.find((e) => e.t === '#sync' && e.did === fresh.did && e.rev === rev))
      assert.ok(Buffer.from(sync.blocks).length > 0, cid)
      await sub.close()
    })

    it('replaces what was there before', async () => {
      const fresh = await newAccount(target)
      await fresh.agent.post({ text: 'old' })
      const old = await listAll(target, fresh.did, POST)
      const res = await call(target, 'POST', 'com.atproto.repo.importRepo', { raw: car, type: CAR, token: fresh.token })
      assert.equal(res.status, 200)
      assert.equal(await dataRoot(target, fresh.did), sourceRoot)
      const rkey = old[0].uri.split('/').pop()
      assert.equal((await query(target, 'com.atproto.repo.getRecord', { repo: fresh.did, collection: POST, rkey })).error, 'RecordNotFound')
    })

    it('works from the command line', async () => {
      const data = path.join(target.dir, 'data')
      const file = path.join(target.dir, 'old-home.car')
      await writeFile(file, car)
      await uesOk(data, ['account', 'create', 'bob.test', '--password', 'a long password'])
      await uesOk(data, ['repo', 'import', 'bob.test', file])
      const { did } = await bytes(target, 'com.atproto.identity.resolveHandle', { handle: 'bob.test' })
      assert.equal(await dataRoot(target, did), sourceRoot)
      const exported = path.join(target.dir, 'bob.car')
      await uesOk(data, ['repo', 'export', 'bob.test', '-o', exported])
      await uesOk(data, ['repo', 'verify', exported])
    })

    it('of a damaged file changes nothing', async () => {
      const fresh = await newAccount(target)
      const before = await head(target, fresh.did)
      const flipped = Buffer.from(car)
      flipped[Math.floor(car.length / 2)] ^= 1
      for (const raw of [flipped, car.subarray(0, car.length - 100), car.subarray(1), Buffer.alloc(0)]) {
        const res = await call(target, 'POST', 'com.atproto.repo.importRepo', { raw, type: CAR, token: fresh.token })
        assert.ok(res.status >= 400 && res.status < 500 && res.error, `${res.status} ${res.error}`)
      }
      assert.deepEqual(await head(target, fresh.did), before)
    })
  }
})

const KILLS = Number(process.env.IMPORT_KILLS ?? 10)

// 24 MB, and nothing makes it much smaller: several batches of the store, and an archive that does not stay in memory.
describe('a server that is killed in the midst of importRepo', { skip: TARGET !== 'ues', timeout: 900_000 }, () => {
  let dir, server, account, archive, other
  const roots = {}
  const random = new Random(SEED)

  const send = (raw) => call(server, 'POST', 'com.atproto.repo.importRepo', { raw, type: CAR, token: account.token })
  async function restart() {
    server = await startUes({ dir, port: server?.port })
  }
  before(async () => {
    dir = await scratch('import')
    await restart()
    const source = await newAccount(server)
    for (let from = 0; from < 4000; from += 100) {
      const writes = Array.from({ length: 100 }, (_, i) => ({
        $type: 'com.atproto.repo.applyWrites#create',
        collection: 'com.example.large',
        rkey: tid(from + i),
        value: { $type: 'com.example.large', n: from + i, fill: randomBytes(4500).toString('base64') },
      }))
      const res = await procedure(server, 'com.atproto.repo.applyWrites', { repo: source.did, writes, validate: false }, { token: source.token })
      assert.equal(res.status, 200, res.message)
    }
    archive = await bytes(server, 'com.atproto.sync.getRepo', { did: source.did })
    roots.new = await dataRoot(server, source.did)
    account = await newAccount(server)
    for (let n = 0; n < 20; n++) await account.agent.post({ text: `old ${n}` })
    other = await bytes(server, 'com.atproto.sync.getRepo', { did: account.did })
    roots.old = await dataRoot(server, account.did)
  })
  after(async () => {
    await server?.close()
    await rm(dir, { recursive: true, force: true })
  })

  it(`has the old records or the new after ${KILLS} kills (SEED=${SEED})`, async () => {
    const began = performance.now()
    assert.equal((await send(archive)).status, 200)
    const whole = performance.now() - began
    assert.equal(await dataRoot(server, account.did), roots.new)
    assert.equal((await send(other)).status, 200)
    for (let kill = 0; kill < KILLS; kill++) {
      const sent = send(archive).catch(() => null)
      await delay(whole * 1.2 * random.next())
      await server.program.kill()
      const acknowledged = (await sent)?.status === 200
      await restart()
      const root = await dataRoot(server, account.did)
      assert.ok(root === roots.new || (root === roots.old && !acknowledged), root)
      const { records } = await verifiedExport(server, account.did)
      assert.equal(records.size, root === roots.new ? 4000 : 20)
      if (root === roots.new) assert.equal((await send(other)).status, 200)
    }
    await uesOk(dataOf(server), ['check'])
  })

  it('takes the archive in the end, and is written on', async () => {
    assert.equal((await send(archive)).status, 200)
    await account.agent.post({ text: 'after' })
    assert.equal((await verifiedExport(server, account.did)).records.size, 4001)
    await uesOk(dataOf(server), ['check'])
  })
})
