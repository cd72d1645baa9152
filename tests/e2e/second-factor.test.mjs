// Owners see to the ways into their accounts, on pages without script: an authenticator, recovery codes, sessions.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { PASSWORD, newAccount } from '../lib/accounts.mjs'
import { authenticator, stepNow } from '../lib/authenticator.mjs'
import { refusal, startGoverned, stopGoverned } from '../lib/governed.mjs'
import { RawClient, loopbackClient, newKey } from '../lib/oauth.mjs'
import { Browser } from '../lib/pages.mjs'
import { freePort } from '../lib/process.mjs'
import { TARGET } from '../lib/servers.mjs'
import { call, procedure } from '../lib/xrpc.mjs'

const SERVER = 'com.atproto.server'
const REDIRECT = 'http://127.0.0.1:4999/callback'
const SCOPE = 'atproto transition:generic'
const addressOf = (account) => `${account.handle.split('.')[0]}@example.com`
const security = (account) => `/account/security?account=${encodeURIComponent(account.did)}`

let server

/** A browser in which an account is signed in. */
async function signedIn(account, code) {
  const browser = new Browser(server.url)
  let page = await browser.submit(await browser.get('/account'), 'sign_in', { identifier: account.handle, password: PASSWORD })
  if (code) page = await browser.submit(page, 'code', { code })
  assert.match(page.html, /Connected applications/)
  return browser
}

/** Switches an account's authenticator on. */
async function switchOn(account, browser) {
  const begun = await browser.submit(await browser.get(security(account)), 'totp_begin')
  const secret = /<code class="secret">([^<]*)<\/code>/.exec(begun.html)[1].replaceAll(' ', '')
  const step = stepNow()
  const page = await browser.submit(begun, 'totp_on', { first_code: authenticator(secret, step), password: PASSWORD })
  const codes = [...page.html.matchAll(/<li><code>([^<]*)<\/code>/g)].map(([, code]) => code)
  assert.equal(codes.length, 10, page.html)
  return { secret, step, codes, begun }
}

const sign = (account, authFactorToken) =>
  procedure(server, `${SERVER}.createSession`, { identifier: account.handle, password: PASSWORD, authFactorToken })

