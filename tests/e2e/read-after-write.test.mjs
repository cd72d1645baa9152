// Read after write: an AppView that is behind, and answers that show a user's own latest writes all the same. The
// official server stands before the same AppView and must give the same answers.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { Service, pdsBefore, readToken, uesBefore } from '../lib/appview.mjs'
import { head } from '../lib/repos.mjs'
import { procedure, query } from '../lib/xrpc.mjs'

const POST = 'app.bsky.feed.post'
const CDN = 'https://cdn.example.com/img/%s/plain/%s/%s@jpeg'
const OTHER = 'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb'
const OLD = '2020-01-01T00:00:00.000Z'
const OLDER = '2019-01-01T00:00:00.000Z'
const CID = 'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a'
const KEYS = Object.fromEntries(['old', 'plain', 'image', 'link', 'quote', 'both', 'reply', 'deeper'].map((name, i) => [name, `3jzfcijpj2z${'2abcdefg'[i]}a`]))

let appview, ours, theirs
const sides = () => [ours, theirs]

const post = (text, more = {}) => ({ $type: POST, text, createdAt: '2026-01-01T00:00:00.000Z', ...more })
const uri = (side, name) => `at://${side.account.did}/${POST}/${KEYS[name]}`
const author = (did, handle) => ({ did, handle, displayName: 'before' })
const view = (did, handle, name, more = {}) => ({
  uri: `at://${did}/${POST}/${name}`,
  cid: CID,
  author: author(did, handle),
  record: post(`post ${name}`),
  indexedAt: OLD,
  ...more,
})

/** Writes the same things on a side; `rev` is what the AppView knows. */
async function fill(side) {
  const { server, account } = side
  const { did, token } = account
  const write = async (method, body) => {
    const res = await procedure(server, `com.atproto.repo.${method}`, { repo: did, ...body }, { token })
    assert.equal(res.status, 200, res.message)
    return res.body
  }
  const create = (name, record) => write('createRecord', { collection: POST, rkey: KEYS[name], record })
  await write('putRecord', { collection: 'app.bsky.actor.profile', rkey: 'self', record: { $type: 'app.bsky.actor.profile', displayName: 'before' } })
  const { cid } = await create('old', post('old'))
  side.rev = (await head(server, did)).rev
  const { blob } = (await account.agent.uploadBlob(Buffer.from('a picture'), { encoding: 'image/png' })).data
  const profile = { $type: 'app.bsky.actor.profile', displayName: 'after', description: 'new', avatar: blob }
  await write('putRecord', { collection: 'app.bsky.actor.profile', rkey: 'self', record: profile })
  const images = { $type: 'app.bsky.embed.images', images: [{ alt: 'a', image: blob, aspectRatio: { width: 3, height: 2 } }] }
  const external = { $type: 'app.bsky.embed.external', external: { uri: 'https://example.com', title: 't', description: 'd', thumb: blob } }
  const quote = { $type: 'app.bsky.embed.record', record: { uri: `at://${OTHER}/${POST}/quoted`, cid: CID } }
  const old = { uri: uri(side, 'old'), cid }
  await create('plain', post('plain'))
  await create('image', post('image', { embed: images }))
  await create('link', post('link', { embed: external }))
  await create('quote', post('quote', { embed: quote }))
  await create('both', post('both', { embed: { $type: 'app.bsky.embed.recordWithMedia', record: quote, media: images } }))
  const reply = await create('reply', post('reply', { reply: { root: old, parent: old } }))
  const deeper = await create('deeper', post('deeper', { reply: { root: old, parent: { uri: reply.uri, cid: reply.cid } } }))
  // What names its author's DID has another CID on each side.
  side.cids = [reply.cid, deeper.cid]
}

before(async () => {
  appview = await Service.start()
  const servers = await Promise.all([
    uesBefore(appview, { env: { UES_APPVIEW_CDN_URL: CDN } }),
    pdsBefore(appview, { env: { PDS_BSKY_APP_VIEW_CDN_URL_PATTERN: CDN } }),
  ])
  ;[ours, theirs] = await Promise.all(servers.map(async (server) => ({ server, account: await newAccount(server) })))
  await Promise.all(sides().map(fill))
  const quoted = view(OTHER, 'other.test', 'quoted', { embed: { $type: 'app.bsky.embed.images#view', images: [] }, labels: [] })
  appview.answer('app.bsky.feed.getPosts', { json: { posts: [quoted] } })
})
after(async () => {
  for (const side of [ours, theirs]) await side?.server.close()
  await appview?.close()
})

/** An answer without what differs from side to side, and its lag, which must be there or not. */
function normal(side, { status, body, error, headers }) {
  let text = JSON.stringify(body)
  for (const [from, to] of [[side.account.did, 'DID'], [side.account.handle, 'HANDLE'], [side.cids[0], 'CID0'], [side.cids[1], 'CID1']]) text = text.replaceAll(from, to)
  text = text.replaceAll(/"indexedAt":"202[6-9][^"]*"/g, '"indexedAt":"NOW"')
  const lag = headers.get('atproto-upstream-lag')
  return { status, error, body: JSON.parse(text), lagged: lag !== null && Number(lag) >= 0, rev: status < 400 && headers.get('atproto-repo-rev') === side.rev }
}

