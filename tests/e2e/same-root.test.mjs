// The same random writes into the server under test and into the official one give the same tree:
// the root of the record tree is compared after every step.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Random, SEED } from '../lib/random.mjs'
import { dataRoot, verifiedExport } from '../lib/repos.mjs'
import { startSides, stopSides } from '../lib/sides.mjs'
import { procedure } from '../lib/xrpc.mjs'

const COLLECTIONS = ['app.bsky.feed.post', 'com.example.a', 'com.example.a.b', 'com.example.ab', 'io.github.some-one.veryLongName']
const BATCHES = Number(process.env.SAME_ROOT_BATCHES ?? 60)
const SINGLES = Number(process.env.SAME_ROOT_SINGLES ?? 240)

/** A random history: what each step does, given what exists. */
class History {
  constructor(random) {
    this.random = random
    this.live = new Map()
    this.tid = 0
  }

  key(collection) {
    const { random } = this
    if (collection === 'app.bsky.feed.post') {
      const digits = '234567abcdefghijklmnopqrstuvwxyz'
      return `3k${random.word(11, digits)}`
    }
    // Long shared prefixes, odd characters and lengths that the tree must split.
    const shapes = [
      () => `key${random.below(100000)}`,
      () => `a`.repeat(1 + random.below(40)) + random.below(50),
      () => random.word(1 + random.below(30), 'ab:._~-'),
      () => `same-prefix-of-some-length/`.slice(0, -1) + random.word(3),
    ]
    const made = random.pick(shapes)()
    return made === '.' || made === '..' ? `${made}x` : made
  }

  value(collection) {
    const { random } = this
    const base = { $type: collection, text: random.word(random.below(60)), createdAt: '2026-01-01T00:00:00.000Z' }
    if (collection === 'app.bsky.feed.post') return base
    return { ...base, n: random.below(2 ** 31) - 2 ** 30, list: Array.from({ length: random.below(5) }, () => random.below(300)), deep: { b: null, aa: true } }
  }

  /** One operation on a key that `used` does not hold yet. */
  operation(used) {
    const { random } = this
    const wants = random.next()
    const existing = this.live.size ? [...this.live.keys()][random.below(this.live.size)] : undefined
    if (wants < 0.45 && existing !== undefined && !used.has(existing)) {
      used.add(existing)
      const [collection, rkey] = existing.split('/')
      if (wants < 0.25) {
        this.live.delete(existing)
        return { kind: 'delete', collection, rkey }
      }
      return { kind: 'update', collection, rkey, value: this.value(collection) }
    }
    const collection = random.pick(COLLECTIONS)
    for (;;) {
      const rkey = this.key(collection)
      const path = `${collection}/${rkey}`
      if (this.live.has(path) || used.has(path)) continue
      used.add(path)
      this.live.set(path, true)
      return { kind: 'create', collection, rkey, value: this.value(collection) }
    }
  }
}

describe(`the same writes give the same root (SEED=${SEED})`, () => {
  let sides
  before(async () => (sides = await startSides()))
  after(() => stopSides(sides))

  const both = async (nsid, body) => {
    const results = await Promise.all(
      sides.map(({ server, account }) => procedure(server, nsid, { repo: account.did, validate: false, ...body }, { token: account.token })),
    )
    for (const r of results) assert.equal(r.status, 200, `${nsid}: ${r.error} ${r.message}`)
    const [ours, theirs] = results.map((r) => r.body)
    assert.deepEqual([ours.cid, ours.results?.map((r) => r.cid)], [theirs.cid, theirs.results?.map((r) => r.cid)])
  }
  const compare = async (step) => {
    const [ours, theirs] = await Promise.all(sides.map(({ server, account }) => dataRoot(server, account.did)))
    assert.equal(ours, theirs, `after ${step}`)
  }

  it('at every step of a random history', { timeout: 600_000 }, async () => {
    const history = new History(new Random())
    await compare('nothing')
    let operations = 0
    for (let batch = 0; batch < BATCHES; batch++) {
      const used = new Set()
      const writes = Array.from({ length: 1 + history.random.below(100) }, () => {
        const { kind, ...fields } = history.operation(used)
        return { $type: `com.atproto.repo.applyWrites#${kind}`, ...fields }
      })
      operations += writes.length
      await both('com.atproto.repo.applyWrites', { writes })
      await compare(`batch ${batch}`)
    }
    for (let single = 0; single < SINGLES; single++) {
      const { kind, value, ...path } = history.operation(new Set())
      operations += 1
      if (kind === 'delete') await both('com.atproto.repo.deleteRecord', path)
      else if (kind === 'create' && history.random.below(2)) await both('com.atproto.repo.createRecord', { ...path, record: value })
      else await both('com.atproto.repo.putRecord', { ...path, record: value })
      await compare(`single ${single} (${kind} ${path.collection}/${path.rkey})`)
    }
    const exports = await Promise.all(sides.map(({ server, account }) => verifiedExport(server, account.did)))
    assert.deepEqual(exports[0].records, exports[1].records)
    assert.deepEqual([...exports[0].records.keys()].sort(), [...history.live.keys()].sort())
    console.log(`${operations} operations, ${history.live.size} records left`)
  })

  it('down to the empty tree again', async () => {
    const exported = await verifiedExport(sides[0].server, sides[0].account.did)
    const paths = [...exported.records.keys()]
    for (let from = 0; from < paths.length; from += 200) {
      const writes = paths.slice(from, from + 200).map((path) => {
        const [collection, rkey] = path.split('/')
        return { $type: 'com.atproto.repo.applyWrites#delete', collection, rkey }
      })
      await both('com.atproto.repo.applyWrites', { writes })
      await compare(`deleting from ${from}`)
    }
    assert.equal((await verifiedExport(sides[0].server, sides[0].account.did)).records.size, 0)
  })
})
