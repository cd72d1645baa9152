// A device joins with nothing but the short code: it finds who has invited in the local network, by mDNS. Three machines on
// one switch.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { rm } from 'node:fs/promises'
import { ues, uesOk } from '../lib/cli.mjs'
import { DeviceNode, NOTE, agentOf, invite } from '../lib/devices.mjs'
import { newAccount } from '../lib/accounts.mjs'
import { Host, Lan } from '../lib/network.mjs'
import { ownNetwork } from '../lib/own-network.mjs'
import { until } from '../lib/pins.mjs'
import { listAll } from '../lib/repos.mjs'

const declare = () => {
  const hosts = []
  let laptop
  let neighbour
  let phone
  let account

  before(async () => {
    const lan = await Lan.create('192.168.1')
    const start = async (name) => {
      const host = await Host.start(name)
      hosts.push(host)
      await lan.join(host, 10 + hosts.length)
      const node = new DeviceNode(host)
      await node.prepare(name)
      await node.up({ UES_NETWORK_MDNS: 'true', UES_NETWORK_LISTEN: `/ip4/0.0.0.0/tcp/${node.peerPort}` })
      return node
    }
    laptop = await start('laptop')
    neighbour = await start('neighbour')
    phone = await start('phone')
    account = await newAccount(laptop.server)
    await (await agentOf(laptop, account.did)).create('found by its code', 'one')
    // Somebody else in the same network, who invites to something of their own.
    const other = await newAccount(neighbour.server)
    const theirs = await invite(neighbour, other.did)
    theirs.child.kill()
  })

  after(async () => {
    for (const node of [laptop, neighbour, phone]) {
      await node?.stop()
      if (node) await rm(node.dir, { recursive: true, force: true })
    }
    for (const host of hosts) host.stop()
  })

  it('finds the device that has invited with it, among others', async () => {
    const { code, done } = await invite(laptop, account.did)
    assert.match(code, /^[0-9A-Z]{5}-[0-9A-Z]{5}$/)
    await uesOk(phone.data, ['device', 'join', '--yes', code])
    assert.equal(await done, 0)
    await until('the phone has it', async () => {
      const all = await listAll(phone.server, account.did, NOTE).catch(() => [])
      return all.some((record) => record.value.text === 'found by its code')
    })
  })

  it('says so when nobody has invited with it', async () => {
    const refused = await ues(phone.data, ['device', 'join', '--yes', '00000-00000'])
    assert.notEqual(refused.code, 0)
    assert.match(refused.stderr, /no device in this network has invited with that code/)
  })
}

if (ownNetwork(import.meta.url)) describe('a bare code', declare)
