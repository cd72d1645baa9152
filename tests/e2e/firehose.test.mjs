// The event stream, followed by the official consumer with verification on, and frame by frame.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { MST, MemoryBlockstore, readCarWithRoot, verifyProofs } from '@atproto/repo'
import { parseCid } from '@atproto/lex-data'
import { Firehose, MemoryRunner } from '@atproto/sync'
import * as cbor from '@ipld/dag-cbor'
import { idResolver, newAccount, newHandle, signingKey } from '../lib/accounts.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { Random, SEED } from '../lib/random.mjs'
import { commit as readCommit, head, readBlocks, verifiedExport } from '../lib/repos.mjs'
import { TARGET, startTarget } from '../lib/servers.mjs'
import { procedure } from '../lib/xrpc.mjs'

const THING = 'com.example.thing'

let server
before(async () => {
  server = await startTarget()
})
after(() => server?.close())

const put = async (account, rkey, n) => {
  const body = { repo: account.did, collection: THING, rkey, record: { $type: THING, n } }
  const res = await procedure(server, 'com.atproto.repo.putRecord', body, { token: account.token })
  assert.equal(res.status, 200, res.message)
  return res.body
}
const remove = (account, rkey) =>
  procedure(server, 'com.atproto.repo.deleteRecord', { repo: account.did, collection: THING, rkey }, { token: account.token })

/** Where the stream stands: the number of the last event so far. */
async function lastSeq() {
  const account = await newAccount(server)
  const sub = new Subscription(server, { cursor: 0 })
  const event = await sub.until((events) => events.find((e) => e.t === '#sync' && e.did === account.did))
  await sub.close()
  return event.seq
}

/** The official consumer: a mirror of every repository, built from verified events only. */
class Mirror {
  constructor(startCursor = 0) {
    this.repos = new Map()
    this.seqs = []
    this.errors = []
    this.identities = new Map()
    this.waiting = new Set()
    this.runner = new MemoryRunner({ startCursor })
    this.firehose = new Firehose({
      service: server.wsUrl,
      idResolver: idResolver(server),
      runner: this.runner,
      subscriptionReconnectDelay: 50,
      handleEvent: (event) => {
        this.seqs.push(event.seq)
        this.take(event)
        for (const check of this.waiting) check()
      },
      onError: (error) => {
        this.errors.push(error)
        for (const check of this.waiting) check()
      },
    })
    this.running = this.firehose.start()
  }

  take(event) {
    if (event.event === 'identity') this.identities.set(event.did, event.handle)
    if (!['create', 'update', 'delete'].includes(event.event)) return
    const repo = this.repos.get(event.did) ?? new Map()
    this.repos.set(event.did, repo)
    const path = `${event.collection}/${event.rkey}`
    if (event.event === 'delete') repo.delete(path)
    else repo.set(path, event.cid.toString())
  }

  until(test, seconds = 60) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(check)
        reject(new Error(`condition not met after ${seconds} s and ${this.seqs.length} events; ${this.errors[0]?.cause ?? ''}`))
      }, seconds * 1000)
      const check = () => {
        const value = test(this)
        if (!value && !this.errors.length) return
        clearTimeout(timer)
        this.waiting.delete(check)
        if (value) resolve(value)
        else reject(this.errors[0])
      }
      this.waiting.add(check)
      check()
    })
  }

  close() {
    // A consumer that failed never says that it has stopped.
    const stopped = Promise.race([this.firehose.destroy(), delay(2000, null, { ref: false })])
    this.closing ??= stopped.then(() => this.runner.destroy())
    return this.closing
  }
}

describe('the official consumer with verification', () => {
  it(`mirrors random writes of several accounts (SEED=${SEED})`, async (t) => {
    const random = new Random()
    const mirror = new Mirror()
    t.after(() => mirror.close())
    const accounts = [await newAccount(server), await newAccount(server), await newAccount(server)]
    const last = await Promise.all(
      accounts.map(async (account) => {
        for (let i = 0; i < 40; i++) {
          const rkey = `k${random.below(12)}`
          if (random.next() < 0.3) await remove(account, rkey)
          else await put(account, rkey, random.below(1000))
        }
        return put(account, 'end', 1)
      }),
    )
    await mirror.until(({ repos }) => accounts.every((a, i) => repos.get(a.did)?.get(`${THING}/end`) === last[i].cid))
    for (const account of accounts) {
      const { records } = await verifiedExport(server, account.did)
      assert.deepEqual([...mirror.repos.get(account.did)].sort(), [...records].sort())
      await mirror.until(({ identities }) => identities.get(account.did) === account.handle)
    }
    assert.deepEqual(mirror.errors, [])
  })

  it('takes up where it stopped', async (t) => {
    const account = await newAccount(server)
    await put(account, 'a', 1)
    const first = new Mirror()
    t.after(() => first.close())
    await first.until(({ repos }) => repos.get(account.did)?.size === 1)
    await first.runner.processAll()
    const cursor = first.runner.getCursor()
    await first.close()
    const late = first.seqs.length
    const missed = await put(account, 'b', 2)
    const second = new Mirror(cursor)
    t.after(() => second.close())
    await second.until(({ repos }) => repos.get(account.did)?.get(`${THING}/b`) === missed.cid)
    assert.ok(second.seqs.every((seq) => seq > cursor), 'nothing it had seen before')
    assert.equal(second.repos.get(account.did).size, 1)
    assert.equal(first.seqs.length, late, 'the first has left')
    assert.deepEqual(second.errors, [])
  })
})

