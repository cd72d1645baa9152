// Devices whose only way to each other is the HTTP address of one of them: plain, by TLS, through a proxy, and beside
// people who mean no good.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import WebSocket from 'ws'
import { newAccount } from '../lib/accounts.mjs'
import { ues } from '../lib/cli.mjs'
import { attach, connections, equalRoots, explain, getBlob } from '../lib/device-repos.mjs'
import { DeviceNode, agentOf, invite, pair } from '../lib/devices.mjs'
import { makeCertificate, makeRoot } from '../lib/pebble.mjs'
import { until } from '../lib/pins.mjs'
import { freePort } from '../lib/process.mjs'
import { scratch, startUes } from '../lib/servers.mjs'

/** Listens nowhere for peers. */
const NOWHERE = { UES_NETWORK_LISTEN: '' }
const PATH = '/ws/http-path/p2p'

/** A server, and a device that has nothing but the server's HTTP address; both end with the tests around. */
async function serverAndDevice(env = {}, deviceEnv = {}) {
  const server = await DeviceNode.start('server', { env: { ...NOWHERE, ...env } })
  const device = await DeviceNode.start('device', { env: { ...NOWHERE, ...deviceEnv } })
  return { server, device, did: (await newAccount(server.server)).did }
}

async function end(...nodes) {
  for (const node of nodes) {
    await node?.stop()
    if (node) await rm(node.dir, { recursive: true, force: true })
  }
}

/** Each writes, and each has what the other wrote. */
async function writeOnBoth(did, nodes, name) {
  for (const node of nodes) {
    const written = await (await agentOf(node, did)).create(`${name} on ${node.name}`, `${name}-${node.name}`)
    assert.equal(written.status, 200)
  }
  await until(
    `both have what was written: ${name}`,
    async () => {
      const all = await Promise.all(nodes.map((node) => recordsOf(node, did)))
      return all.every((keys) => nodes.every((node) => keys.includes(`${name}-${node.name}`)))
    },
    60,
  ).catch((error) => explain(error, nodes))
  await equalRoots(did, nodes)
}

async function recordsOf(node, did) {
  const { records } = await (
    await fetch(`${node.server.url}/xrpc/com.atproto.repo.listRecords?repo=${did}&collection=com.example.note&limit=100`)
  ).json()
  return (records ?? []).map((record) => record.uri.split('/').pop())
}

/** How the device is connected with the server: once, by an address that ends so. */
async function isBy(device, server, address) {
  const all = await connections(device, server)
  assert.deepEqual(all.map((c) => [c.direction, c.address.replace(/\/p2p\/12D3.*$/, '')]), [['outgoing', address]])
}

describe('a device that reaches the other by HTTP alone', () => {
  let server, device, did
  before(async () => {
    ;({ server, device, did } = await serverAndDevice())
    await (await agentOf(server, did)).create('before', 'before')
    await pair(server, did, device)
  })
  after(() => end(server, device))

  it('joins, and both have what the other writes', async () => {
    const address = `/dns/localhost/tcp/${server.httpPort}${PATH}`
    const told = await server.run('peer', 'addresses')
    assert.deepEqual(told.map((text) => text.replace(/\/p2p\/12D3.*$/, '')), [address])
    await writeOnBoth(did, [server, device], 'first')
    assert.ok((await recordsOf(device, did)).includes('before'))
    await isBy(device, server, address)
  })

  it('gets blobs, and gives them', async () => {
    for (const [from, to, size] of [
      [server, device, 3_000_000],
      [device, server, 200_000],
    ]) {
      const content = randomBytes(size)
      const cid = await attach(from, did, content)
      assert.deepEqual(await until(`${to.name} has the blob`, () => getBlob(to, did, cid), 60), content)
    }
  })

  it('is connected again by itself once the server is back, stopped or killed', async () => {
    for (const way of ['stop', 'kill']) {
      await server[way]()
      assert.equal((await (await agentOf(device, did)).create('meanwhile', `meanwhile-${way}`)).status, 200)
      await server.up(NOWHERE)
      await equalRoots(did, [server, device])
      await writeOnBoth(did, [server, device], `after-${way}`)
    }
    await device.stop()
    await device.up(NOWHERE)
    await writeOnBoth(did, [server, device], 'after-device')
  })

  it('is not let in where that is switched off', async () => {
    await server.stop()
    await server.up({ ...NOWHERE, UES_NETWORK_HTTP: 'false' })
    assert.equal((await fetch(`${server.server.url}/p2p`)).status, 404)
    assert.deepEqual(await server.run('peer', 'addresses'), [])
  })
})

