// Two devices at two homes, each behind a router that translates addresses and has no port open, and a relay on the internet.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { rm } from 'node:fs/promises'
import { newAccount } from '../lib/accounts.mjs'
import { uesOk } from '../lib/cli.mjs'
import { connections, equalRoots, networkOf, texts } from '../lib/device-repos.mjs'
import { DeviceNode, agentOf, invite } from '../lib/devices.mjs'
import { Host, Lan, natRouter } from '../lib/network.mjs'
import { ownNetwork } from '../lib/own-network.mjs'
import { until } from '../lib/pins.mjs'

const LISTEN = '/ip4/0.0.0.0/tcp/4100,/ip4/0.0.0.0/udp/4100/quic-v1'
const RELAY = ['/ip4/45.0.0.1/udp/4100/quic-v1', '/ip4/45.0.0.1/tcp/4100']

const declare = (transport) => {
  const hosts = []
  const nodes = []
  let [relay, laptop, phone, account] = []

  const machine = async (name) => {
    const host = await Host.start(name)
    hosts.push(host)
    return host
  }
  const node = async (host, env) => {
    const node = new DeviceNode(host)
    nodes.push(node)
    await node.prepare(host.name)
    node.settings = { UES_NETWORK_START: 'always', UES_NETWORK_LISTEN: LISTEN, ...env }
    await node.up(node.settings)
    return node
  }
  /** A network of a home: the same in both, as it is with what one buys. */
  const home = async (internet, name, number) => {
    const lan = await Lan.create('192.168.1')
    const router = await natRouter(`router of the ${name}`, lan, internet, number)
    hosts.push(router)
    const host = await machine(name)
    await lan.join(host, 10, { gateway: 1 })
    return host
  }
  before(async () => {
    const internet = await Lan.create('45.0.0')
    const relayHost = await machine('relay')
    await internet.join(relayHost, 1)
    relay = await node(relayHost, { UES_NETWORK_RELAY_SERVER: 'true', UES_NETWORK_EXTERNAL: RELAY.join() })
    const { peer } = await networkOf(relay)
    const env = { UES_NETWORK_RELAYS: `${RELAY.find((address) => address.includes(transport))}/p2p/${peer}` }
    const homes = [await home(internet, 'laptop', 2), await home(internet, 'phone', 3)]
    laptop = await node(homes[0], env)
    phone = await node(homes[1], env)
    account = await newAccount(laptop.server)
    await (await agentOf(laptop, account.did)).create('from the laptop', 'one')
  })

  after(async () => {
    for (const node of nodes) {
      await node.stop()
      await rm(node.dir, { recursive: true, force: true })
    }
    for (const host of hosts) host.stop()
  })

  it('each is reachable through the relay only', async () => {
    for (const node of [laptop, phone]) {
      await until('the reservation', async () => (await networkOf(node)).reservations.length === 1)
    }
    const answers = laptop.host.run('timeout', '2', 'bash', '-c', 'exec 3<>/dev/tcp/45.0.0.3/4100')
    await assert.rejects(answers, 'the router lets strangers in')
  })

  it('pairs, and the repository comes over', async () => {
    const { link, done } = await invite(laptop, account.did)
    assert.match(link, /p2p-circuit/)
    await uesOk(phone.data, ['device', 'join', '--yes', link])
    assert.equal(await done, 0)
    await until('the phone has it', async () => (await texts(phone, account.did)).includes('from the laptop'))
  })

  it('makes a hole, and speaks directly', async () => {
    for (const [node, other] of [[laptop, phone], [phone, laptop]]) {
      await until('a direct connection', async () => (await connections(node, other)).some((one) => !one.relayed), 60)
    }
  })

  it('goes on without the relay', async () => {
    await relay.kill()
    await (await agentOf(phone, account.did)).create('from the phone', 'two')
    await (await agentOf(laptop, account.did)).create('without a relay', 'three')
    await equalRoots(account.did, [laptop, phone])
    assert.deepEqual(await texts(phone, account.did), ['from the laptop', 'from the phone', 'without a relay'])
    await until('no connection goes through a relay', async () => (await connections(phone, laptop)).every((one) => !one.relayed))
  })
}

if (ownNetwork(import.meta.url, { needs: ['nft'] })) {
  for (const transport of ['udp', 'tcp']) describe(`behind two routers, relayed by ${transport}`, () => declare(transport))
}
