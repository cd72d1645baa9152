// Administration: who is let in, accounts, invites, takedowns, reports, and the audit.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { PASSWORD, newAccount, newHandle, signingKey } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { ADMIN, asAdmin, refusal, startGoverned, stopGoverned } from '../lib/governed.mjs'
import { TARGET, dataOf } from '../lib/servers.mjs'
import { call, procedure, query } from '../lib/xrpc.mjs'

const POST = 'app.bsky.feed.post'
const NS = 'com.atproto.admin'
const ours = TARGET === 'pds' && 'the official server does it otherwise'
const post = (text) => ({ $type: POST, text, createdAt: new Date().toISOString() })
const addressOf = (account) => `${account.handle.split('.')[0]}@example.com`
const repoRef = (did) => ({ $type: 'com.atproto.admin.defs#repoRef', did })
const NOT_FOUND = { status: 400, error: 'NotFound' }

let server
before(async () => {
  server = await startGoverned()
})
after(() => stopGoverned(server))

const login = async (identifier, password = PASSWORD) => {
  const agent = new AtpAgent({ service: server.url })
  await agent.login({ identifier, password })
  return agent
}
const setStatus = (json) => asAdmin(server, `${NS}.updateSubjectStatus`, { json })
const getStatus = (params) => asAdmin(server, `${NS}.getSubjectStatus`, { params })

describe('who administers', () => {
  it('shows the password, under the name admin', async () => {
    const account = await newAccount(server)
    const params = { did: account.did }
    const basic = (text) => `Basic ${Buffer.from(text).toString('base64')}`
    for (const token of [undefined, basic('admin:wrong'), basic('root:a:password with a colon'), basic('admin'), 'Basic !!!']) {
      const answer = await query(server, `${NS}.getAccountInfo`, params, { token })
      assert.deepEqual(refusal(answer), { status: 401, error: 'AuthenticationRequired' }, token)
    }
    for (const name of ['deleteAccount', 'updateAccountPassword']) {
      const answer = await procedure(server, `${NS}.${name}`, { ...params, password: 'x' }, { token: account.token })
      assert.equal(answer.status, 401, name)
    }
    assert.equal((await query(server, `${NS}.getAccountInfo`, params, { token: ADMIN })).status, 200)
  })
})

