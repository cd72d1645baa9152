// Applications sign in: the official client through the real pages, and one made by hand that tries what must not work.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, describe, it } from 'node:test'
import { Agent } from '@atproto/api'
import { SignJWT } from 'jose'
import { newAccount } from '../lib/accounts.mjs'
import { uesOk } from '../lib/cli.mjs'
import { Browser } from '../lib/pages.mjs'
import { RawClient, loopbackClient, newKey, officialClient, random, sha256 } from '../lib/oauth.mjs'
import { freePort } from '../lib/process.mjs'
import { dataOf, startUes } from '../lib/servers.mjs'

const REDIRECT = 'http://127.0.0.1:4999/callback'
const GENERIC = 'atproto transition:generic'
const clientId = (scope = GENERIC) => loopbackClient(REDIRECT, scope)

let server, alice

before(async () => {
  const port = await freePort()
  server = await startUes({ port, env: { UES_PUBLIC_URL: `http://127.0.0.1:${port}` } })
  alice = await newAccount(server)
})
after(() => server?.close())

const browser = () => new Browser(server.url)
const raw = async (scope = GENERIC, more = {}) => new RawClient(server, { clientId: clientId(scope), key: await newKey(), redirect: REDIRECT, ...more })

const official = (scope = GENERIC) => officialClient(server, clientId(scope), alice)

describe('the official client', () => {
  it('signs in through the pages, writes, refreshes, and signs out', async () => {
    const client = official()
    const url = await client.authorize(alice.handle, { scope: GENERIC, state: 'mine' })
    const chrome = browser()
    let page = await chrome.get(url)
    assert.equal(page.status, 200)
    assert.match(page.html, new RegExp(`value="${alice.handle}"`), 'the handle is filled in')
    page = await chrome.submit(page, 'sign_in', { password: 'wrong' })
    assert.equal(page.status, 401)
    assert.match(page.html, /handle or the password is wrong/)
    page = await chrome.submit(page, 'sign_in', { password: alice.password })
    assert.match(page.html, /Use your account as you do/)
    const back = await chrome.submit(page, 'allow')
    assert.equal(back.left.origin, 'http://127.0.0.1:4999')
    const { session, state } = await client.callback(back.left.searchParams)
    assert.equal(state, 'mine')
    assert.equal(session.did, alice.did)

    const agent = new Agent(session)
    const info = await agent.com.atproto.server.getSession()
    assert.equal(info.data.handle, alice.handle)
    assert.equal(info.data.email, undefined, 'the address was not asked for')
    const made = await agent.com.atproto.repo.createRecord({
      repo: alice.did,
      collection: 'com.example.note',
      record: { $type: 'com.example.note', text: 'by an application' },
    })
    const got = await agent.com.atproto.repo.getRecord({ repo: alice.did, collection: 'com.example.note', rkey: made.data.uri.split('/').pop() })
    assert.equal(got.data.value.text, 'by an application')
    const blob = await agent.com.atproto.repo.uploadBlob(Buffer.from('hello'), { encoding: 'text/plain' })
    assert.equal(blob.data.blob.size, 5)

    const before = await session.getTokenInfo(false)
    const after = await session.getTokenInfo(true)
    assert.notEqual(before.expiresAt?.getTime(), undefined)
    assert.equal(after.sub, alice.did)
    await agent.com.atproto.server.getSession()

    await session.signOut()
    await assert.rejects(agent.com.atproto.server.getSession())
  })

  it('hears that the owner said no', async () => {
    const client = official()
    const url = await client.authorize(alice.did, { scope: 'atproto' })
    const chrome = browser()
    const back = await chrome.submit(await chrome.get(url), 'deny')
    assert.equal(back.left.searchParams.get('error'), 'access_denied')
    await assert.rejects(client.callback(back.left.searchParams), /owner of the account said no/)
  })
})

