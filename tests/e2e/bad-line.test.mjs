// Two devices with a bad line between them: 200 ms for the way there and back, one packet of a hundred lost; or, by TCP, which
// makes up for losses itself, a connection that is reset again and again.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { newAccount } from '../lib/accounts.mjs'
import { attach, connections, equalRoots, explain, getBlob, texts } from '../lib/device-repos.mjs'
import { DeviceNode, NOTE, call, note, operatorSession, pair } from '../lib/devices.mjs'
import { Host, Lan } from '../lib/network.mjs'
import { ownNetwork } from '../lib/own-network.mjs'
import { until } from '../lib/pins.mjs'
import { Program } from '../lib/process.mjs'
import { SEED } from '../lib/random.mjs'

const PROGRAM = fileURLToPath(new URL('../lib/bad-line.mjs', import.meta.url))
const LINES = {
  'that loses packets, by QUIC': { kind: 'udp', listen: '/ip4/0.0.0.0/udp/4100/quic-v1', outside: '/ip4/10.0.2.1/udp/4100/quic-v1', amount: 0.01 },
  'that is cut every few seconds, by TCP': { kind: 'tcp', listen: '/ip4/0.0.0.0/tcp/4100', outside: '/ip4/10.0.2.1/tcp/4100', amount: 3000 },
}
/** Milliseconds each way. */
const DELAY = 100

const declare = ({ kind, listen, outside, amount }) => {
  const hosts = []
  const nodes = []
  let [laptop, phone, line, did] = []

  const machine = async (name) => {
    const host = await Host.start(name)
    hosts.push(host)
    return host
  }
  const device = async (host, env) => {
    const node = new DeviceNode(host)
    nodes.push(node)
    await node.prepare(host.name)
    await node.up({ UES_NETWORK_START: 'always', UES_NETWORK_LISTEN: listen, ...env })
    return node
  }
  /** Writes so many records with as few calls as there may be. */
  const write = async (node, what, count) => {
    const session = await operatorSession(node, did)
    for (let from = 0; from < count; from += 100) {
      const writes = Array.from({ length: Math.min(100, count - from) }, (_, i) => ({
        $type: 'com.atproto.repo.applyWrites#create',
        collection: NOTE,
        value: note(`${what} ${from + i}`),
      }))
      const { status } = await call(node, session, 'com.atproto.repo.applyWrites', { repo: did, writes })
      assert.equal(status, 200)
    }
  }
  const comes = (node, cid, content) =>
    until(`${node.name} has the blob`, () => getBlob(node, did, cid), 240).then(
      (bytes) => assert.deepEqual(bytes, content),
      (error) => explain(error, nodes),
    )

  before(async () => {
    // Nothing but the line leads from one network to the other.
    const lans = [await Lan.create('10.0.1'), await Lan.create('10.0.2')]
    const middle = await machine('line')
    for (const lan of lans) await lan.join(middle, 1)
    const [there, here] = [await machine('laptop'), await machine('phone')]
    await lans[0].join(there, 2)
    await lans[1].join(here, 2)
    const [program, ...args] = [...middle.within, process.execPath, PROGRAM, kind, '10.0.2.1', 4100, '10.0.1.2', 4100, DELAY, amount, SEED]
    line = new Program('line', program, args.map(String))
    await until('the line stands', () => line.log.includes('listening'))
    laptop = await device(there, { UES_NETWORK_EXTERNAL: outside })
    phone = await device(here)
    did = (await newAccount(laptop.server)).did
  })

  after(async () => {
    for (const node of nodes) {
      await node.stop()
      await rm(node.dir, { recursive: true, force: true })
    }
    await line.stop()
    for (const host of hosts) host.stop()
  })

  it(`brings records and blobs over (seed ${SEED})`, async () => {
    await write(laptop, 'before', 300)
    const first = randomBytes(2_000_000)
    const cid = await attach(laptop, did, first)
    await pair(laptop, did, phone)
    await equalRoots(did, nodes, 120)
    await comes(phone, cid, first)
  })

  it('brings over what both write at the same time', async () => {
    const [one, other] = [randomBytes(1_000_000), randomBytes(1_000_000)]
    const [ours, theirs] = await Promise.all([
      attach(laptop, did, one),
      attach(phone, did, other),
      write(laptop, 'on the laptop', 100),
      write(phone, 'on the phone', 100),
    ])
    await equalRoots(did, nodes, 120)
    assert.equal((await texts(phone, did)).length, 503)
    await comes(phone, ours, one)
    await comes(laptop, theirs, other)
    assert.match(line.log, /lost|cut/)
    const round = await until('a ping came back', async () => {
      const [connection] = await connections(phone, laptop)
      return connection?.roundTripMicros
    })
    assert.ok(round >= 2000 * DELAY, `a ping took ${round} µs`)
  })
}

if (ownNetwork(import.meta.url)) {
  for (const [name, line] of Object.entries(LINES)) describe(`a line ${name}`, () => declare(line))
}
