// The network between two devices is cut and comes back, while both write.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { rm } from 'node:fs/promises'
import { newAccount } from '../lib/accounts.mjs'
import { connections, equalRoots, explain, texts } from '../lib/device-repos.mjs'
import { DeviceNode, agentOf, pair } from '../lib/devices.mjs'
import { Host, Lan } from '../lib/network.mjs'
import { ownNetwork } from '../lib/own-network.mjs'
import { until } from '../lib/pins.mjs'

const WAYS = { TCP: '/ip4/0.0.0.0/tcp/4100', QUIC: '/ip4/0.0.0.0/udp/4100/quic-v1' }

const declare = (listen) => {
  const hosts = []
  const nodes = []
  const written = []
  let [laptop, phone, did, link] = []

  /** Each writes so many records. */
  const write = async (what, count) => {
    for (const node of nodes) {
      const agent = await agentOf(node, did)
      for (let i = 0; i < count; i++) {
        const text = `${what} ${i} on the ${node.name}`
        assert.equal((await agent.create(text)).status, 200)
        written.push(text)
      }
    }
  }
  const heals = async (seconds) => {
    await equalRoots(did, nodes, seconds)
    for (const node of nodes) assert.deepEqual(await texts(node, did), written.toSorted())
  }

  before(async () => {
    const lan = await Lan.create('192.168.1')
    for (const name of ['laptop', 'phone']) {
      const host = await Host.start(name)
      hosts.push(host)
      link = await lan.join(host, 10 + hosts.length)
      const node = new DeviceNode(host)
      nodes.push(node)
      await node.prepare(name)
      await node.up({ UES_NETWORK_START: 'always', UES_NETWORK_LISTEN: listen })
    }
    ;[laptop, phone] = nodes
    did = (await newAccount(laptop.server)).did
    await pair(laptop, did, phone)
    await equalRoots(did, nodes)
  })

  after(async () => {
    for (const node of nodes) {
      await node.stop()
      await rm(node.dir, { recursive: true, force: true })
    }
    for (const host of hosts) host.stop()
  })

  it('heals after a moment', async () => {
    await write('before', 2)
    await hosts[1].plug(link, false)
    await write('in a short break', 3)
    await hosts[1].plug(link, true)
    await heals(60)
  })

  it('heals after both have given the other up', async () => {
    await hosts[1].plug(link, false)
    await write('alone', 20)
    for (const [node, other] of [[laptop, phone], [phone, laptop]]) {
      const alone = async () => (await connections(node, other)).length === 0
      await until(`the ${node.name} sees that the other is gone`, alone, 120).catch((error) => explain(error, nodes))
    }
    await write('still alone', 5)
    await hosts[1].plug(link, true)
    // No wait between two tries is longer than half a minute.
    await heals(60)
  })
}

if (ownNetwork(import.meta.url)) {
  for (const [way, listen] of Object.entries(WAYS)) describe(`two devices that lose each other, by ${way}`, () => declare(listen))
}