describe('accounts', () => {
  it('are shown', async () => {
    const [a, b] = [await newAccount(server), await newAccount(server)]
    const info = await asAdmin(server, `${NS}.getAccountInfo`, { params: { did: a.did } })
    assert.deepEqual([info.did, info.handle, info.email, info.invitesDisabled], [a.did, a.handle, addressOf(a), false])
    const { infos } = await asAdmin(server, `${NS}.getAccountInfos`, { params: { dids: [a.did, b.did] } })
    assert.deepEqual(new Set(infos.map((i) => i.did)), new Set([a.did, b.did]))
    const missing = await query(server, `${NS}.getAccountInfo`, { did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' }, { token: ADMIN })
    assert.deepEqual(refusal(missing), NOT_FOUND)
  })

  it('are found by a part of the address', { skip: ours }, async () => {
    const a = await newAccount(server, { email: 'very-special@example.com' })
    const { accounts } = await asAdmin(server, `${NS}.searchAccounts`, { params: { email: 'SPECIAL@' } })
    assert.deepEqual(accounts.map((i) => i.did), [a.did])
    const seen = []
    for (let cursor; ; ) {
      const page = await asAdmin(server, `${NS}.searchAccounts`, { params: { limit: 1, cursor } })
      seen.push(...page.accounts.map((i) => i.did))
      if (!page.cursor) break
      cursor = page.cursor
    }
    assert.ok(seen.includes(a.did) && new Set(seen).size === seen.length)
  })

  it('get another address, handle and password', async () => {
    const account = await newAccount(server)
    const { did } = account
    const email = `moved-${addressOf(account)}`
    await asAdmin(server, `${NS}.updateAccountEmail`, { json: { account: account.handle, email } })
    const handle = newHandle('renamed')
    await asAdmin(server, `${NS}.updateAccountHandle`, { json: { did, handle } })
    await asAdmin(server, `${NS}.updateAccountPassword`, { json: { did, password: 'set by admin' } })
    const agent = await login(handle, 'set by admin')
    const session = (await agent.com.atproto.server.getSession()).data
    assert.deepEqual([session.did, session.email, session.handle], [did, email, handle])
    const refresh = await call(server, 'POST', 'com.atproto.server.refreshSession', { token: account.agent.session.refreshJwt })
    assert.deepEqual(refusal(refresh), { status: 400, error: 'ExpiredToken' })
  })

  it('get letters', async () => {
    const account = await newAccount(server)
    const json = { recipientDid: account.did, senderDid: account.did, subject: 'About you', content: 'Hello from the operator' }
    assert.deepEqual(await asAdmin(server, `${NS}.sendEmail`, { json }), { sent: true })
    const mail = await server.mail.next(addressOf(account))
    assert.match(mail.text, /Subject: About you/)
    assert.match(mail.text, /Hello from the operator/)
  })

  it('are deleted', async () => {
    const { did } = await newAccount(server)
    await asAdmin(server, `${NS}.deleteAccount`, { json: { did } })
    await assert.rejects(login(did), { status: 401 })
    const repo = await query(server, 'com.atproto.sync.getRepo', { did })
    assert.deepEqual(refusal(repo), { status: 400, error: 'RepoNotFound' })
  })

  it('get a signing key that was reserved', { skip: ours }, async () => {
    const { agent, did } = await newAccount(server)
    const stream = new Subscription(server)
    await stream.opened
    const { signingKey: key } = (await procedure(server, 'com.atproto.server.reserveSigningKey', {})).body
    await asAdmin(server, `${NS}.updateAccountSigningKey`, { json: { did, signingKey: key } })
    assert.equal(await signingKey(server, did), key)
    await agent.com.atproto.repo.createRecord({ repo: did, collection: POST, record: post('by the new key') })
    const told = await stream.until((events) => {
      const mine = events.filter((e) => (e.did ?? e.repo) === did)
      return mine.length >= 3 && mine
    })
    assert.deepEqual(told.map((e) => e.t), ['#identity', '#sync', '#commit'])
    const car = await query(server, 'com.atproto.sync.getRepo', { did })
    const { verifyRepoCar } = await import('@atproto/repo')
    await verifyRepoCar(car.body, did, key)
    stream.socket.close()
  })
})

describe('invites', () => {
  it('are made, used as often as they say, listed and disabled', async () => {
    const node = await startGoverned({ env: { UES_INVITE_REQUIRED: 'true', PDS_INVITE_REQUIRED: 'true', PDS_INVITE_INTERVAL: '604800000' } })
    try {
      const make = (inviteCode) => {
        const handle = newHandle('guest')
        return procedure(node, 'com.atproto.server.createAccount', { handle, email: `${handle.split('.')[0]}@example.com`, password: PASSWORD, inviteCode })
      }
      const bad = { status: 400, error: 'InvalidInviteCode' }
      assert.equal((await query(node, 'com.atproto.server.describeServer', {})).body.inviteCodeRequired, true)
      assert.deepEqual(refusal(await make()), bad)
      assert.deepEqual(refusal(await make('nonsense')), bad)
      const { code } = await asAdmin(node, 'com.atproto.server.createInviteCode', { json: { useCount: 2 } })
      assert.match(code, /^localhost-[a-z2-7]{5}-[a-z2-7]{5}$/)
      const first = await make(code)
      assert.equal(first.status, 200, first.message)
      // Of two at once only one gets what is left.
      const both = await Promise.all([make(code), make(code)])
      if (!ours) assert.deepEqual(both.map((a) => a.status).sort(), [200, 400])
      assert.deepEqual(refusal(await make(code)), bad)

      const info = await asAdmin(node, `${NS}.getAccountInfo`, { params: { did: first.body.did } })
      assert.equal(info.invitedBy.code, code)
      const { codes } = await asAdmin(node, 'com.atproto.server.createInviteCodes', { json: { codeCount: 2, useCount: 1, forAccounts: [first.body.did] } })
      assert.deepEqual(codes.map((c) => [c.account, c.codes.length]), [[first.body.did, 2]])
      const own = (await query(node, 'com.atproto.server.getAccountInviteCodes', {}, { token: first.body.accessJwt })).body.codes
      assert.deepEqual(new Set(own.map((c) => c.code)), new Set(codes[0].codes))
      assert.deepEqual([own[0].createdBy, own[0].forAccount, own[0].available, own[0].uses], ['admin', first.body.did, 1, []])

      const listed = []
      for (let cursor; ; ) {
        const page = await asAdmin(node, `${NS}.getInviteCodes`, { params: { limit: 2, sort: 'usage', cursor } })
        listed.push(...page.codes.map((c) => c.code))
        if (!page.codes.length || !page.cursor) break
        cursor = page.cursor
      }
      assert.equal(listed[0], code)
      assert.deepEqual(new Set(listed), new Set([code, ...codes[0].codes]))

      await asAdmin(node, `${NS}.disableInviteCodes`, { json: { codes: [codes[0].codes[0]] } })
      assert.deepEqual(refusal(await make(codes[0].codes[0])), bad)
      await asAdmin(node, `${NS}.disableInviteCodes`, { json: { accounts: [first.body.did] } })
      assert.deepEqual(refusal(await make(codes[0].codes[1])), bad)
      const admin = await procedure(node, `${NS}.disableInviteCodes`, { accounts: ['admin'] }, { token: ADMIN })
      assert.deepEqual(refusal(admin), { status: 400, error: 'InvalidRequest' })
      for (const [name, disabled] of [['disableAccountInvites', true], ['enableAccountInvites', false]]) {
        await asAdmin(node, `${NS}.${name}`, { json: { account: first.body.did } })
        const after = await asAdmin(node, `${NS}.getAccountInfo`, { params: { did: first.body.did } })
        assert.equal(after.invitesDisabled, disabled)
      }
    } finally {
      await stopGoverned(node)
    }
  })
})

describe('takedowns', () => {
  it('take an account off everything, and give it back', async () => {
    const { agent, did, handle, token } = await newAccount(server)
    await agent.com.atproto.repo.createRecord({ repo: did, collection: POST, rkey: '3jzfcijpj2z2a', record: post('spam') })
    const { password } = (await agent.com.atproto.server.createAppPassword({ name: 'p' })).data
    const stream = new Subscription(server)
    await stream.opened
    const down = await setStatus({ subject: repoRef(did), takedown: { applied: true, ref: 'spam' } })
    assert.deepEqual(down, { subject: repoRef(did), takedown: { applied: true, ref: 'spam' } })
    const told = await stream.until((events) => events.find((e) => e.t === '#account' && e.did === did && !e.active))
    assert.deepEqual([told.active, told.status], [false, 'takendown'])
    assert.deepEqual(await getStatus({ did }), {
      subject: repoRef(did), takedown: { applied: true, ref: 'spam' }, deactivated: { applied: false },
    })

    const hidden = { status: 400, error: 'RepoTakendown' }
    for (const name of ['getRepo', 'getLatestCommit', 'listBlobs']) {
      assert.deepEqual(refusal(await query(server, `com.atproto.sync.${name}`, { did })), hidden, name)
    }
    const record = { repo: did, collection: POST, rkey: '3jzfcijpj2z2a' }
    assert.equal((await query(server, 'com.atproto.repo.getRecord', record)).status, 400)
    assert.equal((await query(server, 'com.atproto.repo.listRecords', record)).status, 400)
    assert.deepEqual(refusal(await query(server, 'com.atproto.repo.describeRepo', record)), hidden)
    const taken = { status: 401, error: 'AccountTakedown' }
    const write = await procedure(server, 'com.atproto.repo.createRecord', { repo: did, collection: POST, record: post('x') }, { token })
    assert.deepEqual(refusal(write), taken)
    const sign = (input) => procedure(server, 'com.atproto.server.createSession', { identifier: handle, password: PASSWORD, ...input })
    assert.deepEqual(refusal(await sign()), taken)
    assert.deepEqual(refusal(await sign({ password })), { status: 401, error: 'AuthenticationRequired' })
    assert.deepEqual(refusal(await call(server, 'POST', 'com.atproto.server.refreshSession', { token: agent.session.refreshJwt })), taken)

    // Who was taken down may still take their data along, and the administrator sees all.
    const own = (await sign({ allowTakendown: true })).body.accessJwt
    assert.equal((await query(server, 'com.atproto.sync.getRepo', { did }, { token: own })).status, 200)
    assert.equal((await query(server, 'com.atproto.sync.getRepo', { did }, { token: ADMIN })).status, 200)
    const none = await procedure(server, 'com.atproto.server.createAppPassword', { name: 'q' }, { token: own })
    assert.equal(none.status, 400)

    await setStatus({ subject: repoRef(did), takedown: { applied: false } })
    assert.equal((await query(server, 'com.atproto.sync.getRepo', { did })).status, 200)
    assert.equal((await query(server, 'com.atproto.repo.getRecord', record)).status, 200)
    await login(handle)
    stream.socket.close()
  })

  it('of an account keep its past from new followers', { skip: ours }, async () => {
    const { agent, did } = await newAccount(server)
    await agent.com.atproto.repo.createRecord({ repo: did, collection: POST, record: post('spam') })
    await setStatus({ subject: repoRef(did), takedown: { applied: true } })
    const mark = await newAccount(server)
    const seen = async () => {
      const stream = new Subscription(server, { cursor: 0 })
      await stream.until((events) => events.some((e) => e.t === '#commit' && e.repo === mark.did))
      stream.socket.close()
      return stream.events.filter((e) => (e.did ?? e.repo) === did).map((e) => e.t)
    }
    assert.deepEqual(await seen(), ['#identity', '#account', '#account'])
    await setStatus({ subject: repoRef(did), takedown: { applied: false } })
    assert.deepEqual((await seen()).slice(0, 5), ['#identity', '#account', '#commit', '#sync', '#commit'])
  })

  it('hide a record', async () => {
    const { agent, did, token } = await newAccount(server)
    const keys = ['3jzfcijpj2z2a', '3jzfcijpj2z2b', '3jzfcijpj2z2c']
    const cids = []
    for (const rkey of keys) {
      const { data } = await agent.com.atproto.repo.createRecord({ repo: did, collection: POST, rkey, record: post(`number ${rkey}`) })
      cids.push(data.cid)
    }
    const uri = `at://${did}/${POST}/${keys[1]}`
    const subject = { $type: 'com.atproto.repo.strongRef', uri, cid: cids[1] }
    assert.deepEqual((await getStatus({ uri })).takedown, { applied: false })
    await setStatus({ subject, takedown: { applied: true, ref: 'no' } })
    assert.deepEqual(await getStatus({ uri }), { subject, takedown: { applied: true, ref: 'no' } })
    const one = { repo: did, collection: POST, rkey: keys[1] }
    assert.deepEqual(refusal(await query(server, 'com.atproto.repo.getRecord', one)), { status: 400, error: 'RecordNotFound' })
    const listed = async (params) => (await query(server, 'com.atproto.repo.listRecords', { repo: did, collection: POST, ...params })).body.records.map((r) => r.cid)
    assert.deepEqual(await listed(), [cids[2], cids[0]])
    assert.deepEqual(await listed({ limit: 2 }), [cids[2], cids[0]])
    assert.deepEqual(await listed({ reverse: true, limit: 2 }), [cids[0], cids[2]])
    if (!ours) {
      const asked = { did, collection: POST, rkey: keys[1] }
      assert.equal((await query(server, 'com.atproto.sync.getRecord', asked)).error, 'RecordNotFound')
      assert.equal((await query(server, 'com.atproto.sync.getBlocks', { did, cids: [cids[1]] })).status, 400)
      const { readCarWithRoot } = await import('@atproto/repo')
      const blocks = async (options) => (await readCarWithRoot((await query(server, 'com.atproto.sync.getRepo', { did }, options)).body)).blocks
      const holds = async (cid, options) => [...(await blocks(options)).entries()].some((b) => b.cid.toString() === cid)
      assert.deepEqual([await holds(cids[1]), await holds(cids[0])], [false, true])
      assert.deepEqual([await holds(cids[1], { token }), await holds(cids[1], { token: ADMIN })], [true, true])
    }
    await setStatus({ subject, takedown: { applied: false } })
    assert.equal((await query(server, 'com.atproto.repo.getRecord', one)).status, 200)
    assert.deepEqual(refusal(await query(server, `${NS}.getSubjectStatus`, { uri: `at://${did}/${POST}/3jzfcijpj2zzz` }, { token: ADMIN })), NOT_FOUND)
  })

  it('of a record keep it from followers, who get the state instead', { skip: ours }, async () => {
    const { agent, did, token } = await newAccount(server)
    const [spam, later] = [`spam ${did}`, `also spam ${did}`]
    const path = `${POST}/3jzfcijpj2z2a`
    const create = (rkey, text) => agent.com.atproto.repo.createRecord({ repo: did, collection: POST, rkey, record: post(text) })
    await create('3jzfcijpj2z2a', spam)
    await create('3jzfcijpj2z2b', 'harmless')
    const live = new Subscription(server)
    await live.opened
    const commits = async (stream) => {
      const mark = await newAccount(server)
      await stream.until((events) => events.some((e) => e.t === '#commit' && e.repo === mark.did))
      stream.socket.close()
      return stream.events.filter((e) => (e.did ?? e.repo) === did && ['#commit', '#sync'].includes(e.t))
    }
    const past = () => commits(new Subscription(server, { cursor: 0 }))
    const before = await past()
    const subject = { $type: 'com.atproto.repo.strongRef', uri: `at://${did}/${path}`, cid: before.find((e) => e.ops?.[0]?.path === path).ops[0].cid.toString() }
    await setStatus({ subject, takedown: { applied: true } })
    await agent.com.atproto.repo.putRecord({ repo: did, collection: POST, rkey: '3jzfcijpj2z2a', record: post(later) })

    const holds = (events, text) => events.some((e) => Buffer.from(e.blocks).includes(text))
    const news = await commits(live)
    const seen = await past()
    assert.ok(holds(before, spam) && !holds(seen, spam) && !holds(seen, later) && holds(seen, 'harmless'))
    assert.ok(!holds(news, later))
    assert.deepEqual(news.map((e) => e.t), ['#sync'])
    // The same numbers and revisions, in the same order: no event is missing.
    const names = (events) => events.map((e) => [e.seq, e.rev])
    assert.deepEqual(names(seen.slice(0, before.length)), names(before))
    assert.deepEqual(seen.map((e) => e.t), ['#commit', '#sync', '#sync', '#commit', '#sync'])
    const { readCarWithRoot, verifyCommitSig } = await import('@atproto/repo')
    for (const [i, event] of seen.entries()) {
      const { root, blocks } = await readCarWithRoot(event.blocks)
      const commit = (await import('@ipld/dag-cbor')).decode(blocks.get(root))
      assert.deepEqual([commit.did, commit.rev], [did, event.rev])
      assert.ok(await verifyCommitSig(commit, await signingKey(server, did)))
      if (event.t === '#sync') assert.equal([...blocks.entries()].length, 1)
      // A commit goes on from the revision of what came before it, whichever kind that was.
      else if (i > 0) assert.equal(event.since, seen[i - 1].rev)
    }
    assert.equal((await query(server, 'com.atproto.sync.getRepo', { did }, { token })).status, 200)
    await setStatus({ subject, takedown: { applied: false } })
    assert.deepEqual((await past()).map((e) => e.t), ['#commit', '#sync', '#commit', '#commit', '#commit'])
  })

  it('hide a blob, which cannot be uploaded again', async () => {
    const { agent, did } = await newAccount(server)
    const bytes = new TextEncoder().encode(`a picture of ${did}`)
    const upload = () => agent.uploadBlob(bytes, { encoding: 'image/png' })
    const { blob } = (await upload()).data
    const embed = { $type: 'app.bsky.embed.images', images: [{ alt: '', image: blob }] }
    await agent.com.atproto.repo.createRecord({ repo: did, collection: POST, record: { ...post('look'), embed } })
    const cid = blob.ref.toString()
    const get = (options) => query(server, 'com.atproto.sync.getBlob', { did, cid }, options)
    assert.equal((await get()).status, 200)
    const subject = { $type: 'com.atproto.admin.defs#repoBlobRef', did, cid }
    await setStatus({ subject, takedown: { applied: true, ref: 'picture' } })
    assert.deepEqual(refusal(await get()), { status: 400, error: 'InvalidRequest' })
    assert.deepEqual(await getStatus({ did, blob: cid }), { subject, takedown: { applied: true, ref: 'picture' } })
    await assert.rejects(upload(), { status: 400 })
    await setStatus({ subject, takedown: { applied: false } })
    assert.equal((await get()).status, 200)
  })

  it('can be deactivation too', async () => {
    const { did } = await newAccount(server)
    await setStatus({ subject: repoRef(did), deactivated: { applied: true } })
    assert.deepEqual((await getStatus({ did })).deactivated, { applied: true })
    const both = { subject: repoRef(did), takedown: { applied: true }, deactivated: { applied: false } }
    const answer = await procedure(server, `${NS}.updateSubjectStatus`, both, { token: ADMIN })
    assert.deepEqual(refusal(answer), { status: 400, error: 'InvalidRequest' })
    await setStatus({ subject: repoRef(did), deactivated: { applied: false } })
    assert.deepEqual((await getStatus({ did })).deactivated, { applied: false })
    assert.deepEqual(refusal(await query(server, `${NS}.getSubjectStatus`, {}, { token: ADMIN })), { status: 400, error: 'InvalidRequest' })
  })
})

describe('suspensions', { skip: ours }, () => {
  it('take an account off the network until their term is over', async () => {
    const { agent, did, handle, token } = await newAccount(server)
    await agent.com.atproto.repo.createRecord({ repo: did, collection: POST, rkey: '3jzfcijpj2z2a', record: post('rude') })
    const data = dataOf(server)
    const run = (...args) => uesOk(data, [...args, '--json']).then((text) => JSON.parse(text))
    const stream = new Subscription(server)
    await stream.opened
    const told = (active) => stream.until((events) => events.findLast((e) => e.t === '#account' && e.did === did && e.active === active))
    const done = await run('admin', 'suspend', handle, '--for', '6s', '--reason', 'rude')
    assert.deepEqual([done.did, done.status, done.suspension.reason], [did, 'suspended', 'rude'])
    assert.equal((await told(false)).status, 'suspended')
    for (const name of ['getRepo', 'getLatestCommit', 'listBlobs']) {
      assert.deepEqual(refusal(await query(server, `com.atproto.sync.${name}`, { did })), { status: 400, error: 'RepoSuspended' }, name)
    }
    assert.deepEqual((await query(server, 'com.atproto.sync.getRepoStatus', { did })).body, { did, active: false, status: 'suspended' })
    const record = { repo: did, collection: POST, rkey: '3jzfcijpj2z2a' }
    assert.equal((await query(server, 'com.atproto.repo.getRecord', record)).status, 400)
    assert.deepEqual(refusal(await query(server, 'com.atproto.repo.describeRepo', record)), { status: 400, error: 'RepoSuspended' })
    const write = () => procedure(server, 'com.atproto.repo.createRecord', { repo: did, collection: POST, record: post('x') }, { token })
    assert.deepEqual(refusal(await write()), { status: 401, error: 'AccountTakedown' })
    await assert.rejects(login(handle), { status: 401 })
    const standing = await run('admin', 'subject', handle)
    assert.deepEqual([standing.takedown.applied, standing.suspended.applied, standing.suspended.ref], [false, true, 'rude'])
    assert.equal((await run('account', 'show', handle)).status, 'suspended')

    await told(true)
    assert.equal((await query(server, 'com.atproto.sync.getRepo', { did })).status, 200)
    assert.equal((await write()).status, 200)
    stream.socket.close()

    await run('admin', 'suspend', handle)
    assert.deepEqual(refusal(await query(server, 'com.atproto.sync.getRepo', { did })), { status: 400, error: 'RepoSuspended' })
    await run('admin', 'suspend', handle, '--lift')
    assert.equal((await query(server, 'com.atproto.sync.getRepo', { did })).status, 200)
    const acts = (await run('admin', 'audit')).filter((a) => a.subject === did).reverse()
    assert.deepEqual(acts.map((a) => [a.what, a.place, a.details.suspended]), [
      ['suspendAccount', 'cli', true], ['suspendAccount', 'cli', true], ['suspendAccount', 'cli', false],
    ])
    for (const args of [['--for', '7'], ['--for', '0d'], ['--until', 'tomorrow'], ['--until', '2001-01-01T00:00:00Z'], ['--lift']]) {
      assert.notEqual((await ues(data, ['admin', 'suspend', handle, ...args])).code, 0, args.join(' '))
    }
  })
})

describe('what the operator sees', { skip: ours }, () => {
  it('reports, which owners make', async () => {
    const [a, b] = [await newAccount(server), await newAccount(server)]
    const reasonType = 'com.atproto.moderation.defs#reasonSpam'
    const { data } = await a.agent.com.atproto.moderation.createReport({ reasonType, reason: 'sells shoes', subject: repoRef(b.did) })
    assert.deepEqual([data.reasonType, data.reportedBy, data.subject.did], [reasonType, a.did, b.did])
    const reports = JSON.parse(await uesOk(dataOf(server), ['admin', 'reports', '--json']))
    assert.deepEqual(reports[0], { ...JSON.parse(JSON.stringify(data)), subject: repoRef(b.did) })
    const anonymous = await procedure(server, 'com.atproto.moderation.createReport', { reasonType, subject: repoRef(b.did) })
    assert.equal(anonymous.status, 401)
  })

  it('the audit, and commands for all of it', async () => {
    const data = dataOf(server)
    const run = (...args) => uesOk(data, [...args, '--json']).then((text) => JSON.parse(text))
    const { agent, did, handle } = await newAccount(server)
    const { data: written } = await agent.com.atproto.repo.createRecord({ repo: did, collection: POST, rkey: '3jzfcijpj2z2a', record: post('x') })
    const uri = `at://${handle}/${POST}/3jzfcijpj2z2a`
    await run('admin', 'takedown', uri, '--reason', 'rude')
    assert.deepEqual((await getStatus({ uri: `at://${did}/${POST}/3jzfcijpj2z2a` })).takedown, { applied: true, ref: 'rude' })
    await run('admin', 'restore', uri)
    await run('admin', 'takedown', handle)
    assert.equal((await run('admin', 'subject', handle)).takedown.applied, true)
    await run('admin', 'restore', handle)
    const [code] = await run('admin', 'invite', '--uses', '3', '--for', handle)
    await run('admin', 'uninvite', code)
    assert.equal((await run('admin', 'invites')).find((c) => c.code === code).disabled, true)
    await run('admin', 'write', handle, 'Hello', '--subject', 'S')
    for (const part of [handle.split('.')[0], did.slice(8, 24).toUpperCase(), addressOf({ handle })]) {
      assert.deepEqual((await run('admin', 'search', part)).map((a) => a.did), [did], part)
    }
    assert.deepEqual(await run('admin', 'search', 'nobody at all'), [])
    const events = (await uesOk(data, ['--json', 'admin', 'events', handle])).trim().split('\n').map((line) => JSON.parse(line))
    assert.ok(events.every((e) => e.did === did) && events.some((e) => e.ops?.[0]?.path === `${POST}/3jzfcijpj2z2a`))
    const sessions = await run('account', 'sessions', handle)
    assert.equal(sessions.length, 0, 'a takedown ends them')
    const again = await login(handle)
    const [session] = await run('account', 'sessions', handle)
    await run('account', 'sessions', handle, '--end', session.id)
    const ended = await call(server, 'POST', 'com.atproto.server.refreshSession', { token: again.session.refreshJwt })
    assert.deepEqual(refusal(ended), { status: 400, error: 'ExpiredToken' })

    const audit = await run('admin', 'audit')
    const mine = audit.filter((a) => a.subject.includes(did) || a.subject === code).reverse()
    assert.deepEqual(mine.map((a) => [a.what, a.by]), [
      ['updateSubjectStatus', 'operator'], ['updateSubjectStatus', 'operator'], ['updateSubjectStatus', 'operator'],
      ['updateSubjectStatus', 'operator'], ['createInviteCodes', 'operator'], ['disableInviteCodes', 'operator'],
      ['sendEmail', 'operator'], ['endSessions', 'operator'],
    ])
    assert.deepEqual(new Set(mine.map((a) => a.place)), new Set(['cli']))
    assert.deepEqual(mine[0].details, { ref: 'rude', takedown: true })
    assert.ok(written.cid)
    const wrong = await ues(data, ['admin', 'takedown', 'nobody.test'])
    assert.equal(wrong.code, 3)
  })
})
