// TLS of the node's own: with a certificate from a real ACME authority (Pebble), and with one from files.
import assert from 'node:assert/strict'
import { copyFile, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import tls from 'node:tls'
import { AtpAgent } from '@atproto/api'
import WebSocket from 'ws'
import { PASSWORD, newHandle } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { decodeFrame } from '../lib/firehose.mjs'
import { Pebble, makeCertificate, makeRoot } from '../lib/pebble.mjs'
import { freePort } from '../lib/process.mjs'
import { dataOf, scratch, startUes } from '../lib/servers.mjs'

const NAME = 'node.test'
const OTHER = 'other.test'
/** Every name is this machine. */
const lookup = (_, options, done) => (options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4))

/** A fetch by HTTPS for names of this machine, that believes one root. */
const fetchWith = (ca) => async (input, init) => {
  const request = new Request(input, init)
  const body = Buffer.from(await request.arrayBuffer())
  return new Promise((resolve, reject) => {
    const options = { method: request.method, headers: Object.fromEntries(request.headers), ca, lookup, agent: false }
    const sent = https.request(request.url, options, (res) => {
      const chunks = []
      res.on('data', (chunk) => chunks.push(chunk))
      res.on('end', () => {
        const headers = new Headers()
        for (const [name, value] of Object.entries(res.headers)) headers.set(name, String(value))
        resolve(new Response(Buffer.concat(chunks), { status: res.statusCode, headers }))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** The certificate that is shown for a name, or why there is none. */
const shown = (port, ca, servername = NAME) =>
  new Promise((resolve) => {
    const socket = tls.connect({ host: '127.0.0.1', port, servername, ca }, () => {
      resolve(socket.getPeerCertificate())
      socket.destroy()
    })
    socket.on('error', (error) => resolve({ error }))
  })

/** Waits for something, and gives it. */
async function until(what, look, server, seconds = 60) {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await delay(100)) {
    const found = await look()
    if (found) return found
  }
  assert.fail(`${what}: not within ${seconds} s\n${server.program.log}`)
}

const acme = (pebble, port, more = {}) => ({
  UES_TLS_ACME: 'true',
  UES_TLS_LISTEN: `127.0.0.1:${port}`,
  UES_TLS_DOMAINS: `${NAME},${OTHER}`,
  UES_TLS_MAIL: 'operator@node.test',
  UES_TLS_ACME_DIRECTORY: pebble.directory,
  UES_TLS_ACME_CA_FILE: pebble.caFile,
  ...more,
})

describe('a certificate from an authority', () => {
  let pebble, dir, server, port, secure
  before(async () => {
    port = await freePort()
    ;[pebble, dir] = [await Pebble.start({ names: [NAME, OTHER], tlsPort: port }), await scratch('tls')]
    server = await startUes({ dir, env: acme(pebble, port) })
    secure = `https://${NAME}:${port}`
  })
  after(async () => {
    await server?.close()
    await pebble?.close()
    await rm(dir, { recursive: true, force: true })
  })

  it('is got at the first start, for all names', async () => {
    const cert = await until('a certificate', async () => {
      const cert = await shown(port, pebble.root)
      return !cert.error && cert
    }, server)
    assert.equal(cert.subjectaltname.split(', ').sort().join(), `DNS:${NAME},DNS:${OTHER}`)
    assert.equal((await shown(port, pebble.root, OTHER)).serialNumber, cert.serialNumber)
    assert.equal(pebble.issued, 1)
  })

  it('page, XRPC and event stream go over it, as clients expect', async () => {
    const fetch = fetchWith(pebble.root)
    const page = await fetch(`${secure}/`, { headers: { accept: 'text/html' } })
    assert.equal(page.status, 200)
    assert.match(await page.text(), /<html/)
    const agent = new AtpAgent({ service: secure, fetch })
    const socket = new WebSocket(`wss://${NAME}:${port}/xrpc/com.atproto.sync.subscribeRepos?cursor=0`, { ca: pebble.root, lookup })
    const commit = new Promise((resolve, reject) => {
      socket.on('error', reject)
      socket.on('message', (data) => {
        const { t, body } = decodeFrame(new Uint8Array(data))
        if (t === '#commit' && body.ops.length > 0) resolve(body)
      })
    })
    const handle = newHandle()
    await agent.createAccount({ handle, email: 'tls@example.com', password: PASSWORD })
    const record = { text: 'by TLS', createdAt: new Date().toISOString() }
    await agent.com.atproto.repo.createRecord({ repo: agent.assertDid, collection: 'app.bsky.feed.post', record })
    assert.equal((await commit).repo, agent.session.did)
    socket.terminate()
    const described = await agent.com.atproto.server.describeServer()
    assert.equal(described.data.did, `did:web:${NAME}%3A${port}`)
  })

  it('HTTP/2 is spoken with those who can', async () => {
    const session = http2.connect(secure, { ca: pebble.root, lookup })
    const [status, body] = await new Promise((resolve, reject) => {
      session.on('error', reject)
      const stream = session.request({ ':path': '/xrpc/_health' })
      let [status, body] = [0, '']
      stream.on('response', (headers) => (status = headers[':status']))
      stream.setEncoding('utf8')
      stream.on('data', (text) => (body += text))
      stream.on('end', () => resolve([status, body]))
    })
    assert.equal(session.alpnProtocol, 'h2')
    session.close()
    assert.equal(status, 200)
    assert.ok(JSON.parse(body).version)
  })

  it('plain HTTP is for this machine; its names are sent on to TLS', async () => {
    const plain = (host, method = 'GET') =>
      new Promise((resolve, reject) => {
        const sent = http.request({ host: '127.0.0.1', port: server.port, path: '/a?b=c', method, headers: { host }, agent: false }, resolve)
        sent.on('error', reject)
        sent.end()
      })
    for (const [host, to] of [[NAME, secure], [`${OTHER}:80`, `https://${OTHER}:${port}`]]) {
      const answer = await plain(host, 'POST')
      assert.deepEqual([answer.statusCode, answer.headers.location], [308, `${to}/a?b=c`])
    }
    assert.equal((await plain('127.0.0.1')).statusCode, 404)
    await uesOk(dataOf(server), ['status'])
  })

  it('is kept, for its owner alone, and in use again without another order', async () => {
    const before = (await shown(port, pebble.root)).serialNumber
    await server.program.stop()
    server = await startUes({ dir, port: server.port, env: acme(pebble, port) })
    await until('the certificate', async () => (await shown(port, pebble.root)).serialNumber === before, server)
    assert.equal(pebble.issued, 1)
    const folder = path.join(dataOf(server), 'tls')
    assert.equal((await stat(folder)).mode & 0o077, 0)
    const files = await readdir(folder)
    assert.equal(files.length, 2)
    for (const file of files) assert.equal((await stat(path.join(folder, file))).mode & 0o077, 0)
  })

  it('a directory that does not answer stops nothing', async () => {
    const closed = await freePort()
    await server.program.stop()
    const env = acme(pebble, port, { UES_TLS_ACME_DIRECTORY: `https://localhost:${closed}/dir` })
    server = await startUes({ dir, port: server.port, env })
    await until('a warning', () => /no new certificate/.test(server.program.log), server)
    assert.ok((await shown(port, pebble.root)).error, 'there is no certificate')
    const health = await fetch(`${server.url}/xrpc/_health`)
    assert.equal(health.status, 200)
  })
})

describe('a certificate that ends soon', () => {
  it('is replaced before it does', async () => {
    const port = await freePort()
    const pebble = await Pebble.start({ names: [NAME, OTHER], tlsPort: port, seconds: 36 })
    let server
    try {
      server = await startUes({ env: acme(pebble, port) })
      const another = (serial) => async () => {
        const cert = await shown(port, pebble.root)
        return !cert.error && cert.serialNumber !== serial && cert
      }
      const first = await until('a certificate', another(), server)
      const second = await until('another one', another(first.serialNumber), server)
      assert.ok(new Date(second.valid_from) < new Date(first.valid_to))
    } finally {
      await server?.close()
      await pebble.close()
    }
  })
})

describe('a certificate from files', () => {
  let dir, server, root, port
  const files = () => [path.join(dir, 'in-use.pem'), path.join(dir, 'in-use.key')]
  const use = async ({ cert, key }) => {
    await copyFile(cert, files()[0])
    await copyFile(key, files()[1])
  }
  before(async () => {
    ;[dir, port] = [await scratch('tls-files'), await freePort()]
    root = await makeRoot(dir)
    await use(await makeCertificate(dir, root, 'first', `DNS:${NAME}`, `DNS:*.${NAME}`))
    const [cert, key] = files()
    const env = { UES_TLS_CERT: cert, UES_TLS_KEY: key, UES_TLS_LISTEN: `127.0.0.1:${port}`, UES_TLS_DOMAINS: NAME }
    server = await startUes({ dir, env })
  })
  after(async () => {
    await server?.close()
    await rm(dir, { recursive: true, force: true })
  })
  const ca = () => readFile(root.cert)

  it('is used, read again when it changes, and kept when the new one is bad', async () => {
    const answer = await fetchWith(await ca())(`https://alice.${NAME}:${port}/xrpc/_health`)
    assert.equal(answer.status, 200)
    const first = (await shown(port, await ca())).serialNumber
    const second = await makeCertificate(dir, root, 'second', `DNS:${NAME}`)
    await use(second)
    await until('the new one', async () => (await shown(port, await ca())).serialNumber !== first, server)
    const now = (await shown(port, await ca())).serialNumber
    await writeFile(files()[0], 'nothing of the kind\n')
    await until('a warning', () => /was not read again/.test(server.program.log), server)
    assert.equal((await shown(port, await ca())).serialNumber, now)
  })

  it('what cannot be used is said at the start', async () => {
    const data = path.join(dir, 'other')
    const other = await makeCertificate(dir, root, 'third', `DNS:${NAME}`)
    const start = (env) => ues(data, ['up', '--listen', '127.0.0.1:0'], { env: { UES_TLS_LISTEN: '127.0.0.1:0', ...env } })
    const [first, third] = [path.join(dir, 'first.pem'), other.key]
    for (const [env, message] of [
      [{ UES_TLS_CERT: first, UES_TLS_KEY: third }, /not the certificate's/],
      [{ UES_TLS_CERT: first, UES_TLS_KEY: path.join(dir, 'missing.key') }, /cannot read .*missing\.key/],
      [{ UES_TLS_CERT: first }, /tls\.cert and tls\.key/],
      [{ UES_TLS_ACME: 'true' }, /tls\.domains/],
    ]) {
      const { code, stderr } = await start(env)
      assert.notEqual(code, 0)
      assert.match(stderr, message)
    }
  })
})
