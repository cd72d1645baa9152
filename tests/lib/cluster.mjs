// A real IPFS-Cluster of one peer with a Kubo, our node in its place, and what clients say to either.
import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Kubo } from './kubo.mjs'
import { Program, freePort } from './process.mjs'
import { scratch, startUes } from './servers.mjs'

const PEERS = fileURLToPath(new URL('../../.peers/ipfs-cluster/', import.meta.url))
const run = promisify(execFile)

/** Somebody who speaks the REST API of IPFS-Cluster. */
class Side {
  constructor(name, port) {
    this.name = name
    this.port = port
    this.url = `http://127.0.0.1:${port}`
  }

  /** Calls it; returns status, headers and the lines of the answer. */
  async call(method, path, headers = {}) {
    const shown = this.user && { authorization: `Basic ${Buffer.from(this.user).toString('base64')}` }
    const all = { ...shown, ...headers }
    const res = await fetch(`${this.url}${path}`, { method, headers: all, redirect: 'manual' })
    const text = await res.text()
    const json = res.headers.get('content-type')?.includes('json')
    const lines = json ? text.split('\n').filter(Boolean).map((line) => JSON.parse(line)) : []
    return { status: res.status, headers: res.headers, lines, text }
  }

  /** Runs the original's command line against it; returns exit code and what it printed. */
  async ctl(...args) {
    const all = ['--host', `/ip4/127.0.0.1/tcp/${this.port}`, ...args]
    try {
      const { stdout } = await run(path.join(PEERS, 'ipfs-cluster-ctl'), all, { timeout: 60_000 })
      return { code: 0, stdout }
    } catch (error) {
      return { code: error.code, stdout: error.stdout, stderr: error.stderr }
    }
  }

  /** Runs the command line with JSON as its output; fails when it fails. */
  async ctlJson(...args) {
    const done = await this.ctl('--enc', 'json', ...args)
    if (done.code !== 0) throw new Error(`${this.name}: ${args.join(' ')}: ${done.stdout}${done.stderr}`)
    return parseAll(done.stdout)
  }

  /** Runs the command line of a Kubo against its IPFS proxy; returns exit code and what it printed. */
  async ipfs(...args) {
    try {
      return { code: 0, stdout: await this.kubo.ipfs(['--api', `/ip4/127.0.0.1/tcp/${this.proxyPort}`, ...args]) }
    } catch (error) {
      return { code: error.code, stdout: error.stdout, stderr: error.stderr }
    }
  }

  /** Calls its IPFS proxy; returns status, headers and text. */
  async proxy(method, path, { headers = {}, body } = {}) {
    const url = `http://127.0.0.1:${this.proxyPort}${path}`
    const res = await fetch(url, { method, headers, body })
    return { status: res.status, headers: res.headers, text: await res.text() }
  }

  /** Learns the ids that differ between sides. */
  async learn() {
    const [id] = (await this.call('GET', '/id')).lines
    this.names = new Map([
      [id.id, 'PEER'],
      [id.ipfs.id, 'IPFS'],
    ])
    this.peername = id.peername
  }

  /** A value without what must differ: ids, times, addresses; and without what is empty, in which they may differ. */
  plain(value) {
    if (Array.isArray(value)) return value.map((item) => this.plain(item))
    if (value && typeof value === 'object') {
      const fields = Object.entries(value)
        .filter(([key]) => !UNLIKE.has(key))
        .map(([key, field]) => [this.plain(key), key === 'expire_at' ? endOf(field) : this.plain(field)])
        .filter(([, field]) => !isEmpty(field))
      return Object.fromEntries(fields)
    }
    if (typeof value !== 'string') return value
    if (/^\d{4}-\d\d-\d\dT/.test(value)) return timeOf(value)
    return this.names.get(value) ?? (value === this.peername ? 'NAME' : value)
  }
}

/** Addresses are nobody's business, and how often a pin was tried depends on the machine. */
const UNLIKE = new Set(['addresses', 'ipfs_peer_addresses', 'cluster_peers_addresses', 'attempt_count', 'version'])

const isEmpty = (value) =>
  value === null || value === '' || (typeof value === 'object' && Object.keys(value).length === 0)

/** Whether a time is of today, or none. */
function timeOf(text) {
  if (text.startsWith('0001')) return 'NEVER'
  return Math.abs(Date.parse(text) - Date.now()) < 600_000 ? 'NOW' : text
}

/** An end in minutes from now, roughly. */
function endOf(text) {
  if (text.startsWith('0001')) return 'NEVER'
  return `${Math.round((Date.parse(text) - Date.now()) / 600_000)}0 minutes`
}

