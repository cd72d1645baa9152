// `ues mirror`: our node keeps a copy of an account that lives on the official server, follows it, is killed, and gives the
// copy to another node over libp2p once the server is gone. What is forged or old is refused.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { PASSWORD, newAccount } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { DeviceNode, NOTE, note } from '../lib/devices.mjs'
import { FakeOrigin } from '../lib/fake-origin.mjs'
import { until } from '../lib/pins.mjs'
import { bytes, dataRoot, head, listAll, verifiedExport } from '../lib/repos.mjs'
import { startPds, startPlc } from '../lib/servers.mjs'
import { query } from '../lib/xrpc.mjs'

const LIMIT = { timeout: 180_000 }
const RECORDS = 600

let plc, origin, account, one, two, env

before(async () => {
  plc = await startPlc()
  origin = await startPds({ plc })
  env = { UES_IDENTITY_DIRECTORY: `http://localhost:${plc.port}`, UES_PROXY_ALLOW_PRIVATE_ADDRESSES: 'true' }
  one = await DeviceNode.start('one', { env })
  two = await DeviceNode.start('two', { env })
  for (const node of [one, two]) node.server.plcUrl = plc.url
  account = await newAccount(origin)
  await write(RECORDS)
})
after(async () => {
  for (const node of [one, two]) await node?.server.close()
  for (const server of [origin, plc]) await server?.close()
})

/** Writes records at the origin. */
async function write(count) {
  for (let made = 0; made < count; made += 200) {
    const writes = Array.from({ length: Math.min(200, count - made) }, (_, n) => ({
      $type: 'com.atproto.repo.applyWrites#create',
      collection: NOTE,
      value: note(`${made + n} at ${Date.now()}`),
    }))
    await account.agent.com.atproto.repo.applyWrites({ repo: account.did, validate: false, writes })
  }
}

const status = (node, did = account.did) => node.run('mirror', 'status', did)

/** Waits until a node's copy is what the origin has. */
const current = (node, seconds = 30) =>
  until(
    `${node.name} has the newest revision`,
    async () => {
      const { commit } = await status(node)
      return commit === (await head(origin, account.did)).cid
    },
    seconds,
  ).catch(async (e) => {
    throw new Error(`${e.message}\n${JSON.stringify(await status(node), null, 1)}\n${node.server.program.log}`)
  })

describe('a mirror of an account on the official server', () => {
  it('is the same repository, verified by the official library', LIMIT, async () => {
    const made = await one.run('mirror', account.did)
    assert.equal(made.source, origin.url.replace('127.0.0.1', 'localhost'))
    const { cid, rev } = await head(origin, account.did)
    assert.deepEqual([made.commit, made.rev], [cid, rev])
    const theirs = await verifiedExport(origin, account.did)
    const ours = await verifiedExport(one.server, account.did)
    assert.deepEqual(ours.records, theirs.records)
    assert.equal(ours.records.size, RECORDS)
  })

  it('is read by the usual methods, which say where it is from', LIMIT, async () => {
    const { did } = account
    const [record] = await listAll(origin, did, NOTE)
    const params = { repo: did, collection: NOTE, rkey: record.uri.split('/').at(-1) }
    const read = await query(one.server, 'com.atproto.repo.getRecord', params)
    assert.equal(read.status, 200)
    assert.deepEqual(read.body, record)
    assert.match(read.headers.get('ues-mirror'), new RegExp(`^${did}; rev=.*; from=http://localhost:`))
    assert.deepEqual(await listAll(one.server, did, NOTE), await listAll(origin, did, NOTE))
    const proof = await query(one.server, 'com.atproto.sync.getRecord', { did, collection: NOTE, rkey: params.rkey })
    assert.equal(proof.status, 200)
    assert.ok(proof.headers.get('ues-mirror'))
  })

  it('is no account here', LIMIT, async () => {
    const { did } = account
    assert.deepEqual((await bytes(one.server, 'com.atproto.sync.listRepos', {})).repos, [])
    assert.equal((await query(one.server, 'com.atproto.sync.getRepoStatus', { did })).error, 'RepoNotFound')
    assert.equal((await query(one.server, 'com.atproto.repo.describeRepo', { repo: did })).status, 400)
    const agent = new AtpAgent({ service: one.server.url })
    await assert.rejects(agent.login({ identifier: did, password: PASSWORD }))
  })

  it('follows what is written, changed and deleted', LIMIT, async () => {
    const { agent, did } = account
    await until('the event stream is open', async () => (await status(one)).followed)
    const created = await agent.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record: note('new'), validate: false })
    await current(one)
    const rkey = created.data.uri.split('/').at(-1)
    await agent.com.atproto.repo.putRecord({ repo: did, collection: NOTE, rkey, record: note('changed'), validate: false })
    await current(one)
    const read = await query(one.server, 'com.atproto.repo.getRecord', { repo: did, collection: NOTE, rkey })
    assert.equal(read.body.value.text, 'changed')
    await agent.com.atproto.repo.deleteRecord({ repo: did, collection: NOTE, rkey })
    await current(one)
    assert.equal((await query(one.server, 'com.atproto.repo.getRecord', { repo: did, collection: NOTE, rkey })).error, 'RecordNotFound')
    assert.equal(await dataRoot(one.server, did), await dataRoot(origin, did))
  })

  it('fetches what differs and not the whole again', LIMIT, async () => {
    await one.stop()
    await write(1)
    const { outcome, taken } = JSON.parse(await uesOk(one.data, ['--json', 'mirror', 'update', account.did], { env }))
    assert.equal(outcome, 'updated')
    assert.equal(taken.records, 1)
    assert.ok(taken.blocks < 20, `${taken.blocks} blocks came for one record of ${RECORDS}`)
    await one.up(env)
    one.server.plcUrl = plc.url
    await current(one)
  })

  it('survives kill -9, and goes on by itself', LIMIT, async () => {
    for (let round = 0; round < 3; round++) {
      await write(20)
      await one.kill()
      await write(1)
      await one.up(env)
      one.server.plcUrl = plc.url
      await current(one)
    }
    await uesOk(one.data, ['check'])
    assert.deepEqual((await verifiedExport(one.server, account.did)).records, (await verifiedExport(origin, account.did)).records)
  })

  it('is had from another node when the server is gone, and its changes too', LIMIT, async () => {
    const [address] = await one.run('peer', 'addresses')
    const before = await head(origin, account.did)
    await origin.program.stop()
    const made = await two.run('mirror', account.did, '--from', address)
    assert.equal(made.commit, before.cid)
    assert.equal(made.source, `peer ${address.split('/p2p/')[1]}`)
    const ours = await verifiedExport(two.server, account.did)
    assert.deepEqual(ours.records, (await verifiedExport(one.server, account.did)).records)
    assert.match((await query(two.server, 'com.atproto.sync.getLatestCommit', { did: account.did })).headers.get('ues-mirror'), /from=peer /)
  })

  it('is let go of', LIMIT, async () => {
    const { did } = account
    await two.run('mirror', 'rm', did)
    assert.equal((await query(two.server, 'com.atproto.sync.getRepo', { did })).error, 'RepoNotFound')
    assert.deepEqual(await two.run('mirror', 'ls'), [])
    assert.equal((await ues(two.data, ['mirror', 'status', did])).code, 3)
  })
})