describe('the pages', () => {
  it('show who asks for what, keep out of frames, and have no script', async () => {
    const app = await raw('atproto repo:app.bsky.feed.post?action=create blob:image/*')
    const pushed = await app.push({ scope: 'atproto repo:app.bsky.feed.post?action=create blob:image/*' })
    const chrome = browser()
    let page = await chrome.get(app.page(pushed.request_uri))
    page = await chrome.submit(page, 'sign_in', { identifier: alice.handle, password: alice.password })
    assert.match(page.html, /Create records/)
    assert.match(page.html, /app\.bsky\.feed\.post/)
    assert.match(page.html, /image\/\*/)
    assert.doesNotMatch(page.html, /<script/)
    assert.match(page.headers.get('content-security-policy'), /frame-ancestors 'none'/)
    assert.equal(page.headers.get('x-frame-options'), 'DENY')
    assert.equal(page.headers.get('cache-control'), 'no-store')
  })

  it('forms of other pages are refused', async () => {
    const app = await raw()
    const chrome = browser()
    const page = await chrome.get(app.page((await app.push()).request_uri))
    const login = { identifier: alice.handle, password: alice.password }
    for (const [values, headers] of [
      [login, { origin: 'https://evil.example' }],
      [login, { 'sec-fetch-site': 'cross-site' }],
      [{ ...login, form: random() }, {}],
      [{ ...login, form: '' }, {}],
    ]) {
      const refused = await chrome.submit(page, 'sign_in', values, headers)
      assert.equal(refused.status, 400)
      assert.doesNotMatch(refused.html, /It will be able to/)
    }
    const other = browser()
    await other.get(app.page((await app.push()).request_uri))
    const stolen = await other.submit(page, 'sign_in', login)
    assert.equal(stolen.status, 400, 'a form belongs to its browser')
  })

  it('a request belongs to the browser that opened it, and is answered once', async () => {
    const app = await raw()
    const { request_uri: uri } = await app.push()
    const chrome = browser()
    let page = await chrome.get(app.page(uri))
    assert.equal((await browser().get(app.page(uri))).status, 400)
    page = await chrome.submit(page, 'sign_in', { identifier: alice.handle, password: alice.password })
    assert.ok((await chrome.submit(page, 'allow')).left)
    assert.equal((await chrome.submit(page, 'allow')).status, 400)
    assert.equal((await chrome.get(app.page(uri))).status, 400)
    assert.equal((await chrome.get(app.page(`urn:ietf:params:oauth:request_uri:${random()}`))).status, 400)
    assert.equal((await chrome.get('/oauth/authorize?client_id=x')).status, 400)
  })

  it('list connected applications, with a button to end each', async () => {
    const app = await raw()
    const chrome = browser()
    const tokens = await app.tokens(chrome, alice)
    assert.equal((await app.call(tokens.access_token, 'GET', 'com.atproto.server.getSession')).status, 200)
    let page = await chrome.get('/account')
    assert.match(page.html, new RegExp(alice.handle))
    // end all of this account's
    for (let left = page.forms.filter((f) => f.buttons.includes('end')).length; left > 0; left--) {
      page = await chrome.submit(page, 'end')
    }
    assert.match(page.html, /None\. Applications/)
    const refused = await app.call(tokens.access_token, 'GET', 'com.atproto.server.getSession')
    assert.equal(refused.status, 401)
    assert.match(refused.challenge, /invalid_token/)
    assert.equal((await app.refresh(tokens.refresh_token)).error, 'invalid_grant')
    page = await chrome.submit(page, 'sign_out')
    assert.match(page.html, /name="password"/)
  })

  it('are ended by the operator with all other sessions of the account', async () => {
    const app = await raw()
    const tokens = await app.tokens(browser(), alice)
    await uesOk(dataOf(server), ['account', 'sessions', alice.handle, '--end-all'])
    assert.equal((await app.call(tokens.access_token, 'GET', 'com.atproto.server.getSession')).status, 401)
    assert.equal((await app.refresh(tokens.refresh_token)).error, 'invalid_grant')
  })

  it('a client that may not ask is told so', async () => {
    const app = await raw()
    const chrome = browser()
    const { request_uri: first } = await app.push({ prompt: 'none' })
    const back = await chrome.get(app.page(first))
    assert.equal(back.left.searchParams.get('error'), 'login_required')
    await app.tokens(chrome, alice)
    const { request_uri: second } = await app.push({ prompt: 'none' })
    assert.equal((await chrome.get(app.page(second))).left.searchParams.get('error'), 'consent_required')
    const { request_uri: third } = await app.push({ prompt: 'login' })
    assert.equal((await chrome.get(app.page(third))).status, 200)
  })
})

