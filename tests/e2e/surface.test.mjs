// The official client through the whole surface, as an application uses it.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { AtpAgent, RichText } from '@atproto/api'
import { Client as PlcClient } from '@did-plc/lib'
import { PASSWORD, newAccount, newHandle, wellKnown } from '../lib/accounts.mjs'
import { bytes, dataRoot, head, listAll, readBlocks } from '../lib/repos.mjs'
import { startTarget } from '../lib/servers.mjs'
import { call, procedure, query } from '../lib/xrpc.mjs'

const POST = 'app.bsky.feed.post'
const post = (text) => ({ $type: POST, text, createdAt: new Date().toISOString() })
const PNG = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')

let server
before(async () => {
  server = await startTarget()
})
after(() => server?.close())

describe('com.atproto.server', () => {
  it('describes itself', async () => {
    const { data } = await new AtpAgent({ service: server.url }).com.atproto.server.describeServer()
    assert.match(data.did, /^did:web:/)
    assert.ok(data.availableUserDomains.includes('.test'))
    assert.notEqual(data.inviteCodeRequired, true)
  })

  it('answers _health with its version', async () => {
    const { status, body } = await call(server, 'GET', '_health')
    assert.equal(status, 200)
    assert.equal(typeof body.version, 'string')
  })

  it('makes an account with a repository and an identity', async () => {
    const { agent, did, handle } = await newAccount(server)
    assert.match(did, /^did:plc:[a-z2-7]{24}$/)
    const session = (await agent.com.atproto.server.getSession()).data
    assert.equal(session.handle, handle)
    assert.equal(session.did, did)
    assert.equal(session.active, true)
    assert.equal((await head(server, did)).rev.length, 13)
    const document = await new PlcClient(server.plcUrl).getDocumentData(did)
    assert.deepEqual(document.alsoKnownAs, [`at://${handle}`])
    assert.equal(document.services.atproto_pds.type, 'AtprotoPersonalDataServer')
  })

  it('logs in by handle, e-mail and DID', async () => {
    const { handle, did } = await newAccount(server)
    for (const identifier of [handle, handle.toUpperCase(), `${handle.split('.')[0]}@example.com`, did]) {
      const agent = new AtpAgent({ service: server.url })
      await agent.login({ identifier, password: PASSWORD })
      assert.equal(agent.session.did, did)
    }
  })

  it('refreshes and ends a session', async () => {
    const { agent, did } = await newAccount(server)
    const first = agent.session
    await agent.sessionManager.refreshSession()
    assert.notEqual(agent.session.refreshJwt, first.refreshJwt)
    assert.equal((await agent.com.atproto.server.getSession()).data.did, did)
    const { refreshJwt } = agent.session
    const ended = await procedure(server, 'com.atproto.server.deleteSession', undefined, { token: refreshJwt })
    assert.equal(ended.status, 200)
    const again = await procedure(server, 'com.atproto.server.refreshSession', undefined, { token: refreshJwt })
    assert.deepEqual([again.status, again.error], [400, 'ExpiredToken'])
  })

  it('resumes a stored session', async () => {
    const { agent, did } = await newAccount(server)
    const other = new AtpAgent({ service: server.url })
    await other.resumeSession(agent.session)
    await other.post({ text: 'resumed' })
    assert.equal((await listAll(server, did, POST)).length, 1)
  })
})

