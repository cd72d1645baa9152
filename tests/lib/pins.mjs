// The pin service of a node, as a client of the Pinning Service API sees it.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { uesOk } from './cli.mjs'
import { dataOf } from './servers.mjs'

/** An API key of an owner of a running node. */
export async function newKey(server, owner, ...more) {
  const printed = await uesOk(dataOf(server), ['key', 'create', '--owner', owner, '--quiet', ...more])
  return printed.trim()
}

/** Calls the API; returns status and body. */
export async function pinCall(server, key, method, path, body) {
  const res = await fetch(`${server.url}${path}`, {
    method,
    headers: { ...(key && { authorization: `Bearer ${key}` }), 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  })
  const text = await res.text()
  return { status: res.status, body: text && JSON.parse(text) }
}

/** Waits until a condition holds. */
export async function until(what, condition, seconds = 30) {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Waits until a pin has a status; returns it. */
export const reaches = (server, key, id, status, seconds) =>
  until(
    `${id} is ${status}`,
    async () => {
      const { body } = await pinCall(server, key, 'GET', `/pins/${id}`)
      return body.status === status && body
    },
    seconds,
  )

/** All pins of an owner, whatever their status. */
export async function allPins(server, key) {
  const found = []
  let cursor = ''
  for (;;) {
    const path = `/pins?status=queued,pinning,pinned,failed&limit=1000${cursor && `&cursor=${cursor}`}`
    const { status, body } = await pinCall(server, key, 'GET', path)
    assert.equal(status, 200, JSON.stringify(body))
    found.push(...body.results)
    if (body.count <= body.results.length) return found
    cursor = body.results.at(-1).requestid
  }
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** The CID (version 1, raw, SHA-256) of bytes. */
export function rawCid(bytes) {
  const digest = createHash('sha256').update(bytes).digest()
  return `b${base32(Buffer.concat([Buffer.from([1, 0x55, 0x12, 32]), digest]))}`
}

function base32(bytes) {
  let [out, value, bits] = ['', 0, 0]
  for (const byte of bytes) {
    value = (value << 8) | byte
    bits += 8
    while (bits >= 5) {
      out += ALPHABET[(value >> (bits - 5)) & 31]
      bits -= 5
    }
    value &= 0xff
  }
  return bits ? out + ALPHABET[(value << (5 - bits)) & 31] : out
}

/** An archive (CAR version 1) of raw blocks, all of them roots, or only the first ones. */
export function rawCar(contents, roots = contents.length) {
  const all = contents.map((bytes) => cidBytes(bytes))
  const cids = all.slice(0, roots)
  const links = cids.map((cid) => Buffer.concat([Buffer.from([0xd8, 0x2a, 0x58, cid.length + 1, 0]), cid]))
  const count = cids.length < 24 ? [0x80 + cids.length] : [0x99, cids.length >> 8, cids.length & 0xff]
  const header = Buffer.concat([
    Buffer.from([0xa2, 0x65]),
    Buffer.from('roots'),
    Buffer.from(count),
    ...links,
    Buffer.from([0x67]),
    Buffer.from('version'),
    Buffer.from([1]),
  ])
  const sections = [header, ...contents.map((bytes, i) => Buffer.concat([all[i], Buffer.from(bytes)]))]
  return Buffer.concat(sections.flatMap((section) => [varint(section.length), section]))
}

function cidBytes(bytes) {
  const digest = createHash('sha256').update(bytes).digest()
  return Buffer.concat([Buffer.from([1, 0x55, 0x12, 32]), digest])
}

function varint(n) {
  const out = []
  for (; n >= 0x80; n >>= 7) out.push((n & 0x7f) | 0x80)
  return Buffer.from([...out, n])
}

/** Stores raw blocks in the node and pins each. */
export async function pinBlocks(server, key, contents, pin = {}) {
  const query = new URLSearchParams({ pin: JSON.stringify(pin) })
  const res = await fetch(`${server.url}/pins/car?${query}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/vnd.ipld.car' },
    body: rawCar(contents),
  })
  const body = await res.json()
  assert.equal(res.status, 202, JSON.stringify(body))
  return body.results
}
