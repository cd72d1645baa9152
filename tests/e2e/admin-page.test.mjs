// The page /admin, in a browser without script: who is let in, and what it does to accounts, invites, mail and reports.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { PASSWORD, newAccount, newHandle } from '../lib/accounts.mjs'
import { uesOk } from '../lib/cli.mjs'
import { ADMIN, asAdmin, refusal, startGoverned, stopGoverned } from '../lib/governed.mjs'
import { Browser } from '../lib/pages.mjs'
import { dataOf } from '../lib/servers.mjs'
import { procedure, query } from '../lib/xrpc.mjs'

const ADMIN_PASSWORD = Buffer.from(ADMIN.slice('Basic '.length), 'base64').toString().slice('admin:'.length)
const POST = 'app.bsky.feed.post'
const SPAM = 'com.atproto.moderation.defs#reasonSpam'
const EVIL = `<script>alert(1)</script>"'&<img src=x onerror=alert(2)>`
const repoRef = (did) => ({ $type: 'com.atproto.admin.defs#repoRef', did })

let server
before(async () => {
  server = await startGoverned()
})
after(() => stopGoverned(server))

const signedIn = async (password = ADMIN_PASSWORD) => {
  const browser = new Browser(server.url)
  const page = await browser.submit(await browser.get('/admin'), 'sign_in', { password })
  assert.equal(page.status, 200, page.html)
  return browser
}
const accountPath = (did) => `/admin/account?did=${encodeURIComponent(did)}`
const audit = async () => JSON.parse(await uesOk(dataOf(server), ['admin', 'audit', '--json']))
const lastAct = async (what) => (await audit()).find((act) => act.what === what)

/** Nothing of what others wrote is markup, and nothing on the page runs. */
const assertHarmless = (page) => {
  assert.equal(page.status, 200)
  assert.doesNotMatch(page.html, /<script|<img|onerror=alert\(2\)>/)
}

const SECTIONS = ['', '/accounts', '/invites', '/mails', '/reports', '/labels', '/events', '/storage', '/audit'].map((name) => `/admin${name}`)