describe('frames', () => {
  it('announce a new account in order', async () => {
    const account = await newAccount(server)
    const sub = new Subscription(server, { cursor: 0 })
    const mine = (events) => events.filter((e) => (e.did ?? e.repo) === account.did)
    await sub.until((events) => mine(events).some((e) => e.t === '#sync'))
    const events = mine(sub.events)
    assert.deepEqual(events.map((e) => e.t), ['#identity', '#account', '#commit', '#sync'])
    const [identity, active, commit, sync] = events
    assert.equal(identity.handle, account.handle)
    assert.equal(active.active, true)
    const now = await head(server, account.did)
    assert.deepEqual([commit.commit.toString(), commit.rev, commit.since], [now.cid, now.rev, null])
    assert.equal(commit.prevData, undefined, 'absent, not null')
    assert.deepEqual([commit.ops, commit.blobs, commit.tooBig, commit.rebase], [[], [], false, false])
    assert.equal(sync.rev, now.rev)
    assert.equal((await readCarWithRoot(sync.blocks)).root.toString(), now.cid)
    await sub.close()
  })

  it('carry commits that stand on each other, with operations that can be undone', async () => {
    const account = await newAccount(server)
    const key = await signingKey(server, account.did)
    const start = await readCommit(server, account.did)
    const sub = new Subscription(server, { cursor: 0 })
    for (let i = 0; i < 30; i++) await put(account, `k${(i * 7) % 20}`, i)
    for (let i = 0; i < 20; i += 2) await remove(account, `k${i}`)
    const writes = Array.from({ length: 150 }, (_, i) => ({
      $type: 'com.atproto.repo.applyWrites#create',
      collection: THING,
      rkey: `b${i}`,
      value: { $type: THING, n: i },
    }))
    await account.agent.com.atproto.repo.applyWrites({ repo: account.did, writes })
    const end = await head(server, account.did)
    await sub.until((events) => events.some((e) => e.commit?.toString() === end.cid))
    const commits = sub.events.filter((e) => e.t === '#commit' && e.repo === account.did).slice(1)
    assert.ok(commits.length <= 41 && commits.length >= 1)

    let before = { rev: start.rev, data: start.data }
    for (const event of commits) {
      assert.equal(event.since, before.rev)
      assert.equal(event.prevData.toString(), before.data)
      assert.ok(event.rev > before.rev)
      assert.ok(Math.abs(Date.parse(event.time) - Date.now()) < 3_600_000)
      const { blocks, root } = await readCarWithRoot(event.blocks)
      assert.equal(root.toString(), event.commit.toString())
      const data = cbor.decode(blocks.get(root)).data.toString()

      const claims = event.ops.map((op) => {
        const [collection, rkey] = op.path.split('/')
        return { collection, rkey, cid: op.cid && parseCid(op.cid.toString()) }
      })
      const { unverified } = await verifyProofs(event.blocks, claims, account.did, key)
      assert.deepEqual(unverified, [])

      // Sync 1.1: undoing the operations on the partial tree of the event gives the root before it.
      let tree = MST.load(new MemoryBlockstore(blocks), parseCid(data))
      for (const op of event.ops) {
        const prev = op.prev && parseCid(op.prev.toString())
        if (op.action === 'create') tree = await tree.delete(op.path)
        else if (op.action === 'update') tree = await tree.update(op.path, prev)
        else tree = await tree.add(op.path, prev)
      }
      assert.equal((await tree.getPointer()).toString(), event.prevData.toString())
      before = { rev: event.rev, data }
    }
    assert.equal(before.rev, end.rev)
    await sub.close()
  })

  it('tell of a changed handle', async () => {
    const cursor = await lastSeq()
    const account = await newAccount(server)
    const handle = newHandle('renamed')
    const sub = new Subscription(server, { cursor })
    await account.agent.com.atproto.identity.updateHandle({ handle })
    const event = await sub.until((events) => events.find((e) => e.t === '#identity' && e.handle === handle))
    assert.equal(event.did, account.did)
    await sub.close()
  })

  it('are numbered without a gap in order for every reader', async () => {
    const account = await newAccount(server)
    const readers = Array.from({ length: 5 }, () => new Subscription(server, { cursor: 0 }))
    await Promise.all(Array.from({ length: 60 }, (_, i) => put(account, `n${i}`, i)))
    const end = await put(account, 'last', 1)
    await Promise.all(readers.map((r) => r.until((events) => events.some((e) => e.commit?.toString() === end.commit.cid))))
    const numbers = readers.map((r) => {
      const seqs = r.events.map((e) => e.seq)
      const stop = r.events.findIndex((e) => e.commit?.toString() === end.commit.cid)
      return seqs.slice(0, stop + 1)
    })
    for (const seqs of numbers) {
      assert.deepEqual(seqs, numbers[0])
      assert.ok(seqs.every((seq, i) => i === 0 || seq > seqs[i - 1]))
    }
    await Promise.all(readers.map((r) => r.close()))
  })

  it('start with the present when no cursor is given', async () => {
    const account = await newAccount(server)
    const past = await lastSeq()
    const sub = new Subscription(server)
    await sub.opened
    // The subscription may begin a moment after the handshake: write until one is seen.
    let seen
    for (let i = 0; i < 100 && !seen; i++) {
      await put(account, 'after', i)
      seen = await sub.until((events) => events.find((e) => e.ops?.[0]?.path === `${THING}/after`), 1).catch(() => undefined)
    }
    assert.ok(seen)
    // The official server polls its own log: what was written just before may still come.
    if (TARGET === 'ues') assert.ok(sub.events.every((e) => e.seq > past), 'nothing of the past')
    await sub.close()
  })

  it('resume exactly after any cursor', async () => {
    const all = new Subscription(server, { cursor: 0 })
    const end = await lastSeq()
    await all.until((events) => events.at(-1)?.seq >= end)
    const seqs = all.events.map((e) => e.seq).filter((seq) => seq <= end)
    const random = new Random()
    for (let i = 0; i < 8; i++) {
      const at = random.below(seqs.length - 1)
      const sub = new Subscription(server, { cursor: seqs[at] })
      await sub.until((events) => events.at(-1)?.seq >= end)
      assert.deepEqual(sub.events.map((e) => e.seq).filter((seq) => seq <= end), seqs.slice(at + 1))
      await sub.close()
    }
    await all.close()
  })
})

