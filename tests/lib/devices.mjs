// Nodes that hold one repository together: pairing by the command line, as two people at two machines do it.
import { spawn } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { uesOk } from './cli.mjs'
import { freePort } from './process.mjs'
import { dataOf, scratch, startUes, uesBinary } from './servers.mjs'

/** The collection that tests write to. */
export const NOTE = 'com.example.note'

/** A record of it. */
export const note = (text) => ({ $type: NOTE, text, createdAt: new Date().toISOString() })

/** A client of a node that needs no password: the operator's session. */
export async function agentOf(node, did) {
  const session = await operatorSession(node, did)
  const write = (method, input) => call(node, session, `com.atproto.repo.${method}`, { repo: did, collection: NOTE, ...input })
  return {
    create: (text, rkey) => write('createRecord', { rkey, record: note(text) }),
    put: (rkey, text) => write('putRecord', { rkey, record: note(text) }),
    remove: (rkey) => write('deleteRecord', { rkey }),
  }
}

/** A node whose peer-to-peer port stays the same when it is started again. With a `host` of network.mjs it runs there. */
export class DeviceNode {
  constructor(host) {
    this.host = host
  }

  static async start(name, { env = {}, host } = {}) {
    const node = new DeviceNode(host)
    await node.prepare(name)
    await node.up(env)
    return node
  }

  /** Gives it a folder and ports. */
  async prepare(name) {
    this.name = name
    this.dir = await scratch(`device-${name}`)
    this.httpPort = await freePort()
    this.peerPort = await freePort()
    await this.host?.open(this.httpPort)
  }

  /** Starts it (again) on its folder. */
  async up(env = {}) {
    await mkdir(this.dir, { recursive: true })
    this.server = await startUes({
      dir: this.dir,
      port: this.httpPort,
      host: this.host,
      env: {
        UES_NETWORK_LISTEN: `/ip4/127.0.0.1/tcp/${this.peerPort}`,
        UES_NETWORK_MDNS: 'false',
        UES_NETWORK_DEVICE_NAME: this.name,
        UES_PINS_ROLES: '',
        ...env,
      },
    })
  }

  get data() {
    return dataOf(this.server)
  }

  /** Runs a command on it; returns what `--json` prints, parsed. */
  async run(...args) {
    return JSON.parse(await uesOk(this.data, ['--json', ...args]))
  }

  /** Its devices but the root's key. */
  async devices(did) {
    return (await this.run('device', 'ls', '--as', did)).filter((device) => !device.root)
  }

  stop = () => this.server.program.stop()
  kill = () => this.server.program.kill()
}

/** Starts `ues device invite`; resolves once it shows the link. `done` resolves with its exit code. */
export async function invite(node, did) {
  const args = ['--data', node.data, '--json', 'device', 'invite', '--yes', '--as', did]
  const child = spawn(uesBinary(), args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  child.stderr.on('data', (chunk) => (err += chunk))
  const done = new Promise((resolve) => child.once('close', resolve))
  const { link, code } = await new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      out += chunk
      try {
        resolve(JSON.parse(out))
      } catch {
        // not all of it is here
      }
    })
    done.then((code) => reject(new Error(`device invite ended with ${code}: ${out}${err}`)))
  })
  return { link, code, done, child, stderr: () => err }
}

/** Lets one node into a repository of another. */
export async function pair(node, did, joiner) {
  const invitation = await invite(node, did)
  await uesOk(joiner.data, ['device', 'join', '--yes', invitation.link])
  const code = await invitation.done
  if (code !== 0) throw new Error(`device invite ended with ${code}: ${invitation.stderr()}`)
}

/** A session of an account on a node, had by the operator: no password is needed. */
export async function operatorSession(node, did) {
  const secret = (await readFile(path.join(node.data, 'operator-secret'), 'utf8')).trim()
  const answer = await fetch(`${node.server.url}/admin/v1/session`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ account: did }),
  })
  return answer.json()
}

/** Calls a method that takes JSON, or bytes; returns the status and what was answered. */
export async function call(node, session, nsid, body) {
  const bytes = body instanceof Uint8Array
  const res = await fetch(`${node.server.url}/xrpc/${nsid}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${session.accessJwt}`,
      ...(body !== undefined && { 'content-type': bytes ? 'application/octet-stream' : 'application/json' }),
    },
    body: body === undefined || bytes ? body : JSON.stringify(body),
  })
  return { status: res.status, ...(await res.json()) }
}
