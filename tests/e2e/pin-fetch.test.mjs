// Pins of content that is not here: the embedded backend fetches it from a real Kubo, and from nodes that a hash table knows.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { uesOk } from '../lib/cli.mjs'
import { Kubo } from '../lib/kubo.mjs'
import { rawCid, until } from '../lib/pins.mjs'
import { freePort } from '../lib/process.mjs'
import { dataOf, startUes } from '../lib/servers.mjs'

/** Runs a command on a node; returns the JSON that it prints. */
const run = async (server, ...args) => JSON.parse(await uesOk(dataOf(server), ['--json', ...args]))

/** A node that listens for peers at a port of its own. */
async function node(env = {}) {
  const port = await freePort()
  const listen = `/ip4/127.0.0.1/tcp/${port}`
  const server = await startUes({
    env: { UES_NETWORK_LISTEN: listen, UES_NETWORK_EXTERNAL: listen, UES_NETWORK_MDNS: 'false', ...env },
  })
  return Object.assign(server, { address: async () => (await run(server, 'peer', 'addresses'))[0] })
}

/** Where a Kubo is reached. */
const origin = async (kubo) => JSON.parse(await kubo.ipfs(['id'])).Addresses.find((a) => a.startsWith('/ip4/127.0.0.1/tcp'))

/** The pin of a CID as `ues pin ls` has it. */
async function pinOf(server, cid) {
  const lines = (await uesOk(dataOf(server), ['--json', 'pin', 'ls'])).split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line)).find((pin) => pin.pin.cid === cid)
}

describe('pins of content that is elsewhere', () => {
  let kubo, other, server
  before(async () => {
    ;[kubo, other, server] = await Promise.all([Kubo.start(), Kubo.start(), node()])
  })
  after(async () => {
    await server?.close()
    await kubo?.close()
    await other?.close()
  })

  it('says what is missing when nobody can be asked, and starts no network', async () => {
    const cid = rawCid(randomBytes(10))
    await uesOk(dataOf(server), ['pin', 'add', cid, '--no-wait'])
    const pin = await until('a reason is known', async () => {
      const pin = await pinOf(server, cid)
      return pin.info?.status_details && pin
    })
    assert.match(pin.info.status_details, /is not here, and no peer is known that may have it/)
    assert.deepEqual(await run(server, 'peer', 'addresses'), [])
  })

  it('fetches a folder from the Kubo that the pin names, and serves it', async () => {
    const folder = path.join(kubo.dir, 'folder')
    await mkdir(path.join(folder, 'below'), { recursive: true })
    const content = randomBytes(5_000_000)
    await writeFile(path.join(folder, 'large'), content)
    for (let n = 0; n < 200; n++) await writeFile(path.join(folder, 'below', `file ${n}`), `content ${n}`)
    const cid = await kubo.ipfs(['add', '-Qr', '--cid-version', '1', folder])
    await uesOk(dataOf(server), ['pin', 'add', cid, '--origin', await origin(kubo)])
    assert.equal((await pinOf(server, cid)).status, 'pinned')

    await other.ipfs(['swarm', 'connect', await server.address()])
    assert.deepEqual(await other.bytes(['cat', `${cid}/large`]), content)
    assert.equal(await other.ipfs(['cat', `${cid}/below/file 199`]), 'content 199')
  })

  it('waits with a clear reason for what the Kubo has not, and gets it once it has', async () => {
    const content = randomBytes(100_000)
    const cid = rawCid(content)
    await uesOk(dataOf(server), ['pin', 'add', cid, '--origin', await origin(kubo), '--no-wait'])
    const pin = await until('a reason is known', async () => {
      const pin = await pinOf(server, cid)
      return pin.info?.status_details && pin
    })
    assert.match(pin.info.status_details, /none of the peers gave block/)
    assert.notEqual(pin.status, 'pinned')
    assert.equal(await kubo.block(content), cid)
    await until('it is pinned', async () => (await pinOf(server, cid)).status === 'pinned', 120)
  })

  it('says that an origin is not reached', async () => {
    const cid = rawCid(randomBytes(10))
    const nobody = `/ip4/127.0.0.1/tcp/${await freePort()}/p2p/${(await origin(kubo)).split('/').pop()}`
    const lonely = await node()
    try {
      await uesOk(dataOf(lonely), ['pin', 'add', cid, '--origin', nobody, '--no-wait'])
      await until('the reason is known', async () => {
        const reason = (await pinOf(lonely, cid)).info.status_details
        return reason?.includes('its origin cannot be reached')
      })
    } finally {
      await lonely.close()
    }
  })
})

describe('a hash table of nodes', () => {
  const servers = []
  const start = async (kademlia, env) => {
    const server = await node({ UES_NETWORK_START: 'always', UES_NETWORK_KADEMLIA: kademlia, ...env })
    servers.push(server)
    return server
  }
  after(async () => {
    for (const server of servers) await server.close()
  })

  it('leads to who has what is pinned', { timeout: 180_000 }, async () => {
    const table = await start('server')
    const UES_NETWORK_BOOTSTRAP = await table.address()
    const keeper = await start('client', { UES_NETWORK_BOOTSTRAP })
    const seeker = await start('client', { UES_NETWORK_BOOTSTRAP })
    const file = path.join(keeper.dir, 'file')
    await writeFile(file, randomBytes(600_000))
    const added = await uesOk(dataOf(keeper), ['--json', 'pin', 'add', file])
    const cid = /baf[a-z2-7]{50,}/.exec(added)[0]
    await uesOk(dataOf(seeker), ['pin', 'add', cid, '--no-wait'])
    // The keeper tells the table within half a minute; trying again need not wait for its turn.
    await until(
      'it is found and pinned',
      async () => {
        await uesOk(dataOf(seeker), ['pin', 'recover', cid])
        return (await pinOf(seeker, cid)).status === 'pinned'
      },
      100,
    )
    const peers = (await run(seeker, 'peer', 'ls')).state.peers.map((peer) => peer.peer)
    assert.ok(peers.includes((await keeper.address()).split('/').pop()), 'the keeper was reached')
  })
})