describe('com.atproto.repo', () => {
  it('writes, reads, changes and deletes a record', async () => {
    const { agent, did, handle } = await newAccount(server)
    const repo = agent.com.atproto.repo
    const made = (await repo.createRecord({ repo: did, collection: POST, record: post('one') })).data
    assert.equal(made.validationStatus, 'valid')
    assert.match(made.uri, new RegExp(`^at://${did}/${POST}/[2-7a-z]{13}$`))
    assert.equal(made.commit.cid, (await head(server, did)).cid)
    assert.equal(made.commit.rev, (await head(server, did)).rev)
    const rkey = made.uri.split('/').pop()

    const read = (await repo.getRecord({ repo: handle, collection: POST, rkey })).data
    assert.equal(read.uri, made.uri)
    assert.equal(read.cid, made.cid)
    assert.equal(read.value.text, 'one')

    const put = (await repo.putRecord({ repo: did, collection: POST, rkey, record: { ...read.value, text: 'two' } })).data
    assert.notEqual(put.cid, made.cid)
    assert.ok(put.commit.rev > made.commit.rev)
    const same = (await repo.putRecord({ repo: did, collection: POST, rkey, record: { ...read.value, text: 'two' } })).data
    assert.equal(same.cid, put.cid)
    assert.equal(same.commit, undefined, 'a put that changes nothing makes no commit')

    const gone = (await repo.deleteRecord({ repo: did, collection: POST, rkey })).data
    assert.ok(gone.commit.rev > put.commit.rev)
    await assert.rejects(repo.getRecord({ repo: did, collection: POST, rkey }), { error: 'RecordNotFound' })
    const empty = (await repo.deleteRecord({ repo: did, collection: POST, rkey })).data
    assert.equal(empty.commit, undefined, 'a delete of nothing makes no commit')
  })

  it('keeps record values exactly', async () => {
    const { agent, did } = await newAccount(server)
    const value = {
      $type: 'com.example.shapes',
      text: 'naïve — 日本語 👩‍👩‍👧‍👦 \u0000 "quotes" \\ \n',
      nothing: null,
      yes: true,
      numbers: [0, -1, 2 ** 53 - 1, -(2 ** 53 - 1), 24, 255, 256, 65536, 2 ** 32],
      bytes: { $bytes: 'AAEC/w' },
      link: { $link: 'bafyreihxrxqzm2kxk2jz4hvq6hfxnnwmzpy5fm3mvnmc4zrlh4g6vyrvla' },
      nested: { deeper: [{ a: [] }, {}], '': 'empty key', long: 'x'.repeat(5000), bb: 1, a: 2, aaa: 3 },
    }
    const repo = agent.com.atproto.repo
    const res = await procedure(
      server,
      'com.atproto.repo.putRecord',
      { repo: did, collection: 'com.example.shapes', rkey: 'a:b.c_d~e-', record: value },
      { token: agent.session.accessJwt },
    )
    assert.equal(res.status, 200, res.message)
    assert.equal(res.body.validationStatus, 'unknown')
    const read = await query(server, 'com.atproto.repo.getRecord', { repo: did, collection: 'com.example.shapes', rkey: 'a:b.c_d~e-' })
    assert.deepEqual(read.body.value, value)
    const described = (await repo.describeRepo({ repo: did })).data
    assert.deepEqual(described.collections, ['com.example.shapes'])
  })

  it('applies a batch as one commit', async () => {
    const { agent, did } = await newAccount(server)
    const kind = (name) => `com.atproto.repo.applyWrites#${name}`
    const apply = (writes) => agent.com.atproto.repo.applyWrites({ repo: did, writes })
    const before = await head(server, did)
    const first = (
      await apply([
        { $type: kind('create'), collection: POST, rkey: '3jzfcijpj2z2a', value: post('a') },
        { $type: kind('create'), collection: POST, rkey: '3jzfcijpj2z2b', value: post('b') },
        { $type: kind('create'), collection: POST, value: post('c') },
      ])
    ).data
    assert.equal(first.results.length, 3)
    assert.ok(first.results.every((r) => r.$type === 'com.atproto.repo.applyWrites#createResult' && r.cid && r.uri))
    assert.ok(first.commit.rev > before.rev)
    const second = (
      await apply([
        { $type: kind('update'), collection: POST, rkey: '3jzfcijpj2z2a', value: post('A') },
        { $type: kind('delete'), collection: POST, rkey: '3jzfcijpj2z2b' },
      ])
    ).data
    assert.deepEqual(second.results.map((r) => r.$type.split('#')[1]), ['updateResult', 'deleteResult'])
    const left = await listAll(server, did, POST)
    assert.deepEqual(left.map((r) => r.value.text).sort(), ['A', 'c'])
  })

  it('applies 200 operations and pages through them both ways', async () => {
    const { agent, did } = await newAccount(server)
    const writes = Array.from({ length: 200 }, (_, i) => ({
      $type: 'com.atproto.repo.applyWrites#create',
      collection: 'com.example.many',
      rkey: `k${String(i).padStart(4, '0')}`,
      value: { $type: 'com.example.many', i },
    }))
    await agent.com.atproto.repo.applyWrites({ repo: did, writes })
    const down = await listAll(server, did, 'com.example.many', { limit: 33 })
    const up = await listAll(server, did, 'com.example.many', { limit: 33, reverse: true })
    assert.deepEqual(down.map((r) => r.value.i), Array.from({ length: 200 }, (_, i) => 199 - i))
    assert.deepEqual(up, down.toReversed())
  })

  it('describes a repository', async () => {
    const { agent, did, handle } = await newAccount(server)
    await agent.post({ text: 'hello' })
    await agent.upsertProfile((old) => ({ ...old, displayName: 'Someone' }))
    const { data } = await agent.com.atproto.repo.describeRepo({ repo: did })
    assert.equal(data.handle, handle)
    assert.equal(data.did, did)
    assert.equal(data.didDoc.id, did)
    assert.equal(data.handleIsCorrect, true)
    assert.deepEqual(data.collections.sort(), ['app.bsky.actor.profile', POST])
  })

  it('serves what the high-level helpers of the client write', async () => {
    const { agent, did } = await newAccount(server)
    const text = new RichText({ text: 'see https://example.com #tag' })
    text.detectFacetsWithoutResolution()
    const { uri, cid } = await agent.post({ text: text.text, facets: text.facets, langs: ['en'] })
    const like = await agent.like(uri, cid)
    const repost = await agent.repost(uri, cid)
    await agent.post({ text: 'reply', reply: { root: { uri, cid }, parent: { uri, cid } } })
    await agent.deleteLike(like.uri)
    await agent.deleteRepost(repost.uri)
    const other = await newAccount(server)
    await agent.follow(other.did)
    const { data } = await agent.com.atproto.repo.describeRepo({ repo: did })
    assert.deepEqual(data.collections.sort(), [POST, 'app.bsky.graph.follow'])
  })
})