describe('cursors', () => {
  it('from the future are refused by name', async () => {
    const sub = new Subscription(server, { cursor: 10_000_000 })
    await sub.closed
    assert.equal(sub.frames.length, 1)
    assert.deepEqual([sub.frames[0].op, sub.frames[0].body.error], [-1, 'FutureCursor'])
  })

  it('that are no number are refused', async () => {
    const sub = new Subscription(server, { cursor: 'abc' })
    const end = await Promise.race([
      sub.opened.then(() => sub.closed),
      sub.opened.then(() => new Promise(() => {}), (err) => ({ refused: err.message })),
    ])
    if (end.refused) assert.match(end.refused, /400/)
    else assert.equal(sub.frames[0]?.body.error, 'InvalidRequest')
  })

  it('that are too old are answered with an #info and what is left', async () => {
    const env =
      TARGET === 'pds'
        ? { PDS_REPO_BACKFILL_LIMIT_MS: '1' }
        : { UES_FIREHOSE_BACKFILL_LIMIT_SECONDS: '1' }
    const small = await startTarget({ env })
    try {
      const account = await newAccount(small)
      const body = (i) => ({ repo: account.did, collection: THING, record: { $type: THING, i } })
      // The window is short but not empty: write until the oldest event has left it.
      let info
      for (let i = 0; i < 100 && !info; i++) {
        await procedure(small, 'com.atproto.repo.createRecord', body(i), { token: account.token })
        const sub = new Subscription(small, { cursor: 1 })
        info = await sub.until((events) => events.find((e) => e.t === '#info'), 0.2).catch(() => undefined)
        await sub.close()
      }
      assert.equal(info?.name, 'OutdatedCursor')
    } finally {
      await small.close()
    }
  })
})

