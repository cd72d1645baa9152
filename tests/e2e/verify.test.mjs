// What we serve is checked by the official repository library: exports, differences, proofs.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import {
  MemoryBlockstore,
  Repo,
  readCarWithRoot,
  verifyDiffCar,
  verifyProofs,
  verifyRecords,
  verifyRepoCar,
} from '@atproto/repo'
import { parseCid } from '@atproto/lex-data'
import { newAccount, signingKey } from '../lib/accounts.mjs'
import { bytes, commit, head, listAll, readBlocks, verifiedExport } from '../lib/repos.mjs'
import { startTarget } from '../lib/servers.mjs'

// The node without entries, from the specification's vectors.
const EMPTY_TREE = 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm'
const THING = 'com.example.thing'
const create = (i) => ({
  $type: 'com.atproto.repo.applyWrites#create',
  collection: THING,
  rkey: `k${String(i).padStart(5, '0')}`,
  value: { $type: THING, i },
})
const remove = (i) => ({ $type: 'com.atproto.repo.applyWrites#delete', collection: THING, rkey: create(i).rkey })

let server
before(async () => {
  server = await startTarget()
})
after(() => server?.close())

/** An account with `n` records. */
async function filled(n) {
  const account = await newAccount(server)
  for (let from = 0; from < n; from += 200) {
    const writes = Array.from({ length: Math.min(200, n - from) }, (_, i) => create(from + i))
    await account.agent.com.atproto.repo.applyWrites({ repo: account.did, writes })
  }
  return account
}

describe('getRepo', () => {
  it('of an empty repository verifies', async () => {
    const { did } = await newAccount(server)
    const { records } = await verifiedExport(server, did)
    assert.equal(records.size, 0)
    const now = await commit(server, did)
    assert.deepEqual([now.did, now.version, now.prev], [did, 3, null])
    assert.equal(now.data, EMPTY_TREE)
  })

  it('holds every record and one root', async () => {
    const { did } = await filled(600)
    const { car, records } = await verifiedExport(server, did)
    const listed = new Map((await listAll(server, did, THING)).map((r) => [r.uri.split('/').slice(3).join('/'), r.cid]))
    assert.equal(records.size, 600)
    assert.deepEqual(records, listed)
    const { roots, blocks } = await readBlocks(car)
    assert.deepEqual(roots, [(await head(server, did)).cid])
    const { blocks: again } = await readCarWithRoot(car)
    assert.equal(blocks.size, again.size, 'no block twice')
  })

  it('since a revision gives what a follower lacks', async () => {
    const { agent, did } = await filled(300)
    const key = await signingKey(server, did)
    const old = await head(server, did)
    const full = await readCarWithRoot(await bytes(server, 'com.atproto.sync.getRepo', { did }))
    const storage = new MemoryBlockstore(full.blocks)
    const before = await Repo.load(storage, full.root)
    await agent.com.atproto.repo.applyWrites({ repo: did, writes: [remove(0), remove(7), create(1000), create(1001)] })
    await agent.com.atproto.repo.putRecord({ repo: did, collection: THING, rkey: create(9).rkey, record: { $type: THING, i: -9 } })
    const part = await bytes(server, 'com.atproto.sync.getRepo', { did, since: old.rev })
    assert.ok((await readBlocks(part)).blocks.size < 40, 'only the difference')
    const diff = await verifyDiffCar(before, part, did, key)
    const named = diff.writes.map((w) => `${w.action} ${w.rkey}`).sort()
    assert.deepEqual(named, ['create k01000', 'create k01001', 'delete k00000', 'delete k00007', 'update k00009'])
  })

  it('signed by another key is refused by the library', async () => {
    const { did } = await filled(3)
    const stranger = await newAccount(server)
    const car = await bytes(server, 'com.atproto.sync.getRepo', { did })
    await assert.rejects(verifyRepoCar(car, did, await signingKey(server, stranger.did)))
    await assert.rejects(verifyRepoCar(car, stranger.did, await signingKey(server, did)))
  })
})

describe('getRecord', () => {
  it('proves that a record is there', async () => {
    const { did } = await filled(400)
    const key = await signingKey(server, did)
    for (const i of [0, 1, 42, 199, 399]) {
      const { rkey } = create(i)
      const proof = await bytes(server, 'com.atproto.sync.getRecord', { did, collection: THING, rkey })
      const records = await verifyRecords(proof, did, key)
      const mine = records.find((r) => r.rkey === rkey)
      assert.equal(mine.record.i, i)
      assert.ok((await readBlocks(proof)).blocks.size < 20, 'a proof is short')
    }
  })

  it('proves that a record is not there', async () => {
    const { did } = await filled(400)
    const key = await signingKey(server, did)
    for (const rkey of ['a', 'k00000a', 'k00399x', 'zzz', '~']) {
      const proof = await bytes(server, 'com.atproto.sync.getRecord', { did, collection: THING, rkey })
      const claims = [{ collection: THING, rkey, cid: null }]
      const { verified, unverified } = await verifyProofs(proof, claims, did, key)
      assert.deepEqual([verified.length, unverified.length], [1, 0], rkey)
    }
  })

  it('proves nothing false', async () => {
    const { did } = await filled(50)
    const key = await signingKey(server, did)
    const { rkey } = create(5)
    const proof = await bytes(server, 'com.atproto.sync.getRecord', { did, collection: THING, rkey })
    const other = (await listAll(server, did, THING)).find((r) => !r.uri.endsWith(rkey))
    const claims = [
      { collection: THING, rkey, cid: null },
      { collection: THING, rkey, cid: parseCid(other.cid) },
    ]
    const { verified } = await verifyProofs(proof, claims, did, key)
    assert.equal(verified.length, 0)
  })
})

describe('getBlocks', () => {
  it('serves every block of the repository, each with its hash', async () => {
    const { did } = await filled(120)
    const { blocks } = await readBlocks(await bytes(server, 'com.atproto.sync.getRepo', { did }))
    const cids = [...blocks.keys()]
    const served = new Map()
    for (let i = 0; i < cids.length; i += 50) {
      const car = await bytes(server, 'com.atproto.sync.getBlocks', { did, cids: cids.slice(i, i + 50) })
      for (const [cid, data] of (await readBlocks(car)).blocks) served.set(cid, data)
    }
    assert.deepEqual(served, blocks)
  })
})