/** Has the AppView answer each side and demands the same of both; gives ours. */
async function both(nsid, params, answer) {
  const got = []
  for (const side of sides()) {
    const { headers = {}, ...rest } = answer(side)
    appview.answer(nsid, { headers: { 'atproto-repo-rev': side.rev, ...headers }, ...rest })
    const given = typeof params === 'function' ? params(side) : params
    got.push(normal(side, await query(side.server, nsid, given, { token: side.account.token })))
  }
  assert.deepEqual(got[0], got[1])
  return got[0]
}

const me = (side) => [side.account.did, side.account.handle]
const item = (post) => ({ post })

describe('profiles', () => {
  const detailed = (side) => ({ ...author(...me(side)), description: 'old', banner: 'https://example.com/b', followersCount: 7 })

  it('show the new record of one\'s own', async () => {
    const { body, lagged } = await both('app.bsky.actor.getProfile', (side) => ({ actor: side.account.did }), (side) => ({ json: detailed(side) }))
    assert.deepEqual([body.displayName, body.description, body.banner, body.followersCount], ['after', 'new', undefined, 7])
    assert.match(body.avatar, /^https:\/\/cdn\.example\.com\/img\/avatar\/plain\/DID\/bafkrei/)
    assert.ok(lagged)
  })

  it('of others stay', async () => {
    const { body } = await both('app.bsky.actor.getProfile', { actor: OTHER }, () => ({ json: author(OTHER, 'other.test') }))
    assert.equal(body.displayName, 'before')
  })

  it('in a list, too', async () => {
    const answer = (side) => ({ json: { profiles: [author(OTHER, 'other.test'), detailed(side)] } })
    const { body } = await both('app.bsky.actor.getProfiles', (side) => ({ actors: [OTHER, side.account.did] }), answer)
    assert.deepEqual(body.profiles.map((p) => p.displayName), ['before', 'after'])
  })
})

describe('feeds', () => {
  const feed = () => [item(view(OTHER, 'other.test', 'a')), item(view(OTHER, 'other.test', 'b', { indexedAt: OLDER }))]

  it('the timeline has the newest posts first', async () => {
    const { body, lagged } = await both('app.bsky.feed.getTimeline', { limit: 30 }, () => ({ json: { feed: feed(), cursor: 'next' } }))
    const texts = body.feed.map(({ post }) => post.record.text)
    assert.deepEqual(texts, ['deeper', 'reply', 'both', 'quote', 'link', 'image', 'plain', 'post a', 'post b'])
    assert.equal(body.cursor, 'next')
    assert.ok(lagged)
    const byText = (text) => body.feed.find(({ post }) => post.record.text === text).post
    assert.equal(byText('plain').author.displayName, 'after')
    assert.equal(byText('image').embed.$type, 'app.bsky.embed.images#view')
    assert.equal(byText('quote').embed.record.$type, 'app.bsky.embed.record#viewRecord')
    assert.equal(byText('both').embed.media.$type, 'app.bsky.embed.images#view')
    const asked = appview.last('app.bsky.feed.getPosts')
    assert.equal((await readToken(theirs.server, asked)).iss, theirs.account.did)
  })

  it('an empty one has them, too', () => both('app.bsky.feed.getTimeline', {}, () => ({ json: { feed: [] } })))

  it('what is older than the page\'s end is not put in', async () => {
    const future = { indexedAt: '2999-01-01T00:00:00.000Z' }
    const { body } = await both('app.bsky.feed.getTimeline', {}, () => ({ json: { feed: [item(view(OTHER, 'other.test', 'a', future))] } }))
    assert.equal(body.feed.length, 1)
  })

  it('one\'s own feed has them and the new profile', async () => {
    const own = (side) => ({ json: { feed: [item(view(...me(side), 'mine')), ...feed()] } })
    const { body } = await both('app.bsky.feed.getAuthorFeed', (side) => ({ actor: side.account.did }), own)
    assert.equal(body.feed.length, 10)
    assert.equal(body.feed.find(({ post }) => post.record.text === 'post mine').post.author.displayName, 'after')
  })

  it('one that begins with a repost of one\'s own, too', async () => {
    const reason = (side) => ({ $type: 'app.bsky.feed.defs#reasonRepost', by: author(...me(side)), indexedAt: OLD })
    const own = (side) => ({ json: { feed: [{ ...item(view(OTHER, 'other.test', 'a')), reason: reason(side) }] } })
    assert.equal((await both('app.bsky.feed.getAuthorFeed', (side) => ({ actor: side.account.did }), own)).body.feed.length, 8)
  })

  it('others\' feeds stay', async () => {
    const { body } = await both('app.bsky.feed.getAuthorFeed', { actor: OTHER }, () => ({ json: { feed: feed() } }))
    assert.equal(body.feed.length, 2)
  })

  it('likes have the new profile', async () => {
    const likes = (side) => ({ json: { feed: [item(view(...me(side), 'mine')), ...feed()] } })
    const { body } = await both('app.bsky.feed.getActorLikes', (side) => ({ actor: side.account.did }), likes)
    assert.deepEqual(body.feed.map(({ post }) => post.author.displayName), ['after', 'before', 'before'])
  })
})