describe('readers that misbehave', () => {
  it('hold nobody up by not reading', async () => {
    const account = await newAccount(server)
    const slow = Array.from({ length: 10 }, () => new Subscription(server, { cursor: 0 }))
    await Promise.all(slow.map((s) => s.opened))
    for (const s of slow) s.socket.pause()
    const reader = new Subscription(server, { cursor: 0 })
    let last
    for (let i = 0; i < 50; i++) last = await put(account, `p${i}`, i)
    await reader.until((events) => events.some((e) => e.commit?.toString() === last.commit.cid))
    for (const s of slow) {
      s.socket.resume()
      await s.close()
    }
    await reader.close()
  })

  it('may leave in the middle', async () => {
    const account = await newAccount(server)
    for (let i = 0; i < 30; i++) {
      const sub = new Subscription(server, { cursor: 0 })
      await sub.opened
      sub.socket.terminate()
    }
    await put(account, 'alive', 1)
  })
})

if (TARGET === 'ues') {
  describe('large records, many at a time into one repository', () => {
    // What the protocol allows a commit (Sync 1.1).
    const MAX_BLOCKS = 2_000_000
    const MAX_OPS = 200
    const MAX_RECORD = 1_000_000
    const MAX_FRAME = 5_000_000

    it('come in commits that are as large as they may be, and no larger', async () => {
      const account = await newAccount(server)
      const sub = new Subscription(server, { cursor: await lastSeq() })
      await sub.opened
      const value = (bytes) => ({ $type: THING, text: 'x'.repeat(bytes) })
      const write = (name, body) => procedure(server, `com.atproto.repo.${name}`, { repo: account.did, ...body }, { token: account.token })
      const create = (bytes) => () => write('createRecord', { collection: THING, record: value(bytes) })
      const apply = (count, bytes) => () =>
        write('applyWrites', {
          writes: Array.from({ length: count }, () => ({ $type: 'com.atproto.repo.applyWrites#create', collection: THING, value: value(bytes) })),
        })
      const calls = [
        ...Array(12).fill(create(700_000)),
        ...Array(12).fill(create(300_000)),
        ...Array(6).fill(apply(3, 310_000)),
        ...Array(3).fill(apply(150, 5000)),
        ...Array(300).fill(create(10)),
      ]
      const answers = await Promise.all(calls.map((make) => make()))
      const made = answers.flatMap(({ status, body, message }) => {
        assert.equal(status, 200, message)
        return body.uri ? [[body.uri, body.cid]] : body.results.map(({ uri, cid }) => [uri, cid])
      })
      assert.equal(made.length, 12 + 12 + 18 + 450 + 300)

      const { cid } = await head(server, account.did)
      await sub.until((events) => events.some((e) => e.commit?.toString() === cid))
      await sub.close()
      const commits = sub.frames.filter(({ t, body }) => t === '#commit' && body.repo === account.did)
      for (const { size, body } of commits) {
        assert.ok(body.blocks.length <= MAX_BLOCKS, `${body.blocks.length} bytes of blocks`)
        assert.ok(body.ops.length <= MAX_OPS, `${body.ops.length} operations`)
        assert.ok(size <= MAX_FRAME, `${size} bytes in a frame`)
        assert.equal(body.tooBig, false)
        const { blocks } = await readBlocks(body.blocks)
        for (const { path, cid } of body.ops) {
          const bytes = blocks.get(cid.toString())
          assert.ok(bytes && bytes.length <= MAX_RECORD, path)
        }
      }
      const told = commits.flatMap(({ body }) => body.ops.map(({ path, cid }) => [`at://${account.did}/${path}`, cid.toString()]))
      assert.deepEqual(told.sort(), made.sort(), 'each record is told once')
      const large = commits.filter(({ body }) => body.ops.length > 1 && body.blocks.length > MAX_BLOCKS / 3)
      assert.ok(large.length > 0 && commits.length < calls.length, 'calls share commits')
      assert.equal((await verifiedExport(server, account.did)).records.size, made.length)
    })
  })

  describe('a graceful stop', () => {
    it('lets subscribers know and loses nothing', async () => {
      const one = await startTarget()
      const account = await newAccount(one)
      const sub = new Subscription(one, { cursor: 0 })
      await sub.until((events) => events.some((e) => e.t === '#sync' && e.did === account.did))
      const end = await one.program.stop()
      assert.equal(end.forced, undefined, 'stopped by itself')
      assert.equal(end.code, 0)
      const closed = await sub.closed
      assert.ok([1000, 1001, 1012].includes(closed.code), `close code ${closed.code}`)
      await one.close()
    })
  })
}