describe('a server with TLS', () => {
  let dir, root, server, device, did, port
  before(async () => {
    ;[dir, port] = [await scratch('over-https'), await freePort()]
    root = await makeRoot(dir)
    const { cert, key } = await makeCertificate(dir, root, 'server', 'DNS:localhost')
    const env = { UES_TLS_CERT: cert, UES_TLS_KEY: key, UES_TLS_LISTEN: `127.0.0.1:${port}`, UES_TLS_DOMAINS: 'localhost' }
    ;({ server, device, did } = await serverAndDevice(env))
  })
  after(async () => {
    await end(server, device)
    await rm(dir, { recursive: true, force: true })
  })

  it('is refused, with a reason, if nobody who is believed vouches for it', async () => {
    const { link, child } = await invite(server, did)
    const joined = await ues(device.data, ['device', 'join', '--yes', link])
    child.kill()
    assert.notEqual(joined.code, 0)
    assert.match(joined.stderr, /invalid peer certificate: UnknownIssuer/)
  })

  it('is joined and synced with by a device that believes its authority', async () => {
    await device.stop()
    await device.up({ ...NOWHERE, UES_NETWORK_TLS_CA_FILE: root.cert })
    await pair(server, did, device)
    await writeOnBoth(did, [server, device], 'secure')
    await isBy(device, server, `/dns/localhost/tcp/${port}/tls${PATH}`)
  })

  it('says which file of authorities cannot be read', async () => {
    await device.stop()
    await device.up({ ...NOWHERE, UES_NETWORK_TLS_CA_FILE: `${dir}/none.pem` })
    const answer = await ues(device.data, ['peer', 'add', `/dns/localhost/tcp/${port}/tls${PATH}`])
    assert.match(answer.stderr, /network\.tls_ca_file: .*none\.pem/)
  })
})

/** A proxy as they stand before servers: passes upgrades on, and cuts connections on which nothing goes for `idleMs`. */
class ReverseProxy {
  static async start(target, idleMs) {
    const proxy = new ReverseProxy()
    proxy.sockets = new Set()
    proxy.upgrades = 0
    proxy.idleCuts = 0
    proxy.server = http.createServer((req, res) => {
      const options = { host: '127.0.0.1', port: target, path: req.url, method: req.method, headers: req.headers, agent: false }
      const sent = http.request(options, (answer) => {
        res.writeHead(answer.statusCode, answer.headers)
        answer.pipe(res)
      })
      sent.on('error', () => res.destroy())
      req.pipe(sent)
    })
    proxy.server.on('upgrade', (req, client, head) => {
      const headers = { ...req.headers, 'x-forwarded-for': '203.0.113.7' }
      const sent = http.request({ host: '127.0.0.1', port: target, path: req.url, headers, agent: false })
      sent.on('error', () => client.destroy())
      sent.on('response', (answer) => client.end(`HTTP/1.1 ${answer.statusCode} Refused\r\ncontent-length: 0\r\n\r\n`))
      sent.on('upgrade', (answer, upstream, first) => {
        proxy.upgrades++
        const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`)
        client.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`)
        if (first.length) client.write(first)
        if (head.length) upstream.write(head)
        for (const [from, to] of [[client, upstream], [upstream, client]]) {
          proxy.sockets.add(from)
          from.setTimeout(idleMs, () => {
            proxy.idleCuts++
            from.destroy()
          })
          from.on('error', () => to.destroy())
          from.on('close', () => {
            proxy.sockets.delete(from)
            to.destroy()
          })
          from.pipe(to)
        }
      })
      sent.end()
    })
    proxy.port = await freePort()
    await new Promise((resolve) => proxy.server.listen(proxy.port, '127.0.0.1', resolve))
    return proxy
  }

  cut() {
    for (const socket of this.sockets) socket.destroy()
  }

  close() {
    this.cut()
    this.server.close()
    this.server.closeAllConnections()
  }
}

