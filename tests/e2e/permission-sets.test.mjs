// Permission sets: scopes that name a bundle of permissions, which somebody publishes and the node looks up.
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { IncludeScope, normalizeAtprotoOauthScopeValue } from '@atproto/oauth-scopes'
import { newAccount } from '../lib/accounts.mjs'
import { startDns } from '../lib/dns.mjs'
import { RawClient, loopbackClient, newKey } from '../lib/oauth.mjs'
import { Browser } from '../lib/pages.mjs'
import { freePort } from '../lib/process.mjs'
import { TARGET, scratch, startPlc, startUes } from '../lib/servers.mjs'

const SCHEMA = 'com.atproto.lexicon.schema'
const REDIRECT = 'http://127.0.0.1:4999/callback'
const GROUP = 'com.example.calendar'
const SERVICE = 'did:web:api.example.com#calendar'
const repo = (collection, more = {}) => ({ type: 'permission', resource: 'repo', collection, ...more })
const rpc = (lxm, more) => ({ type: 'permission', resource: 'rpc', lxm, ...more })

/** What may stand in a set, and what must not grant anything. */
const PERMISSIONS = [
  repo([`${GROUP}.event`]),
  repo([`${GROUP}.rsvp`, `${GROUP}.deeper.note`], { action: ['create', 'delete'] }),
  rpc([`${GROUP}.getEvents`], { aud: '*' }),
  rpc([`${GROUP}.listEvents`, `${GROUP}.search`], { inheritAud: true }),
  repo(['app.bsky.feed.post']),
  repo([`${GROUP}.good`, 'com.example.calendarevil.bad']),
  repo([GROUP]),
  repo(['*']),
  rpc(['*'], { aud: '*' }),
  rpc([`${GROUP}.named`], { aud: SERVICE }),
  rpc([`${GROUP}.both`], { aud: '*', inheritAud: true }),
  rpc([`${GROUP}.not`], { inheritAud: false }),
  rpc([`${GROUP}.none`], {}),
  rpc(['com.example.other.get'], { aud: '*' }),
  { type: 'permission', resource: 'blob', accept: ['*/*'] },
  { type: 'permission', resource: 'account', attr: 'email' },
  { type: 'permission', resource: 'identity', attr: '*' },
  { type: 'permission', resource: 'later', what: 'ever' },
]

