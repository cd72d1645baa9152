// What devices hold of a repository: the same records, the same blobs.
import assert from 'node:assert/strict'
import { NOTE, call, operatorSession } from './devices.mjs'
import { rawCid, until } from './pins.mjs'
import { dataRoot, listAll } from './repos.mjs'

/** Fails with what the nodes say of their sessions and connections. */
export async function explain(error, nodes) {
  const status = await Promise.all(nodes.map((node) => node.run('sync', 'status').catch(String)))
  const peers = await Promise.all(nodes.map((node) => node.run('peer', 'ls').catch(String)))
  const logs = nodes.map((node) => `${node.name}: ${node.server.program.log.slice(-2000)}`)
  throw new Error([error.message, JSON.stringify({ status, peers }, null, 1), ...logs].join('\n'))
}

/** Waits until all nodes have the same records of a repository; returns the root of their tree. */
export async function equalRoots(did, nodes, seconds = 60) {
  let roots
  await until(
    `${nodes.map((n) => n.name)} have the same records`,
    async () => {
      // A commit that a newer one replaces between two calls cannot be read any more.
      roots = await Promise.all(nodes.map((node) => dataRoot(node.server, did).catch(() => undefined)))
      return roots[0] && roots.every((root) => root === roots[0])
    },
    seconds,
  ).catch((error) => explain(error, nodes))
  return roots[0]
}

/** The texts of the notes that a node has, sorted; none while it cannot tell. */
export async function texts(node, did) {
  const all = await listAll(node.server, did, NOTE).catch(() => [])
  return all.map((record) => record.value.text).sort()
}

/** What a node's network does: itself, and who is connected how. */
export const networkOf = async (node) => (await node.run('peer', 'ls')).state

/** The connections of a node with another, as it sees them. */
export async function connections(node, other) {
  const { peer } = await networkOf(other)
  return (await networkOf(node)).peers.find((known) => known.peer === peer)?.connections ?? []
}

/** Uploads content and writes a record that refers to it; returns the blob's CID. */
export async function attach(node, did, content) {
  const session = await operatorSession(node, did)
  const { blob } = await call(node, session, 'com.atproto.repo.uploadBlob', content)
  const record = { $type: NOTE, text: 'with a blob', createdAt: new Date().toISOString(), attachment: blob }
  const written = await call(node, session, 'com.atproto.repo.createRecord', { repo: did, collection: NOTE, record })
  assert.equal(written.status, 200, JSON.stringify(written))
  assert.equal(blob.ref.$link, rawCid(content))
  return blob.ref.$link
}

/** A blob as anybody gets it from a node; nothing if it is not there. */
export async function getBlob(node, did, cid) {
  const res = await fetch(`${node.server.url}/xrpc/com.atproto.sync.getBlob?did=${did}&cid=${cid}`)
  const bytes = Buffer.from(await res.arrayBuffer())
  return res.ok ? bytes : undefined
}