describe('threads', () => {
  const NSID = 'app.bsky.feed.getPostThread'
  const threadPost = (post, more = {}) => ({ $type: 'app.bsky.feed.defs#threadViewPost', post, ...more })

  it('have the new replies where they belong', async () => {
    const answer = (side) => ({ json: { thread: threadPost({ ...view(...me(side), KEYS.old), uri: uri(side, 'old') }, { replies: [] }) } })
    const { body } = await both(NSID, (side) => ({ uri: uri(side, 'old') }), answer)
    assert.equal(body.thread.replies[0].post.record.text, 'reply')
    assert.equal(body.thread.replies[0].replies[0].post.record.text, 'deeper')
  })

  it('of others stay', () => both(NSID, { uri: `at://${OTHER}/${POST}/a` }, () => ({ json: { thread: threadPost(view(OTHER, 'other.test', 'a')) } })))

  it('that are not there are said so', async () => {
    const answer = (side) => ({ json: { thread: { $type: 'app.bsky.feed.defs#notFoundPost', uri: uri(side, 'old'), notFound: true } } })
    await both(NSID, (side) => ({ uri: uri(side, 'old') }), answer)
  })

  /** The AppView does not know the post that is asked for, but what is above it. */
  const unknown = (side) => ({ params }) => {
    const rev = { 'atproto-repo-rev': side.rev }
    if (params.get('uri') !== uri(side, 'old')) return { status: 400, json: { error: 'NotFound', message: 'Post not found' }, headers: rev }
    return { json: { thread: threadPost({ ...view(...me(side), KEYS.old), uri: uri(side, 'old') }) } }
  }

  for (const [name, key] of Object.entries({ 'of a post': 'plain', 'of a reply': 'reply' })) {
    it(`${name} that only this node knows are made here`, async () => {
      const got = []
      for (const side of sides()) {
        appview.answer(NSID, unknown(side))
        got.push(normal(side, await query(side.server, NSID, { uri: uri(side, key) }, { token: side.account.token })))
      }
      assert.deepEqual(got[0], got[1])
      assert.equal(got[0].body.thread.post.record.text, key)
      if (key === 'reply') {
        assert.equal(got[0].body.thread.parent.post.uri, `at://DID/${POST}/${KEYS.old}`)
        assert.equal(got[0].body.thread.replies[0].post.record.text, 'deeper')
      }
    })
  }

  it('of posts that nobody knows are not found', async () => {
    const got = []
    for (const side of sides()) {
      appview.answer(NSID, unknown(side))
      const asked = { uri: `at://${side.account.did}/${POST}/3jzfcijpj2zza` }
      got.push(normal(side, await query(side.server, NSID, asked, { token: side.account.token })))
    }
    assert.deepEqual(got[0], got[1])
    assert.deepEqual([got[0].status, got[0].error], [400, 'NotFound'])
  })
})

describe('answers that are left alone', () => {
  const timeline = () => ({ feed: [item(view(OTHER, 'other.test', 'a'))] })

  it('when the AppView knows everything', async () => {
    for (const side of sides()) {
      const { rev } = await head(side.server, side.account.did)
      appview.answer('app.bsky.feed.getTimeline', { json: timeline(), headers: { 'atproto-repo-rev': rev } })
      const got = await query(side.server, 'app.bsky.feed.getTimeline', {}, { token: side.account.token })
      assert.deepEqual([got.body, got.headers.get('atproto-repo-rev'), got.headers.get('atproto-upstream-lag')], [timeline(), rev, null])
    }
  })

  it('when it does not say what it knows', async () => {
    const { body } = await both('app.bsky.feed.getTimeline', {}, () => ({ json: timeline(), headers: { 'atproto-repo-rev': '' } }))
    assert.equal(body.feed.length, 1)
  })

  it('when it speaks of a repository before this one', async () => {
    const { body } = await both('app.bsky.feed.getTimeline', {}, () => ({ json: timeline(), headers: { 'atproto-repo-rev': '2222222222222' } }))
    assert.equal(body.feed.length, 1)
  })

  it('when they are not what the lexicon says', async () => {
    const { body } = await both('app.bsky.feed.getTimeline', {}, () => ({ json: { feed: 'none' } }))
    assert.deepEqual(body, { feed: 'none' })
  })
})