/** The JSON values that stand one behind the other in a text. */
function parseAll(text) {
  const found = []
  let value = ''
  for (const line of text.split('\n')) {
    value += line
    // Every value of the command line begins and ends at the margin.
    if (/^[}\]]/.test(line) || /^(\[\]|\{\}|null|".*")$/.test(line)) {
      found.push(JSON.parse(value))
      value = ''
    }
  }
  return found
}

const SERVICE = path.join(PEERS, 'ipfs-cluster-service')

/** The folder of a real IPFS-Cluster that does not run. */
export class ClusterFolder {
  /** Makes one without pins. */
  static async make() {
    const folder = new ClusterFolder()
    folder.dir = await scratch('ipfs-cluster')
    folder.env = { IPFS_CLUSTER_PATH: folder.dir, IPFS_TELEMETRY: 'off' }
    await folder.service('init', '--consensus', 'crdt')
    return folder
  }

  /** Runs `ipfs-cluster-service`; returns what it printed. */
  async service(...args) {
    const env = { ...process.env, ...this.env }
    return (await run(SERVICE, args, { env, maxBuffer: 1 << 28 })).stdout
  }

  /** The pins of `state export`, in the order of their CIDs. */
  async exported() {
    return byCid(await this.service('state', 'export'))
  }

  /** Makes lines the state. */
  async import(lines) {
    const file = path.join(this.dir, 'import.json')
    await writeFile(file, lines)
    await this.service('state', 'import', '--force', file)
  }

  remove() {
    return rm(this.dir, { recursive: true, force: true })
  }
}

/** The pins of lines of JSON, in the order of their CIDs. */
export function byCid(lines) {
  const pins = lines.split('\n').filter(Boolean).map((line) => JSON.parse(line))
  return pins.sort((a, b) => (a.cid < b.cid ? -1 : 1))
}

/**
 * A real IPFS-Cluster that knows one peer: itself. `copies` is what a pin has that does not say, `rest` are settings of
 * its REST API, `folder` one that has pins already.
 */
export async function startOriginal({ copies = 1, rest = {}, folder } = {}) {
  const kubo = await Kubo.start()
  folder ??= await ClusterFolder.make()
  const { dir, env } = folder
  const file = path.join(dir, 'service.json')
  const config = JSON.parse(await readFile(file, 'utf8'))
  const address = async () => `/ip4/127.0.0.1/tcp/${await freePort()}`
  const port = await freePort()
  const api = `/ip4/127.0.0.1/tcp/${kubo.port}`
  Object.assign(config.cluster, {
    listen_multiaddress: [await address()],
    replication_factor_min: copies,
    replication_factor_max: copies,
  })
  config.api.restapi.http_listen_multiaddress = `/ip4/127.0.0.1/tcp/${port}`
  Object.assign(config.api.restapi, rest)
  const proxyPort = await freePort()
  config.api.ipfsproxy.listen_multiaddress = `/ip4/127.0.0.1/tcp/${proxyPort}`
  config.api.ipfsproxy.node_multiaddress = api
  config.api.pinsvcapi.http_listen_multiaddress = await address()
  config.ipfs_connector.ipfshttp.node_multiaddress = api
  await writeFile(file, JSON.stringify(config))
  const program = new Program('ipfs-cluster', SERVICE, ['daemon'], env)
  const side = new Side('the original', port)
  side.user = Object.entries(rest.basic_auth_credentials ?? {})[0]?.join(':')
  await program.answers(`${side.url}/health`)
  // It answers before its own metrics have come round; without them it allocates nothing.
  await ready(async () => (await side.call('GET', '/monitor/metrics/freespace')).lines[0]?.length === 1)
  await side.learn()
  Object.assign(side, { kubo, proxyPort })
  side.folder = folder
  /** Ends the program alone, so that its folder can be worked on. */
  side.halt = () => program.stop()
  side.close = async () => {
    await program.stop()
    await kubo.close()
    await folder.remove()
  }
  return side
}

/** Our node with a Kubo of its own. */
export async function startOurs({ env = {} } = {}) {
  const kubo = await Kubo.start()
  const [port, proxyPort] = [await freePort(), await freePort()]
  const server = await startUes({
    env: {
      UES_PINS_BACKEND: 'kubo',
      UES_PINS_KUBO_API: kubo.api,
      UES_PINS_CLUSTER_LISTEN: `127.0.0.1:${port}`,
      UES_PINS_PROXY_LISTEN: `127.0.0.1:${proxyPort}`,
      ...env,
    },
  })
  const side = new Side('ours', port)
  await ready(async () => (await side.call('GET', '/id')).lines[0]?.ipfs?.id)
  await side.learn()
  Object.assign(side, { kubo, proxyPort })
  side.server = server
  side.close = async () => {
    await server.close()
    await kubo.close()
  }
  return side
}

async function ready(condition) {
  const deadline = Date.now() + 60_000
  while (!(await condition().catch(() => false))) {
    if (Date.now() > deadline) throw new Error('not ready within a minute')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
