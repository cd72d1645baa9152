// New accounts on the pages: for an application that asks for one, in a real browser, and for nobody else.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, describe, it } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { bundle } from '../clients/index.mjs'
import { newAccount, newHandle } from '../lib/accounts.mjs'
import { NO_BROWSER, PHONE, isReadable, startBrowser } from '../lib/browser.mjs'
import { uesOk } from '../lib/cli.mjs'
import { RawClient, loopbackClient, newKey } from '../lib/oauth.mjs'
import { Browser } from '../lib/pages.mjs'
import { freePort } from '../lib/process.mjs'
import { TARGET, dataOf, startUes } from '../lib/servers.mjs'

const SCOPE = 'atproto transition:generic'
const REDIRECT = 'http://127.0.0.1:4999/callback'
const PASSWORD = 'a new password'

describe('new accounts', { skip: TARGET === 'pds' && 'the official server has its own page' }, () => {
  let node
  before(async () => {
    const port = await freePort()
    const env = { UES_PUBLIC_URL: `http://127.0.0.1:${port}`, UES_INVITE_REQUIRED: 'true', UES_TERMS_OF_SERVICE_URL: 'https://example.com/terms' }
    node = await startUes({ port, env })
  })
  after(() => node?.close())

  /** A fresh invite code. */
  const invite = async () => JSON.parse(await uesOk(dataOf(node), ['admin', 'invite', '--json']))[0]

  it('are made by a form that says what is wrong where it is wrong', async () => {
    const taken = newHandle()
    const code = await invite()
    const app = new RawClient(node, { clientId: loopbackClient(REDIRECT, SCOPE), key: await newKey(), redirect: REDIRECT })
    const { request_uri: uri } = await app.push({ prompt: 'create' })
    const browser = new Browser(node.url)
    let page = await browser.get(app.page(uri))
    assert.equal(page.status, 200)
    assert.match(page.html, /New account/)
    assert.match(page.html, /https:\/\/example\.com\/terms/)
    const name = nameOf(taken)
    const good = { name, email: `${name}@example.com`, password: PASSWORD, invite: code }
    for (const [field, change, why] of [
      ['name', { name: 'x' }, /Handle too short/],
      ['name', { name: 'no_good!' }, /handle/i],
      ['name', { name: 'admin' }, /Reserved handle/],
      ['email', { email: 'nowhere' }, /not supported/],
      ['password', { password: 'short' }, /at least 8/],
      ['password', { password: 'x'.repeat(300) }, /too long/],
      ['invite', { invite: '' }, /No invite code/],
      ['invite', { invite: 'no-such-code' }, /not available/],
    ]) {
      page = await browser.submit(page, 'sign_up', { ...good, ...change })
      assert.equal(page.status, 400, JSON.stringify(change))
      const place = new RegExp(`<label for="${field}">[^]*?<p class="failure" role="alert">([^<]*)</p>`).exec(page.html)
      assert.match(place?.[1] ?? '', why, JSON.stringify(change))
      assert.equal((page.html.match(/role="alert"/g) ?? []).length, 1)
      assert.doesNotMatch(page.html, new RegExp(PASSWORD), 'a password does not come back')
    }
    page = await browser.submit(page, 'sign_up', good)
    assert.match(page.html, /It will be able to/)
    assert.match(page.html, new RegExp(`@${taken}`))
    const back = await browser.submit(page, 'allow')
    const tokens = await app.redeem(back.left.searchParams.get('code'))
    assert.equal(tokens.status, 200, JSON.stringify(tokens))
    const session = await app.call(tokens.access_token, 'GET', 'com.atproto.server.getSession')
    assert.equal(session.handle, taken)
    const agent = new AtpAgent({ service: node.url })
    await agent.login({ identifier: taken, password: PASSWORD })
    assert.equal(agent.session.did, tokens.sub)

    // The code was for one account, and what is taken is taken.
    const other = new Browser(node.url)
    page = await other.submit(await other.get('/account?sign_up=1'), 'sign_up', good)
    assert.match(page.html, /not available/)
    page = await other.submit(page, 'sign_up', { ...good, invite: await invite() })
    assert.match(page.html, /already taken/)
    for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
      assert.equal((await other.submit(page, 'sign_up', { ...good, name: 'another' }, headers)).status, 400)
    }
  })

  it('are made without an application, too, and whoever has one signs in instead', async () => {
    const handle = newHandle()
    const browser = new Browser(node.url)
    const form = await browser.get('/account?sign_up=1')
    const email = `${nameOf(handle)}@example.com`
    const page = await browser.submit(form, 'sign_up', { name: handle, email, password: PASSWORD, invite: await invite() })
    assert.match(page.html, /Connected applications/)
    assert.match((await browser.get('/account?sign_in=1')).html, /href="\/account\?sign_up=1"/)

    const app = new RawClient(node, { clientId: loopbackClient(REDIRECT, SCOPE), key: await newKey(), redirect: REDIRECT })
    const { request_uri: uri } = await app.push({ prompt: 'create' })
    const other = new Browser(node.url)
    const asked = await other.get(`${app.page(uri)}&sign_in=1`)
    const consent = await other.submit(asked, 'sign_in', { identifier: handle, password: PASSWORD })
    assert.match(consent.html, /It will be able to/)
  })
})

describe('new accounts in a browser', { skip: NO_BROWSER || (TARGET === 'pds' && 'the official server has its own page') }, () => {
  it('are what the official client asks for', async () => {
    const port = await freePort()
    const node = await startUes({ port, env: { UES_PUBLIC_URL: `http://127.0.0.1:${port}` } })
    const browser = await startBrowser()
    const script = `window.SETUP = ${JSON.stringify({ node: node.url, scope: SCOPE })};\n${await bundle(new URL('../clients/sign-up.js', import.meta.url))}`
    const html = `<!doctype html><meta charset="utf-8"><title>An application</title><button id="in">Join</button><output></output><script type="module">${script.replaceAll('</script', '<\\/script')}</script>`
    const app = http.createServer((_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end(html))
    try {
      const appPort = await freePort()
      await new Promise((resolve) => app.listen(appPort, '127.0.0.1', resolve))
      const old = await newAccount(node)
      for (const colorScheme of ['light', 'dark']) {
        const context = await browser.newContext({ viewport: PHONE, colorScheme })
        const page = await context.newPage()
        await page.goto(`http://127.0.0.1:${appPort}/`)
        await page.waitForFunction(() => document.querySelector('output').textContent)
        await page.click('#in')
        await page.waitForURL(`${node.url}/oauth/authorize**`)
        await isReadable(page)
        const handle = newHandle()
        await page.fill('[name=name]', nameOf(old.handle))
        await page.fill('[name=email]', `${nameOf(handle)}@example.com`)
        await page.fill('[name=password]', PASSWORD)
        await page.click('button:has-text("Create account")')
        await page.waitForSelector('[role=alert]:has-text("already taken")')
        await isReadable(page)
        await page.fill('[name=name]', nameOf(handle))
        await page.fill('[name=password]', PASSWORD)
        await page.click('button:has-text("Create account")')
        await page.waitForSelector('button[value=allow]')
        await page.click('button[value=allow]')
        await page.waitForURL(`http://127.0.0.1:${appPort}/**`)
        const said = await (await page.waitForFunction(() => document.querySelector('output')?.textContent || undefined)).jsonValue()
        assert.equal(JSON.parse(said).session?.handle, handle, said)
        await context.close()
      }
    } finally {
      app.closeAllConnections()
      app.close()
      await browser.close()
      await node.close()
    }
  })
})

function nameOf(handle) {
  return handle.split('.')[0]
}
