// What a node tells of others and of itself: identities, lexicons, hosts, and what it tells relays.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import * as plc from '@did-plc/lib'
import { newAccount, newHandle } from '../lib/accounts.mjs'
import { Service, serviceDid } from '../lib/appview.mjs'
import { startDns } from '../lib/dns.mjs'
import { until } from '../lib/relay.mjs'
import { TARGET, startPds, startPlc, startUes } from '../lib/servers.mjs'
import { procedure, query } from '../lib/xrpc.mjs'

const skip = TARGET !== 'ues' && 'the official server leaves this to others'
const SCHEMA = 'com.atproto.lexicon.schema'

describe('a node among others', { skip }, () => {
  let dns, directory, node, elsewhere, here, there
  before(async () => {
    ;[dns, directory] = await Promise.all([startDns(), startPlc()])
    const env = {
      UES_IDENTITY_DIRECTORY: directory.url,
      UES_IDENTITY_DNS_SERVERS: dns.address,
      UES_PROXY_ALLOW_PRIVATE_ADDRESSES: 'true',
    }
    ;[node, elsewhere] = await Promise.all([startUes({ env }), startPds({ plc: directory })])
    node.plcUrl = directory.url
    ;[here, there] = await Promise.all([newAccount(node), newAccount(elsewhere)])
  })
  after(async () => {
    for (const one of [node, elsewhere, directory]) await one?.close()
    dns?.close()
  })

  const resolve = (identifier) => query(node, 'com.atproto.identity.resolveIdentity', { identifier })

  describe('identities', () => {
    it('of its own are resolved by handle and by DID', async () => {
      const { agent, did, handle } = here
      for (const identifier of [handle, handle.toUpperCase(), did]) {
        const { data } = await agent.com.atproto.identity.resolveIdentity({ identifier })
        assert.deepEqual([data.did, data.handle, data.didDoc.id], [did, handle, did])
      }
      const { data } = await agent.com.atproto.identity.resolveDid({ did })
      assert.deepEqual(data.didDoc.alsoKnownAs, [`at://${handle}`])
    })

    it('of others, too; a handle that does not point back does not hold', async () => {
      const { body } = await resolve(there.did)
      assert.deepEqual([body.did, body.handle, body.didDoc.service[0].serviceEndpoint], [there.did, 'handle.invalid', `http://localhost:${elsewhere.port}`])
    })

    it('with a handle in DNS', async () => {
      const handle = 'somebody.example.com'
      const { did } = await serviceDid(node, {})
      dns.records.set(`_atproto.${handle}`, [`did=${did}`])
      // The document names another one.
      assert.equal((await resolve(handle)).body.handle, 'handle.invalid')
      assert.equal((await resolve(handle)).body.did, did)
    })

    it('are asked for again when they changed', async () => {
      const handle = newHandle('moved')
      await resolve(there.did)
      await there.agent.com.atproto.identity.updateHandle({ handle })
      const { body } = await procedure(node, 'com.atproto.identity.refreshIdentity', { identifier: there.did })
      assert.deepEqual(body.didDoc.alsoKnownAs, [`at://${handle}`])
      assert.deepEqual((await resolve(there.did)).body.didDoc.alsoKnownAs, [`at://${handle}`])
    })

    it('that are not there are named', async () => {
      const gone = await serviceDid(node, {})
      const client = new plc.Client(directory.url)
      await client.tombstone(gone.did, gone.key)
      const cases = [
        ['nobody.test', 'HandleNotFound'],
        ['nobody.example.com', 'HandleNotFound'],
        ['did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', 'DidNotFound'],
        ['did:example:abc', 'DidNotFound'],
        [gone.did, 'DidNotFound'],
        ['no identifier', 'InvalidRequest'],
      ]
      for (const [identifier, error] of cases) {
        const got = await resolve(identifier)
        assert.deepEqual([got.status, got.error], [400, error], `${identifier}: ${got.message}`)
      }
    })
  })

  describe('lexicons', () => {
    const publish = async (account, nsid, value = { lexicon: 1, id: nsid, defs: { main: { type: 'token' } } }) => {
      const record = { $type: SCHEMA, ...value }
      const { data } = await account.agent.com.atproto.repo.createRecord({ repo: account.did, collection: SCHEMA, rkey: nsid, record, validate: false })
      return data
    }
    const ask = (nsid) => query(node, 'com.atproto.lexicon.resolveLexicon', { nsid })

    it('of its own accounts and of others are found by DNS', async () => {
      for (const [account, name] of [[here, 'here'], [there, 'there']]) {
        const nsid = `com.example.${name}.thing`
        dns.records.set(`_lexicon.${name}.example.com`, ['v=1', `did=${account.did}`])
        const { uri, cid } = await publish(account, nsid)
        const got = await ask(nsid)
        assert.equal(got.status, 200, got.message)
        assert.deepEqual([got.body.uri, got.body.cid, got.body.schema.id], [uri, cid, nsid])
      }
    })

    it('that are not published are not found', async () => {
      await publish(there, 'com.example.there.other', { lexicon: 1, id: 'com.example.there.another', defs: {} })
      for (const nsid of ['com.example.there.absent', 'com.example.nowhere.thing', 'com.example.there.other', 'com.example.there.deeper.thing']) {
        const got = await ask(nsid)
        assert.deepEqual([got.status, got.error], [400, 'LexiconNotFound'], got.message)
      }
    })

    it('with a forged proof are not believed', async () => {
      const forger = await Service.start()
      try {
        const { did } = await serviceDid(node, { atproto_pds: { type: 'AtprotoPersonalDataServer', endpoint: forger.url } })
        dns.records.set('_lexicon.forged.example.com', [`did=${did}`])
        const nsid = 'com.example.there.thing'
        const params = { did: there.did, collection: SCHEMA, rkey: nsid }
        const proof = (await query(elsewhere, 'com.atproto.sync.getRecord', params)).body
        forger.answer('com.atproto.sync.getRecord', { body: Buffer.from(proof), headers: { 'content-type': 'application/vnd.ipld.car' } })
        const got = await ask('com.example.forged.thing')
        assert.deepEqual([got.status, got.error], [400, 'LexiconNotFound'])
        assert.match(got.message, /another account/)
        assert.ok(forger.last('com.atproto.sync.getRecord'))
      } finally {
        await forger.close()
      }
    })
  })

  describe('hosts', () => {
    it('are one: itself', async () => {
      const hostname = `localhost:${node.port}`
      const { body } = await query(node, 'com.atproto.sync.listHosts', {})
      assert.equal(body.hosts.length, 1)
      const [host] = body.hosts
      assert.deepEqual([host.hostname, host.status], [hostname, 'active'])
      assert.ok(host.seq > 0 && host.accountCount >= 1)
      const { body: status } = await query(node, 'com.atproto.sync.getHostStatus', { hostname })
      assert.deepEqual(status.hostname, hostname)
      const other = await query(node, 'com.atproto.sync.getHostStatus', { hostname: 'other.example.com' })
      assert.deepEqual([other.status, other.error], [400, 'HostNotFound'])
      assert.equal((await procedure(node, 'com.atproto.sync.requestCrawl', { hostname })).status, 200)
      assert.equal((await procedure(node, 'com.atproto.sync.requestCrawl', { hostname: 'other.example.com' })).status, 400)
    })

    it('have repositories that are found by what is in them', async () => {
      const collection = 'com.example.rare'
      const accounts = [await newAccount(node), await newAccount(node), await newAccount(node)]
      for (const { agent, did } of [accounts[0], accounts[2]]) {
        await agent.com.atproto.repo.createRecord({ repo: did, collection, record: { $type: collection } })
      }
      const found = []
      let cursor
      do {
        const { body } = await query(node, 'com.atproto.sync.listReposByCollection', { collection, limit: 1, cursor })
        found.push(...body.repos.map((r) => r.did))
        cursor = body.cursor
      } while (cursor)
      assert.deepEqual(found, [accounts[0].did, accounts[2].did])
      const none = await query(node, 'com.atproto.sync.listReposByCollection', { collection: 'com.example.rar' })
      assert.deepEqual(none.body, { repos: [] })
    })
  })
})

describe('relays', { skip }, () => {
  it('are told of a node that starts, and again when they could not listen', async () => {
    const [relay, busy] = [await Service.start(), await Service.start()]
    relay.answer('com.atproto.sync.requestCrawl', { body: '' })
    let times = 0
    busy.answer('com.atproto.sync.requestCrawl', () => ({ status: times++ ? 200 : 503, body: '' }))
    const node = await startUes({ env: { UES_FIREHOSE_RELAYS: `${relay.url},${busy.url}` } })
    try {
      await until('both are told', () => relay.seen.length === 1 && busy.seen.length === 2, 30)
      for (const { method, body, headers } of [...relay.seen, ...busy.seen]) {
        assert.equal(method, 'POST')
        assert.equal(headers['content-type'], 'application/json')
        assert.deepEqual(JSON.parse(body), { hostname: `localhost:${node.port}` })
      }
      for (let i = 0; i < 3; i++) await newAccount(node)
      assert.equal(relay.seen.length, 1, 'not with every event')
    } finally {
      await node.close()
      await relay.close()
      await busy.close()
    }
  })
})
