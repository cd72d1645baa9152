// An ACME authority that others wrote: Pebble, which looks whether names lead to the node as public authorities do.
import { execFile } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import https from 'node:https'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startDns } from './dns.mjs'
import { Program, freePort } from './process.mjs'
import { scratch } from './servers.mjs'

const BINARY = fileURLToPath(new URL('../../.peers/pebble/pebble', import.meta.url))
const openssl = (...args) => promisify(execFile)('openssl', args)

/** Makes a root in a folder: `root.pem`, `root.key`. */
export async function makeRoot(dir) {
  const [cert, key] = [path.join(dir, 'root.pem'), path.join(dir, 'root.key')]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc']
  await openssl('req', '-x509', ...curve, '-days', '2', '-subj', '/CN=a test root', '-keyout', key, '-out', cert)
  return { cert, key }
}

/** Makes a certificate for names (`DNS:…` or `IP:…`) under a root, in `NAME.pem` and `NAME.key`. */
export async function makeCertificate(dir, root, name, ...names) {
  const [cert, key, request] = ['pem', 'key', 'csr'].map((kind) => path.join(dir, `${name}.${kind}`))
  const extensions = path.join(dir, `${name}.ext`)
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc']
  await writeFile(extensions, `basicConstraints=CA:FALSE\nsubjectAltName=${names.join(',')}\n`)
  await openssl('req', ...curve, '-subj', '/CN=a test', '-keyout', key, '-out', request)
  const by = ['-CA', root.cert, '-CAkey', root.key, '-CAcreateserial', '-days', '1', '-extfile', extensions]
  await openssl('x509', '-req', '-in', request, ...by, '-out', cert)
  return { cert, key }
}

/** The body of an answer by HTTPS from this machine, whoever signed for it. */
const get = (url) =>
  new Promise((resolve, reject) => {
    const request = https.get(url, { rejectUnauthorized: false, agent: false, headers: { 'user-agent': 'a test' } }, (res) => {
      const chunks = []
      res.on('data', (chunk) => chunks.push(chunk))
      res.on('end', () => resolve(Buffer.concat(chunks).toString()))
    })
    request.on('error', reject)
  })

/** An authority for names that all lead to this machine, where it looks at `tlsPort`. */
export class Pebble {
  /** Starts one; its certificates are valid for `seconds`. */
  static async start({ names, tlsPort, seconds = 90 * 86_400 }) {
    const pebble = new Pebble()
    pebble.dir = await scratch('pebble')
    pebble.dns = await startDns(new Map(), new Map(names.map((name) => [name, () => '127.0.0.1'])))
    const root = await makeRoot(pebble.dir)
    const own = await makeCertificate(pebble.dir, root, 'pebble', 'DNS:localhost', 'IP:127.0.0.1')
    const [port, management, httpPort] = [await freePort(), await freePort(), await freePort()]
    const config = path.join(pebble.dir, 'config.json')
    const settings = {
      listenAddress: `127.0.0.1:${port}`,
      managementListenAddress: `127.0.0.1:${management}`,
      certificate: own.cert,
      privateKey: own.key,
      httpPort,
      tlsPort,
      keyAlgorithm: 'ecdsa',
      retryAfter: { authz: 1, order: 1 },
      profiles: { default: { description: 'the only one', validityPeriod: seconds } },
    }
    await writeFile(config, JSON.stringify({ pebble: settings }))
    const env = { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0' }
    pebble.program = new Program('pebble', BINARY, ['-config', config, '-dnsserver', pebble.dns.address, '-strict'], env)
    pebble.directory = `https://localhost:${port}/dir`
    pebble.management = `https://127.0.0.1:${management}`
    /** What its own interface is checked against. */
    pebble.caFile = root.cert
    for (const deadline = Date.now() + 30_000; ; await delay(50)) {
      const answer = await get(`https://127.0.0.1:${port}/dir`).catch(() => '')
      if (answer.includes('newOrder')) break
      if (pebble.program.exited || Date.now() > deadline) throw new Error(`no authority\n${pebble.program.log}`)
    }
    /** What its certificates are checked against. */
    pebble.root = await get(`${pebble.management}/roots/0`)
    return pebble
  }

  /** How many certificates it gave. */
  get issued() {
    return (this.program.log.match(/Issued certificate serial/g) ?? []).length
  }

  /** Ends it. */
  async close() {
    await this.program.stop()
    this.dns.close()
    await rm(this.dir, { recursive: true, force: true })
  }
}
