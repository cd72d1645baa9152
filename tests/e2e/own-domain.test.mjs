// Handles of domains of one's own: what DNS or the domain's web server says about whose they are, in front of our node and of the
// official server, which must judge alike.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Secp256k1Keypair } from '@atproto/crypto'
import { createServiceJwt } from '@atproto/xrpc-server'
import * as plc from '@did-plc/lib'
import { PASSWORD, newAccount } from '../lib/accounts.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { Internet, PUBLIC } from '../lib/internet.mjs'
import { ownNetwork } from '../lib/own-network.mjs'
import { TARGET, startPds, startUes } from '../lib/servers.mjs'
import { procedure, query } from '../lib/xrpc.mjs'

const OTHER = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const UPDATE = 'com.atproto.identity.updateHandle'
const CREATE = 'com.atproto.server.createAccount'

const declare = () => {
  let internet, sides
  /** What a domain's web server says; nothing is 404. */
  const pages = new Map()
  before(async () => {
    internet = await Internet.start(({ name, path }, res) => {
      const said = path === '/.well-known/atproto-did' ? pages.get(name) : undefined
      return said === undefined ? res.writeHead(404).end('nothing') : res.writeHead(200, { 'content-type': 'text/plain' }).end(said)
    })
    const servers = await Promise.all([
      startUes({ env: internet.env }),
      startPds({ env: { NODE_EXTRA_CA_CERTS: internet.env.SSL_CERT_FILE } }),
    ])
    sides = await Promise.all(servers.map(async (server) => ({ server, account: await newAccount(server) })))
  })
  after(async () => {
    for (const { server } of sides ?? []) await server.close()
    await internet?.close()
  })

  const update = ({ server, account }, handle) => procedure(server, UPDATE, { handle }, { token: account.token })
  const gist = ({ status, error, message }) => ({ status, error, message })
  const REFUSED = { status: 400, error: 'InvalidRequest', message: 'External handle did not resolve to DID' }

  /** A domain about which DNS has these texts and its web server says this; both may depend on the account. */
  const domain = (account, { texts = () => undefined, page = () => undefined }) => {
    const { host } = internet.name(PUBLIC)
    const found = texts(account.did)
    if (found) internet.dns.records.set(`_atproto.${host}`, found)
    const said = page(account.did)
    if (said !== undefined) pages.set(host, said)
    return host
  }

  const good = {
    'DNS names the account': { texts: (did) => [`did=${did}`] },
    'DNS says other things besides': { texts: (did) => ['v=spf1 -all', `did=${did}`] },
    'its web server names the account': { page: (did) => did },
    'its web server ends the line': { page: (did) => `${did}\r\n` },
    'DNS names the account, its web server another': { texts: (did) => [`did=${did}`], page: () => OTHER },
    'DNS has two answers, its web server names the account': { texts: (did) => [`did=${did}`, `did=${OTHER}`], page: (did) => did },
  }
  for (const [what, says] of Object.entries(good)) {
    it(`are given when ${what}`, async () => {
      for (const side of sides) {
        const { server, account } = side
        const handle = domain(account, says)
        const stream = new Subscription(server)
        await stream.opened
        const got = await update(side, handle)
        assert.equal(got.status, 200, `${server.kind}: ${got.message}`)
        await stream.until((events) => events.some((e) => e.t === '#identity' && e.did === account.did && e.handle === handle))
        await stream.close()
        const found = await query(server, 'com.atproto.identity.resolveHandle', { handle })
        assert.deepEqual(found.body, { did: account.did })
        const { alsoKnownAs } = await new plc.Client(server.plcUrl).getDocumentData(account.did)
        assert.deepEqual(alsoKnownAs, [`at://${handle}`])
        const { body } = await query(server, 'com.atproto.repo.describeRepo', { repo: handle })
        assert.deepEqual([body.did, body.handle], [account.did, handle], server.kind)
        // The official server still has the document from before.
        if (server.kind === 'ues') assert.equal(body.handleIsCorrect, true)
      }
    })
  }

  const bad = {
    'nobody says anything': {},
    'DNS names another account': { texts: () => [`did=${OTHER}`] },
    'its web server names another account': { page: () => OTHER },
    'DNS names another account, its web server this one': { texts: () => [`did=${OTHER}`], page: (did) => did },
    'DNS has two answers': { texts: (did) => [`did=${did}`, `did=${OTHER}`] },
    'DNS names no DID': { texts: () => ['did='] },
    'DNS names the account without a word before it': { texts: (did) => [did] },
    'its web server answers with a page': { page: (did) => `<html>${did}</html>` },
  }
  for (const [what, says] of Object.entries(bad)) {
    it(`are not given when ${what}`, async () => {
      for (const side of sides) {
        const before = await new plc.Client(side.server.plcUrl).getDocumentData(side.account.did)
        assert.deepEqual(gist(await update(side, domain(side.account, says))), REFUSED, side.server.kind)
        assert.deepEqual(await new plc.Client(side.server.plcUrl).getDocumentData(side.account.did), before)
      }
    })
  }

  it('are given as soon as the record is there, to whoever asked too early', async () => {
    for (const side of sides) {
      const handle = domain(side.account, {})
      assert.deepEqual(gist(await update(side, handle)), REFUSED, side.server.kind)
      internet.dns.records.set(`_atproto.${handle}`, [`did=${side.account.did}`])
      const got = await update(side, handle)
      assert.equal(got.status, 200, `${side.server.kind}: ${got.message}`)
    }
  })

  it('are given as soon as the record names the account, whomever it named before', async () => {
    for (const side of sides) {
      const handle = domain(side.account, { texts: () => [`did=${OTHER}`] })
      // Somebody asked whose it is.
      assert.deepEqual((await query(side.server, 'com.atproto.identity.resolveHandle', { handle })).body, { did: OTHER })
      internet.dns.records.set(`_atproto.${handle}`, [`did=${side.account.did}`])
      const got = await update(side, handle)
      assert.equal(got.status, 200, `${side.server.kind}: ${got.message}`)
    }
  })

  it('are not given any more once the record has gone', async () => {
    for (const side of sides) {
      const handle = domain(side.account, { texts: (did) => [`did=${did}`] })
      assert.deepEqual((await query(side.server, 'com.atproto.identity.resolveHandle', { handle })).body, { did: side.account.did })
      internet.dns.records.delete(`_atproto.${handle}`)
      assert.deepEqual(gist(await update(side, handle)), REFUSED, side.server.kind)
    }
  })

  it('belong to one account', async () => {
    for (const side of sides) {
      const handle = domain(side.account, { texts: (did) => [`did=${did}`] })
      assert.equal((await update(side, handle)).status, 200)
      const second = { ...side, account: await newAccount(side.server) }
      const { host } = internet.name(PUBLIC)
      internet.dns.records.set(`_atproto.${host}`, [`did=${second.account.did}`])
      assert.equal((await update(second, host)).status, 200, 'the other one has a domain, too')
      side.taken = gist(await update(second, handle))
      assert.equal(side.taken.status, 400)
    }
    assert.deepEqual(sides[0].taken.error, sides[1].taken.error)
  })

  describe('and new accounts', () => {
    const email = () => `${Math.random().toString(36).slice(2)}@example.com`

    /** An identity that lives elsewhere and has a domain; `make` makes its account here. */
    const identity = async (server) => {
      const key = await Secp256k1Keypair.create()
      const { host: handle } = internet.name(PUBLIC)
      const did = await new plc.Client(server.plcUrl).createDid({
        signingKey: key.did(),
        handle,
        pds: 'https://old.example.com',
        rotationKeys: [key.did()],
        signer: key,
      })
      const { body } = await query(server, 'com.atproto.server.describeServer', {})
      const make = async () => {
        const token = await createServiceJwt({ iss: did, aud: body.did, lxm: CREATE, keypair: key })
        return procedure(server, CREATE, { did, handle, email: email(), password: PASSWORD }, { token })
      }
      return { did, handle, make }
    }

    it('have none without an identity that is there already', async () => {
      for (const { server } of sides) {
        const { host } = internet.name(PUBLIC)
        internet.dns.records.set(`_atproto.${host}`, [`did=${OTHER}`])
        const got = await procedure(server, CREATE, { handle: host, email: email(), password: PASSWORD })
        assert.deepEqual([got.status, got.error], [400, 'UnsupportedDomain'], `${server.kind}: ${got.message}`)
      }
    })

    it('of an identity that is there keep its domain, when that names it', async () => {
      for (const { server } of sides) {
        const { did, handle, make } = await identity(server)
        assert.deepEqual(gist(await make()), REFUSED, server.kind)
        internet.dns.records.set(`_atproto.${handle}`, [`did=${did}`])
        const made = await make()
        assert.deepEqual([made.status, made.body.did, made.body.handle], [200, did, handle], `${server.kind}: ${made.message}`)
      }
    })
  })
}

if (TARGET === 'pds') it('are ours', { skip: 'both servers are in it' })
else if (ownNetwork(import.meta.url)) describe("handles of one's own domain", declare)