describe('a server behind a reverse proxy', () => {
  let server, device, did, proxy
  before(async () => {
    server = new DeviceNode()
    await server.prepare('server')
    proxy = await ReverseProxy.start(server.httpPort, 15_000)
    await server.up({ ...NOWHERE, UES_PUBLIC_URL: `http://localhost:${proxy.port}` })
    device = await DeviceNode.start('device', { env: NOWHERE })
    did = (await newAccount(server.server)).did
    await pair(server, did, device)
  })
  after(async () => {
    await end(server, device)
    proxy?.close()
  })

  it('is synced with through it, and sees who comes', async () => {
    await writeOnBoth(did, [server, device], 'proxied')
    await isBy(device, server, `/dns/localhost/tcp/${proxy.port}${PATH}`)
    const [connection] = await connections(server, device)
    assert.match(connection.address, /^\/ip4\/203\.0\.113\.7\/tcp\/\d+\/ws\/http-path\/p2p$/)
  })

  it('keeps a connection on which nothing happens', async () => {
    const { upgrades } = proxy
    await delay(32_000)
    assert.deepEqual([proxy.upgrades, proxy.idleCuts], [upgrades, 0])
    await writeOnBoth(did, [server, device], 'after-rest')
  })

  it('is connected with again when the proxy has cut the line', async () => {
    const { upgrades } = proxy
    proxy.cut()
    await writeOnBoth(did, [server, device], 'after-cut')
    assert.ok(proxy.upgrades > upgrades)
  })
})