describe('scopes', () => {
  it('allow what they say and nothing else', async () => {
    const scope = 'atproto repo:com.example.note?action=create blob:image/*'
    const app = await raw(scope)
    const { access_token: token } = await app.tokens(browser(), alice, { scope })
    const note = (collection) => ({ repo: alice.did, collection, record: { $type: collection, text: 'x' } })
    const made = await app.call(token, 'POST', 'com.atproto.repo.createRecord', { body: note('com.example.note') })
    assert.equal(made.status, 200, JSON.stringify(made))
    const rkey = made.uri.split('/').pop()
    for (const [method, nsid, options] of [
      ['POST', 'com.atproto.repo.createRecord', { body: note('com.example.other') }],
      ['POST', 'com.atproto.repo.putRecord', { body: { ...note('com.example.note'), rkey } }],
      ['POST', 'com.atproto.repo.deleteRecord', { body: { repo: alice.did, collection: 'com.example.note', rkey } }],
      [
        'POST',
        'com.atproto.repo.applyWrites',
        {
          body: {
            repo: alice.did,
            writes: [
              { $type: 'com.atproto.repo.applyWrites#create', collection: 'com.example.note', value: { $type: 'com.example.note' } },
              { $type: 'com.atproto.repo.applyWrites#delete', collection: 'com.example.note', rkey },
            ],
          },
        },
      ],
      ['POST', 'com.atproto.repo.uploadBlob', { body: 'text', headers: { 'content-type': 'text/plain' } }],
      ['POST', 'com.atproto.identity.updateHandle', { body: { handle: 'other.test' } }],
      ['POST', 'com.atproto.server.requestEmailConfirmation', {}],
    ]) {
      const refused = await app.call(token, method, nsid, options)
      assert.deepEqual([nsid, refused.status, refused.error], [nsid, 403, 'ScopeMissingError'])
    }
    const image = await app.call(token, 'POST', 'com.atproto.repo.uploadBlob', { body: 'png', headers: { 'content-type': 'image/png' } })
    assert.equal(image.status, 200, JSON.stringify(image))
  })

  it('what was not declared cannot be asked for', async () => {
    const app = await raw('atproto')
    assert.equal((await app.push({ scope: GENERIC })).error, 'invalid_scope')
    assert.equal((await app.push({ scope: 'transition:generic' })).error, 'invalid_scope')
  })

  it('the address is told to whom it was granted', async () => {
    const scope = 'atproto transition:email'
    const app = await raw(scope)
    const { access_token: token } = await app.tokens(browser(), alice, { scope })
    assert.match((await app.call(token, 'GET', 'com.atproto.server.getSession')).email, /@example\.com/)
  })
})

