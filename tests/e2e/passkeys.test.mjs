// Passkeys: added, named and removed on the owner's page, and signed in with through a real flow, in a real browser.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { PASSWORD, newAccount } from '../lib/accounts.mjs'
import { NO_BROWSER, PHONE, isReadable, startBrowser } from '../lib/browser.mjs'
import { startGoverned, stopGoverned } from '../lib/governed.mjs'
import { RawClient, loopbackClient, newKey } from '../lib/oauth.mjs'
import { Browser } from '../lib/pages.mjs'
import { assertion, virtualAuthenticator } from '../lib/passkey.mjs'
import { freePort } from '../lib/process.mjs'
import { TARGET, startUes } from '../lib/servers.mjs'

const REDIRECT = 'http://127.0.0.1:4999/callback'
const SCOPE = 'atproto transition:generic'
const addressOf = (account) => `${account.handle.split('.')[0]}@example.com`
const security = (account) => `/account/security?account=${encodeURIComponent(account.did)}`
const skip = (TARGET === 'pds' && 'the official server has no passkeys') || NO_BROWSER

describe('passkeys', { skip }, () => {
  let server, origin, chromium

  before(async () => {
    const port = await freePort()
    origin = `http://localhost:${port}`
    server = await startGoverned({ port, env: { UES_PUBLIC_URL: origin } })
    chromium = await startBrowser()
  })
  after(async () => {
    await chromium?.close()
    await stopGoverned(server)
  })

  /** A browser with an authenticator, in which a fresh account is signed in and its page is open. */
  async function owner(options = {}) {
    const account = await newAccount(server)
    const context = await chromium.newContext({ viewport: PHONE, ...options })
    const page = await context.newPage()
    const authenticator = await virtualAuthenticator(page)
    await page.goto(`${origin}/account`)
    await page.fill('[name=identifier]', account.handle)
    await page.fill('[name=password]', PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForSelector('text=Connected applications')
    await page.goto(origin + security(account))
    return { account, context, page, authenticator }
  }

  async function add(page, name, password = PASSWORD) {
    if (!(await page.isVisible('#passkey_new'))) await page.click('summary:has-text("Add a passkey")')
    await page.fill('#passkey_new', name)
    await page.fill('#password_passkey', password)
    await page.click('form[data-passkey] button')
  }

  for (const colorScheme of ['light', 'dark']) {
    it(`are added, named and removed by their owner, in ${colorScheme}`, async () => {
      const { account, context, page, authenticator } = await owner({ colorScheme })
      await isReadable(page)
      await add(page, 'My phone', 'wrong')
      await page.waitForSelector('form[data-passkey] [role=alert]:has-text("The password is wrong")')
      await isReadable(page)
      await add(page, 'My phone')
      await page.waitForSelector('text=The passkey was added')
      assert.equal((await authenticator.credentials()).length, 1)
      assert.match((await server.mail.next(addressOf(account))).text, /A passkey was added to your account: My phone/)

      await page.click('summary:has-text("Change")')
      await isReadable(page)
      await page.fill('li [name=name]', 'Old phone')
      await page.click('button:has-text("Rename")')
      await page.waitForSelector('b:has-text("Old phone")')
      await add(page, 'Again')
      await page.waitForSelector('text=has a passkey of your account already')

      await page.click('summary:has-text("Change")')
      await page.fill('li [name=password]', 'wrong')
      await page.click('button:has-text("Remove")')
      await page.waitForSelector('[role=alert]:has-text("The password is wrong")')
      await page.click('summary:has-text("Change")')
      await page.fill('li [name=password]', PASSWORD)
      await page.click('button:has-text("Remove")')
      await page.waitForSelector('text=The passkey was removed')
      assert.match((await server.mail.next(addressOf(account))).text, /A passkey of your account was removed: Old phone/)

      // What was removed signs in no more.
      await page.context().clearCookies()
      await page.goto(`${origin}/account`)
      await page.click('form[data-passkey] button')
      await page.waitForSelector('text=This passkey is not known here')
      await context.close()
    })
  }

  it('sign in without a password, through a real flow', async () => {
    const { account, context, page, authenticator } = await owner()
    await add(page, 'Key')
    await page.waitForSelector('text=The passkey was added')
    await context.clearCookies()
    const app = new RawClient({ ...server, url: origin }, { clientId: loopbackClient(REDIRECT, SCOPE), key: await newKey(), redirect: REDIRECT })
    await context.route(`${REDIRECT}*`, (route) => route.fulfill({ body: 'back' }))
    const { request_uri: uri } = await app.push()
    await page.goto(origin + app.page(uri))
    await authenticator.verifies(false)
    await page.click('form[data-passkey] button')
    await page.waitForSelector('text=Your device did not use a passkey')
    await authenticator.verifies(true)
    await page.click('form[data-passkey] button')
    await page.waitForSelector('button[value=allow]')
    await isReadable(page)
    await page.click('button[value=allow]')
    await page.waitForURL(`${REDIRECT}*`)
    const tokens = await app.redeem(new URL(page.url()).searchParams.get('code'))
    assert.equal(tokens.sub, account.did, JSON.stringify(tokens))
    const session = await app.call(tokens.access_token, 'GET', 'com.atproto.server.getSession')
    assert.equal(session.handle, account.handle)
    await context.close()
  })

  it('have the one script that the pages allow, and nothing without it', async () => {
    const { account, context } = await owner()
    const plain = new Browser(origin)
    const page = await plain.get('/account')
    const policy = page.headers.get('content-security-policy')
    assert.match(policy, new RegExp(`script-src ${origin}/account/passkeys\\.js; connect-src ${origin}/account/passkeys$`))
    assert.match(page.html, /data-passkey hidden/, 'the button is not there before its script')
    assert.deepEqual(page.html.match(/<script[^>]*>/g), ['<script src="/account/passkeys.js" defer>'])
    assert.equal((page.html.match(/ on[a-z]+=/g) ?? []).length, 0)
    assert.match((await plain.get('/account/passkeys.js')).headers.get('content-type'), /^text\/javascript/)
    const signedIn = await plain.submit(page, 'sign_in', { identifier: account.handle, password: PASSWORD })
    assert.match(signedIn.html, /Connected applications/)
    await context.close()
  })

  it('are asked for nobody else: not by other pages, not for accounts of others', async () => {
    const { account, context } = await owner()
    const browser = new Browser(origin)
    const form = (await browser.get('/account')).form('passkey').fields
    for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
      assert.equal((await browser.ask('/account/passkeys', form, headers)).status, 400)
    }
    assert.equal((await browser.ask('/account/passkeys', { ...form, form: 'x' })).status, 400)
    const adding = await browser.ask('/account/passkeys', { ...form, do: 'passkey_add', account: account.did, password: PASSWORD })
    assert.match(adding.message, /signed out/)
    await context.close()
  })

  it('answers that are wrong, old, copied or made elsewhere are refused', async () => {
    const { account, context, page, authenticator } = await owner()
    await add(page, 'Key')
    await page.waitForSelector('text=The passkey was added')
    await server.mail.next(addressOf(account))
    const [credential] = await authenticator.credentials()
    const { context: other, page: otherPage, authenticator: otherKeys } = await owner()
    await add(otherPage, 'Key')
    await otherPage.waitForSelector('text=The passkey was added')
    const [foreign] = await otherKeys.credentials()

    let counter = credential.signCount
    /** Asks for a challenge and answers it. */
    async function answer(change = {}, key = credential) {
      const browser = new Browser(origin)
      const page = await browser.get('/account')
      const { challenge } = await browser.ask('/account/passkeys', page.form('passkey').fields)
      const given = { challenge, origin, counter: ++counter, ...change }
      const said = assertion(key, given)
      return { browser, page, said, got: await browser.submit(page, 'passkey', { credential: said }) }
    }
    const good = await answer()
    assert.equal(good.got.status, 200)
    assert.match(good.got.html, new RegExp(`@${account.handle}`))

    const old = new Browser(origin)
    const { challenge: unused } = await old.ask('/account/passkeys', (await old.get('/account')).form('passkey').fields)
    for (const [what, change, key] of [
      ['another origin', { origin: 'https://evil.example' }],
      ['another port', { origin: 'http://localhost:1' }],
      ['a name below ours', { origin: origin.replace('localhost', 'evil.localhost') }],
      ['another relying party', { rpId: 'evil.example' }],
      ['a challenge of another browser', { challenge: unused }],
      ['a challenge that nobody gave', { challenge: Buffer.alloc(32).toString('base64url') }],
      ['nobody verified', { flags: 0x01 }],
      ['nobody there', { flags: 0x04 }],
      ['what adding says', { type: 'webauthn.create' }],
      ['a wrong signature', { tamper: true }],
      ['the key of another', {}, { ...credential, privateKey: foreign.privateKey }],
      ['the name of another', { userHandle: foreign.userHandle }],
      ['an unknown key', {}, { ...credential, credentialId: Buffer.alloc(32).toString('base64') }],
    ]) {
      const { got } = await answer(change, key)
      assert.equal(got.status, 401, what)
      assert.match(got.html, /name="password"/, what)
    }

    // The same answer again: with its challenge used up, and to a new one.
    const twice = await answer()
    assert.equal(twice.got.status, 200)
    const browser = new Browser(origin)
    const fresh = await browser.get('/account')
    assert.match((await browser.submit(fresh, 'passkey', { credential: twice.said })).html, /took too long/)
    await browser.ask('/account/passkeys', fresh.form('passkey').fields)
    assert.match((await browser.submit(fresh, 'passkey', { credential: twice.said })).html, /not good here/)
    assert.match((await browser.submit(fresh, 'passkey', { credential: twice.said })).html, /took too long/)
    assert.match((await browser.submit(fresh, 'passkey', { credential: 'no JSON' })).html, /took too long/)

    // A copy counts on its own: whoever comes second has an old number.
    const { got: copied } = await answer({ counter: counter - 1 })
    assert.equal(copied.status, 401)
    assert.match(copied.html, /may have been copied/)
    assert.match((await server.mail.next(addressOf(account))).text, /seems to have been copied/)
    assert.equal((await answer()).got.status, 200, 'the other one goes on')
    await Promise.all([context.close(), other.close()])
  })

  it('stand for password and code together', async () => {
    const { account, context, page } = await owner()
    await add(page, 'Key')
    await page.waitForSelector('text=The passkey was added')
    const data = { identifier: account.handle, password: PASSWORD }
    await page.click('button[value=totp_begin]')
    await page.waitForSelector('svg.qr')
    await isReadable(page)
    const secret = (await page.textContent('code.secret')).replaceAll(' ', '')
    const { authenticator } = await import('../lib/authenticator.mjs')
    await page.fill('#first_code', authenticator(secret))
    await page.fill('#password', PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForSelector('ol.codes')
    await isReadable(page)
    await context.clearCookies()
    await page.goto(`${origin}/account`)
    await page.fill('[name=identifier]', data.identifier)
    await page.fill('[name=password]', data.password)
    await page.keyboard.press('Enter')
    await page.waitForSelector('#code')
    await isReadable(page)
    await page.click('button:has-text("Use a passkey instead")')
    await page.waitForSelector('text=Connected applications')
    await context.close()
  })

  it('are not offered where browsers have none: at an address without a name', async () => {
    const port = await freePort()
    const node = await startUes({ port, env: { UES_PUBLIC_URL: `http://127.0.0.1:${port}` } })
    try {
      const account = await newAccount(node)
      const browser = new Browser(node.url)
      let page = await browser.get('/account')
      assert.doesNotMatch(page.html, /passkey|<script/)
      await browser.submit(page, 'sign_in', { identifier: account.handle, password: PASSWORD })
      page = await browser.get(security(account))
      assert.match(page.html, /needs a name of its own, and TLS/)
      assert.doesNotMatch(page.html, /<script/)
    } finally {
      await node.close()
    }
  })
})
