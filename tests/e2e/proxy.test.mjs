// Calls that other services answer: what the service is asked, what the client gets, and what never leaves the node.
// The official server stands before the same AppView and must behave the same.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { createServiceJwt } from '@atproto/xrpc-server'
import { newAccount } from '../lib/accounts.mjs'
import { APPVIEW_DID, Service, pdsBefore, readToken, serviceDid, uesBefore } from '../lib/appview.mjs'
import { startUes } from '../lib/servers.mjs'
import { call, procedure, query } from '../lib/xrpc.mjs'

const SEARCH = 'app.bsky.feed.searchPosts'
const SEEN = 'app.bsky.notification.updateSeen'

let appview, ours, theirs
before(async () => {
  appview = await Service.start()
  const servers = await Promise.all([uesBefore(appview), pdsBefore(appview)])
  ;[ours, theirs] = await Promise.all(servers.map(async (server) => ({ server, account: await newAccount(server) })))
  for (const side of [ours, theirs]) {
    side.labeler = await serviceDid(side.server, {
      atproto_labeler: { type: 'AtprotoLabeler', endpoint: appview.url },
      bsky_notif: { type: 'BskyNotificationService', endpoint: appview.url },
    })
  }
})
after(async () => {
  for (const side of [ours, theirs]) await side?.server.close()
  await appview?.close()
})

/** What a client gets, as far as it must be the same on both servers. */
const gist = ({ status, error, message, body, headers }) => ({
  status,
  error,
  message: status >= 500 ? undefined : message,
  body: status < 400 ? (body instanceof Uint8Array ? Buffer.from(body).toString('base64') : body) : undefined,
  type: status < 400 ? headers.get('content-type')?.split(';')[0] : undefined,
  rev: status < 400 ? headers.get('atproto-repo-rev') : undefined,
  labelers: headers.get('atproto-content-labelers'),
  secret: headers.get('x-secret'),
})

/** Makes the same call on both servers and demands the same outcome; gives ours. */
async function both(make) {
  const [a, b] = [await make(ours), await make(theirs)]
  assert.deepEqual(gist(a), gist(b))
  return a
}

const as = (side, options = {}) => ({ token: side.account.token, ...options })