describe('blobs', () => {
  it('uploads, uses, lists and serves a blob', async () => {
    const { agent, did } = await newAccount(server)
    const { blob } = (await agent.uploadBlob(PNG, { encoding: 'image/png' })).data
    assert.equal(blob.size, PNG.length)
    assert.equal(blob.mimeType, 'image/png')
    const cid = blob.ref.toString()
    const early = await query(server, 'com.atproto.sync.getBlob', { did, cid })
    assert.deepEqual([early.status, early.error], [400, 'InvalidRequest'], 'a blob that no record uses is not public')
    await agent.post({ text: 'pic', embed: { $type: 'app.bsky.embed.images', images: [{ alt: 'dot', image: blob }] } })
    const served = await query(server, 'com.atproto.sync.getBlob', { did, cid })
    assert.equal(served.status, 200)
    assert.ok(Buffer.from(served.body).equals(PNG))
    assert.equal(served.headers.get('content-type'), 'image/png')
    assert.match(served.headers.get('content-security-policy') ?? '', /default-src 'none'; sandbox/)
    assert.equal(served.headers.get('x-content-type-options'), 'nosniff')
    assert.deepEqual((await bytes(server, 'com.atproto.sync.listBlobs', { did })).cids, [cid])
    const { rev } = await head(server, did)
    assert.deepEqual((await bytes(server, 'com.atproto.sync.listBlobs', { did, since: rev })).cids, [])
  })

  it('streams a blob of four megabytes unchanged', async () => {
    const { agent, did } = await newAccount(server)
    const large = new Uint8Array(4 * 1024 * 1024).map((_, i) => (i * 2654435761) >>> 13)
    const { blob } = (await agent.uploadBlob(large, { encoding: 'application/octet-stream' })).data
    await agent.com.atproto.repo.createRecord({
      repo: did,
      collection: 'com.example.file',
      record: { $type: 'com.example.file', file: blob },
    })
    const served = await bytes(server, 'com.atproto.sync.getBlob', { did, cid: blob.ref.toString() })
    assert.ok(Buffer.from(served).equals(Buffer.from(large)))
  })

  it('forgets a blob with the last record that used it', async () => {
    const { agent, did } = await newAccount(server)
    const { blob } = (await agent.uploadBlob(PNG, { encoding: 'image/png' })).data
    const embed = { $type: 'app.bsky.embed.images', images: [{ alt: '', image: blob }] }
    const one = await agent.post({ text: 'one', embed })
    const two = await agent.post({ text: 'two', embed })
    const cid = blob.ref.toString()
    await agent.deletePost(one.uri)
    assert.equal((await query(server, 'com.atproto.sync.getBlob', { did, cid })).status, 200)
    await agent.deletePost(two.uri)
    assert.deepEqual((await bytes(server, 'com.atproto.sync.listBlobs', { did })).cids, [])
  })
})

