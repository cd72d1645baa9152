// The page of the network, as a browser shows it: who is connected and how, live.
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { NO_BROWSER, PHONE, isReadable, startBrowser } from '../lib/browser.mjs'
import { DeviceNode, agentOf, pair } from '../lib/devices.mjs'
import { startUes } from '../lib/servers.mjs'

// A level line has no height, and counts as hidden.
const ATTACHED = { state: 'attached' }

describe('the page of the network', { skip: NO_BROWSER }, () => {
  let laptop, phone, account, browser
  before(async () => {
    laptop = await DeviceNode.start('laptop')
    phone = await DeviceNode.start('phone')
    account = await newAccount(laptop.server)
    await pair(laptop, account.did, phone)
    browser = await startBrowser()
  })
  after(async () => {
    await browser?.close()
    for (const node of [laptop, phone]) {
      await node?.stop()
      if (node) await rm(node.dir, { recursive: true, force: true })
    }
  })

  for (const colorScheme of ['light', 'dark']) {
    it(`draws devices and connections, and what goes over them, as it changes, in ${colorScheme}`, async () => {
      const context = await browser.newContext({ viewport: PHONE, colorScheme })
      const page = await context.newPage()
      await page.goto(`${laptop.server.url}/network`)
      await page.waitForSelector('svg line.direct.device', ATTACHED)
      await page.waitForSelector('svg text:text-is("phone")')
      await page.waitForSelector('td.state.equal')
      await isReadable(page)
      const revision = await page.textContent('h3 + p code')
      await (await agentOf(phone, account.did)).create(`seen in ${colorScheme}`)
      await page.waitForFunction((before) => document.querySelector('h3 + p code').textContent !== before, revision)
      assert.ok((await page.textContent('h3')).includes(account.handle))

      await phone.kill()
      await page.waitForSelector('svg line', { state: 'detached' })
      await page.waitForSelector('td.state.away')
      await phone.up()
      await page.waitForSelector('svg line.direct.device', { ...ATTACHED, timeout: 60_000 })
      await page.waitForSelector('td.state.equal')
      await context.close()
    })
  }

  it('is for the people at this machine', async () => {
    const url = `${laptop.server.url}/network`
    const accept = 'text/html'
    assert.equal((await fetch(url, { headers: { accept } })).status, 200)
    for (const headers of [{ accept: '*/*' }, { accept, 'x-forwarded-for': '192.0.2.1' }, { accept, origin: 'https://evil.example' }, { accept, authorization: 'Bearer x' }]) {
      const refused = await fetch(url, { headers })
      assert.equal(refused.status, 403, JSON.stringify(headers))
      assert.match(await refused.text(), /ues peer ls/)
    }
  })

  it('says how the network is started while nothing is shared', async () => {
    const alone = await startUes()
    const off = await startUes({ env: { UES_NETWORK_ENABLED: 'false' } })
    const text = async (node) => (await fetch(`${node.url}/network`, { headers: { accept: 'text/html' } })).text()
    assert.match(await text(alone), /ues device invite/)
    assert.match(await text(off), /switched off/)
    await Promise.all([alone.close(), off.close()])
  })
})
