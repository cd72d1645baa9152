// Likes, reposts, follows and blocks: what a newer one does to the older ones of the same subject is what the
// official server does, step by step, with the same root of the tree.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Random, SEED } from '../lib/random.mjs'
import { dataRoot, listAll } from '../lib/repos.mjs'
import { startSides, stopSides } from '../lib/sides.mjs'
import { procedure } from '../lib/xrpc.mjs'

const COLLECTIONS = ['app.bsky.feed.like', 'app.bsky.feed.repost', 'app.bsky.graph.follow', 'app.bsky.graph.block']
const STEPS = Number(process.env.SUBJECTS_STEPS ?? 150)
const CID = 'bafyreihxrxqzm2kxk2jz4hvq6hfxnnwmzpy5fm3mvnmc4zrlh4g6vyrvla'
const AUTHOR = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz'

const tid = (n) => {
  const digits = '234567abcdefghijklmnopqrstuvwxyz'
  return `3jzfcijpj${digits[(n >> 10) & 31]}2${digits[(n >> 5) & 31]}${digits[n & 31]}`
}
const about = (collection, n) => ({
  $type: collection,
  subject: collection.includes('.feed.')
    ? { uri: `at://${AUTHOR}/app.bsky.feed.post/${tid(n)}`, cid: CID }
    : `did:plc:${tid(n).repeat(2).slice(0, 24)}`,
  createdAt: '2026-01-01T00:00:00.000Z',
})

describe(`one record for each subject (SEED=${SEED})`, () => {
  let sides
  before(async () => (sides = await startSides()))
  after(() => stopSides(sides))

  const both = async (nsid, body) => {
    const answers = await Promise.all(
      sides.map(({ server, account }) => procedure(server, nsid, { repo: account.did, ...body }, { token: account.token })),
    )
    const [ours, theirs] = answers.map(({ status, error, message, body }) => ({ status, error, message, cid: body?.cid }))
    assert.deepEqual(ours, theirs)
    return ours
  }
  const same = async (step) => {
    const [ours, theirs] = await Promise.all(sides.map(({ server, account }) => dataRoot(server, account.did)))
    assert.equal(ours, theirs, step)
  }
  const keys = async (collection) => {
    const { server, account } = sides[0]
    const records = await listAll(server, account.did, collection, { reverse: true })
    return records.map((record) => record.uri.split('/').pop())
  }

  for (const collection of COLLECTIONS) {
    it(`createRecord of ${collection} replaces the older ones`, async () => {
      const create = (n, subject, extra) =>
        both('com.atproto.repo.createRecord', { collection, rkey: tid(n), record: about(collection, subject), ...extra })
      await create(1, 1)
      await create(2, 2)
      await create(3, 1)
      assert.deepEqual(await keys(collection), [tid(2), tid(3)])
      await create(4, 1, { validate: false })
      assert.deepEqual(await keys(collection), [tid(2), tid(3), tid(4)])
      await create(5, 1, { validate: true })
      assert.deepEqual(await keys(collection), [tid(2), tid(5)])
      await same(collection)
    })
  }

  it('other methods replace nothing, and are replaced', async () => {
    const [collection] = COLLECTIONS
    await both('com.atproto.repo.putRecord', { collection, rkey: tid(20), record: about(collection, 9) })
    const value = about(collection, 9)
    const writes = [21, 22].map((n) => ({ $type: 'com.atproto.repo.applyWrites#create', collection, rkey: tid(n), value }))
    await both('com.atproto.repo.applyWrites', { writes })
    await same('three of one subject')
    const before = await keys(collection)
    assert.ok([20, 21, 22].every((n) => before.includes(tid(n))))
    await both('com.atproto.repo.createRecord', { collection, rkey: tid(23), record: value })
    await same('one of them')
    assert.equal((await keys(collection)).length, before.length - 2)
  })

  it('a random history has the same root at every step', { timeout: 300_000 }, async () => {
    const random = new Random()
    let next = 100
    for (let step = 0; step < STEPS; step++) {
      const collection = random.pick(COLLECTIONS)
      const subject = random.below(6)
      const live = await keys(collection)
      const wants = random.next()
      const rkey = wants < 0.4 && live.length ? random.pick(live) : tid(next++)
      if (wants < 0.15 && live.length) await both('com.atproto.repo.deleteRecord', { collection, rkey })
      else if (wants < 0.4 && live.length) await both('com.atproto.repo.putRecord', { collection, rkey, record: about(collection, subject) })
      else if (wants < 0.55) {
        const value = about(collection, subject)
        await both('com.atproto.repo.applyWrites', { writes: [{ $type: 'com.atproto.repo.applyWrites#create', collection, rkey, value }] })
      } else await both('com.atproto.repo.createRecord', { collection, rkey, record: about(collection, subject) })
      await same(`step ${step}`)
    }
  })
})