describe('com.atproto.sync', () => {
  it('serves heads, status, blocks and the list of repositories', async () => {
    const { agent, did } = await newAccount(server)
    await agent.post({ text: 'x' })
    const now = await head(server, did)
    const status = await bytes(server, 'com.atproto.sync.getRepoStatus', { did })
    assert.deepEqual(status, { did, active: true, rev: now.rev })
    const root = await dataRoot(server, did)
    const { blocks } = await readBlocks(await bytes(server, 'com.atproto.sync.getBlocks', { did, cids: [now.cid, root] }))
    assert.deepEqual([...blocks.keys()].sort(), [now.cid, root].sort())

    const seen = []
    let cursor
    do {
      const page = await bytes(server, 'com.atproto.sync.listRepos', { limit: 3, cursor })
      assert.ok(page.repos.length <= 3)
      seen.push(...page.repos)
      cursor = page.cursor
    } while (cursor)
    const mine = seen.filter((r) => r.did === did)
    assert.equal(mine.length, 1)
    assert.deepEqual([mine[0].head, mine[0].rev, mine[0].active], [now.cid, now.rev, true])
    assert.equal(new Set(seen.map((r) => r.did)).size, seen.length, 'no repository twice')
  })

  it('serves a CAR with its content type', async () => {
    const { did } = await newAccount(server)
    for (const [nsid, params] of [
      ['com.atproto.sync.getRepo', { did }],
      ['com.atproto.sync.getRecord', { did, collection: POST, rkey: 'none' }],
    ]) {
      const res = await query(server, nsid, params)
      assert.equal(res.status, 200)
      assert.equal(res.headers.get('content-type'), 'application/vnd.ipld.car')
    }
  })
})

describe('identity', () => {
  it('resolves handles by XRPC and by well-known address', async () => {
    const { did, handle } = await newAccount(server)
    assert.deepEqual(await bytes(server, 'com.atproto.identity.resolveHandle', { handle }), { did })
    const res = await wellKnown(server, handle)
    assert.equal(res.status, 200)
    assert.match(res.headers.get('content-type'), /^text\/plain/)
    assert.equal((await res.text()).trim(), did)
    assert.equal((await wellKnown(server, 'nobody.test')).status, 404)
  })

  it('changes a handle everywhere', async () => {
    const { agent, did, handle } = await newAccount(server)
    const changed = newHandle('changed')
    await agent.com.atproto.identity.updateHandle({ handle: changed })
    assert.deepEqual(await bytes(server, 'com.atproto.identity.resolveHandle', { handle: changed }), { did })
    const old = await query(server, 'com.atproto.identity.resolveHandle', { handle })
    assert.equal(old.status, 400)
    const data = await new PlcClient(server.plcUrl).getDocumentData(did)
    assert.deepEqual(data.alsoKnownAs, [`at://${changed}`])
    assert.equal((await agent.com.atproto.server.getSession()).data.handle, changed)
    assert.equal(await (await wellKnown(server, changed)).text(), did)
    const second = await newAccount(server, { handle, email: 'second@example.com' })
    assert.notEqual(second.did, did, 'the old handle is free again')
  })

  it('changes capitals only', async () => {
    const { agent, did, handle } = await newAccount(server)
    await agent.com.atproto.identity.updateHandle({ handle: handle.toUpperCase() })
    assert.deepEqual(await bytes(server, 'com.atproto.identity.resolveHandle', { handle }), { did })
  })
})

describe('browsers', () => {
  it('may call from any page', async () => {
    const origin = { headers: { origin: 'http://example.com' } }
    const plain = await query(server, 'com.atproto.server.describeServer', {}, origin)
    assert.equal(plain.headers.get('access-control-allow-origin'), '*')
    const asked = await call(server, 'OPTIONS', 'com.atproto.repo.createRecord', {
      headers: {
        origin: 'http://example.com',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type,atproto-accept-labelers',
      },
    })
    assert.ok(asked.status === 200 || asked.status === 204)
    assert.match(asked.headers.get('access-control-allow-headers'), /authorization/i)
    assert.match(asked.headers.get('access-control-allow-methods'), /POST/)
  })
})
