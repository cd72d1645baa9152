// A real NATS server with JetStream in a folder of its own.
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Program, freePort } from './process.mjs'
import { scratch } from './servers.mjs'

const BINARY = fileURLToPath(new URL('../../.peers/nats/nats-server', import.meta.url))

/** A NATS server: `url` is where clients reach it. */
export class Nats {
  /** Starts one; `args` are more arguments of the server, such as those that ask for a login. */
  static async start(args = []) {
    const nats = new Nats()
    nats.args = args
    nats.dir = await scratch('nats')
    nats.ports = { client: await freePort(), monitor: await freePort() }
    nats.url = `nats://127.0.0.1:${nats.ports.client}`
    await nats.up()
    return nats
  }

  /** Starts the server on its folder. */
  async up() {
    const args = ['--addr', '127.0.0.1', '--port', this.ports.client, '--http_port', this.ports.monitor]
    this.program = new Program('nats', BINARY, [...args.map(String), '--jetstream', '--store_dir', this.dir, ...this.args])
    await this.program.answers(`http://127.0.0.1:${this.ports.monitor}/healthz`)
  }

  /** Stops the server and removes everything. */
  async close() {
    await this.program.stop()
    await rm(this.dir, { recursive: true, force: true })
  }
}
