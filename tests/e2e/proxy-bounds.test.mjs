// What passes by the node on its way to a service and back is bounded: requests that are too long, and answers that become so
// when they are unpacked.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { after, before, describe, it } from 'node:test'
import { createGzip, constants } from 'node:zlib'
import { newAccount } from '../lib/accounts.mjs'
import { uesBefore } from '../lib/appview.mjs'
import { head } from '../lib/repos.mjs'
import { TARGET } from '../lib/servers.mjs'
import { query } from '../lib/xrpc.mjs'

const MIB = 1 << 20
/** What the answers come to when somebody unpacks all of them. */
const UNPACKED = 1024 * MIB
/** What the node may take beyond what it has at rest: some answers of 10 MiB. */
const BOUND = 200 * MIB

/** A gigabyte of zeros, packed, in one piece or in many that follow each other. */
async function bomb(pieces) {
  const zeros = Buffer.alloc(UNPACKED / pieces)
  const packed = []
  const gzip = createGzip({ level: constants.Z_BEST_COMPRESSION })
  gzip.on('data', (chunk) => packed.push(chunk))
  gzip.end(zeros)
  await once(gzip, 'end')
  const one = Buffer.concat(packed)
  return Buffer.concat(Array(pieces).fill(one))
}

/** The memory of a process: what it holds now, and the most that it held since `forget`. */
async function memory(pid) {
  const text = await readFile(`/proc/${pid}/status`, 'utf8')
  const of = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)[1]) * 1024
  return { now: of('VmRSS'), most: of('VmHWM'), forget: () => writeFile(`/proc/${pid}/clear_refs`, '5') }
}

describe('what passes by', { skip: TARGET === 'pds' && 'tests our own bounds' }, () => {
  let service, node, account
  /** Requests by method: how many bytes came, and whether all. */
  const seen = []
  let answer

  before(async () => {
    service = http.createServer((req, res) => {
      const request = { path: req.url.split('?')[0], bytes: 0, whole: false }
      seen.push(request)
      req.on('data', (chunk) => (request.bytes += chunk.length))
      req.on('end', () => {
        request.whole = true
        answer(res)
      })
      req.on('error', () => {})
    })
    service.listen(0, '127.0.0.1')
    await once(service, 'listening')
    node = await uesBefore({ url: `http://localhost:${service.address().port}` })
    account = await newAccount(node)
  })
  after(async () => {
    await node?.close()
    service?.closeAllConnections()
    service?.close()
  })

  describe('answers that become a gigabyte when they are unpacked', () => {
    let bombs, rev
    before(async () => {
      bombs = [await bomb(1), await bomb(64)]
      for (const one of bombs) assert.ok(one.length < 10 * MIB, 'as long as an answer may be')
      // An answer that knows some of the account's posts and not all is one that the node unpacks to complete it.
      await account.agent.post({ text: 'written before' })
      rev = (await head(node, account.did)).rev
      await account.agent.post({ text: 'written since' })
    })
    const packed = (body, status = 200) => (res) =>
      res.writeHead(status, { 'content-type': 'application/json', 'content-encoding': 'gzip', 'atproto-repo-rev': rev }).end(body)

    /** Asks as a client that takes packed answers and leaves them packed. */
    const ask = (path) =>
      new Promise((resolve, reject) => {
        const headers = { authorization: `Bearer ${account.token}`, 'accept-encoding': 'gzip' }
        const request = http.get(`${node.url}/xrpc/${path}`, { headers, agent: false }, (res) => {
          const chunks = []
          res.on('data', (chunk) => chunks.push(chunk))
          res.on('end', () => {
            const packed = res.headers['content-encoding']
            resolve({ status: res.statusCode, ...(packed ? { packed } : JSON.parse(Buffer.concat(chunks))) })
          })
        })
        request.on('error', reject)
      })

    it('are refused, and take little of the memory', async () => {
      const { now, forget } = await memory(node.program.child.pid)
      await forget()
      for (const [what, status] of [
        ['an answer', 200],
        ['an error', 400],
      ]) {
        for (const body of bombs) {
          answer = packed(body, status)
          const calls = ['app.bsky.feed.getTimeline', 'app.bsky.feed.getTimeline', 'app.bsky.feed.getAuthorFeed', 'app.bsky.actor.getProfile'].map((nsid) =>
            ask(`${nsid}?actor=${account.did}`),
          )
          for (const got of await Promise.all(calls)) {
            // Of an error nothing but its status can be told.
            assert.deepEqual([got.status, got.error], status === 200 ? [502, 'UpstreamFailure'] : [400, 'InvalidRequest'], what)
          }
        }
      }
      const { most } = await memory(node.program.child.pid)
      assert.ok(most - now < BOUND, `${Math.round((most - now) / MIB)} MiB more`)
    })

    it('leave the node as it was', async () => {
      answer = (res) => res.writeHead(200, { 'content-type': 'application/json' }).end('{"feed":[]}')
      const got = await query(node, 'app.bsky.feed.getTimeline', {}, { token: account.token })
      assert.deepEqual([got.status, got.body], [200, { feed: [] }])
      assert.equal((await fetch(`${node.url}/xrpc/_health`)).status, 200)
    })
  })

  describe('requests longer than 10 MiB', () => {
    /** Sends so many bytes, with their length in front or in chunks; gives what is answered. */
    const send = (size, chunked) =>
      new Promise((resolve, reject) => {
        const length = chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': size }
        const headers = { authorization: `Bearer ${account.token}`, 'content-type': 'application/octet-stream', ...length }
        const request = http.request(`${node.url}/xrpc/com.example.put`, { method: 'POST', headers, agent: false }, (res) => {
          let text = ''
          res.on('data', (chunk) => (text += chunk))
          res.on('end', () => resolve({ status: res.statusCode, ...JSON.parse(text) }))
        })
        // Who is refused need not send the rest.
        request.on('error', (error) => (request.res ? undefined : reject(error)))
        let left = size
        const more = () => {
          while (left > 0 && !request.destroyed) {
            const piece = Buffer.alloc(Math.min(left, 65536))
            left -= piece.length
            if (!request.write(piece)) return request.once('drain', more)
          }
          request.end()
        }
        more()
      })
    const arrived = () => seen.filter(({ path }) => path === '/xrpc/com.example.put')

    for (const [how, chunked] of [
      ['that say so', false],
      ['that do not say so', true],
    ]) {
      it(`${how} are refused, and the service gets no whole one`, async () => {
        answer = (res) => res.writeHead(200, { 'content-type': 'application/json' }).end('{}')
        const before = arrived().length
        assert.equal((await send(10 * MIB, chunked)).status, 200, 'as long as it may be')
        assert.deepEqual(arrived().slice(before).map(({ bytes, whole }) => [bytes, whole]), [[10 * MIB, true]])
        const got = await send(11 * MIB, chunked)
        assert.deepEqual([got.status, got.error], [413, 'PayloadTooLarge'], got.message)
        const [, ...more] = arrived().slice(before)
        assert.deepEqual(more.filter(({ whole }) => whole), [])
        assert.ok(more.every(({ bytes }) => bytes <= 10 * MIB))
      })
    }
  })
})