describe('second factors', { skip: TARGET === 'pds' && 'the official server has none of its owners' }, () => {
  before(async () => {
    const port = await freePort()
    server = await startGoverned({ port, env: { UES_PUBLIC_URL: `http://127.0.0.1:${port}` } })
  })
  after(() => stopGoverned(server))

  it('an authenticator is switched on by its first code and the password', async () => {
    const account = await newAccount(server)
    const browser = await signedIn(account)
    const begun = await browser.submit(await browser.get(security(account)), 'totp_begin')
    assert.match(begun.html, /<svg class="qr"/)
    const secret = /<code class="secret">([^<]*)<\/code>/.exec(begun.html)[1].replaceAll(' ', '')
    assert.match(begun.html, new RegExp(`href="otpauth://totp/127\\.0\\.0\\.1:${account.handle}\\?secret=${secret}&`))
    assert.equal(begun.headers.get('cache-control'), 'no-store')
    assert.equal((await sign(account)).status, 200, 'not confirmed yet')

    const code = authenticator(secret)
    let page = await browser.submit(begun, 'totp_on', { first_code: code, password: 'wrong' })
    assert.match(page.html, /The password is wrong/)
    page = await browser.submit(page, 'totp_on', { first_code: '000000', password: PASSWORD })
    assert.match(page.html, /not the code/)
    assert.equal((await sign(account)).status, 200, 'still not')
    page = await browser.submit(page, 'totp_on', { first_code: code, password: PASSWORD })
    assert.match(page.html, /shown only now/)
    assert.deepEqual(refusal(await sign(account)), { status: 401, error: 'AuthFactorTokenRequired' })
    assert.match((await server.mail.next(addressOf(account))).text, /Sign-ins ask for a code now/)
    const again = await browser.submit(begun, 'totp_on', { do: 'totp_begin' })
    assert.equal(again.status, 400, 'one that is on is not replaced')
  })

  it('recovery codes stand in for it, each once, and the owner hears of it', async () => {
    const account = await newAccount(server)
    const browser = await signedIn(account)
    const { secret, step, codes } = await switchOn(account, browser)
    await server.mail.next(addressOf(account))
    assert.equal((await sign(account, codes[0])).status, 200)
    assert.match((await server.mail.next(addressOf(account))).text, /A recovery code was used[^]*9 are left/)
    assert.deepEqual(refusal(await sign(account, codes[0])), { status: 400, error: 'InvalidToken' })
    assert.match((await browser.get(security(account))).html, /9 recovery codes are left/)

    // On the pages the code has a form of its own, which asks for no password again.
    const other = new Browser(server.url)
    let page = await other.submit(await other.get('/account'), 'sign_in', { identifier: account.handle, password: PASSWORD })
    assert.equal(page.status, 401)
    assert.doesNotMatch(page.html, /name="password"/)
    page = await other.submit(page, 'code', { code: codes[0] })
    assert.match(page.html, /This code is not good/)
    page = await other.submit(page, 'code', { code: codes[1].toUpperCase().replace('-', '') })
    assert.match(page.html, /Connected applications/)
    // Without a right password before it a code opens nothing.
    const stranger = new Browser(server.url)
    page = await stranger.submit(await stranger.get('/account'), 'sign_in', { do: 'code', code: codes[2] })
    assert.equal(page.status, 401)
    assert.match(page.html, /Sign in again/)

    page = await browser.get(security(account))
    const refused = await browser.submit(page, 'new_codes', { password: PASSWORD, code: codes[1] })
    assert.equal(refused.status, 400)
    page = await browser.submit(page, 'new_codes', { password: PASSWORD, code: authenticator(secret, step + 1) })
    assert.match(page.html, /Your new recovery codes/)
    assert.deepEqual(refusal(await sign(account, codes[3])), { status: 400, error: 'InvalidToken' }, 'the old ones are void')
  })

  it('is switched off by the password and a code', async () => {
    const account = await newAccount(server)
    const browser = await signedIn(account)
    const { codes } = await switchOn(account, browser)
    let page = await browser.get(security(account))
    for (const [values, why] of [
      [{ password: PASSWORD, code: '' }, /code of your authenticator is required/],
      [{ password: PASSWORD, code: 'aaaaa-aaaaa' }, /This code is not good/],
      [{ password: 'wrong', code: codes[0] }, /The password is wrong/],
    ]) {
      const refused = await browser.submit(page, 'totp_off', values)
      assert.equal(refused.status, 400)
      assert.match(refused.html, why)
    }
    page = await browser.submit(page, 'totp_off', { password: PASSWORD, code: codes[0] })
    assert.match(page.html, /password alone now/)
    assert.equal((await sign(account)).status, 200)
    const letters = []
    while (!letters.some((text) => /do not ask for a code any more/.test(text))) letters.push((await server.mail.next(addressOf(account))).text)
  })

  it('belongs to its owner: not to others, nor to forms of other pages', async () => {
    const [alice, bob] = [await newAccount(server), await newAccount(server)]
    const [hers, his] = [await signedIn(alice), await signedIn(bob)]
    assert.doesNotMatch((await his.get(security(alice))).html, /Authenticator/)
    const page = await hers.get(security(alice))
    const stolen = await his.submit(page, 'totp_begin')
    assert.doesNotMatch(stolen.html, /class="secret"/)
    for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
      assert.equal((await hers.submit(page, 'totp_begin', {}, headers)).status, 400)
    }
    const own = await his.get(security(bob))
    assert.doesNotMatch((await his.submit(own, 'totp_begin', { account: alice.did })).html, /class="secret"/)
  })

  it('sessions are shown and ended, one or all', async () => {
    const account = await newAccount(server)
    const program = (await account.agent.com.atproto.server.createAppPassword({ name: 'my program' })).data.password
    const session = await procedure(server, `${SERVER}.createSession`, { identifier: account.did, password: program })
    const refresh = (token) => call(server, 'POST', `${SERVER}.refreshSession`, { token })
    const browser = await signedIn(account)
    let page = await browser.get(security(account))
    assert.match(page.html, /App password “my program”/)
    const [newest] = page.forms.filter((form) => form.buttons.includes('end_session'))
    page = await browser.submit(page, 'end_session', newest.fields)
    assert.doesNotMatch(page.html, /my program/)
    assert.equal((await refresh(session.body.refreshJwt)).status, 400)

    const app = new RawClient(server, { clientId: loopbackClient(REDIRECT, SCOPE), key: await newKey(), redirect: REDIRECT })
    const other = await signedIn(account)
    const tokens = await app.tokens(other, account)
    page = await browser.submit(page, 'everywhere')
    assert.match(page.html, /Everybody but you is signed out/)
    assert.match((await browser.get('/account')).html, /Connected applications/)
    assert.match((await other.get('/account')).html, /name="password"/, 'the other browser is signed out')
    assert.equal((await app.call(tokens.access_token, 'GET', `${SERVER}.getSession`)).status, 401)
    assert.equal((await refresh(account.agent.session.refreshJwt)).status, 400)
  })

  it('a new password signs the pages out, too', async () => {
    const account = await newAccount(server)
    const browser = await signedIn(account)
    await procedure(server, `${SERVER}.requestPasswordReset`, { email: addressOf(account) })
    const token = await server.mail.token(addressOf(account))
    assert.equal((await procedure(server, `${SERVER}.resetPassword`, { token, password: 'another one' })).status, 200)
    assert.match((await browser.get('/account')).html, /name="password"/)
  })
})

describe('guessing', { skip: TARGET === 'pds' && 'the official server has no such codes' }, () => {
  it('is stopped, wherever it comes from', async () => {
    const port = await freePort()
    server = await startGoverned({ port, env: { UES_PUBLIC_URL: `http://127.0.0.1:${port}`, UES_RATE_LIMITS_ENABLED: 'true' } })
    try {
      const account = await newAccount(server)
      const browser = await signedIn(account)
      const { codes } = await switchOn(account, browser)
      const guess = new Browser(server.url)
      let page = await guess.submit(await guess.get('/account'), 'sign_in', { identifier: account.handle, password: PASSWORD })
      for (let tries = 0; !/Too many tries/.test(page.html); tries++) {
        assert.ok(tries < 30, 'more than the limit allows')
        page = await guess.submit(page, 'code', { code: 'aaaaa-aaaaa' })
      }
      page = await guess.submit(page, 'code', { code: codes[0] })
      assert.match(page.html, /Too many tries/, 'a right one comes too late, too')
      assert.equal((await sign(account, codes[0])).status, 429, 'and so it does elsewhere')
    } finally {
      await stopGoverned(server)
    }
  })
})
