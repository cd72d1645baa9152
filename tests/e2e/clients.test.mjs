// Clients that other people write: @atcute/client, and the framework for bots of Skyware.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Bot, PasswordSession, atcute, car } from '../clients/index.mjs'
import { newAccount } from '../lib/accounts.mjs'
import { Service, uesBefore } from '../lib/appview.mjs'

const POST = 'app.bsky.feed.post'

let appview, node, account, friend
before(async () => {
  appview = await Service.start()
  node = await uesBefore(appview)
  account = await newAccount(node)
  friend = await newAccount(node)
  appview.answer('app.bsky.actor.getProfile', (request) => {
    const actor = [account, friend].find((a) => [a.did, a.handle].includes(request.params.get('actor')))
    return { json: { did: actor.did, handle: actor.handle, followersCount: 1 } }
  })
})
after(async () => {
  await node?.close()
  await appview?.close()
})

describe('@atcute/client', () => {
  const { Client, ok } = atcute
  let session, rpc
  before(async () => {
    session = await PasswordSession.login({ service: node.url, identifier: account.handle, password: account.password })
    rpc = new Client({ handler: session })
  })

  it('writes, reads, changes and deletes records', async () => {
    assert.equal((await ok(rpc.get('com.atproto.server.getSession'))).did, account.did)
    const record = { $type: POST, text: 'from atcute', createdAt: new Date().toISOString() }
    const made = await ok(rpc.post('com.atproto.repo.createRecord', { input: { repo: account.did, collection: POST, record } }))
    const rkey = made.uri.split('/').pop()
    const got = await ok(rpc.get('com.atproto.repo.getRecord', { params: { repo: account.did, collection: POST, rkey } }))
    assert.deepEqual([got.cid, got.value], [made.cid, record])
    const changed = { ...record, text: 'changed' }
    await ok(rpc.post('com.atproto.repo.putRecord', { input: { repo: account.did, collection: POST, rkey, record: changed, swapRecord: made.cid } }))
    const lost = await rpc.post('com.atproto.repo.putRecord', { input: { repo: account.did, collection: POST, rkey, record, swapRecord: made.cid } })
    assert.deepEqual([lost.ok, lost.status, lost.data.error], [false, 400, 'InvalidSwap'])
    const listed = await ok(rpc.get('com.atproto.repo.listRecords', { params: { repo: account.handle, collection: POST } }))
    assert.deepEqual(listed.records.map((r) => r.value.text), ['changed'])
    await ok(rpc.post('com.atproto.repo.deleteRecord', { input: { repo: account.did, collection: POST, rkey } }))
    const gone = await rpc.get('com.atproto.repo.getRecord', { params: { repo: account.did, collection: POST, rkey } })
    assert.deepEqual([gone.ok, gone.data.error], [false, 'RecordNotFound'])
  })

  it('uploads blobs, reads them, and exports the repository', async () => {
    const content = new Uint8Array(100_000).map((_, i) => i % 251)
    const { blob } = await ok(rpc.post('com.atproto.repo.uploadBlob', { input: content, headers: { 'content-type': 'image/png' } }))
    const record = { $type: POST, text: 'with a picture', createdAt: new Date().toISOString(), embed: { $type: 'app.bsky.embed.images', images: [{ alt: '', image: blob }] } }
    await ok(rpc.post('com.atproto.repo.createRecord', { input: { repo: account.did, collection: POST, record } }))
    const params = { did: account.did, cid: blob.ref.$link }
    assert.deepEqual(await ok(rpc.get('com.atproto.sync.getBlob', { params, as: 'bytes' })), content)
    const archive = await ok(rpc.get('com.atproto.sync.getRepo', { params: { did: account.did }, as: 'bytes' }))
    const blocks = [...car.fromUint8Array(archive)]
    assert.ok(blocks.length >= 3, `${blocks.length} blocks`)
  })

  it('goes on with its refresh token, and is signed out for good', async () => {
    const before = session.session.refreshJwt
    await session.refresh()
    assert.notEqual(session.session.refreshJwt, before)
    const resumed = await PasswordSession.resume(session.session)
    assert.equal(resumed.did, account.did)
    const saved = resumed.session
    await resumed.logout()
    await assert.rejects(new PasswordSession(saved).refresh(), /expired|revoked|invalid/i)
  })

  it('is told what was wrong', async () => {
    await assert.rejects(PasswordSession.login({ service: node.url, identifier: account.handle, password: 'wrong' }), /Invalid identifier or password/)
  })
})

describe('a bot', () => {
  let bot
  before(async () => {
    bot = new Bot({ service: node.url, emitEvents: false })
    await bot.login({ identifier: account.handle, password: account.password })
  })
  const records = async (collection) => (await account.agent.com.atproto.repo.listRecords({ repo: account.did, collection })).data.records

  it('posts, with facets, a picture, an answer and who may answer', async () => {
    const picture = new Blob([new Uint8Array(5000)], { type: 'image/jpeg' })
    const first = await bot.post({
      text: `hello @${friend.handle}, see https://example.com #tests`,
      images: [{ data: picture, alt: 'nothing' }],
      threadgate: { allowFollowing: true },
    })
    const ref = { uri: first.uri, cid: first.cid }
    const answer = await bot.post({ text: 'and more', replyRef: { root: ref, parent: ref } })
    const posts = new Map((await records(POST)).map((r) => [r.uri, r.value]))
    const { facets, embed } = posts.get(first.uri)
    const features = facets.flatMap((facet) => facet.features.map((f) => f.did ?? f.uri ?? f.tag))
    assert.deepEqual(features.sort(), [friend.did, 'https://example.com', 'tests'].sort())
    assert.equal(embed.images[0].image.mimeType, 'image/jpeg')
    assert.equal(posts.get(answer.uri).reply.parent.uri, first.uri)
    assert.equal((await records('app.bsky.feed.threadgate'))[0].value.post, first.uri)
    await answer.delete()
    assert.equal((await records(POST)).some((r) => r.uri === answer.uri), false)
  })

  it('likes, reposts and follows, and takes it back', async () => {
    const { uri, cid } = (await records(POST))[0]
    await bot.like({ uri, cid })
    await bot.repost({ uri, cid })
    await bot.follow(friend.did)
    const all = ['app.bsky.feed.like', 'app.bsky.feed.repost', 'app.bsky.graph.follow']
    const found = await Promise.all(all.map(records))
    assert.deepEqual(found.map((list) => list.length), [1, 1, 1])
    assert.equal(found[2][0].value.subject, friend.did)
    for (const [record] of found) await bot.deleteRecord(record.uri)
    assert.deepEqual((await Promise.all(all.map(records))).map((list) => list.length), [0, 0, 0])
  })
})