describe('a method that this node does not serve', () => {
  it('goes to the AppView with the account\'s token', async () => {
    const headers = {
      'accept-language': 'de',
      'atproto-accept-labelers': 'did:web:labels.example.com;redact',
      'x-atproto-bsky-topics': 'a',
      'x-bsky-topics': 'b',
      cookie: 'secret=1',
      'x-forwarded-for': '1.2.3.4',
      'x-other': 'no',
    }
    const params = { q: 'über & so', limit: 3, tag: ['a', 'b'] }
    await both((side) => query(side.server, SEARCH, params, as(side, { headers })))
    for (const side of [ours, theirs]) {
      const request = appview.seen.findLast((r) => r.nsid === SEARCH && r.headers.host && side === (r === appview.last(SEARCH) ? theirs : ours))
      assert.equal(request.path, '/xrpc/app.bsky.feed.searchPosts?q=%C3%BCber+%26+so&limit=3&tag=a&tag=b')
      const sent = request.headers
      assert.equal(sent['accept-language'], 'de')
      assert.equal(sent['atproto-accept-labelers'], 'did:web:labels.example.com;redact')
      assert.equal(sent['x-atproto-bsky-topics'], 'a')
      assert.equal(sent['x-bsky-topics'], 'b')
      for (const name of ['cookie', 'x-forwarded-for', 'x-other', 'atproto-proxy']) assert.equal(sent[name], undefined, name)
      const claims = await readToken(side.server, request)
      assert.equal(claims.iss, side.account.did)
      assert.ok(claims.exp - claims.iat <= 60)
      assert.match(claims.jti, /^[0-9a-f]{32}$/)
    }
  })

  it('takes its body along', async () => {
    const json = { seenAt: '2026-01-01T00:00:00.000Z', more: 'x'.repeat(100_000) }
    await both((side) => procedure(side.server, SEEN, json, as(side)))
    const request = appview.last(SEEN)
    assert.equal(request.method, 'POST')
    assert.deepEqual(JSON.parse(request.body), json)
    assert.equal(request.headers['content-type'], 'application/json')
    assert.equal(Number(request.headers['content-length']), request.body.length)
  })

  it('takes bytes of any kind along, and none', async () => {
    const raw = randomBytes(3_000_000)
    await both((side) => call(side.server, 'POST', 'com.example.put', as(side, { raw, type: 'application/x-thing' })))
    assert.ok(appview.last('com.example.put').body.equals(raw))
    await both((side) => call(side.server, 'POST', 'com.example.poke', as(side)))
    assert.equal(appview.last('com.example.poke').body.length, 0)
  })

  it('gets the answer\'s headers that are for clients, and no others', async () => {
    appview.answer(SEARCH, {
      json: { posts: [] },
      headers: {
        'atproto-repo-rev': '3jzfcijpj2z2a',
        'atproto-content-labelers': 'did:web:labels.example.com',
        'content-language': 'de',
        'set-cookie': 'a=b',
        'x-secret': '1',
      },
    })
    const { headers } = await both((side) => query(side.server, SEARCH, { q: 'a' }, as(side)))
    assert.equal(headers.get('content-language'), 'de')
    assert.equal(headers.get('set-cookie'), null)
    assert.equal(headers.get('cache-control'), 'private')
  })

  it('may answer compressed, or with bytes', async () => {
    const bytes = randomBytes(200_000)
    appview.answer('com.example.bytes', { body: bytes, headers: { 'content-type': 'application/vnd.ipld.car' } })
    const answer = await both((side) => query(side.server, 'com.example.bytes', {}, as(side)))
    assert.ok(bytes.equals(answer.body))
    appview.answer('com.example.packed', (request) => {
      assert.match(request.headers['accept-encoding'], /gzip/)
      return { body: gzipSync('{"a":1}'), headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' } }
    })
    const packed = await both((side) => query(side.server, 'com.example.packed', {}, as(side)))
    assert.deepEqual(packed.body, { a: 1 })
  })

  const errors = {
    'an error of its own': { status: 400, json: { error: 'NotFound', message: 'Post not found' }, headers: { 'atproto-repo-rev': '3jzfcijpj2z2a' } },
    'an error without a message': { status: 400, json: { error: 'Odd' } },
    'a refused token': { status: 401, json: { error: 'BadJwt', message: 'no' } },
    'a page that is not there': { status: 404, body: '<html>', headers: { 'content-type': 'text/html' } },
    'too many requests': { status: 429, json: { error: 'RateLimitExceeded', message: 'slow' }, headers: { 'retry-after': '7' } },
    'a failure': { status: 500, json: { error: 'InternalServerError', message: 'oops' } },
    'a failure without words': { status: 500, body: '' },
    'not implemented': { status: 501, json: { error: 'MethodNotImplemented', message: 'no such method' } },
    'a lack of resources': { status: 503, body: 'busy', headers: { 'content-type': 'text/plain' } },
    'an error of a wrong shape': { status: 400, json: { error: 7, message: ['a'] } },
    'a compressed error': { status: 400, body: gzipSync('{"error":"Packed","message":"m"}'), headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' } },
  }
  for (const [name, answer] of Object.entries(errors)) {
    it(`may answer ${name}`, async () => {
      appview.answer('com.example.fails', answer)
      const got = await both((side) => query(side.server, 'com.example.fails', {}, as(side)))
      assert.ok(got.error && got.message)
      // More than the official server does: a client learns when to come back, and what the service knew.
      for (const header of ['retry-after', 'atproto-repo-rev']) assert.equal(got.headers.get(header), answer.headers?.[header] ?? null)
    })
  }

  it('may close the connection without an answer', async () => {
    appview.answer('com.example.closes', (_, res) => void res.destroy())
    const got = await both((side) => query(side.server, 'com.example.closes', {}, as(side)))
    assert.deepEqual([got.status, got.error], [502, 'UpstreamFailure'])
  })

  it('is not waited for without end', async () => {
    appview.answer('com.example.sleeps', () => undefined)
    const [a, b] = await Promise.all([ours, theirs].map((side) => query(side.server, 'com.example.sleeps', {}, as(side))))
    assert.deepEqual([a.status, a.error], [502, 'UpstreamFailure'])
    assert.deepEqual(gist(a), gist(b))
  })

  it('waits for a client that pauses', async () => {
    const body = async function* () {
      yield 'one '
      await delay(12_000)
      yield 'two'
    }
    const headers = { authorization: `Bearer ${ours.account.token}`, 'content-type': 'text/plain' }
    const res = await fetch(`${ours.server.url}/xrpc/com.example.slow`, { method: 'POST', headers, body: body(), duplex: 'half' })
    assert.equal(res.status, 200)
    assert.equal(appview.last('com.example.slow').body.toString(), 'one two')
  })

  it('is not followed to another place', async () => {
    appview.answer('com.example.moves', { status: 302, headers: { location: `${appview.url}/xrpc/com.example.target` } })
    await query(ours.server, 'com.example.moves', {}, as(ours))
    assert.equal(appview.last('com.example.target'), undefined)
  })

  it('cannot send without end', async () => {
    appview.answer('com.example.endless', (_, res) => {
      res.writeHead(200, { 'content-type': 'application/octet-stream' })
      const more = () => {
        while (!res.destroyed && res.write(Buffer.alloc(65536)));
      }
      res.on('drain', more)
      more()
    })
    const url = `${ours.server.url}/xrpc/com.example.endless`
    const res = await fetch(url, { headers: { authorization: `Bearer ${ours.account.token}` } })
    let got = 0
    await assert.rejects(async () => {
      for await (const piece of res.body) got += piece.length
    })
    assert.ok(got <= 10 << 20, `${got} bytes`)
  })

  it('is refused without a session, with a wrong method, or with one that is never passed on', async () => {
    const count = appview.seen.length
    await both((side) => query(side.server, SEARCH, {}))
    await both((side) => query(side.server, SEARCH, {}, { token: 'garbage' }))
    await both((side) => call(side.server, 'PUT', SEARCH, as(side)))
    await both((side) => call(side.server, 'DELETE', SEARCH, as(side)))
    const proxy = { 'atproto-proxy': `${APPVIEW_DID}#bsky_appview` }
    const got = await procedure(ours.server, 'com.atproto.identity.signplcoperation', {}, as(ours, { headers: proxy }))
    assert.deepEqual([got.status, got.error], [400, 'InvalidToken'])
    assert.equal(appview.seen.length, count)
  })
})

describe('the header atproto-proxy', () => {
  const to = (side, header, nsid = 'tools.ozone.moderation.getEvent', options = {}) =>
    query(side.server, nsid, { id: 1 }, as(side, { headers: { 'atproto-proxy': header }, ...options }))

  it('names the service', async () => {
    await both((side) => to(side, `${side.labeler.did}#atproto_labeler`))
    const request = appview.last('tools.ozone.moderation.getEvent')
    const claims = await readToken(theirs.server, request, theirs.labeler.did)
    assert.equal(claims.aud, theirs.labeler.did)
    await to(ours, `${ours.labeler.did}#atproto_labeler`)
    await readToken(ours.server, appview.last('tools.ozone.moderation.getEvent'), ours.labeler.did)
  })

  it('may name the configured AppView', async () => {
    await both((side) => to(side, `${APPVIEW_DID}#bsky_appview`))
    assert.equal((await readToken(theirs.server, appview.last('tools.ozone.moderation.getEvent'))).aud, APPVIEW_DID)
  })

  for (const header of ['did:web:a.example', '#bsky_appview', 'did:web:a.example#', 'did:web:a#b#c', 'did:web:a b#c', 'nonsense#a']) {
    it(`is refused when it is ${JSON.stringify(header)}`, async () => {
      const [a, b] = [await to(ours, header), await to(theirs, header)]
      assert.equal(a.status, 400)
      if (b.status < 500) assert.deepEqual(gist(a), gist(b))
    })
  }

  it('is refused when the service is not in the document', async () => {
    await both((side) => to(side, `${side.labeler.did}#something_else`))
    await both((side) => to(side, `did:plc:aaaaaaaaaaaaaaaaaaaaaaaa#atproto_labeler`))
  })

  it('is needed where nothing is configured', async () => {
    const [a, b] = await Promise.all([ours, theirs].map((side) => query(side.server, 'tools.ozone.moderation.getEvent', { id: 1 }, as(side))))
    assert.deepEqual([a.status, a.error], [b.status, b.error])
    assert.match(a.message, /^No service configured for tools.ozone.moderation.getEvent/)
  })
})

describe('the node\'s own network', () => {
  it('is not reached through a DID document', async () => {
    const node = await uesBefore(appview, { env: { UES_PROXY_ALLOW_PRIVATE_ADDRESSES: 'false' } })
    try {
      const account = await newAccount(node)
      const endpoints = [
        appview.url,
        `http://127.0.0.1:${appview.port}`,
        `https://127.0.0.1:${appview.port}`,
        `https://localhost:${appview.port}`,
        `https://[::1]:${appview.port}`,
        `https://[::ffff:127.0.0.1]:${appview.port}`,
        `https://2130706433:${appview.port}`,
        'https://169.254.169.254',
      ]
      let connections = 0
      appview.server.on('connection', () => connections++)
      for (const endpoint of endpoints) {
        const { did } = await serviceDid(node, { inside: { type: 'Thing', endpoint } })
        const headers = { 'atproto-proxy': `${did}#inside` }
        const got = await query(node, 'com.example.secret', {}, { token: account.token, headers })
        assert.deepEqual([got.status, got.error], [502, 'UpstreamFailure'], endpoint)
      }
      assert.equal(connections, 0)
    } finally {
      await node.close()
    }
  })
})

describe('com.atproto.server.getServiceAuth', () => {
  const NSID = 'com.atproto.server.getServiceAuth'
  const now = () => Math.floor(Date.now() / 1000)
  const rows = {
    'for a method': { aud: APPVIEW_DID, lxm: SEARCH },
    'for any method': { aud: APPVIEW_DID },
    'for a service of a DID': { aud: `${APPVIEW_DID}#bsky_appview`, lxm: SEARCH },
    'for half an hour': () => ({ aud: APPVIEW_DID, lxm: SEARCH, exp: now() + 1800 }),
    'for two hours': () => ({ aud: APPVIEW_DID, lxm: SEARCH, exp: now() + 7200 }),
    'for any method for half an hour': () => ({ aud: APPVIEW_DID, exp: now() + 1800 }),
    'in the past': () => ({ aud: APPVIEW_DID, lxm: SEARCH, exp: now() - 60 }),
    'ending at zero': { aud: APPVIEW_DID, lxm: SEARCH, exp: 0 },
    'ending before zero': { aud: APPVIEW_DID, lxm: SEARCH, exp: -1 },
    'ending never': { aud: APPVIEW_DID, lxm: SEARCH, exp: 'never' },
    'without audience': { lxm: SEARCH },
    'for no DID': { aud: 'appview.example.com', lxm: SEARCH },
    'for a did:key': { aud: 'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme', lxm: SEARCH },
    'for a protected method': { aud: APPVIEW_DID, lxm: 'com.atproto.server.updateEmail' },
    'for a privileged method': { aud: APPVIEW_DID, lxm: 'chat.bsky.convo.listConvos' },
    'for something that is no method': { aud: APPVIEW_DID, lxm: 'nonsense' },
  }
  for (const [name, row] of Object.entries(rows)) {
    it(name, async () => {
      const params = typeof row === 'function' ? row() : row
      const [a, b] = [await query(ours.server, NSID, params, as(ours)), await query(theirs.server, NSID, params, as(theirs))]
      assert.deepEqual([a.status, a.error], [b.status, b.error], `${a.message} / ${b.message}`)
      if (a.status !== 200) return
      const request = { headers: { authorization: a.body.token }, nsid: params.lxm ?? null }
      const claims = await readToken(ours.server, request, params.aud)
      assert.equal(claims.iss, ours.account.did)
      assert.equal(claims.exp, params.exp || claims.iat + 60)
    })
  }

  it('without a session', () => both((side) => query(side.server, NSID, { aud: APPVIEW_DID })))
})

describe('tokens of services, by which they upload for an account', () => {
  const NSID = 'com.atproto.repo.uploadBlob'
  const serverDid = async (side) => (await query(side.server, 'com.atproto.server.describeServer', {})).body.did
  const upload = (side, token) => call(side.server, 'POST', NSID, { raw: Buffer.from('a picture'), type: 'image/png', token })

  it('that the account asked for are taken', async () => {
    const got = await both(async (side) => {
      const params = { aud: await serverDid(side), lxm: NSID }
      const { body } = await query(side.server, 'com.atproto.server.getServiceAuth', params, as(side))
      return upload(side, body.token)
    })
    assert.equal(got.status, 200)
    assert.equal(got.body.blob.mimeType, 'image/png')
  })

  const wrong = {
    'for another method': { lxm: 'com.atproto.repo.createRecord' },
    'that have ended': { exp: 1000 },
    'of nobody': { iss: 'nobody' },
    'of somebody unknown': { iss: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' },
    'signed by another key': {},
  }
  for (const [name, change] of Object.entries(wrong)) {
    it(`${name} are refused`, async () => {
      const [a, b] = await Promise.all(
        [ours, theirs].map(async (side) => {
          const params = { iss: side.account.did, aud: await serverDid(side), lxm: NSID, keypair: side.labeler.key, ...change }
          return upload(side, await createServiceJwt(params))
        }),
      )
      assert.equal(a.status, 401, a.message)
      if (b.status < 500) assert.deepEqual([a.status, a.error], [b.status, b.error])
    })
  }

  it('for another server are refused', async () => {
    await both(async (side) => {
      const params = { aud: 'did:web:elsewhere.example.com', lxm: NSID }
      const { body } = await query(side.server, 'com.atproto.server.getServiceAuth', params, as(side))
      return { ...(await upload(side, body.token)), message: undefined }
    })
  })

  it('of an account elsewhere give it no repository here', async () => {
    const params = { iss: ours.labeler.did, aud: await serverDid(ours), lxm: NSID, keypair: ours.labeler.key }
    const got = await upload(ours, await createServiceJwt(params))
    assert.equal(got.status, 400)
    assert.match(got.message, /No repo root/)
  })

  it('are good for no other call', async () => {
    const params = { aud: await serverDid(ours), lxm: NSID }
    const { body } = await query(ours.server, 'com.atproto.server.getServiceAuth', params, as(ours))
    const got = await query(ours.server, 'com.atproto.server.getSession', {}, { token: body.token })
    assert.deepEqual([got.status, got.error], [400, 'InvalidToken'])
  })
})

describe('preferences', () => {
  const put = (side, preferences) => procedure(side.server, 'app.bsky.actor.putPreferences', { preferences }, as(side))
  const get = (side, options) => query(side.server, 'app.bsky.actor.getPreferences', {}, as(side, options))
  const adult = { $type: 'app.bsky.actor.defs#adultContentPref', enabled: true }
  const tags = { $type: 'app.bsky.actor.defs#interestsPref', tags: ['a', 'b'] }
  const born = { $type: 'app.bsky.actor.defs#personalDetailsPref', birthDate: '1990-05-05T00:00:00.000Z' }

  it('are empty at first, kept, and replaced as a whole', async () => {
    assert.deepEqual((await both((side) => get(side))).body, { preferences: [] })
    await both((side) => put(side, [adult, tags, born]))
    const { body } = await both((side) => get(side))
    assert.deepEqual(body.preferences.slice(0, 3), [adult, tags, born])
    assert.equal(body.preferences[3].$type, 'app.bsky.actor.defs#declaredAgePref')
    await both((side) => put(side, body.preferences.filter((p) => p !== body.preferences[0])))
    assert.equal((await both((side) => get(side))).body.preferences.length, 3)
    await both((side) => put(side, []))
    assert.deepEqual((await both((side) => get(side))).body, { preferences: [] })
  })

  for (const [name, preferences] of Object.entries({
    'without a type': [{ enabled: true }],
    'of another namespace': [{ $type: 'com.example.pref', a: 1 }],
    'of a name that only begins alike': [{ $type: 'app.bskyother.pref', a: 1 }],
    'of an unknown kind': [{ $type: 'app.bsky.actor.defs#futurePref', a: { b: [1] } }],
    'of a wrong shape': [{ $type: 'app.bsky.actor.defs#adultContentPref', enabled: 'yes' }],
    'that are no list': 7,
  })) {
    it(`${name}`, async () => {
      const [a, b] = [await put(ours, preferences), await put(theirs, preferences)]
      assert.deepEqual([a.status, a.error], [b.status, b.error], `${a.message} / ${b.message}`)
      assert.deepEqual((await get(ours)).body, (await get(theirs)).body)
    })
  }

  it('of another AppView are asked of that one', async () => {
    const headers = (side) => ({ 'atproto-proxy': `${side.labeler.did}#atproto_labeler` })
    appview.answer('app.bsky.actor.getPreferences', { json: { preferences: [adult] } })
    const { body } = await both((side) => get(side, { headers: headers(side) }))
    assert.deepEqual(body, { preferences: [adult] })
  })

  it('need a session', () => both((side) => query(side.server, 'app.bsky.actor.getPreferences', {})))

  it('are kept without an AppView, too, and survive a restart', async () => {
    const node = await startUes()
    const { dir, port } = node
    node.keepData = true
    const account = await newAccount(node)
    await procedure(node, 'app.bsky.actor.putPreferences', { preferences: [tags] }, { token: account.token })
    await node.program.kill()
    await node.close()
    const again = await startUes({ dir, port })
    again.keepData = false
    try {
      const { body } = await query(again, 'app.bsky.actor.getPreferences', {}, { token: account.token })
      assert.deepEqual(body.preferences, [tags])
      const timeline = await query(again, 'app.bsky.feed.getTimeline', {}, { token: account.token })
      assert.deepEqual([timeline.status, timeline.error], [400, 'InvalidRequest'])
      assert.match(timeline.message, /appview\.url/)
    } finally {
      await again.close()
    }
  })
})

describe('methods that are more than passed on', () => {
  it('getFeed gives the generator a token of its own', async () => {
    const feed = 'at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.generator/all'
    const generator = 'did:web:feeds.example.com'
    appview.answer('com.atproto.repo.getRecord', { json: { uri: feed, value: { $type: 'app.bsky.feed.generator', did: generator } } })
    appview.answer('app.bsky.feed.getFeed', { json: { feed: [] } })
    for (const side of [theirs, ours]) {
      const got = await query(side.server, 'app.bsky.feed.getFeed', { feed }, as(side))
      assert.equal(got.status, 200, got.message)
      const claims = await readToken(side.server, appview.last('app.bsky.feed.getFeed'), generator, 'app.bsky.feed.getFeedSkeleton')
      assert.equal(claims.iss, side.account.did)
    }
  })

  it('getRecord of others asks the AppView', async () => {
    const value = { uri: 'at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/com.example.a/b', cid: 'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a', value: { $type: 'com.example.a' } }
    appview.answer('com.atproto.repo.getRecord', { json: value })
    const params = { repo: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', collection: 'com.example.a', rkey: 'b' }
    assert.deepEqual((await both((side) => query(side.server, 'com.atproto.repo.getRecord', params))).body, value)
    assert.equal(appview.last('com.atproto.repo.getRecord').headers.authorization, undefined)
  })

  it('registerPush goes to the service that the input names', async () => {
    for (const side of [theirs, ours]) {
      const input = { serviceDid: side.labeler.did, token: 'abc', platform: 'ios', appId: 'xyz.example' }
      const got = await procedure(side.server, 'app.bsky.notification.registerPush', input, as(side))
      assert.equal(got.status, 200, got.message)
      const request = appview.last('app.bsky.notification.registerPush')
      assert.deepEqual(JSON.parse(request.body), input)
      await readToken(side.server, request, side.labeler.did)
    }
  })
})
