// A real Cassandra with data of its own; it stands in for ScyllaDB, which speaks the same protocol.
import { rm } from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import { Program, freePort } from './process.mjs'
import { scratch } from './servers.mjs'

const RUN = fileURLToPath(new URL('../peers/cassandra/run', import.meta.url))

/** A node: `address` and `port` are where CQL is spoken. */
export class Cassandra {
  static async start() {
    const cassandra = new Cassandra()
    cassandra.address = '127.0.0.1'
    cassandra.dir = await scratch('cassandra')
    cassandra.port = await freePort()
    cassandra.storage = await freePort()
    await cassandra.up()
    return cassandra
  }

  /** Nodes of one cluster, at 127.0.0.1, 127.0.0.2 and so on. */
  static async cluster(size) {
    const first = await Cassandra.start()
    const nodes = [first]
    // One after another: a node that joins wants to know all others.
    for (let n = 2; n <= size; n++) {
      const { port, storage } = first
      const node = Object.assign(new Cassandra(), { address: `127.0.0.${n}`, seed: first.address, port, storage })
      node.dir = await scratch('cassandra')
      await node.up()
      nodes.push(node)
    }
    return nodes
  }

  /** Starts it on its folder; ready when it speaks CQL. */
  async up(seconds = 120) {
    const args = [path.join(this.dir, 'node'), String(this.port), String(this.storage)]
    const env = { ADDRESS: this.address, ...(this.seed && { SEED_NODE: this.seed }) }
    this.program = new Program('cassandra', RUN, args, env)
    const deadline = Date.now() + seconds * 1000
    while (!(await listens(this))) {
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

function listens({ address, port }) {
  return new Promise((resolve) => {
    const socket = net.connect(port, address)
    const end = (answer) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
  })
}
