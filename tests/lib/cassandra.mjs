// A real Cassandra with data of its own; it stands in for ScyllaDB, which speaks the same protocol.
import { rm } from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import { Program, freePort } from './process.mjs'
import { scratch } from './servers.mjs'

const RUN = fileURLToPath(new URL('../peers/cassandra/run', import.meta.url))

/** A single node: `port` is where CQL is spoken. */
export class Cassandra {
  static async start() {
    const cassandra = new Cassandra()
    cassandra.dir = await scratch('cassandra')
    cassandra.port = await freePort()
    cassandra.storage = await freePort()
    await cassandra.up()
    return cassandra
  }

  /** Starts it on its folder; ready when it speaks CQL. */
  async up(seconds = 120) {
    const args = [path.join(this.dir, 'node'), String(this.port), String(this.storage)]
    this.program = new Program('cassandra', RUN, args)
    const deadline = Date.now() + seconds * 1000
    while (!(await listens(this.port))) {
      if (this.program.exited || Date.now() > deadline) throw new Error(`Cassandra does not start\n${this.program.log}`)
      await delay(100)
    }
  }

  /** Stops it and removes everything. */
  async close() {
    await this.program.kill()
    await rm(this.dir, { recursive: true, force: true })
  }
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    const end = (answer) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
  })
}