describe('strangers at the entrance', () => {
  let node
  /** Connections of strangers, which the tests close. */
  const open = []
  before(async () => {
    node = await startUes({ env: { ...NOWHERE, UES_NETWORK_START: 'always', UES_NETWORK_MDNS: 'false' } })
  })
  after(async () => {
    for (const socket of open) socket.destroy()
    await node?.close()
  })

  /** Sends bytes; resolves with what came back before the end, or until `enough` matches. */
  function raw(bytes, enough = /$^/) {
    const socket = net.connect(node.port, '127.0.0.1')
    open.push(socket)
    let text = ''
    socket.on('error', () => {})
    socket.write(bytes)
    return new Promise((resolve) => {
      const done = () => resolve({ text, socket })
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
        if (enough.test(text)) done()
      })
      socket.on('close', done)
    })
  }
  const request = (more = '') =>
    `GET /p2p HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n` +
    `sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n${more}\r\n`
  const status = ({ text }) => Number(text.split(' ')[1])
  const gone = (socket, seconds) => until('the connection ends', () => socket.destroyed || socket.readableEnded, seconds)

  /** Other requests are answered, soon. */
  async function answersOthers() {
    const begun = performance.now()
    const health = await fetch(`${node.url}/xrpc/_health`)
    assert.equal(health.status, 200)
    await health.arrayBuffer()
    assert.ok(performance.now() - begun < 5000)
    assert.equal(node.program.exited, false)
  }

  it('are told what is expected', async () => {
    const plain = await fetch(`${node.url}/p2p`)
    assert.deepEqual([plain.status, plain.headers.get('upgrade')], [426, 'websocket'])
    assert.equal((await fetch(`${node.url}/p2p`, { method: 'POST', body: 'x' })).status, 405)
    for (const [from, to] of [
      ['version: 13', 'version: 8'],
      ['upgrade: websocket', 'upgrade: h2c'],
      ['sec-websocket-key', 'x-key'],
    ]) {
      assert.equal(status(await raw(request().replace(from, to), /\r\n\r\n/)), 426, to)
    }
    // Who is cut off while it still sends may not get to read the answer.
    const tooLong = await raw(request(`x: ${'y'.repeat(300_000)}\r\n`))
    assert.ok(tooLong.text === '' || status(tooLong) === 431, tooLong.text)
    await answersOthers()
  })

  it('are let go when they send anything but a handshake', async () => {
    const frames = {
      'garbage': randomBytes(5000),
      'a frame without a mask': Buffer.from([0x82, 0x01, 0x00]),
      'a frame of 2 MiB': Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]),
      'a text': Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x41]),
    }
    for (const [name, bytes] of Object.entries(frames)) {
      const { text, socket } = await raw(request(), /\r\n\r\n/)
      assert.match(text, /^HTTP\/1.1 101/)
      socket.write(bytes)
      await gone(socket, 20).catch(() => assert.fail(name))
    }
    for (const bytes of [randomBytes(10_000), Buffer.from('\x13/multistream/1.0.0\n\x05/no/\n'), Buffer.alloc(0)]) {
      const socket = new WebSocket(`ws://127.0.0.1:${node.port}/p2p`)
      socket.on('error', () => {})
      await new Promise((resolve) => socket.once('open', resolve))
      socket.send(bytes)
      await until('it is closed', () => socket.readyState === WebSocket.CLOSED, 30)
    }
    await answersOthers()
  })

  it('are let go when they are slow', async () => {
    const { socket } = await raw(request(), /\r\n\r\n/)
    const begun = performance.now()
    await gone(socket, 30)
    assert.ok(performance.now() - begun > 5000)
  })

  it('cannot keep others out from one address, nor all together keep the node from its work', async () => {
    const crowd = async (header) => {
      const all = await Promise.all(Array.from({ length: 1000 }, (_, n) => raw(request(header(n)), /\r\n\r\n/)))
      const count = (code) => all.filter((one) => status(one) === code).length
      assert.equal(count(101) + count(503), 1000)
      const sockets = all.map((one) => one.socket)
      const entered = all.filter((one) => status(one) === 101).map((one) => one.socket)
      return { sockets, held: () => entered.filter((socket) => !socket.destroyed && !socket.readableEnded).length }
    }
    const one = await crowd(() => 'x-forwarded-for: 203.0.113.9\r\n')
    await until('no more are held than may come from one address', () => one.held() <= 32, 10)
    await answersOthers()
    const device = await DeviceNode.start('guest', { env: { ...NOWHERE, UES_NETWORK_START: 'always' } })
    try {
      const [address] = JSON.parse((await ues(`${node.dir}/data`, ['--json', 'peer', 'addresses'])).stdout)
      await device.run('peer', 'add', address)
      for (const socket of one.sockets) socket.destroy()
      const all = await crowd((n) => `x-forwarded-for: 198.51.${n >> 8}.${n & 255}\r\n`)
      await until('no more are held than may come at all', () => all.held() <= 128, 10)
      await answersOthers()
      const { peers } = (await device.run('peer', 'ls')).state
      assert.equal(peers.length, 1, 'who was connected stays connected')
      await until('strangers are let go', () => all.held() === 0, 60)
      await device.stop()
      await device.up({ ...NOWHERE, UES_NETWORK_START: 'always' })
      await until('the device is back', async () => (await device.run('peer', 'ls')).state?.peers.length === 1, 60)
    } finally {
      await end(device)
    }
    await answersOthers()
  })
})
