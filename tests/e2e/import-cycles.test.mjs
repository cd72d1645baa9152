// Archives that lead round in circles, or say that a block is what it is not: importRepo refuses them, and the repository is
// what it was.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { CarWriter } from '@ipld/car'
import * as cbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { newAccount } from '../lib/accounts.mjs'
import { bytes, head, readBlocks, verifiedExport } from '../lib/repos.mjs'
import { TARGET, startTarget } from '../lib/servers.mjs'
import { call, query } from '../lib/xrpc.mjs'

const IDENTITY = 0x00
const SHA256 = 0x12
const sha256 = (block) => createHash('sha256').update(block).digest()
const cidOf = (block, length = 32) => CID.createV1(cbor.code, Digest.create(SHA256, sha256(block).subarray(0, length)))
const nowhere = () => CID.createV1(cbor.code, Digest.create(SHA256, randomBytes(32)))

/** A tree node: what lies left of its keys, and its keys with what they lead to. */
const node = (left, entries = []) =>
  cbor.encode({ l: left, e: entries.map(([key, v, t = null]) => ({ p: 0, k: Buffer.from(key), v, t })) })

async function car(root, blocks) {
  const { writer, out } = CarWriter.create([root])
  const chunks = []
  const read = (async () => {
    for await (const chunk of out) chunks.push(chunk)
  })()
  for (const [cid, bytes] of blocks) await writer.put({ cid, bytes })
  await writer.close()
  await read
  return Buffer.concat(chunks)
}

describe('archives with cycles', { skip: TARGET === 'pds' && 'the official server answers that it failed' }, () => {
  let server, account, exported
  before(async () => {
    server = await startTarget()
    account = await newAccount(server)
    for (let n = 0; n < 30; n++) await account.agent.post({ text: `post ${n}` })
    exported = await readBlocks(await bytes(server, 'com.atproto.sync.getRepo', { did: account.did }))
  })
  after(() => server?.close())

  /** A commit over a tree, and an archive of it with these blocks. */
  const archive = (data, blocks) => {
    const commit = cbor.encode({ did: account.did, version: 3, data, rev: '3jzfcijpj2z2a', prev: null, sig: randomBytes(64) })
    return car(cidOf(commit), [[cidOf(commit), commit], ...blocks])
  }
  const record = cbor.encode({ $type: 'app.bsky.feed.post', text: 'a', createdAt: '2026-01-01T00:00:00.000Z' })
  const key = 'app.bsky.feed.post/3jzfcijpj2z2a'

  /** Two nodes that name each other by the first byte of their hashes, which are right. */
  const shortened = () => {
    const goal = 7
    const second = CID.createV1(cbor.code, Digest.create(SHA256, Buffer.from([goal])))
    const first = node(second)
    for (let n = 0; ; n++) {
      const back = node(cidOf(first, 1), [[`${key.slice(0, -4)}${n}`, cidOf(record)]])
      if (sha256(back)[0] === goal) return { first, second, back }
    }
  }

  const cases = {
    'a node below another has the bytes of that one': () => {
      const below = nowhere()
      const root = node(below)
      return archive(cidOf(root), [[cidOf(root), root], [below, root]])
    },
    'a node below another leads back to it': () => {
      const below = nowhere()
      const root = node(below, [[key, cidOf(record)]])
      return archive(cidOf(root), [[cidOf(root), root], [below, node(cidOf(root))], [cidOf(record), record]])
    },
    'a node right of a key leads back': () => {
      const below = nowhere()
      const root = node(null, [[key, cidOf(record), below]])
      return archive(cidOf(root), [[cidOf(root), root], [cidOf(record), record], [below, node(null, [[`${key}b`, cidOf(record), cidOf(root)]])]])
    },
    'a node leads to itself': () => {
      const root = nowhere()
      return archive(root, [[root, node(root)]])
    },
    'the tree leads to the commit': async () => {
      const data = nowhere()
      const commit = cbor.encode({ did: account.did, version: 3, data, rev: '3jzfcijpj2z2a', prev: null, sig: randomBytes(64) })
      return car(cidOf(commit), [[cidOf(commit), commit], [data, commit]])
    },
    'the commit is its own tree': () => {
      const commit = nowhere()
      const bytes = cbor.encode({ did: account.did, version: 3, data: commit, rev: '3jzfcijpj2z2a', prev: null, sig: randomBytes(64) })
      return car(commit, [[commit, bytes]])
    },
    'nodes name each other by hashes of one byte': () => {
      const { first, second, back } = shortened()
      return archive(cidOf(first), [[cidOf(first), first], [cidOf(first, 1), first], [second, back], [cidOf(record), record]])
    },
    'the tree lies in its own name': () => {
      const inside = CID.createV1(cbor.code, Digest.create(IDENTITY, node(null, [[key, cidOf(record)]])))
      return archive(inside, [[inside, node(null, [[key, cidOf(record)]])], [cidOf(record), record]])
    },
    'a record is under the name of another': () => {
      const other = cbor.encode({ $type: 'app.bsky.feed.post', text: 'b', createdAt: '2026-01-01T00:00:00.000Z' })
      const root = node(null, [[key, cidOf(record)]])
      return archive(cidOf(root), [[cidOf(root), root], [cidOf(record), other]])
    },
    'a record is there twice, the second time with other bytes': () => {
      const root = node(null, [[key, cidOf(record)]])
      return archive(cidOf(root), [[cidOf(root), root], [cidOf(record), record], [cidOf(record), node(null)]])
    },
    'a good archive has a block more, under the name of its tree': () => {
      const blocks = [...exported.blocks].map(([cid, bytes]) => [CID.parse(cid), bytes])
      const [commit] = exported.roots
      const { data } = cbor.decode(exported.blocks.get(commit))
      return car(CID.parse(commit), [...blocks, [data, node(data)]])
    },
  }
  for (const [what, make] of Object.entries(cases)) {
    it(`in which ${what}`, async () => {
      const before = await head(server, account.did)
      const raw = await make()
      const res = await call(server, 'POST', 'com.atproto.repo.importRepo', { raw, type: 'application/vnd.ipld.car', token: account.token })
      assert.deepEqual([res.status, res.error], [400, 'InvalidRequest'], res.message)
      assert.match(res.message, /\w+ \w+ \w+/, 'a sentence says why')
      assert.deepEqual(await head(server, account.did), before)
      assert.equal((await verifiedExport(server, account.did)).records.size, 30)
    })
  }

  it('and without them is taken', async () => {
    const root = node(null, [[key, cidOf(record)]])
    const raw = await archive(cidOf(root), [[cidOf(root), root], [cidOf(record), record]])
    const res = await call(server, 'POST', 'com.atproto.repo.importRepo', { raw, type: 'application/vnd.ipld.car', token: account.token })
    assert.equal(res.status, 200, res.message)
    const { body } = await query(server, 'com.atproto.repo.getRecord', { repo: account.did, collection: 'app.bsky.feed.post', rkey: '3jzfcijpj2z2a' })
    assert.equal(body.value.text, 'a')
  })
})
