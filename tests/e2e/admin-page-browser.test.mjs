// The page /admin in a real browser without script: an operator signs in, walks through all of it and acts on it, on a phone's
// screen and on a large one, in light and in dark. Nothing is wider than the screen, and everything can be read.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newAccount, newHandle } from '../lib/accounts.mjs'
import { NO_BROWSER, PHONE, isReadable, startBrowser } from '../lib/browser.mjs'
import { ADMIN, asAdmin, startGoverned, stopGoverned } from '../lib/governed.mjs'
import { TARGET } from '../lib/servers.mjs'
import { procedure } from '../lib/xrpc.mjs'

const PASSWORD = Buffer.from(ADMIN.slice('Basic '.length), 'base64').toString().slice('admin:'.length)
const SCREENS = { phone: PHONE, desk: { width: 1280, height: 800 } }
const LONG = 'averylongwordwithoutanyspaceinit'.repeat(8)
const SECTIONS = ['accounts', 'invites', 'mails', 'reports', 'labels', 'audit']

describe('the page /admin in a browser', { skip: TARGET === 'pds' ? 'the official server has none' : NO_BROWSER }, () => {
  let server, browser, account
  before(async () => {
    server = await startGoverned()
    account = await newAccount(server, { handle: `${'long'.repeat(4)}.test` })
    const other = await newAccount(server)
    // Each section has something in it, some of it as long as it may be.
    for (let n = 0; n < 3; n++) await newAccount(server)
    await account.agent.com.atproto.server.requestEmailConfirmation()
    const report = {
      reasonType: 'com.atproto.moderation.defs#reasonSpam',
      reason: `${LONG} <b>and more</b>`,
      subject: { $type: 'com.atproto.admin.defs#repoRef', did: account.did },
    }
    assert.equal((await procedure(server, 'com.atproto.moderation.createReport', report, { token: other.token })).status, 200)
    await asAdmin(server, 'com.atproto.server.createInviteCode', { json: { useCount: 3, forAccount: account.did } })
    browser = await startBrowser()
  })
  after(async () => {
    await browser?.close()
    await stopGoverned(server)
  })

  for (const [screen, viewport] of Object.entries(SCREENS)) {
    for (const colorScheme of ['light', 'dark']) {
      it(`on a ${screen}'s screen, in ${colorScheme}`, async () => {
        const context = await browser.newContext({ viewport, colorScheme, javaScriptEnabled: false })
        const page = await context.newPage()
        await page.goto(`${server.url}/admin`)
        await isReadable(page)
        await page.fill('[name=password]', 'wrong')
        await page.keyboard.press('Enter')
        await page.waitForSelector('[role=alert]')
        await isReadable(page)
        await page.fill('[name=password]', PASSWORD)
        await page.keyboard.press('Enter')
        await page.waitForSelector('text=Sign out')
        await isReadable(page)
        const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
        const [red, green, blue] = dark.match(/[\d.]+/g).map(Number)
        assert.equal(red + green + blue < 384, colorScheme === 'dark', dark)

        const go = async (name) => {
          await page.click(`nav a[href="/admin/${name}"]`)
          await page.waitForURL(`${server.url}/admin/${name}`)
        }
        for (const name of SECTIONS) {
          await go(name)
          await isReadable(page)
        }
        await go('reports')
        assert.ok((await page.textContent('body')).includes(`${LONG} <b>and more</b>`), 'shown as it was written')

        await go('accounts')
        await page.fill('main [name=q]', account.handle)
        await page.keyboard.press('Enter')
        await page.click(`main a:has-text("${account.handle}")`)
        await page.waitForSelector(`text=${account.did}`)
        await isReadable(page)
        await page.fill('[name=reason]', `by the ${screen}`)
        await page.click('button[value=take_down]')
        await page.waitForSelector('button[value=give_back]')
        await isReadable(page)
        const subject = async () => (await asAdmin(server, 'com.atproto.admin.getSubjectStatus', { params: { did: account.did } })).takedown
        assert.equal((await subject()).applied, true)
        await page.click('button[value=give_back]')
        await page.waitForSelector('button[value=take_down]')
        assert.equal((await subject()).applied, false)

        await page.click('button[value=sign_out]')
        await page.waitForSelector('[name=password]')
        await context.close()
      })
    }
  }
})
