// A real Kubo that reaches nobody: a repository of its own, ports of its own.
import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Program, freePort } from './process.mjs'
import { scratch } from './servers.mjs'

const BINARY = fileURLToPath(new URL('../../.peers/kubo/ipfs', import.meta.url))
const run = promisify(execFile)

/** A Kubo with its daemon: `api` is the address of its RPC. */
export class Kubo {
  /** Makes a repository and starts the daemon. */
  static async start() {
    const kubo = new Kubo()
    kubo.dir = await scratch('kubo')
    kubo.ports = { api: await freePort(), swarm: await freePort(), gateway: await freePort() }
    kubo.api = `http://127.0.0.1:${kubo.ports.api}`
    await kubo.init('repo')
    await kubo.up()
    return kubo
  }

  /** The port of its RPC. */
  get port() {
    return this.ports.api
  }

  /** Stops the daemon and starts another Kubo at the same addresses, with these contents as blocks and nothing pinned. */
  async replace(contents) {
    await this.program.stop()
    await this.init('another')
    const files = contents.map((_, i) => path.join(this.dir, `block-${i}`))
    await Promise.all(files.map((file, i) => writeFile(file, contents[i])))
    await this.ipfs(['--offline', 'block', 'put', '--cid-codec=raw', '--mhtype=sha2-256', ...files])
    await this.up()
  }

  async init(name) {
    this.env = { IPFS_PATH: path.join(this.dir, name), IPFS_TELEMETRY: 'off' }
    await this.ipfs(['init', '--empty-repo'])
    const file = path.join(this.env.IPFS_PATH, 'config')
    const config = JSON.parse(await readFile(file, 'utf8'))
    config.Bootstrap = []
    config.Discovery.MDNS.Enabled = false
    config.Routing = { Type: 'none' }
    config.AutoConf = { Enabled: false }
    config.DNS = { Resolvers: {} }
    config.Ipns = { ...config.Ipns, DelegatedPublishers: [] }
    config.Addresses = {
      ...config.Addresses,
      API: `/ip4/127.0.0.1/tcp/${this.ports.api}`,
      Gateway: `/ip4/127.0.0.1/tcp/${this.ports.gateway}`,
      Swarm: [`/ip4/127.0.0.1/tcp/${this.ports.swarm}`],
    }
    await writeFile(file, JSON.stringify(config))
  }

  /** Starts the daemon. */
  async up() {
    this.program = new Program('kubo', BINARY, ['daemon'], this.env)
    const deadline = Date.now() + 60_000
    while (!this.program.log.includes('Daemon is ready')) {
      if (this.program.exited || Date.now() > deadline) throw new Error(`Kubo does not start\n${this.program.log}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Runs its command line; returns what it printed. */
  async ipfs(args) {
    const { stdout } = await run(BINARY, args, { env: { ...process.env, ...this.env }, maxBuffer: 1 << 26 })
    return stdout.trim()
  }

  /** Runs its command line; returns the bytes that it printed. */
  async bytes(args) {
    const options = { env: { ...process.env, ...this.env }, maxBuffer: 1 << 26, encoding: 'buffer' }
    return (await run(BINARY, args, options)).stdout
  }

  /** Calls its RPC; returns the lines of its answer. */
  async rpc(command, params = []) {
    const query = new URLSearchParams(params)
    const res = await fetch(`${this.api}/api/v0/${command}?${query}`, { method: 'POST' })
    const text = await res.text()
    if (!res.ok) throw new Error(`${command}: ${text}`)
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line))
  }

  /** Stores bytes as one raw block, not pinned; returns its CID. */
  async block(bytes) {
    const form = new FormData()
    form.append('file', new Blob([bytes]))
    const res = await fetch(`${this.api}/api/v0/block/put?cid-codec=raw&mhtype=sha2-256`, { method: 'POST', body: form })
    return (await res.json()).Key
  }

  /** The CIDs of its own recursive pins. */
  async pins() {
    const lines = await this.rpc('pin/ls', { type: 'recursive', stream: 'true' })
    return new Set(lines.map((line) => line.Cid))
  }

  /** Stops the daemon and removes everything. */
  async close() {
    await this.program.stop()
    await rm(this.dir, { recursive: true, force: true })
  }
}
