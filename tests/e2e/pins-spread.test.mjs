// The pin service spread over processes: two that take requests and plan, two workers with a Kubo each, a Cassandra and
// a NATS. Any of them is killed with SIGKILL at random moments while owners add and remove pins. Each acknowledged
// request stays and none that was removed; in the end everything wanted is pinned, and nothing else.
// SPREAD_ROUNDS sets the number of kills, SEED repeats a run.
import assert from 'node:assert/strict'
import { readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Cassandra } from '../lib/cassandra.mjs'
import { uesOk } from '../lib/cli.mjs'
import { Kubo } from '../lib/kubo.mjs'
import { Nats } from '../lib/nats.mjs'
import { allPins, newKey, pinCall, rawCid, reaches, until } from '../lib/pins.mjs'
import { freePort } from '../lib/process.mjs'
import { Random, SEED } from '../lib/random.mjs'
import { dataOf, scratch, startUes } from '../lib/servers.mjs'

const ROUNDS = Number(process.env.SPREAD_ROUNDS ?? 8)
const CONTENTS = Array.from({ length: 40 }, (_, i) => `content ${i}`)

/** One of our processes, which may be killed and started again on its folder. */
class Node {
  static async start(name, config) {
    const node = new Node()
    Object.assign(node, { name, dir: await scratch(name), port: await freePort(), config })
    await node.up()
    return node
  }

  async up() {
    const { args, env } = this.config
    this.server = await startUes({ dir: this.dir, port: this.port, args, env })
    this.program = this.server.program
  }

  async close() {
    await this.server.close()
    await rm(this.dir, { recursive: true, force: true })
  }
}

/** Everything that runs. */
class Fleet {
  async start() {
    const started = [Cassandra.start(), Nats.start(), Kubo.start(), Kubo.start()]
    ;[this.cassandra, this.nats, ...this.kubos] = await Promise.all(started)
    this.others = new Set()
    for (const kubo of this.kubos) {
      for (const content of CONTENTS) await kubo.block(content)
      for (const cid of await kubo.pins()) this.others.add(cid)
    }
    const bus = { UES_PINS_BUS: this.nats.url }
    const state = {
      UES_STATE_DATASTORE: 'scylladb',
      UES_STATE_SCYLLADB_PORT: String(this.cassandra.port),
      UES_STATE_SCYLLADB_NUM_CONNS: '1',
      UES_STATE_SCYLLADB_TIMEOUT: '5s',
    }
    const role = (roles, env, ...more) => ({ args: ['--role', roles, ...more], env: { ...bus, ...env } })
    this.servers = [
      await Node.start('one', role('api,planner', state)),
      await Node.start('two', role('api,planner', state)),
    ]
    this.workers = []
    for (const [i, kubo] of this.kubos.entries()) {
      const env = { UES_PINS_WORKER_NAME: `worker${i}` }
      this.workers.push(await Node.start(`worker${i}`, role('worker', env, '--pin-backend', 'kubo', '--kubo-api', kubo.api)))
    }
  }

  /** Everything that may be killed. Those further on need those before them to start. */
  get all() {
    return [this.cassandra, this.nats, ...this.kubos, ...this.servers, ...this.workers]
  }

  async close() {
    for (const part of this.all.reverse()) await part?.close()
  }
}

/** An owner, and what it knows: acknowledged pins, and the changes whose answers never came. */
class Owner {
  constructor(name, key, random) {
    Object.assign(this, { name, key, random })
    this.wanted = new Set()
    this.unknown = new Map()
  }

  /** Changes one thing after another, at either server, until it is told to stop. */
  async run(servers, stop) {
    while (!stop.aborted) {
      const { server } = this.random.pick(servers)
      const cid = rawCid(this.random.pick(CONTENTS))
      const remove = this.random.next() < 0.4
      this.unknown.set(cid, !remove)
      try {
        const { status } = remove
          ? await pinCall(server, this.key, 'DELETE', `/pins/${cid}`)
          : await pinCall(server, this.key, 'POST', '/pins', { cid, replication: 2, name: `of ${this.name}` })
        if (status >= 500) continue
        assert.ok((remove ? [202, 404] : [202]).includes(status), `status ${status}`)
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        await delay(50)
        continue
      }
      this.unknown.delete(cid)
      if (remove) this.wanted.delete(cid)
      else this.wanted.add(cid)
    }
  }

  /** Compares with what a server knows now. */
  async settle(server) {
    const found = new Set((await allPins(server, this.key)).map((pin) => pin.pin.cid))
    for (const [cid] of this.unknown) {
      if (found.has(cid)) this.wanted.add(cid)
      else this.wanted.delete(cid)
    }
    this.unknown.clear()
    assert.deepEqual([...found].sort(), [...this.wanted].sort(), `pins of ${this.name}`)
  }
}

