// Addresses that strangers name, on an internet of the test's own where they would lead somewhere: documents and keys of
// applications, hosts of handles, documents of did:web, homes of lexicons, services of accounts. What lies in the node's network
// gets no connection, however they lead there.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, it } from 'node:test'
import { SignJWT } from 'jose'
import { newAccount } from '../lib/accounts.mjs'
import { serviceDid } from '../lib/appview.mjs'
import { DEAF, INSIDE, Internet, PUBLIC } from '../lib/internet.mjs'
import { newKey, random, sha256 } from '../lib/oauth.mjs'
import { ownNetwork } from '../lib/own-network.mjs'
import { TARGET, startUes } from '../lib/servers.mjs'
import { query } from '../lib/xrpc.mjs'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const REDIRECT = 'https://app.example.com/callback'

const declare = () => {
  let internet, node, key
  // What a path is answered with, where it is not what everybody gets.
  const answers = new Map()

  /** A good document of the application that has this id. */
  const document = (id, more = {}) => ({
    client_id: id,
    client_name: 'An application',
    redirect_uris: [REDIRECT],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    scope: 'atproto',
    token_endpoint_auth_method: 'none',
    dpop_bound_access_tokens: true,
    ...more,
  })

  /** Both servers answer the same, so that nobody is refused for what is said there. */
  const answer = ({ name, path, req }, res) => {
    const own = answers.get(name + path)
    if (own) return own(res, req)
    if (path === '/.well-known/atproto-did') return res.end(DID)
    if (path === '/.well-known/did.json') return res.end(JSON.stringify({ id: `did:web:${name}` }))
    if (path.startsWith('/xrpc/')) return res.writeHead(200, { 'content-type': 'application/json' }).end('{"answered":true}')
    const json = path === '/jwks.json' ? { keys: [{ ...key.jwk, kid: 'k' }] } : document(`https://${name}${path}`)
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(json))
  }
  const says = (place, json) => answers.set(place, (res) => res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(json)))
  const moved = (from, to, status = 302) => answers.set(from, (res) => res.writeHead(status, { location: to }).end())
  const nobodyInside = () => assert.deepEqual([internet.inside.connections, internet.inside.paths], [0, []], 'nobody came inside')
  const asked = (place) => internet.public.paths.filter((path) => path === place).length

  before(async () => {
    key = await newKey()
    internet = await Internet.start(answer)
    node = await startUes({ env: { ...internet.env, UES_PUBLIC_URL: 'https://node.example' } })
  })
  after(async () => {
    await node?.close()
    await internet?.close()
  })

  /** Pushes a request for an application; its keys sign where it has some. */
  async function push(id, signs = false) {
    const body = new URLSearchParams({
      client_id: id,
      response_type: 'code',
      redirect_uri: REDIRECT,
      scope: 'atproto',
      state: 'x',
      code_challenge: sha256(random()),
      code_challenge_method: 'S256',
    })
    if (signs) {
      const now = Math.floor(Date.now() / 1000)
      const claims = { iss: id, sub: id, aud: 'https://node.example', jti: random(), iat: now, exp: now + 60 }
      body.set('client_assertion', await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(key.privateKey))
      body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
    }
    const res = await fetch(`${node.url}/oauth/par`, { method: 'POST', body })
    return { status: res.status, ...(await res.json()) }
  }
  const isRefused = (answer) => assert.deepEqual([answer.status, answer.error], [400, 'invalid_client_metadata'], JSON.stringify(answer))
  const isTaken = (answer) => assert.equal(answer.status, 201, JSON.stringify(answer))

  describe('documents of applications', () => {
    it('are read where they lie on the public internet', async () => {
      const name = internet.name(PUBLIC)
      isTaken(await push(`https://${name}/client.json`))
      assert.equal(asked(`${name}/client.json`), 1)
    })

    it('that were moved are not followed, not even to the same host', async () => {
      const [name, other] = [internet.name(PUBLIC), internet.name(PUBLIC)]
      const inside = internet.name(INSIDE)
      for (const [n, to] of ['/moved', `https://${name}/moved`, `https://${other}/moved`, `http://${other}/moved`, `https://${inside}/moved`, `https://${INSIDE}/moved`].entries()) {
        for (const status of [301, 302, 303, 307, 308]) {
          const from = `${name}/${status}-${n}.json`
          moved(from, to, status)
          // Where it leads there is the document that was looked for.
          for (const host of [name, other, inside, INSIDE]) says(`${host}/moved`, document(`https://${from}`))
          isRefused(await push(`https://${from}`))
          assert.equal(asked(from), 1, 'the first place was asked')
        }
      }
      assert.deepEqual([asked(`${name}/moved`), asked(`${other}/moved`)], [0, 0])
      nobodyInside()
    })

    it('are read from the address that was judged, wherever the name leads the next time (DNS rebinding)', async () => {
      // Somebody who judges one answer, or several, and connects to the next one would come inside.
      for (let judged = 1; judged <= 4; judged++) {
        const name = internet.name(...Array(judged).fill(PUBLIC), INSIDE)
        const id = `https://${name}/client.json`
        const taken = await push(id)
        if (judged === 1) isTaken(taken)
        // Whether the document is remembered or asked for again: from here on the name leads inside.
        for (let tries = 0; tries < 3; tries++) await push(id)
        assert.ok(name.lookups() >= 1)
        nobodyInside()
      }
      const back = internet.name(INSIDE, PUBLIC, INSIDE)
      isRefused(await push(`https://${back}/client.json`))
      isTaken(await push(`https://${back}/client.json`))
      nobodyInside()
    })

    it('are read from the public one of several addresses, and not from the other when that one is silent', async () => {
      for (const turn of [
        [INSIDE, PUBLIC],
        [PUBLIC, INSIDE],
      ]) {
        const name = internet.name(turn)
        isTaken(await push(`https://${name}/client.json`))
        assert.equal(asked(`${name}/client.json`), 1)
      }
      for (const turn of [
        [INSIDE, DEAF],
        [DEAF, INSIDE],
      ]) {
        const name = internet.name(turn)
        isRefused(await push(`https://${name}/client.json`))
        assert.ok(name.lookups() >= 1)
      }
      nobodyInside()
    })

    it('that come a byte at a time, for ever, are given up', async () => {
      const name = internet.name(PUBLIC)
      let drips = 0
      let left
      answers.set(`${name}/drips.json`, (res) => {
        left = once(res, 'close')
        res.writeHead(200, { 'content-type': 'application/json' })
        const timer = setInterval(() => {
          drips++
          res.write(' ')
        }, 50)
        res.once('close', () => clearInterval(timer))
      })
      isRefused(await push(`https://${name}/drips.json`))
      assert.ok(drips > 0, 'it had begun')
      await left
    })
  })

  describe('keys of applications', () => {
    const confidential = (jwks_uri) => ({ token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256', jwks_uri })
    const application = (name, jwks_uri) => {
      says(`${name}/app.json`, document(`https://${name}/app.json`, confidential(jwks_uri)))
      return push(`https://${name}/app.json`, true)
    }

    it('are read where they lie on the public internet', async () => {
      const name = internet.name(PUBLIC)
      isTaken(await application(name, `https://${name}/jwks.json`))
      assert.equal(asked(`${name}/jwks.json`), 1)
    })

    it('are not looked for inside, nor where they were moved', async () => {
      const elsewhere = internet.name(PUBLIC)
      moved(`${elsewhere}/moved-keys.json`, `https://${elsewhere}/jwks.json`)
      moved(`${elsewhere}/inside-keys.json`, `https://${internet.name(INSIDE)}/jwks.json`)
      for (const uri of [
        `https://${INSIDE}/jwks.json`,
        `https://${internet.name(INSIDE)}/jwks.json`,
        `https://${internet.name([DEAF, INSIDE])}/jwks.json`,
        `https://localhost/jwks.json`,
        `http://${internet.name(PUBLIC)}/jwks.json`,
        `https://${elsewhere}/moved-keys.json`,
        `https://${elsewhere}/inside-keys.json`,
      ]) {
        const name = internet.name(PUBLIC)
        const answer = await application(name, uri)
        assert.ok(['invalid_client', 'invalid_client_metadata'].includes(answer.error), `${uri}: ${JSON.stringify(answer)}`)
        assert.equal(asked(`${name}/app.json`), 1, 'the document was read')
      }
      assert.equal(asked(`${elsewhere}/jwks.json`), 0)
      nobodyInside()
    })
  })

  describe('hosts of handles', () => {
    const WELL_KNOWN = '/.well-known/atproto-did'
    const resolve = (handle) => query(node, 'com.atproto.identity.resolveHandle', { handle: `${handle}` })
    const isFound = async (handle) => assert.deepEqual((await resolve(handle)).body, { did: DID })
    const isNotFound = async (handle, why) => {
      const { status, message } = await resolve(handle)
      assert.deepEqual([status, message], [400, 'Unable to resolve handle'], why)
    }
    /** A handle whose host sends on so often before it answers; gives the places. */
    const chain = (hops) => {
      const places = Array.from({ length: hops }, () => internet.name(PUBLIC))
      const handle = internet.name(PUBLIC)
      ;[handle, ...places].slice(0, -1).forEach((from, n) => moved(`${from}${WELL_KNOWN}`, `https://${places[n]}${WELL_KNOWN}`))
      return { handle, last: places.at(-1) ?? handle }
    }

    it('are asked, and may send on three times', async () => {
      for (const hops of [0, 1, 3]) {
        const { handle, last } = chain(hops)
        await isFound(handle)
        assert.equal(asked(`${last}${WELL_KNOWN}`), 1)
      }
      const { handle, last } = chain(4)
      await isNotFound(handle)
      assert.equal(asked(`${last}${WELL_KNOWN}`), 0)
    })

    it('send nobody to plain http, to an address, or inside', async () => {
      const other = internet.name(PUBLIC)
      const before = internet.public.paths.length
      const places = [
        `http://${other}${WELL_KNOWN}`,
        `https://${PUBLIC}${WELL_KNOWN}`,
        `https://${INSIDE}${WELL_KNOWN}`,
        `https://[::1]${WELL_KNOWN}`,
        `https://2130706433${WELL_KNOWN}`,
        `https://localhost${WELL_KNOWN}`,
        `https://${internet.name(INSIDE)}${WELL_KNOWN}`,
        `https://${internet.name([INSIDE, DEAF])}${WELL_KNOWN}`,
        `ftp://${other}${WELL_KNOWN}`,
      ]
      for (const place of places) {
        const handle = internet.name(PUBLIC)
        moved(`${handle}${WELL_KNOWN}`, place)
        await isNotFound(handle, place)
        assert.equal(asked(`${handle}${WELL_KNOWN}`), 1)
      }
      assert.equal(internet.public.paths.length - before, places.length, 'nothing but the hosts of the handles was asked')
      nobodyInside()
    })

    it('that lead inside themselves, at once or the next time, are not asked', async () => {
      await isNotFound(internet.name(INSIDE))
      await isNotFound(internet.name([DEAF, INSIDE]))
      await isFound(internet.name(PUBLIC, INSIDE))
      nobodyInside()
    })
  })

  describe('documents of did:web', () => {
    const PLACE = '/.well-known/did.json'
    const resolve = (host) => query(node, 'com.atproto.identity.resolveDid', { did: `did:web:${host}` })
    const isNotFound = async (host, why) => {
      const { status, message } = await resolve(host)
      assert.ok([400, 502].includes(status), `${host} ${why}: ${status} ${message}`)
    }

    it('are read where they lie on the public internet', async () => {
      const name = internet.name(PUBLIC)
      assert.equal((await resolve(name)).body?.didDoc?.id, `did:web:${name}`)
      assert.equal(asked(`${name}${PLACE}`), 1)
    })

    it('are not looked for inside, nor where they were moved', async () => {
      const target = internet.name(PUBLIC)
      for (const place of [`https://${target}${PLACE}`, `https://${internet.name(INSIDE)}${PLACE}`, `https://${INSIDE}${PLACE}`]) {
        const host = internet.name(PUBLIC)
        moved(`${host}${PLACE}`, place)
        for (const at of [target, INSIDE]) says(`${at}${PLACE}`, { id: `did:web:${host}` })
        await isNotFound(host, place)
        assert.equal(asked(`${host}${PLACE}`), 1)
      }
      assert.equal(asked(`${target}${PLACE}`), 0)
      for (const host of [internet.name(INSIDE), internet.name([INSIDE, DEAF]), INSIDE, 'localhost', `${internet.name(INSIDE)}%3A443`]) await isNotFound(host)
      nobodyInside()
    })
  })

  describe('homes of lexicons', () => {
    /** Asks for a lexicon whose maker lives there. */
    const ask = async (endpoint) => {
      const domain = internet.name(PUBLIC)
      const { did } = await serviceDid(node, { atproto_pds: { type: 'AtprotoPersonalDataServer', endpoint } })
      internet.dns.records.set(`_lexicon.${domain}`, [`did=${did}`])
      const nsid = `${domain.host.split('.').reverse().join('.')}.thing`
      return query(node, 'com.atproto.lexicon.resolveLexicon', { nsid })
    }
    const records = (host) => internet.public.paths.filter((path) => path.startsWith(`${host}/xrpc/`)).length

    it('are asked on the public internet', async () => {
      const name = internet.name(PUBLIC)
      await ask(`https://${name}`)
      assert.equal(records(name), 1)
    })

    it('are not asked inside', async () => {
      for (const host of [INSIDE, 'localhost', internet.name(INSIDE), internet.name([DEAF, INSIDE])]) {
        for (const scheme of ['http', 'https']) assert.equal((await ask(`${scheme}://${host}`)).status, 400, `${scheme} ${host}`)
      }
      nobodyInside()
    })
  })

  describe('services of accounts', () => {
    let account
    before(async () => {
      account = await newAccount(node)
    })
    const ask = async (endpoint) => {
      const { did } = await serviceDid(node, { thing: { type: 'Thing', endpoint } })
      return query(node, 'com.example.ask', {}, { token: account.token, headers: { 'atproto-proxy': `${did}#thing` } })
    }
    const isOut = async (endpoint) => {
      const { status, error } = await ask(endpoint)
      assert.deepEqual([status, error], [502, 'UpstreamFailure'], endpoint)
    }

    it('are asked where they lie on the public internet', async () => {
      const name = internet.name(PUBLIC)
      const got = await ask(`https://${name}`)
      assert.deepEqual([got.status, got.body], [200, { answered: true }], got.message)
      assert.equal(asked(`${name}/xrpc/com.example.ask`), 1)
    })

    it('whose names lead inside are not asked', async () => {
      for (const name of [internet.name(INSIDE), internet.name([INSIDE, DEAF]), internet.name([DEAF, INSIDE])]) {
        await isOut(`https://${name}`)
        assert.ok(name.lookups() >= 1, 'the name was looked up')
      }
      await isOut(`http://${internet.name(PUBLIC)}`)
      nobodyInside()
    })

    it('are asked at the address that was judged, wherever the name leads the next time', async () => {
      for (let judged = 1; judged <= 4; judged++) {
        const name = internet.name(...Array(judged).fill(PUBLIC), INSIDE)
        const { status } = await ask(`https://${name}`)
        if (judged === 1) assert.equal(status, 200)
        await ask(`https://${name}`)
        nobodyInside()
      }
    })
  })
}

if (TARGET === 'pds') it('are ours', { skip: 'tests our own guards' })
else if (ownNetwork(import.meta.url)) describe('strangers who lead inside', declare)