describe('a copy that is not to be believed', () => {
  const DID = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz'
  const nodeOf = (name, directory) =>
    DeviceNode.start(name, { env: { ...env, UES_IDENTITY_DIRECTORY: directory.url } })

  it('is refused when the server goes back or tells two stories', LIMIT, async () => {
    const fake = await FakeOrigin.start(DID)
    const node = await nodeOf('strict', fake)
    try {
      const first = await fake.write(NOTE, 'a', note('one'))
      const second = await fake.write(NOTE, 'b', note('two'))
      assert.equal((await node.run('mirror', DID)).rev, second.commit.rev)
      const refused = async (what) => {
        const { code, stderr } = await ues(node.data, ['mirror', 'update', DID])
        assert.equal(code, 4, stderr)
        assert.match(stderr, what)
        const { rev, refused } = await status(node, DID)
        assert.equal(rev, second.commit.rev, 'what was here stays')
        assert.match(refused.why, what)
      }
      fake.repo = first
      await refused(/is older than/)
      fake.repo = await fake.fork(first, second.commit.rev)
      await refused(/signed with the same revision/)
      fake.repo = second
      await fake.write(NOTE, 'c', note('three'))
      await node.run('mirror', 'update', DID)
      assert.equal((await status(node, DID)).refused, null)
    } finally {
      await node.server.close()
      fake.close()
    }
  })

  it('is refused when a peer has one that another key has signed', LIMIT, async () => {
    const [honest, liar] = [await FakeOrigin.start(DID), await FakeOrigin.start(DID)]
    const [victim, forger] = [await nodeOf('victim', honest), await nodeOf('forger', liar)]
    try {
      await liar.write(NOTE, 'a', note('forged'))
      await forger.run('mirror', DID)
      // The first mirror starts its network.
      const [address] = await until('it listens for peers', async () => {
        const addresses = await forger.run('peer', 'addresses')
        return addresses.length > 0 && addresses
      })
      // The honest server says who signs, and has nothing to give.
      honest.repo = { cid: { toString: () => 'nothing' }, commit: { rev: 'nothing' } }
      const { code, stderr } = await ues(victim.data, ['mirror', DID, '--from', address])
      assert.equal(code, 4, stderr)
      assert.match(stderr, /does not verify with the account's key/)
      const { refused, rev } = await status(victim, DID)
      assert.equal(rev, undefined)
      assert.match(refused.source, /^peer /)
      assert.equal((await query(victim.server, 'com.atproto.sync.getRepo', { did: DID })).error, 'RepoNotFound')
    } finally {
      for (const node of [victim, forger]) await node.server.close()
      for (const fake of [honest, liar]) fake.close()
    }
  })
})
