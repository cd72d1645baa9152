// The pin service on three Cassandra nodes with three copies of each row: any one of them may be gone, and nobody notices; with
// two gone the service says so, and goes on by itself when they are back. No acknowledged request is lost in any of it.
// Three databases are too much for the machines that the other tests run on; run it by hand:
//
//   cargo build --release -p ues && tests/peers/install.sh npm cassandra
//   .peers/node/bin/node --test --test-force-exit tests/by-hand/cql-nodes.mjs
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Cassandra } from '../lib/cassandra.mjs'
import { allPins, newKey, pinCall, rawCid, until } from '../lib/pins.mjs'
import { startUes } from '../lib/servers.mjs'

describe('the state on three database nodes', () => {
  let nodes, server, key
  let next = 0
  const wanted = new Set()

  /** Asks for pins, four at a time, for as long as `during` takes; returns the statuses of those that were refused. */
  async function load(during) {
    const stop = new AbortController()
    const refused = []
    const client = async () => {
      while (!stop.signal.aborted) {
        const cid = rawCid(`content ${next++}`)
        const { status, body } = await pinCall(server, key, 'POST', '/pins', { cid })
        if (status === 202) wanted.add(cid)
        else refused.push({ status, body })
      }
    }
    const clients = Promise.all([client(), client(), client(), client()])
    try {
      await during()
    } finally {
      stop.abort()
      await clients
    }
    return refused
  }

  const some = async (count) => {
    const goal = wanted.size + count
    await until(`${count} more are accepted`, () => wanted.size >= goal, 120)
  }

  /** Everything that was acknowledged is there. */
  async function complete() {
    const acknowledged = [...wanted]
    const found = new Set((await allPins(server, key)).map((pin) => pin.pin.cid))
    assert.deepEqual(acknowledged.filter((cid) => !found.has(cid)), [])
  }

  before(
    async () => {
      nodes = await Cassandra.cluster(3)
      server = await startUes({
        env: {
          UES_STATE_DATASTORE: 'scylladb',
          UES_STATE_SCYLLADB_HOSTS: nodes.map((node) => node.address).join(','),
          UES_STATE_SCYLLADB_PORT: String(nodes[0].port),
          UES_STATE_SCYLLADB_CONSISTENCY: 'LOCAL_QUORUM',
          UES_STATE_SCYLLADB_LOCAL_DC: 'datacenter1',
          UES_STATE_SCYLLADB_DC_AWARE_ROUTING: 'true',
          UES_STATE_SCYLLADB_NUM_CONNS: '1',
          UES_STATE_SCYLLADB_TIMEOUT: '5s',
        },
      })
      key = await newKey(server, 'ann')
    },
    { timeout: 600_000 },
  )
  after(async () => {
    await server?.close()
    for (const node of nodes ?? []) await node.close()
  })

  it('accepts while all are there', { timeout: 300_000 }, async () => {
    assert.deepEqual(await load(() => some(300)), [])
    await complete()
  })

  for (const lost of [0, 1, 2]) {
    it(`goes on while node ${lost + 1} is killed, is away and comes back`, { timeout: 600_000 }, async () => {
      const refused = await load(async () => {
        await some(50)
        await nodes[lost].program.kill()
        await some(300)
        await complete()
        await nodes[lost].up()
        await some(100)
      })
      // What was on its way to the node when it died may fail, with words that say that trying again helps.
      assert.ok(refused.length <= 16, JSON.stringify(refused.slice(0, 5)))
      for (const { status } of refused) assert.ok(status >= 500, `status ${status}`)
      await complete()
    })
  }

  it('says that it cannot while two are gone, and goes on when they are back', { timeout: 600_000 }, async () => {
    await Promise.all([nodes[1].program.kill(), nodes[2].program.kill()])
    const refused = await load(() => until('it says so', async () => (await pinCall(server, key, 'GET', '/pins')).status >= 500, 60))
    assert.ok(refused.every(({ status, body }) => status >= 500 && body.error.reason), JSON.stringify(refused.slice(0, 3)))
    await Promise.all([nodes[1].up(), nodes[2].up()])
    await until('it answers again', async () => (await pinCall(server, key, 'GET', '/pins').catch(() => ({}))).status === 200, 120)
    await load(() => some(100))
    await complete()
  })
})
