// A small internet, in a network that no other process shares (own-network.mjs): a public address and an inner one, names for
// both, and web servers that the node believes. Which of them was connected to, and what it was asked, is kept.
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { startDns } from './dns.mjs'
import { makeCertificate, makeRoot } from './pebble.mjs'
import { scratch } from './servers.mjs'

/** The address of the public web server. */
export const PUBLIC = '8.8.8.8'
/** A public address where nobody listens. */
export const DEAF = '8.8.4.4'
/** What lies in the node's own network. */
export const INSIDE = '127.0.0.1'

// Not one of those that are for examples: the official server asks nobody there.
const BASE = 'town.net'
let count = 0

/** A web server. `paths` are the requests that it got, as `HOST/PATH`. */
class Site {
  connections = 0
  paths = []

  async listen(servers) {
    this.servers = servers.map(([server, address, port]) => {
      server.on('connection', () => this.connections++)
      server.listen(port, address)
      return server
    })
    await Promise.all(this.servers.map((server) => once(server, 'listening')))
    return this
  }

  /** What a server does with a request: it is written down, then answered. */
  take = (req, res) => {
    const name = req.headers.host?.split(':')[0]
    this.paths.push(name + req.url)
    this.answer({ name, path: req.url, req }, res)
  }

  close() {
    for (const server of this.servers) {
      server.closeAllConnections()
      server.close()
    }
  }
}

/** A DNS server where programs ask that were not told of another one. */
export async function startSystemDns() {
  const host = /^nameserver\s+([\d.]+)/m.exec(readFileSync('/etc/resolv.conf', 'utf8'))?.[1] ?? '127.0.0.1'
  if (!host.startsWith('127.')) execFileSync('ip', ['address', 'add', `${host}/32`, 'dev', 'lo'])
  return startDns(new Map(), new Map(), { host, port: 53 })
}

export class Internet {
  /**
   * Starts it. `answer(request, res)` is what the public server says; the one inside says the same, so that whoever
   * gets there gets what it came for.
   */
  static async start(answer) {
    const internet = new Internet()
    for (const address of [PUBLIC, DEAF]) execFileSync('ip', ['address', 'add', `${address}/32`, 'dev', 'lo'])
    internet.dns = await startSystemDns()
    internet.dir = await scratch('internet')
    const root = await makeRoot(internet.dir)
    const made = await makeCertificate(internet.dir, root, 'site', `DNS:*.${BASE}`, `IP:${PUBLIC}`, `IP:${INSIDE}`)
    const tls = { cert: await readFile(made.cert), key: await readFile(made.key) }
    const site = (address) => {
      const one = new Site()
      one.answer = answer
      return one.listen([
        [https.createServer(tls, one.take), address, 443],
        [http.createServer(one.take), address, 80],
      ])
    }
    internet.public = await site(PUBLIC)
    internet.inside = await site(INSIDE)
    /** What a node needs to live in it. */
    internet.env = { SSL_CERT_FILE: root.cert, UES_IDENTITY_DNS_SERVERS: internet.dns.address }
    return internet
  }

  /**
   * A name that nobody asked for yet. Each time that somebody asks it leads to the next of these addresses, or lists of
   * them, and at last to the last. `lookups` of it are counted.
   */
  name(...turns) {
    const host = `n${count++}.${BASE}`
    let turn = 0
    this.dns.addresses.set(host, () => turns[Math.min(turn++, turns.length - 1)])
    return { host, lookups: () => turn, toString: () => host }
  }

  async close() {
    this.public?.close()
    this.inside?.close()
    this.dns?.close()
    await rm(this.dir, { recursive: true, force: true })
  }
}
