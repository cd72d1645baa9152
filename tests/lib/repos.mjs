// Reading a repository from outside: heads, the data root of a commit, whole exports, all verified by @atproto/repo.
import * as cbor from '@ipld/dag-cbor'
import { CarReader } from '@ipld/car'
import { verifyRepoCar } from '@atproto/repo'
import { signingKey } from './accounts.mjs'
import { query } from './xrpc.mjs'

/** Bytes of a successful XRPC query. */
export async function bytes(server, nsid, params) {
  const res = await query(server, nsid, params)
  if (res.status !== 200) throw new Error(`${nsid} ${JSON.stringify(params)}: ${res.status} ${res.error} ${res.message}`)
  return res.body
}

/** The current commit: `{ cid, rev }`. */
export const head = (server, did) => bytes(server, 'com.atproto.sync.getLatestCommit', { did })

/** All blocks of a CAR by CID text, and its roots. */
export async function readBlocks(car) {
  const reader = await CarReader.fromBytes(car)
  const blocks = new Map()
  for await (const { cid, bytes } of reader.blocks()) blocks.set(cid.toString(), bytes)
  return { roots: (await reader.getRoots()).map(String), blocks }
}

/** The current commit object, its links as text. */
export async function commit(server, did) {
  const { cid } = await head(server, did)
  const { blocks } = await readBlocks(await bytes(server, 'com.atproto.sync.getBlocks', { did, cids: [cid] }))
  const decoded = cbor.decode(blocks.get(cid))
  return { cid, ...decoded, data: decoded.data.toString() }
}

/** Root of the record tree: equal for equal contents, whoever signed. */
export const dataRoot = async (server, did) => (await commit(server, did)).data

/** Exports a repository and has the official library verify structure, hashes and signature. */
export async function verifiedExport(server, did, since) {
  const car = await bytes(server, 'com.atproto.sync.getRepo', { did, since })
  const repo = await verifyRepoCar(car, did, await signingKey(server, did))
  const records = new Map(repo.creates.map((c) => [`${c.collection}/${c.rkey}`, c.cid.toString()]))
  return { car, records }
}

/** Every record of a collection by `listRecords`, through all its pages. */
export async function listAll(server, repo, collection, { limit = 100, reverse } = {}) {
  const out = []
  let cursor
  do {
    const page = await bytes(server, 'com.atproto.repo.listRecords', { repo, collection, limit, cursor, reverse })
    out.push(...page.records)
    cursor = page.cursor
  } while (cursor)
  return out
}