describe('attacks', () => {
  it('codes: used twice, by another client, key, verifier or address', async () => {
    const app = await raw()
    const chrome = browser()
    const code = await app.code(chrome, alice)
    const tokens = await app.redeem(code)
    assert.equal(tokens.status, 200)
    assert.equal((await app.redeem(code)).error, 'invalid_grant')
    assert.equal((await app.call(tokens.access_token, 'GET', 'com.atproto.server.getSession')).status, 401, 'its session has ended')

    const thief = await newKey()
    for (const [fields, options] of [
      [{ code_verifier: random() }, {}],
      [{ code_verifier: '' }, {}],
      [{ redirect_uri: 'http://127.0.0.1:5000/callback' }, {}],
      [{ client_id: loopbackClient(REDIRECT, 'atproto transition:generic transition:email') }, {}],
      [{}, { key: thief }],
    ]) {
      const fresh = await app.code(chrome, alice)
      const refused = await app.redeem(fresh, fields, options)
      assert.equal(refused.error, 'invalid_grant', JSON.stringify([fields, refused]))
      assert.equal((await app.redeem(fresh)).error, 'invalid_grant', 'a wrong try uses the code up')
    }
  })

  it('PKCE cannot be left out or made weaker', async () => {
    const app = await raw()
    for (const fields of [
      { code_challenge: '' },
      { code_challenge_method: 'plain' },
      { code_challenge_method: '' },
      { code_challenge: 'short' },
    ]) {
      assert.equal((await app.push(fields)).error, 'invalid_request', JSON.stringify(fields))
    }
  })

  it('redirects elsewhere', async () => {
    const app = await raw()
    for (const redirect_uri of ['https://evil.example/', 'http://127.0.0.1:4999/other', 'http://127.0.0.1.evil.example:4999/callback', 'http://localhost:4999/callback']) {
      assert.equal((await app.push({ redirect_uri })).error, 'invalid_redirect_uri', redirect_uri)
    }
  })

  it('refresh tokens: used twice, by another key, after the end', async () => {
    const app = await raw()
    const chrome = browser()
    const first = await app.tokens(chrome, alice)
    assert.equal((await app.refresh(first.refresh_token, { key: await newKey() })).error, 'invalid_grant')
    const second = await app.refresh(first.refresh_token)
    assert.equal(second.status, 200, JSON.stringify(second))
    assert.notEqual(second.refresh_token, first.refresh_token)
    assert.equal((await app.refresh(first.refresh_token)).error, 'invalid_grant')
    assert.equal((await app.refresh(second.refresh_token)).error, 'invalid_grant', 'the session has ended for both')
    assert.equal((await app.call(second.access_token, 'GET', 'com.atproto.server.getSession')).status, 401)

    const third = await app.tokens(chrome, alice)
    const both = await Promise.all([app.refresh(third.refresh_token), app.refresh(third.refresh_token)])
    assert.ok(both.filter((b) => b.status === 200).length <= 1)
  })

  it('proofs: replayed, without or with an old nonce, for another request, by another key', async () => {
    const app = await raw()
    const { access_token: token } = await app.tokens(browser(), alice)
    const session = (options) => app.call(token, 'GET', 'com.atproto.server.getSession', { options })
    const good = await session({})
    assert.equal(good.status, 200)
    const replayed = await session({ proof: good.lastProof })
    assert.equal(replayed.status, 401)
    assert.match(replayed.challenge, /invalid_dpop_proof/)
    const bare = await app.proof('GET', '/xrpc/com.atproto.server.getSession', { token, change: { nonce: undefined } })
    const asked = await session({ proof: bare })
    assert.equal(asked.status, 401)
    assert.match(asked.challenge, /^DPoP .*error="use_dpop_nonce"/)
    for (const change of [
      { htm: 'POST' },
      { htu: `${server.url}/xrpc/com.atproto.server.deleteAccount` },
      { htu: 'https://other.example/xrpc/com.atproto.server.getSession' },
      { ath: sha256('another token') },
      { ath: undefined },
      { iat: 1 },
      { jti: '' },
    ]) {
      const refused = await session({ change })
      assert.equal(refused.status, 401, JSON.stringify(change))
      assert.match(refused.challenge, /invalid_dpop_proof/, JSON.stringify(change))
    }
    assert.match((await session({ key: await newKey() })).challenge, /invalid_token/)
    for (const header of [{ typ: 'JWT' }, { jwk: (await newKey()).jwk }, { jwk: undefined }]) {
      assert.match((await session({ header })).challenge, /invalid_dpop_proof/)
    }
  })

  it('tokens: bound ones are no bearer tokens, session tokens are not bound, changed ones are none', async () => {
    const app = await raw()
    const tokens = await app.tokens(browser(), alice)
    const bearer = await fetch(`${server.url}/xrpc/com.atproto.server.getSession`, { headers: { authorization: `Bearer ${tokens.access_token}` } })
    assert.equal(bearer.status, 400)
    assert.match((await app.call(alice.token, 'GET', 'com.atproto.server.getSession')).challenge, /invalid_token/)
    const [head, body, tag] = tokens.access_token.split('.')
    const claims = JSON.parse(Buffer.from(body, 'base64url'))
    const forged = Buffer.from(JSON.stringify({ ...claims, scope: 'atproto transition:email' })).toString('base64url')
    const none = Buffer.from('{"typ":"at+jwt","alg":"none"}').toString('base64url')
    for (const token of [`${head}.${forged}.${tag}`, `${none}.${body}.`, `${none}.${body}.${tag}`, 'x', `${head}.${body}`]) {
      assert.equal((await app.call(token, 'GET', 'com.atproto.server.getSession')).status, 401, token)
    }
    const without = await fetch(`${server.url}/xrpc/com.atproto.server.getSession`, { headers: { authorization: `DPoP ${tokens.access_token}` } })
    assert.equal(without.status, 401)
  })

  it('what only a password may do', async () => {
    const app = await raw()
    const { access_token: token } = await app.tokens(browser(), alice)
    const refused = await app.call(token, 'POST', 'com.atproto.identity.updateHandle', { body: { handle: 'other.test' } })
    assert.deepEqual([refused.status, refused.error], [403, 'ScopeMissingError'])
    const wrong = await app.call(token, 'POST', 'com.atproto.server.refreshSession')
    assert.deepEqual([wrong.status, wrong.error], [401, 'AuthMissing'])
    const never = await app.call(token, 'GET', 'com.atproto.server.listAppPasswords')
    assert.deepEqual([never.status, never.error], [403, 'Forbidden'])
  })

  it('client ids that lead elsewhere', async () => {
    const app = await raw()
    for (const client_id of ['', 'x', 'ftp://a/b', 'http://127.0.0.1:1/client.json', `${server.url}/`, 'http://localhost?redirect_uri=https%3A%2F%2Fevil.example%2F']) {
      const refused = await app.push({ client_id })
      assert.ok([400, 401].includes(refused.status), JSON.stringify(refused))
    }
  })

  it('bodies that are too long, not forms, or have a parameter twice', async () => {
    const post = async (body, type) => {
      const headers = { 'content-type': type ?? 'application/x-www-form-urlencoded' }
      return (await fetch(`${server.url}/oauth/par`, { method: 'POST', headers, body })).json()
    }
    assert.equal((await post('{}', 'application/json')).error, 'invalid_request')
    assert.equal((await post(`a=${'x'.repeat(100_000)}`)).error, 'invalid_request')
    assert.equal((await post('client_id=a&client_id=b')).error, 'invalid_request')
  })
})

