// The real program under load is killed with SIGKILL at random moments. After every restart each acknowledged
// write is there, each repository verifies, and the event log has neither a gap nor a double.
// CRASH_ROUNDS sets the number of kills, SEED repeats a run.
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { newAccount, newHandle, PASSWORD } from '../lib/accounts.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { Random, SEED } from '../lib/random.mjs'
import { head, verifiedExport } from '../lib/repos.mjs'
import { TARGET, scratch, startPlc, startTarget } from '../lib/servers.mjs'
import { procedure, query } from '../lib/xrpc.mjs'

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 50)
const ACCOUNTS = 4
const WRITERS = 4 // of each account
const KEYS = 40 // of each writer
const THING = 'com.example.thing'
// The official server keeps repositories and log in separate databases: a kill between the two loses an event.
const wholeLog = TARGET === 'ues'

/** What a writer knows of its keys: the acknowledged state, and the write whose answer never came. */
class Writer {
  constructor(account, index, random) {
    Object.assign(this, { account, index, random })
    this.acknowledged = new Map()
    this.open = null
    this.count = 0
  }

  /** Writes one after another until the server is gone. Returns the commits that were acknowledged. */
  async run(server, commits, acknowledge) {
    for (;;) {
      const writes = this.plan()
      this.open = new Map(writes.map((w) => [w.rkey, w.n]))
      let res
      try {
        res = await this.send(server, writes)
      } catch {
        return
      }
      assert.equal(res.status, 200, `${res.error} ${res.message}`)
      for (const { rkey, n } of writes) this.acknowledged.set(rkey, n)
      this.open = null
      if (res.body.commit) commits.push({ did: this.account.did, ...res.body.commit })
      acknowledge()
    }
  }

  /** One write, or a batch now and then; each on other keys; `n` undefined deletes. */
  plan() {
    const { random } = this
    const size = random.next() < 0.1 ? 1 + random.below(20) : 1
    const keys = new Set(Array.from({ length: size }, () => `w${this.index}-${random.below(KEYS)}`))
    return [...keys].map((rkey) => {
      const exists = this.acknowledged.get(rkey) !== undefined
      if (exists && random.next() < 0.3) return { kind: 'delete', rkey, n: undefined }
      this.count += 1
      return { kind: exists ? 'update' : 'create', rkey, n: this.count }
    })
  }

  send(server, writes) {
    const value = (n) => ({ $type: THING, n, fill: 'x'.repeat(n % 500) })
    const common = { repo: this.account.did, collection: THING }
    const token = { token: this.account.token }
    if (writes.length === 1) {
      const [{ kind, rkey, n }] = writes
      if (kind === 'delete') return procedure(server, 'com.atproto.repo.deleteRecord', { ...common, rkey }, token)
      const method = kind === 'create' ? 'createRecord' : 'putRecord'
      return procedure(server, `com.atproto.repo.${method}`, { ...common, rkey, record: value(n) }, token)
    }
    const list = writes.map(({ kind, rkey, n }) => ({
      $type: `com.atproto.repo.applyWrites#${kind}`,
      collection: THING,
      rkey,
      ...(n === undefined ? {} : { value: value(n) }),
    }))
    return procedure(server, 'com.atproto.repo.applyWrites', { repo: this.account.did, writes: list }, token)
  }

  /** Compares with what the repository holds now; the open write must be there whole or not at all. */
  settle(values) {
    const found = (rkey) => values.get(rkey)
    const took = this.open && [...this.open].filter(([rkey, n]) => found(rkey) === n && this.acknowledged.get(rkey) !== n)
    if (this.open && took.length) {
      for (const [rkey, n] of this.open) assert.equal(found(rkey), n, `half of a batch: ${rkey}`)
      for (const [rkey, n] of this.open) this.acknowledged.set(rkey, n)
    }
    this.open = null
    for (const [rkey, n] of this.acknowledged) assert.equal(found(rkey), n, `${rkey} of ${this.account.handle}`)
    for (const rkey of values.keys()) {
      if (rkey.startsWith(`w${this.index}-`)) assert.ok(this.acknowledged.has(rkey), `${rkey} came from nowhere`)
    }
  }
}

