// Accounts that move between the official server and our node while a strict relay and a mirror behind it follow both: the mirror
// ends with what the new home has, and nothing that our node says is refused.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { NOTE, moveByHand, settled } from '../lib/moving.mjs'
import { freePort } from '../lib/process.mjs'
import { startRelay, startTap, until } from '../lib/relay.mjs'
import { head, verifiedExport } from '../lib/repos.mjs'
import { TARGET, startPds, startPlc, startUes } from '../lib/servers.mjs'
import { MailServer } from '../lib/smtp.mjs'

const [RECORDS, BLOBS] = [200, 3]

describe('a relay and a mirror, and accounts that move', { skip: TARGET !== 'ues' && 'both servers are in it', timeout: 600_000 }, () => {
  let plc, official, ours, relay, tap
  before(async () => {
    plc = await startPlc()
    const mails = [await MailServer.start(), await MailServer.start()]
    official = await startPds({
      plc,
      env: {
        PDS_EMAIL_SMTP_URL: mails[0].url,
        PDS_EMAIL_FROM_ADDRESS: 'pds@example.com',
        // Without one it keeps no preferences; it is never asked.
        PDS_BSKY_APP_VIEW_URL: 'http://localhost:1',
        PDS_BSKY_APP_VIEW_DID: 'did:web:appview.example.com',
      },
    })
    const port = await freePort()
    ours = await startUes({
      port,
      env: {
        UES_PUBLIC_URL: `http://localhost:${port}`,
        UES_IDENTITY_DIRECTORY: `http://localhost:${plc.port}`,
        UES_MAIL_SMTP_URL: mails[1].url,
        UES_MAIL_FROM: 'node@example.com',
        UES_PINS_ROLES: '',
      },
    })
    ours.plcUrl = plc.url
    ;[official.mail, ours.mail] = mails
    // Nobody's stream may be shorter than what the relay has of it.
    const first = [await newAccount(ours), await newAccount(official)]
    relay = await startRelay(ours, official)
    // The mirror asks for all accounts once and follows from there.
    for (const { did } of first) await until('the relay knows the account', async () => (await relay.status(did)).active)
    tap = await startTap(ours, relay)
  })
  after(async () => {
    for (const one of [tap, relay]) await one?.close()
    for (const server of [official, ours]) {
      server?.mail?.close()
      await server?.close()
    }
    await plc?.close()
  })

  /** Waits until the mirror has what a server has. */
  const mirrored = async (server, { did }) => {
    const { rev } = await head(server, did)
    const { records } = await verifiedExport(server, did)
    await until('the mirror', () => {
      const repo = tap.repo(did)
      if (repo.state !== 'active' || repo.rev !== rev) throw new Error(`${repo.state} ${repo.rev} ${repo.error_msg}, expected ${rev}`)
      return repo.records.size === records.size
    })
    assert.deepEqual([...tap.repo(did).records].sort(), [...records].sort())
    assert.equal((await relay.status(did)).active, true)
  }

  /** What the relay holds against our node. That an account was switched off may come when it lives elsewhere already. */
  const complaints = () =>
    relay.complaints().filter((line) => {
      const { host, eventType, err } = JSON.parse(line)
      return host === `localhost:${ours.port}` && !(eventType === 'account' && /from a different host/.test(err))
    })

  for (const [what, ends] of [
    ['to our node', () => [official, ours]],
    ['away from our node', () => [ours, official]],
  ]) {
    it(`${what} are followed`, async () => {
      const [from, to] = ends()
      const account = await settled(from, RECORDS, BLOBS)
      await mirrored(from, account)
      const agent = await moveByHand(account, from, to, { records: RECORDS })
      for (let n = 0; n < 3; n++) {
        await agent.com.atproto.repo.createRecord({ repo: account.did, collection: NOTE, record: { $type: NOTE, text: `at home ${n}` }, validate: false })
      }
      await mirrored(to, account)
      assert.deepEqual(complaints(), [])
    })
  }
})