describe('permission sets', { skip: TARGET !== 'ues' && 'the official library is what the answers are compared with' }, () => {
  let dns, directory, dir, port, node, maker, user

  async function start() {
    const env = {
      UES_PUBLIC_URL: `http://127.0.0.1:${port}`,
      UES_IDENTITY_DIRECTORY: directory.url,
      UES_IDENTITY_DNS_SERVERS: dns.address,
      UES_PROXY_ALLOW_PRIVATE_ADDRESSES: 'true',
    }
    node = await startUes({ dir, port, env })
    node.plcUrl = directory.url
  }
  before(async () => {
    ;[dns, directory, dir, port] = await Promise.all([startDns(), startPlc(), scratch('sets'), freePort()])
    await start()
    ;[maker, user] = [await newAccount(node), await newAccount(node)]
    dns.records.set('_lexicon.calendar.example.com', [`did=${maker.did}`])
    await publish('authFull', { type: 'permission-set', title: 'All of <b>Calendar</b>', detail: 'Events and\nanswers.', permissions: PERMISSIONS })
    await publish('thing', { type: 'token' })
  })
  after(async () => {
    await node?.close()
    await directory?.close()
    dns?.close()
    await rm(dir, { recursive: true, force: true })
  })

  async function publish(name, main) {
    const nsid = `${GROUP}.${name}`
    const record = { $type: SCHEMA, lexicon: 1, id: nsid, defs: { main } }
    await maker.agent.com.atproto.repo.putRecord({ repo: maker.did, collection: SCHEMA, rkey: nsid, record, validate: false })
  }

  async function client(scope) {
    const app = new RawClient(node, { clientId: loopbackClient(REDIRECT, scope), key: await newKey(), redirect: REDIRECT })
    return { app, tokens: () => app.tokens(new Browser(node.url), user, { scope }) }
  }

  const official = (scope, permissions) => IncludeScope.fromString(scope).toScopes({ type: 'permission-set', permissions })
  const normal = (scope) => scope.split(' ').map(normalizeAtprotoOauthScopeValue).sort()

  for (const include of [`include:${GROUP}.authFull`, `include:${GROUP}.authFull?aud=${encodeURIComponent(SERVICE)}`]) {
    it(`${include} grants what the official library says`, async () => {
      const { tokens } = await client(`atproto ${include}`)
      const { scope } = await tokens()
      const wanted = official(include, PERMISSIONS)
      assert.ok(wanted.length >= 3, 'there is something to compare')
      assert.deepEqual(normal(scope), ['atproto', ...wanted].map(normalizeAtprotoOauthScopeValue).sort())
    })
  }

  it('allow what they list within their own names, and nothing else', async () => {
    const { app, tokens } = await client(`atproto include:${GROUP}.authFull?aud=${encodeURIComponent(SERVICE)}`)
    const { access_token: token } = await tokens()
    const write = (collection) => app.call(token, 'POST', 'com.atproto.repo.createRecord', { body: { repo: user.did, collection, record: { $type: collection, text: 'x' } } })
    assert.equal((await write(`${GROUP}.event`)).status, 200)
    assert.equal((await write(`${GROUP}.rsvp`)).status, 200)
    for (const collection of [`${GROUP}.good`, 'app.bsky.feed.post', `${GROUP}.other`]) {
      assert.deepEqual([collection, (await write(collection)).error], [collection, 'ScopeMissingError'])
    }
    const put = await app.call(token, 'POST', 'com.atproto.repo.putRecord', { body: { repo: user.did, collection: `${GROUP}.rsvp`, rkey: 'self', record: { $type: `${GROUP}.rsvp` } } })
    assert.equal(put.error, 'ScopeMissingError', 'rsvp is not to be updated')
    const ask = (lxm, aud) => app.call(token, 'GET', 'com.atproto.server.getServiceAuth', { query: `?${new URLSearchParams({ lxm, aud })}` })
    assert.equal((await ask(`${GROUP}.search`, SERVICE)).status, 200)
    assert.equal((await ask(`${GROUP}.getEvents`, 'did:web:other.example.com#x')).status, 200)
    for (const [lxm, aud] of [[`${GROUP}.search`, 'did:web:other.example.com#x'], [`${GROUP}.named`, SERVICE], ['app.bsky.feed.getTimeline', SERVICE]]) {
      assert.deepEqual([lxm, (await ask(lxm, aud)).error], [lxm, 'ScopeMissingError'])
    }
  })

  it('are shown with their makers’ words and with what they grant', async () => {
    const { app } = await client(`atproto include:${GROUP}.authFull`)
    const { request_uri: uri } = await app.push({ scope: `atproto include:${GROUP}.authFull` })
    const browser = new Browser(node.url)
    const page = await browser.submit(await browser.get(app.page(uri)), 'sign_in', { identifier: user.handle, password: user.password })
    assert.match(page.html, /“All of &#60;b&#62;Calendar&#60;\/b&#62;”/)
    assert.match(page.html, /Events and answers\./)
    assert.match(page.html, new RegExp(`<code>${GROUP}\\.authFull</code>`))
    assert.match(page.html, /Create and delete records/)
    assert.match(page.html, new RegExp(`${GROUP}\\.rsvp, ${GROUP}\\.deeper\\.note`))
    assert.doesNotMatch(page.html, /e-mail|Upload|app\.bsky\.feed\.post/)
  })

  it('that nobody publishes, or that are none, are refused at once', async () => {
    for (const name of [`${GROUP}.absent`, 'com.example.nowhere.authFull', `${GROUP}.thing`]) {
      const { app } = await client(`atproto include:${name}`)
      const pushed = await app.push({ scope: `atproto include:${name}` })
      assert.deepEqual([pushed.status, pushed.error], [400, 'invalid_scope'], name)
      assert.match(pushed.error_description, new RegExp(name))
    }
    const many = ['atproto', ...Array.from({ length: 17 }, (_, i) => `include:${GROUP}.s${i}`)].join(' ')
    const { app } = await client(many)
    assert.match((await app.push({ scope: many })).error, /invalid_(scope|client)/)
  })

  it('are looked up again when a session goes on, and stay as they were when nobody answers', async () => {
    const include = `include:${GROUP}.authSome`
    await publish('authSome', { type: 'permission-set', permissions: [repo([`${GROUP}.event`])] })
    const { app, tokens } = await client(`atproto ${include}`)
    let last = await tokens()
    assert.deepEqual(normal(last.scope), ['atproto', `repo:${GROUP}.event`])
    await publish('authSome', { type: 'permission-set', permissions: [repo([`${GROUP}.event`]), repo([`${GROUP}.rsvp`])] })
    last = await app.refresh(last.refresh_token)
    assert.deepEqual(normal(last.scope), ['atproto', `repo:${GROUP}.event`], 'what is known is believed for some minutes')
    // A node that starts believes nothing without looking.
    await node.close()
    await start()
    last = await app.refresh(last.refresh_token)
    assert.deepEqual(normal(last.scope), ['atproto', `repo:${GROUP}.event`, `repo:${GROUP}.rsvp`])
    dns.records.delete('_lexicon.calendar.example.com')
    await node.close()
    await start()
    last = await app.refresh(last.refresh_token)
    assert.deepEqual(normal(last.scope), ['atproto', `repo:${GROUP}.event`, `repo:${GROUP}.rsvp`])
    const made = await app.call(last.access_token, 'POST', 'com.atproto.repo.createRecord', { body: { repo: user.did, collection: `${GROUP}.rsvp`, record: { $type: `${GROUP}.rsvp` } } })
    assert.equal(made.status, 200)
  })
})