describe(`the pin service in many processes, seed ${SEED}`, () => {
  const fleet = new Fleet()
  before(() => fleet.start(), { timeout: 240_000 })
  after(() => fleet.close())

  it('knows everywhere what was asked for anywhere', { timeout: 120_000 }, async () => {
    const [one, two] = fleet.servers.map((node) => node.server)
    const key = await newKey(one, 'zoe')
    const cid = rawCid(CONTENTS[0])
    const watched = watch(two, key, cid)
    const { body } = await pinCall(one, key, 'POST', '/pins', { cid })
    await reaches(two, key, body.requestid, 'pinned')
    assert.equal(await watched, 'pinned')
    const listed = JSON.parse(await uesOk(dataOf(two), ['worker', 'ls', '--json']))
    assert.deepEqual(listed.map((worker) => worker.name).sort(), ['worker0', 'worker1'])
    assert.equal((await pinCall(two, key, 'DELETE', `/pins/${body.requestid}`)).status, 202)
    assert.equal((await pinCall(one, key, 'GET', `/pins/${body.requestid}`)).status, 404)
    const id = key.split('_')[1]
    await uesOk(dataOf(two), ['key', 'revoke', id])
    await until('the key is shut', async () => (await pinCall(one, key, 'GET', '/pins')).status === 401, 10)
  })

  it(`loses nothing over ${ROUNDS} kills`, { timeout: 1_800_000 }, async () => {
    const random = new Random(SEED)
    const owners = []
    for (const name of ['ann', 'ben', 'cay']) {
      const key = await newKey(fleet.servers[0].server, name)
      owners.push(new Owner(name, key, new Random(SEED + owners.length + 1)))
    }
    for (let round = 0; round < ROUNDS; round++) {
      const stop = new AbortController()
      const running = Promise.all(owners.map((owner) => owner.run(fleet.servers, stop.signal)))
      // Each in its turn, so that every run kills everything.
      const victim = fleet.all[(round + SEED) % fleet.all.length]
      await delay(300 + random.below(700))
      await victim.program.kill()
      await delay(random.below(2000))
      await victim.up()
      await delay(random.below(1000))
      stop.abort()
      await running
      for (const owner of owners) await settled(owner, fleet.servers)
    }
    await until(
      'everything wanted is pinned',
      async () => {
        const pins = (await Promise.all(owners.map((owner) => allPins(fleet.servers[1].server, owner.key)))).flat()
        return pins.every((pin) => pin.status === 'pinned')
      },
      420,
    )
    const wanted = [...new Set(owners.flatMap((owner) => [...owner.wanted]))].sort()
    let wrong
    const alike = async () => {
      const held = await Promise.all(fleet.kubos.map((kubo) => kubo.pins()))
      const union = new Set(held.flatMap((pins) => [...pins]).filter((cid) => !fleet.others.has(cid)))
      wrong = [...wanted.filter((cid) => !union.has(cid)), ...[...union].filter((cid) => !wanted.includes(cid))]
      return wrong.length === 0
    }
    // What was lost on the way to a worker is sent again after one minute, then two, then four.
    await until('the Kubos hold what is wanted, and nothing else', alike, 420).catch(async (error) => {
      const { server } = fleet.servers[0]
      const known = await Promise.all(wrong.map((cid) => record(server, cid)))
      throw new Error(`${error.message}: ${JSON.stringify(known, null, 1)}`)
    })
    await until(
      'there is no drift',
      async () => {
        const { drift } = await totals(fleet.servers[0].server)
        return drift === 0
      },
      120,
    )
  })
})

/** Compares as soon as the servers answer again. */
async function settled(owner, servers) {
  for (const { server } of servers) {
    await until(
      'the service answers',
      async () => {
        const { status } = await pinCall(server, owner.key, 'GET', '/pins?limit=1').catch(() => ({ status: 0 }))
        return status === 200
      },
      60,
    )
    await owner.settle(server)
  }
}

/** The first state of a pin that ends its way, as `GET /pins/watch` tells it. */
async function watch(server, key, cid) {
  const res = await fetch(`${server.url}/pins/watch?cid=${cid}`, { headers: { authorization: `Bearer ${key}` } })
  let text = ''
  for await (const chunk of res.body.pipeThrough(new TextDecoderStream())) {
    text += chunk
    for (const line of text.split('\n').slice(0, -1)) {
      if (line && ['pinned', 'failed'].includes(JSON.parse(line).state)) return JSON.parse(line).state
    }
    text = text.slice(text.lastIndexOf('\n') + 1)
  }
}

/** All that the service knows of a CID. */
async function record(server, cid) {
  const secret = (await readFile(path.join(dataOf(server), 'operator-secret'), 'utf8').catch(() => '')).trim()
  const headers = { authorization: `Bearer ${secret}` }
  const res = await fetch(`${server.url}/admin/v1/pins/record?cid=${cid}`, { headers })
  return res.json()
}

/** What the service counted. */
async function totals(server) {
  return JSON.parse(await uesOk(dataOf(server), ['pin', 'totals', '--json']))
}
