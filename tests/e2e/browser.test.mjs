// A real browser: an application that runs in it signs in by the official client through the real pages, with scripts
// switched off on them, on a phone's screen, in light and in dark.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, describe, it } from 'node:test'
import { Agent } from '@atproto/api'
import { bundle } from '../clients/index.mjs'
import { newAccount } from '../lib/accounts.mjs'
import { NO_BROWSER, PHONE, isReadable, startBrowser } from '../lib/browser.mjs'
import { loopbackClient, officialClient } from '../lib/oauth.mjs'
import { freePort } from '../lib/process.mjs'
import { startUes } from '../lib/servers.mjs'

const SCOPE = 'atproto transition:generic'

/** A page that everybody can read. */
const html = (script) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>An application</title>
<button id="in">Sign in</button> <button id="out">Sign out</button><output></output><script type="module">${script}</script>`

describe('a browser', { skip: NO_BROWSER }, () => {
  let node, account, app, browser, origin

  before(async () => {
    const port = await freePort()
    node = await startUes({ port, env: { UES_PUBLIC_URL: `http://127.0.0.1:${port}` } })
    account = await newAccount(node)
    const setup = { node: node.url, handle: account.handle, did: account.did, scope: SCOPE }
    const script = `window.SETUP = ${JSON.stringify(setup)};\n${await bundle(new URL('../clients/app.js', import.meta.url))}`
    app = http.createServer((_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end(html(script.replaceAll('</script', '<\\/script'))))
    const appPort = await freePort()
    await new Promise((resolve) => app.listen(appPort, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${appPort}`
    browser = await startBrowser()
  })
  after(async () => {
    await browser?.close()
    app?.closeAllConnections()
    app?.close()
    await node?.close()
  })

  /** What the application says, once it says something else than before. */
  async function says(page, ready = () => true) {
    const handle = await page.waitForFunction(() => document.querySelector('output')?.textContent || undefined)
    const said = JSON.parse(await handle.jsonValue())
    assert.equal(said.error, undefined, JSON.stringify(said))
    assert.ok(ready(said), JSON.stringify(said))
    return said
  }

  for (const colorScheme of ['light', 'dark']) {
    it(`signs in, writes, refreshes and signs out, in ${colorScheme}`, async () => {
      const context = await browser.newContext({ viewport: PHONE, colorScheme })
      const page = await context.newPage()
      await page.goto(origin)
      await says(page, (said) => said.nobody)
      await page.click('#in')
      await page.waitForURL(`${node.url}/oauth/authorize**`)
      await isReadable(page)
      assert.equal(await page.inputValue('[name=identifier]'), account.handle, 'the handle is filled in')
      await page.fill('[name=password]', 'wrong')
      await page.keyboard.press('Enter')
      await page.waitForSelector('[role=alert]')
      await isReadable(page)
      await page.fill('[name=password]', account.password)
      await page.keyboard.press('Enter')
      await page.waitForSelector('button[value=allow]')
      await isReadable(page)
      await page.click('button[value=allow]')
      await page.waitForURL(`${origin}/**`)
      const said = await says(page, (said) => said.did)
      assert.equal(said.did, account.did)
      assert.equal(said.state, 'mine')
      assert.equal(said.written.status, 200, JSON.stringify(said))
      assert.equal(said.session.handle, account.handle)
      assert.ok(said.refreshed)
      const { data } = await account.agent.com.atproto.repo.listRecords({ repo: account.did, collection: 'com.example.note' })
      assert.ok(data.records.some((record) => record.uri === said.written.uri && record.value.text === 'from the browser'))

      const own = await context.newPage()
      await own.goto(`${node.url}/account`)
      await own.waitForSelector(`text=${account.handle}`)
      await isReadable(own)
      await page.evaluate(() => (document.querySelector('output').textContent = ''))
      await page.click('#out')
      await says(page, (said) => said.out)
      await context.close()
    })
  }

  it('is where the official client for servers sends its users, and comes back with who they are', async () => {
    const redirect = 'http://127.0.0.1:4999/callback'
    const client = officialClient(node, loopbackClient(redirect, SCOPE), account)
    const context = await browser.newContext({ viewport: PHONE, javaScriptEnabled: false })
    const page = await context.newPage()
    // The server that the client would be part of.
    const back = []
    await page.route(`${redirect}**`, (route) => {
      back.push(new URL(route.request().url()))
      return route.fulfill({ contentType: 'text/plain', body: 'welcome' })
    })
    for (const answer of ['deny', 'allow']) {
      await page.goto((await client.authorize(account.handle, { scope: SCOPE, state: answer })).href)
      if (answer === 'allow') {
        assert.equal(await page.inputValue('[name=identifier]'), account.handle)
        await page.fill('[name=password]', account.password)
        await page.keyboard.press('Enter')
        await page.click('button[value=allow]')
      } else {
        await page.click('form:has([name=do][value=deny]) button')
      }
      await page.waitForURL(`${redirect}**`)
    }
    assert.equal(back.length, 2)
    assert.equal(back[0].searchParams.get('error'), 'access_denied')
    const { session, state } = await client.callback(back[1].searchParams)
    assert.deepEqual([session.did, state], [account.did, 'allow'])
    const { data } = await new Agent(session).com.atproto.server.getSession()
    assert.equal(data.handle, account.handle)
    await session.signOut()
    await context.close()
  })

  it('needs no script on the pages, and shows them in no frame', async () => {
    const context = await browser.newContext({ javaScriptEnabled: false })
    const page = await context.newPage()
    await page.goto(`${node.url}/account`)
    await page.fill('[name=identifier]', account.handle)
    await page.fill('[name=password]', account.password)
    await page.keyboard.press('Enter')
    await page.waitForSelector(`text=${account.handle}`)
    await context.close()

    const framing = await (await browser.newContext()).newPage()
    await framing.route('https://evil.example/', (route) => route.fulfill({ contentType: 'text/html', body: `<iframe src="${node.url}/account"></iframe>` }))
    await framing.goto('https://evil.example/')
    const frame = framing.frames().at(-1)
    assert.doesNotMatch(await frame.content().catch(() => ''), /password/)
  })
})