describe('a confidential client', () => {
  let web, key, document
  const seen = []

  before(async () => {
    key = await newKey()
    web = http.createServer((req, res) => {
      seen.push(req.url)
      if (req.url === '/moved.json') return res.writeHead(302, { location: '/target.json' }).end()
      // Whoever follows finds what it looked for.
      if (req.url === '/target.json') req.url = '/moved.json'
      if (req.url === '/big.json') return res.end(' '.repeat(1 << 20))
      res.setHeader('content-type', 'application/json')
      res.end(JSON.stringify(req.url === '/jwks.json' ? { keys: [{ ...key.jwk, kid: 'k' }] } : { ...document, client_id: `${web.url}${req.url}` }))
    })
    await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve))
    web.url = `http://127.0.0.1:${web.address().port}`
    document = {
      client_name: 'A web application',
      redirect_uris: ['https://app.example.com/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      scope: `${GENERIC} transition:email`,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks_uri: `${web.url}/jwks.json`,
      dpop_bound_access_tokens: true,
    }
  })
  after(() => web?.close())

  const assertion = (signer, change = {}) => async () => {
    const id = `${web.url}/client.json`
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: id, sub: id, aud: server.url, jti: random(), iat: now, exp: now + 60, ...change }
    const jwt = await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(signer.privateKey)
    return { client_assertion: jwt, client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer' }
  }
  const client = async (sign) =>
    new RawClient(server, { clientId: `${web.url}/client.json`, key: await newKey(), redirect: 'https://app.example.com/callback', assertion: sign })

  it('shows who it is at each step', async () => {
    const app = await client(assertion(key))
    const chrome = browser()
    const tokens = await app.tokens(chrome, alice)
    const next = await app.refresh(tokens.refresh_token)
    assert.equal(next.status, 200)
    const seen = await app.post('/oauth/introspect', { token: next.access_token })
    assert.deepEqual([seen.active, seen.sub, seen.client_id], [true, alice.did, app.clientId])
    const other = await raw()
    assert.equal((await other.post('/oauth/introspect', { token: next.access_token })).active, false)
    assert.match((await chrome.get('/account')).html, /A web application/)
    app.assertion = undefined
    assert.equal((await app.refresh(next.refresh_token)).error, 'invalid_client')
    assert.equal((await app.push()).error, 'invalid_client')
  })

  it('need not ask again for what was allowed, while somebody is signed in', async () => {
    const app = await client(assertion(key))
    const bob = await newAccount(server)
    const chrome = browser()
    const ask = async (fields, with_ = chrome) => {
      const { request_uri: uri } = await app.push(fields)
      const { left, status, html } = await with_.get(app.page(uri))
      return left ? (left.searchParams.get('error') ?? 'code') : `${status} ${/It will be able to/.test(html) ? 'consent' : 'sign in'}`
    }
    assert.equal(await ask({ prompt: 'none' }), 'login_required')
    await app.tokens(chrome, bob, { scope: 'atproto' })
    assert.equal(await ask({ prompt: 'none', scope: 'atproto' }), 'code')
    assert.equal(await ask({ prompt: 'none' }), 'consent_required', 'more than was allowed')
    assert.equal(await ask({ login_hint: bob.handle }), '200 consent')
    await app.tokens(chrome, bob)
    assert.equal(await ask({ prompt: 'none', scope: 'atproto' }), 'code', 'what was allowed before stays allowed')
    assert.equal(await ask({ login_hint: bob.handle }), 'code')
    assert.equal(await ask({ scope: `${GENERIC} transition:email`, prompt: 'none' }), 'consent_required')
    assert.equal(await ask({}), '200 consent', 'nobody said which account')
    assert.equal(await ask({ login_hint: bob.handle, prompt: 'consent' }), '200 consent')
    assert.equal(await ask({ login_hint: alice.handle }), '200 sign in')
    assert.equal(await ask({ prompt: 'none' }, browser()), 'login_required')
    const { request_uri: uri } = await app.push({ prompt: 'none' })
    const tokens = await app.redeem((await chrome.get(app.page(uri))).left.searchParams.get('code'))
    assert.deepEqual([tokens.status, tokens.sub], [200, bob.did])

    let page = await chrome.submit(await chrome.get('/account?sign_in=1'), 'sign_in', { identifier: alice.handle, password: alice.password })
    assert.equal(await ask({ prompt: 'none' }), 'account_selection_required')
    assert.equal(await ask({ prompt: 'none', login_hint: bob.did }), 'code')
    const end = page.forms.find((form) => form.buttons.includes('end') && form.fields.account === bob.did)
    page = await chrome.submit(page, 'end', end.fields)
    assert.equal(await ask({ prompt: 'none', login_hint: bob.did }), 'consent_required', 'the owner ended it')
  })

  it('is nobody with another key, audience, or an assertion that was used', async () => {
    const stranger = await newKey()
    for (const sign of [assertion(stranger), assertion(key, { aud: 'https://other.example' }), assertion(key, { sub: 'https://other.example/c.json' }), assertion(key, { exp: 1 })]) {
      assert.equal((await (await client(sign)).push()).error, 'invalid_client')
    }
    const one = await assertion(key)()
    const app = await client(async () => one)
    await app.post('/oauth/par', { response_type: 'code' }, { withoutProof: true })
    assert.equal((await app.push()).error, 'invalid_client')
  })

  it('has a document that lies where it says, not moved, not too long', async () => {
    for (const name of ['/moved.json', '/big.json', '/nothing.txt/']) {
      const app = await client(undefined)
      app.clientId = web.url + name
      const refused = await app.push()
      assert.ok(['invalid_client', 'invalid_client_metadata'].includes(refused.error), JSON.stringify(refused))
      assert.equal(seen.includes(name), !name.endsWith('/'), 'it was asked for')
    }
    assert.ok(!seen.includes('/target.json'), 'a redirect was followed')
  })
})
