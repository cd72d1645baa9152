// Starts the servers under test: our node, the official PDS and the official did:plc directory, each in a
// folder and on a port of its own. TARGET=ues (default) or pds says which of the two the suites run against.
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Program, freePort } from './process.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const peers = path.join(root, 'tests', 'peers')

/** Which server the suites run against. */
export const TARGET = process.env.TARGET ?? 'ues'

/** Path of the release binary; TEST_BINARY points elsewhere. */
export function uesBinary() {
  const target = process.env.CARGO_TARGET_DIR ?? path.join(root, 'target')
  const bin = process.env.TEST_BINARY ?? path.join(target, 'release', 'ues')
  if (!existsSync(bin)) throw new Error(`${bin} is missing: run \`cargo build --release -p ues\` first`)
  return bin
}

/** A folder under the system's temporary one. */
export const scratch = (name) => mkdtemp(path.join(os.tmpdir(), `ues-${name}-`))

/** A server under test: `url`, `plcUrl` (did:plc directory), `dir` (its data), `program` (its process). */
export class Server {
  constructor(fields) {
    Object.assign(this, fields)
  }

  get wsUrl() {
    return this.url.replace(/^http/, 'ws')
  }

  /** Stops the process and whatever it needs, and removes its data. */
  async close() {
    const end = await this.program.stop()
    for (const other of this.needs ?? []) await other.close()
    if (!this.keepData) await rm(this.dir, { recursive: true, force: true })
    return end
  }
}

/** The data folder of our node. */
export const dataOf = (server) => path.join(server.dir, 'data')

/** Our node on an empty (or given) folder, on this machine or on a `host` of network.mjs. Rate limits are off unless `env` says otherwise. */
export async function startUes({ dir, port, env = {}, args = [], host } = {}) {
  const keepData = dir !== undefined
  dir ??= await scratch('node')
  port ??= await freePort()
  const url = `http://127.0.0.1:${port}`
  const command = [...(host?.within ?? []), uesBinary(), 'up', '--data', path.join(dir, 'data'), '--listen', `127.0.0.1:${port}`]
  const program = new Program(
    'ues',
    command[0],
    [...command.slice(1), ...args],
    { UES_RATE_LIMITS_ENABLED: 'false', UES_PINS_CLUSTER_LISTEN: '', UES_PINS_PROXY_LISTEN: '', ...env },
  )
  await program.answers(`${url}/xrpc/_health`)
  return new Server({ kind: 'ues', url, port, plcUrl: `${url}/plc`, dir, keepData, program })
}

/** The official did:plc directory. */
export async function startPlc({ port } = {}) {
  port ??= await freePort()
  const url = `http://127.0.0.1:${port}`
  const program = new Program('did-plc', process.execPath, [path.join(peers, 'plc.mjs'), String(port)], {
    LOG_ENABLED: 'false',
    NODE_OPTIONS: '',
  })
  await program.answers(`${url}/_health`)
  return new Server({ kind: 'plc', url, port, plcUrl: url, dir: await scratch('plc'), program })
}

/** The official PDS with a directory of its own, or on the folder, port and directory of an earlier one. */
export async function startPds({ dir, port, plc, env = {} } = {}) {
  const keepData = dir !== undefined
  const needs = plc ? [] : [await startPlc()]
  plc ??= needs[0]
  dir ??= await scratch('pds')
  port ??= await freePort()
  const url = `http://127.0.0.1:${port}`
  // By name: the official server's guarded fetch refuses addresses that are an IP.
  const directory = `http://localhost:${plc.port}`
  const program = new Program('pds', process.execPath, [path.join(peers, 'pds.mjs'), String(port), dir, directory], {
    NODE_OPTIONS: '',
    ...env,
  })
  await program.answers(`${url}/xrpc/_health`)
  return new Server({ kind: 'pds', url, port, plcUrl: plc.url, dir, keepData, plc, program, needs })
}

/** The server that TARGET names. */
export function startTarget(options = {}) {
  if (TARGET === 'ues') return startUes(options)
  if (TARGET === 'pds') return startPds(options)
  throw new Error(`TARGET is ues or pds, not ${TARGET}`)
}