describe('who is let in', () => {
  it('shows the password or the operator secret', async () => {
    const browser = new Browser(server.url)
    const door = await browser.get('/admin')
    assert.equal(door.status, 200)
    for (const password of ['', 'wrong', PASSWORD, `admin:${ADMIN_PASSWORD}`]) {
      const refused = await browser.submit(await browser.get('/admin'), 'sign_in', { password })
      assert.equal(refused.status, 401, password)
      assert.match(refused.html, /role="alert"/)
      assert.ok((await browser.get('/admin')).form('sign_in'))
    }
    const before = browser.cookies.get('ues-admin')
    const page = await browser.submit(await browser.get('/admin'), 'sign_in', { password: ADMIN_PASSWORD })
    assert.match(page.html, /Sign out admin/)
    assert.notEqual(browser.cookies.get('ues-admin'), before, 'the cookie of before is worth nothing')
    const old = new Browser(server.url)
    old.cookies.set('ues-admin', before)
    assert.ok((await old.get('/admin')).form('sign_in'))

    const secret = (await readFile(path.join(dataOf(server), 'operator-secret'), 'utf8')).trim()
    assert.match((await (await signedIn(secret)).get('/admin')).html, /Sign out operator/)
  })

  it('sees nothing otherwise, and nothing after signing out', async () => {
    const { did } = await newAccount(server)
    const stranger = new Browser(server.url)
    for (const at of [...SECTIONS, accountPath(did)]) {
      const page = await stranger.get(at)
      assert.equal(new URL(page.url).pathname, '/admin', at)
      assert.ok(page.form('sign_in'))
    }
    const browser = await signedIn()
    for (const at of SECTIONS) assert.equal(new URL((await browser.get(at)).url).pathname, at)
    const copy = new Browser(server.url)
    copy.cookies = new Map(browser.cookies)
    await browser.submit(await browser.get('/admin'), 'sign_out')
    for (const gone of [browser, copy]) assert.ok((await gone.get('/admin/accounts')).form('sign_in'))
  })

  it('by a cookie that only the page gets, on pages that nobody frames and that run nothing', async () => {
    const door = await fetch(`${server.url}/admin`)
    const cookie = door.headers.get('set-cookie')
    assert.match(cookie, /^ues-admin=[\w-]{43}; Path=\/admin; HttpOnly; SameSite=Strict; Max-Age=\d+$/)
    const browser = await signedIn()
    for (const headers of [door.headers, (await browser.get('/admin')).headers, (await browser.get('/admin/accounts')).headers]) {
      const policy = headers.get('content-security-policy')
      assert.match(policy, /default-src 'none'/)
      assert.match(policy, /frame-ancestors 'none'/)
      assert.match(policy, /form-action 'self'/)
      assert.doesNotMatch(policy, /script-src/)
      assert.deepEqual(
        ['x-frame-options', 'cache-control', 'x-content-type-options'].map((name) => headers.get(name)),
        ['DENY', 'no-store', 'nosniff'],
      )
    }
    const secure = await startGoverned({ env: { UES_PUBLIC_URL: 'https://node.example' } })
    try {
      assert.match((await fetch(`${secure.url}/admin`)).headers.get('set-cookie'), /; SameSite=Strict; .*; Secure$/)
    } finally {
      await stopGoverned(secure)
    }
  })

  it('with forms that came from its own pages', async () => {
    const { did } = await newAccount(server)
    const [browser, other] = [await signedIn(), await signedIn()]
    const page = await browser.get(accountPath(did))
    const theirs = (await other.get(accountPath(did))).form('take_down').fields.form
    const tries = [
      [{ form: '' }, {}],
      [{ form: theirs }, {}],
      [{}, { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
      [{}, { origin: 'null', 'sec-fetch-site': 'same-origin' }],
      [{}, { 'sec-fetch-site': 'same-site' }],
    ]
    for (const [values, headers] of tries) {
      const refused = await browser.submit(page, 'take_down', values, headers)
      assert.equal(refused.status, 403, JSON.stringify([values, headers]))
    }
    const info = await asAdmin(server, 'com.atproto.admin.getSubjectStatus', { params: { did } })
    assert.equal(info.takedown.applied, false)
    const door = new Browser(server.url)
    const refused = await door.submit(await door.get('/admin'), 'sign_in', { password: ADMIN_PASSWORD, form: 'x' })
    assert.equal(refused.status, 403)
  })
})

describe('accounts', () => {
  it('are found by a part of handle, DID or address, page by page', async () => {
    const browser = await signedIn()
    const account = await newAccount(server, { email: 'someone-special@example.com' })
    for (const q of [account.handle, `@${account.handle.toUpperCase()}`, account.did.slice(8, 24), 'SPECIAL@exam']) {
      const page = await browser.get(`/admin/accounts?${new URLSearchParams({ q })}`)
      assert.ok(page.html.includes(account.did), q)
    }
    const none = await browser.get('/admin/accounts?q=nobody-has-this-name')
    assert.match(none.html, /No such account/)

    const prefix = newHandle('many').split('.')[0]
    const dids = []
    for (let i = 0; i < 53; i++) {
      const input = { handle: `${prefix}z${i}.test`, email: `${prefix}z${i}@example.com`, password: PASSWORD }
      dids.push((await procedure(server, 'com.atproto.server.createAccount', input)).body.did)
    }
    const seen = []
    for (let at = `/admin/accounts?q=${prefix}z`; at; ) {
      const { html } = await browser.get(at)
      seen.push(...[...html.matchAll(/<code>(did:plc:[a-z2-7]+)<\/code>/g)].map((m) => m[1]))
      at = /rel="next" href="([^"]*)"/.exec(html)?.[1].replaceAll('&amp;', '&').replaceAll('&#38;', '&')
    }
    assert.deepEqual(seen, dids.sort())
  })

  it('are taken down and given back, which all others see', async () => {
    const browser = await signedIn()
    const { agent, did } = await newAccount(server)
    await agent.com.atproto.repo.createRecord({ repo: did, collection: POST, record: { $type: POST, text: 'x', createdAt: new Date().toISOString() } })
    const shown = await browser.get(accountPath(did))
    assert.match(shown.html, /<dd id="status" class="active">active/)
    assert.match(shown.html, /<dd id="records">1</)
    const down = await browser.submit(shown, 'take_down', { reason: 'sells shoes' })
    assert.match(down.html, /<dd id="status" class="takendown">takendown/)
    const repo = await query(server, 'com.atproto.sync.getRepo', { did })
    assert.deepEqual(refusal(repo), { status: 400, error: 'RepoTakendown' })
    const status = () => asAdmin(server, 'com.atproto.admin.getSubjectStatus', { params: { did } })
    assert.deepEqual((await status()).takedown, { applied: true, ref: 'sells shoes' })
    const act = await lastAct('updateSubjectStatus')
    assert.deepEqual([act.by, act.place, act.subject, act.details], ['admin', 'page', did, { takedown: true, ref: 'sells shoes' }])

    await browser.submit(down, 'give_back')
    assert.equal((await query(server, 'com.atproto.sync.getRepo', { did })).status, 200)
    const off = await browser.submit(await browser.get(accountPath(did)), 'deactivate')
    assert.equal((await status()).deactivated.applied, true)
    await browser.submit(off, 'activate')
    assert.equal((await status()).deactivated.applied, false)
  })

  it('get another handle, address and password, and lose their sessions', async () => {
    const browser = await signedIn()
    const { agent, did } = await newAccount(server)
    await agent.com.atproto.server.createAppPassword({ name: 'my "phone"' })
    const handle = newHandle('renamed')
    const email = `${handle.split('.')[0]}@example.org`
    await browser.submit(await browser.get(accountPath(did)), 'handle', { handle })
    const page = await browser.submit(await browser.get(accountPath(did)), 'email', { email })
    assert.match(page.html, new RegExp(`<dd id="email">${email}`))
    assert.match(page.html, /my &#34;phone&#34;/)
    const info = await asAdmin(server, 'com.atproto.admin.getAccountInfo', { params: { did } })
    assert.deepEqual([info.handle, info.email], [handle, email])
    for (const [what, values] of [['handle', { handle: 'not a handle' }], ['email', { email: 'nobody' }]]) {
      assert.match((await browser.submit(page, what, values)).html, /class="notice no" role="alert"/)
    }

    await browser.submit(page, 'reset_password')
    const mail = await server.mail.next(email)
    const [, token] = /^ {4}(\S+)\s*$/m.exec(mail.text)
    assert.equal((await procedure(server, 'com.atproto.server.resetPassword', { token, password: 'another one' })).status, 200)
    assert.equal((await lastAct('requestPasswordReset')).place, 'page')
    const again = new AtpAgent({ service: server.url })
    await again.login({ identifier: handle, password: 'another one' })
    await browser.submit(await browser.get(accountPath(did)), 'end_sessions')
    const refresh = await fetch(`${server.url}/xrpc/com.atproto.server.refreshSession`, {
      method: 'POST',
      headers: { authorization: `Bearer ${again.session.refreshJwt}` },
    })
    assert.equal((await refresh.json()).error, 'ExpiredToken')

    await browser.submit(page, 'disable_invites')
    const disabled = async () => (await asAdmin(server, 'com.atproto.admin.getAccountInfo', { params: { did } })).invitesDisabled
    assert.equal(await disabled(), true)
    await browser.submit(await browser.get(accountPath(did)), 'enable_invites')
    assert.equal(await disabled(), false)
  })

  it('get a quota', async () => {
    const browser = await signedIn()
    const { did } = await newAccount(server)
    const upload = async (size) => {
      const headers = { authorization: `Bearer ${(await newSession()).accessJwt}`, 'content-type': 'image/png' }
      return (await fetch(`${server.url}/xrpc/com.atproto.repo.uploadBlob`, { method: 'POST', body: Buffer.alloc(size, 'x '), headers })).status
    }
    const newSession = async () => (await procedure(server, 'com.atproto.server.createSession', { identifier: did, password: PASSWORD })).body
    const page = await browser.submit(await browser.get(accountPath(did)), 'quota', { quota: '1000' })
    assert.match(page.html, /0 bytes of 1\.0 kB/)
    assert.deepEqual([await upload(1001), await upload(1000)], [413, 200])
    assert.match((await browser.get(accountPath(did))).html, /1\.0 kB of 1\.0 kB/)
    assert.match((await browser.submit(page, 'quota', { quota: '-1' })).html, /role="alert"/)
    await browser.submit(page, 'quota', { quota: '' })
    assert.equal(await upload(5000), 200)
    assert.deepEqual([(await lastAct('setQuota')).place, (await lastAct('setQuota')).details], ['page', { blobBytes: null }])
  })

  it('are suspended for some days, and let off', async () => {
    const browser = await signedIn()
    const { did } = await newAccount(server)
    const page = await browser.get(accountPath(did))
    for (const days of ['', '0', '-1', '3651', 'x']) {
      assert.match((await browser.submit(page, 'suspend', { days })).html, /role="alert"/, days)
    }
    const held = await browser.submit(page, 'suspend', { days: '7', reason: EVIL })
    assertHarmless(held)
    assert.match(held.html, /<dd id="status" class="suspended">suspended/)
    assert.match(held.html, /<dd id="suspended">until \d{4}-/)
    assert.deepEqual(refusal(await query(server, 'com.atproto.sync.getRepo', { did })), { status: 400, error: 'RepoSuspended' })
    const act = await lastAct('suspendAccount')
    assert.deepEqual([act.subject, act.place, act.details.reason], [did, 'page', EVIL])
    assert.ok(Math.abs(Date.parse(act.details.until) - Date.now() - 7 * 86_400_000) < 600_000)
    await browser.submit(held, 'lift')
    assert.equal((await query(server, 'com.atproto.sync.getRepo', { did })).status, 200)
    assert.deepEqual((await lastAct('suspendAccount')).details, { suspended: false })
  })

  it('are deleted once their handle was typed', async () => {
    const browser = await signedIn()
    const { did, handle } = await newAccount(server)
    const page = await browser.get(accountPath(did))
    for (const confirm of ['', 'yes', `${handle}x`]) {
      assert.match((await browser.submit(page, 'delete', { confirm })).html, /nothing was deleted|Nothing was deleted/)
    }
    assert.equal((await query(server, 'com.atproto.sync.getRepo', { did })).status, 200)
    await browser.submit(page, 'delete', { confirm: handle })
    assert.deepEqual(refusal(await query(server, 'com.atproto.sync.getRepo', { did })), { status: 400, error: 'RepoNotFound' })
    assert.equal((await browser.get(accountPath(did))).status, 400)
    assert.deepEqual([(await lastAct('deleteAccount')).subject, (await lastAct('deleteAccount')).place], [did, 'page'])
  })
})

describe('invites', () => {
  it('are made and made worthless', async () => {
    const browser = await signedIn()
    const { did, handle } = await newAccount(server)
    const page = await browser.submit(await browser.get('/admin/invites'), 'make', { count: '2', uses: '3', account: handle })
    const codes = (await asAdmin(server, 'com.atproto.admin.getAccountInfo', { params: { did } })).invites
    assert.deepEqual(codes.map((c) => c.available), [3, 3])
    for (const { code } of codes) assert.ok(page.html.includes(code))
    const { form } = page.form('disable').fields
    await browser.submit({ ...page, form: () => ({ action: '/admin/invites', fields: { form } }) }, 'disable', { code: codes[0].code })
    const after = (await asAdmin(server, 'com.atproto.admin.getAccountInfo', { params: { did } })).invites
    assert.deepEqual(after.map((c) => c.disabled).sort(), [false, true])
    for (const values of [{ count: '0' }, { count: '101' }, { uses: '-1' }, { account: 'nobody.test' }]) {
      assert.match((await browser.submit(page, 'make', values)).html, /role="alert"/, JSON.stringify(values))
    }
    const act = await lastAct('createInviteCodes')
    assert.deepEqual([act.subject, act.place, act.details], [did, 'page', { codes: 2, uses: 3 }])
  })
})

describe('events and storage', () => {
  it('show what an account did, and how much it takes', async () => {
    const browser = await signedIn()
    const [a, b] = [await newAccount(server), await newAccount(server)]
    for (const { agent, did } of [a, b]) {
      const record = { $type: POST, text: EVIL, createdAt: new Date().toISOString() }
      await agent.com.atproto.repo.createRecord({ repo: did, collection: POST, rkey: '3jzfcijpj2z2a', record })
    }
    const all = await browser.get('/admin/events')
    assertHarmless(all)
    assert.ok(all.html.includes(a.handle) && all.html.includes(b.handle))
    for (const account of [a.did, `@${a.handle}`]) {
      const mine = await browser.get(`/admin/events?account=${encodeURIComponent(account)}`)
      assert.ok(mine.html.includes(`create ${POST}/3jzfcijpj2z2a`) && !mine.html.includes(b.handle))
      assert.deepEqual([...mine.html.matchAll(/<td>(commit|sync|account|identity)<\/td>/g)].map((m) => m[1]).at(-1), 'identity')
    }
    const number = Number(/<tr><td>(\d+)<\/td>/.exec((await browser.get('/admin/events')).html)[1])
    const before = (await browser.get(`/admin/events?before=${number}`)).html
    assert.equal(Number(/<tr><td>(\d+)<\/td>/.exec(before)[1]), number - 1)
    assert.equal((await browser.get('/admin/events?account=nobody.test')).status, 400)

    await a.agent.uploadBlob(new Uint8Array(400_000), { encoding: 'application/octet-stream' })
    const storage = await browser.get('/admin/storage')
    assertHarmless(storage)
    const [, largest] = /Largest accounts[\s\S]*?<tbody>\s*(<tr>.*?<\/tr>)/.exec(storage.html)
    assert.ok(largest.includes(a.handle) && largest.includes('400 kB'), largest)
    assert.match(storage.html, /<td>the event log<\/td><td>\d/)
  })
})

describe('mails', () => {
  it('that wait are read and sent again', async () => {
    const node = await startGoverned({ env: { UES_MAIL_SMTP_URL: '' } })
    try {
      const { agent } = await newAccount(node)
      await agent.com.atproto.server.requestEmailConfirmation()
      const browser = new Browser(node.url)
      const page = await browser.submit(await browser.get('/admin'), 'sign_in', { password: ADMIN_PASSWORD })
      assert.match(page.html, /<dd id="waiting"><a href="\/admin\/mails">1</)
      const mails = await browser.get('/admin/mails')
      assert.match(mails.html, /Confirm your e-mail address/)
      const { id } = mails.form('again').fields
      const [, token] = /^ {4}(\S+)$/m.exec((await browser.get(`/admin/mails?id=${id}`)).html)
      const { email } = (await agent.com.atproto.server.getSession()).data
      await agent.com.atproto.server.confirmEmail({ email, token })
      assert.match((await browser.submit(mails, 'again')).html, new RegExp(`Letter ${id} is tried again`))
      assert.match((await browser.submit(mails, 'again', { id: '999' })).html, /There is no letter 999/)
    } finally {
      await stopGoverned(node)
    }
  })
})

describe('reports', () => {
  it('are marked as done, here and by a command', async () => {
    const browser = await signedIn()
    const [a, b] = [await newAccount(server), await newAccount(server)]
    const report = async (reason) => (await a.agent.com.atproto.moderation.createReport({ reasonType: SPAM, reason, subject: repoRef(b.did) })).data.id
    const [first, second] = [await report('sells shoes'), await report('sells socks')]
    const list = async (...args) => JSON.parse(await uesOk(dataOf(server), ['admin', 'reports', '--json', ...args]))
    const page = await browser.get('/admin/reports')
    assert.ok(page.html.includes('sells socks') && page.html.includes(accountPath(b.did).split('did=')[1]))
    const shown = await browser.submit(page, 'done', { id: String(first), note: 'warned' })
    assert.ok(!shown.html.includes('sells shoes') && shown.html.includes('sells socks'))
    assert.match((await browser.get('/admin/reports?all=1')).html, /done [\d-]+ [\d:]+ by admin: warned/)
    assert.deepEqual((await list()).map((r) => r.id).filter((id) => id === first || id === second), [second])
    const { done } = (await list('--all')).find((r) => r.id === first)
    assert.deepEqual([done.by, done.note], ['admin', 'warned'])
    const act = await lastAct('markReport')
    assert.deepEqual([act.by, act.place, act.subject, act.details], ['admin', 'page', `report ${first}`, { done: true, note: 'warned' }])

    await uesOk(dataOf(server), ['admin', 'resolve', String(second)])
    assert.deepEqual([(await lastAct('markReport')).by, (await lastAct('markReport')).place], ['operator', 'cli'])
    await uesOk(dataOf(server), ['admin', 'resolve', String(first), '--reopen'])
    assert.deepEqual((await list()).map((r) => r.id).filter((id) => id === first || id === second), [first])
  })

  it('lead to a takedown of the record', async () => {
    const browser = await signedIn()
    const [a, b] = [await newAccount(server), await newAccount(server)]
    const record = { $type: POST, text: 'shoes', createdAt: new Date().toISOString() }
    const { data: subject } = await b.agent.com.atproto.repo.createRecord({ repo: b.did, collection: POST, rkey: '3jzfcijpj2z2a', record })
    await a.agent.com.atproto.moderation.createReport({ reasonType: SPAM, subject: { $type: 'com.atproto.repo.strongRef', uri: subject.uri, cid: subject.cid } })
    const get = () => query(server, 'com.atproto.repo.getRecord', { repo: b.did, collection: POST, rkey: '3jzfcijpj2z2a' })
    const down = await browser.submit(await browser.get('/admin/reports'), 'take_down')
    assert.equal((await get()).error, 'RecordNotFound')
    await browser.submit(down, 'give_back')
    assert.equal((await get()).status, 200)
  })
})

describe('labels', () => {
  it('are made and taken back', async () => {
    const browser = await signedIn()
    const { did, handle } = await newAccount(server)
    const vals = async () => (await query(server, 'com.atproto.label.queryLabels', { uriPatterns: [did] })).body.labels.map((l) => l.val)
    await browser.submit(await browser.get('/admin/labels'), 'add', { uri: handle, val: 'spam' })
    assert.deepEqual(await vals(), ['spam'])
    const page = await browser.get(`/admin/labels?${new URLSearchParams({ q: did })}`)
    assert.equal(page.form('remove').fields.uri, did)
    await browser.submit(page, 'remove')
    assert.deepEqual(await vals(), [])
    assert.match((await browser.submit(page, 'add', { uri: did, val: EVIL })).html, /role="alert"/)
    const acts = (await audit()).filter((act) => act.subject === did)
    assert.deepEqual(acts.map((act) => [act.what, act.place]), [['negateLabel', 'page'], ['createLabel', 'page']])
  })
})

describe('what others wrote', () => {
  it('is only text', async () => {
    const browser = await signedIn()
    const { agent, did } = await newAccount(server)
    await asAdmin(server, 'com.atproto.admin.updateAccountEmail', { json: { account: did, email: `${EVIL}@example.com` } })
    await agent.com.atproto.server.createAppPassword({ name: EVIL })
    await agent.com.atproto.moderation.createReport({ reasonType: SPAM, reason: EVIL, subject: repoRef(did) })
    const json = { recipientDid: did, senderDid: did, subject: EVIL, content: EVIL }
    await asAdmin(server, 'com.atproto.admin.sendEmail', { json })
    await browser.submit(await browser.get(accountPath(did)), 'take_down', { reason: EVIL })
    const [mail] = JSON.parse(await uesOk(dataOf(server), ['mail', 'ls', '--json']))
    for (const at of [...SECTIONS, accountPath(did), `/admin/mails?id=${mail.id}`, `/admin/accounts?${new URLSearchParams({ q: EVIL })}`]) {
      assertHarmless(await browser.get(at))
    }
    assert.match((await browser.get('/admin/reports')).html, /&#60;script&#62;alert\(1\)/)
    const failed = await browser.submit(await browser.get('/admin/invites'), 'make', { account: EVIL })
    assertHarmless(failed)
    assert.equal((await browser.get(accountPath(EVIL))).status, 400)
  })
})