/** Follows the log across restarts and checks its order. */
class LogReader {
  constructor() {
    this.cursor = 0
    this.commits = new Set()
    this.revs = new Map()
  }

  async read(server, accounts) {
    const heads = new Map()
    for (const { did } of accounts) heads.set(did, (await head(server, did)).rev)
    const sub = new Subscription(server, { cursor: this.cursor })
    const last = new Map(this.revs)
    let seen = 0
    const reached = (events) => {
      for (; seen < events.length; seen++) if (events[seen].t === '#commit') last.set(events[seen].repo, events[seen].rev)
      return accounts.every(({ did }) => last.get(did) === heads.get(did))
    }
    await sub.until(reached)
    for (const event of sub.events) {
      assert.equal(event.seq, this.cursor + 1, 'a gap or a double in the log')
      this.cursor = event.seq
      if (event.t !== '#commit') continue
      const cid = event.commit.toString()
      assert.ok(!this.commits.has(cid), `commit ${cid} twice`)
      this.commits.add(cid)
      assert.equal(event.since, this.revs.get(event.repo) ?? null, 'commits stand on each other')
      this.revs.set(event.repo, event.rev)
    }
    await sub.close()
  }
}

describe(`killed ${ROUNDS} times (SEED=${SEED})`, { timeout: 1000 * (120 + ROUNDS * 20) }, () => {
  const random = new Random()
  const options = {}
  let server, accounts, writers
  const log = new LogReader()

  const values = async (account) => {
    const out = new Map()
    let cursor
    do {
      const params = { repo: account.did, collection: THING, limit: 100, cursor }
      const { status, body } = await query(server, 'com.atproto.repo.listRecords', params)
      assert.equal(status, 200)
      for (const r of body.records) out.set(r.uri.split('/').pop(), r.value.n)
      cursor = body.cursor
    } while (cursor)
    return out
  }

  before(async () => {
    options.dir = await scratch('crash')
    if (TARGET === 'pds') options.plc = await startPlc()
    server = await startTarget(options)
    options.port = server.port
    accounts = []
    for (let i = 0; i < ACCOUNTS; i++) accounts.push(await newAccount(server))
    writers = accounts.flatMap((account) => Array.from({ length: WRITERS }, (_, i) => new Writer(account, i, random)))
  })
  after(async () => {
    await server?.close()
    await options.plc?.close()
    if (options.dir) await rm(options.dir, { recursive: true, force: true })
  })

  it('keeps every acknowledged write', async () => {
    let acknowledged = 0
    for (let round = 0; round < ROUNDS; round++) {
      const commits = []
      let left = random.below(wholeLog ? 300 : 20)
      let enough
      const loaded = new Promise((resolve) => {
        enough = resolve
      })
      const acknowledge = () => {
        left -= 1
        if (left <= 0) enough()
      }
      const load = Promise.all(writers.map((w) => w.run(server, commits, acknowledge)))
      const handle = newHandle('late')
      const late = newAccount(server, { handle }).catch(() => null)
      // After a random number of answers, and then at any moment between two.
      await Promise.race([loaded, load])
      await delay(random.below(20))
      await server.program.kill()
      await load
      const survivor = await late
      acknowledged += commits.length

      server = await startTarget(options)
      if (survivor) {
        const login = await procedure(server, 'com.atproto.server.createSession', { identifier: handle, password: PASSWORD })
        assert.equal(login.status, 200, 'an acknowledged account')
      }
      for (const account of accounts) {
        const now = await values(account)
        for (const writer of writers.filter((w) => w.account === account)) writer.settle(now)
        const { records } = await verifiedExport(server, account.did)
        assert.equal(records.size, now.size)
      }
      if (!wholeLog) continue
      await log.read(server, accounts)
      for (const { cid } of commits) assert.ok(log.commits.has(cid), `acknowledged commit ${cid} is not in the log`)
    }
    console.log(`${ROUNDS} kills, ${acknowledged} acknowledged writes, ${log.commits.size} commits in the log`)
  })

  it('reads the whole log again from the start', { skip: !wholeLog }, async () => {
    const again = new LogReader()
    await again.read(server, accounts)
    for (const cid of log.commits) assert.ok(again.commits.has(cid))
  })
})
