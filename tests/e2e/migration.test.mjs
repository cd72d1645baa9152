// An account moves from the official server to our node, and another one the other way, by the official methods that every
// moving tool uses: the same records under the same root, the same blobs and preferences, and one home at any time.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { NOTE, blob, moveByHand, ok, settled } from '../lib/moving.mjs'
import { MailServer } from '../lib/smtp.mjs'
import { freePort } from '../lib/process.mjs'
import { bytes, dataRoot, verifiedExport } from '../lib/repos.mjs'
import { TARGET, startPds, startPlc, startUes } from '../lib/servers.mjs'
import { query } from '../lib/xrpc.mjs'

// MOVE_RECORDS=10000 MOVE_BLOBS=500 for a whole life.
const RECORDS = Number(process.env.MOVE_RECORDS ?? 400)
const BLOBS = Number(process.env.MOVE_BLOBS ?? 12)

let plc, official, ours

before(async () => {
  plc = await startPlc()
  const mail = { official: await MailServer.start(), ours: await MailServer.start() }
  official = await startPds({
    plc,
    env: {
      PDS_EMAIL_SMTP_URL: mail.official.url,
      PDS_EMAIL_FROM_ADDRESS: 'pds@example.com',
      // Without one it keeps no preferences; it is never asked.
      PDS_BSKY_APP_VIEW_URL: 'http://localhost:1',
      PDS_BSKY_APP_VIEW_DID: 'did:web:appview.example.com',
    },
  })
  official.mail = mail.official
  const port = await freePort()
  ours = await startUes({
    port,
    env: {
      // By a name, as the official server wants it of others.
      UES_PUBLIC_URL: `http://localhost:${port}`,
      UES_IDENTITY_DIRECTORY: `http://localhost:${plc.port}`,
      UES_MAIL_SMTP_URL: mail.ours.url,
      UES_MAIL_FROM: 'node@example.com',
      UES_PINS_ROLES: '',
    },
  })
  ours.mail = mail.ours
  ours.plcUrl = plc.url
})
after(async () => {
  for (const server of [official, ours]) {
    server?.mail?.close()
    await server?.close()
  }
  await plc?.close()
})

async function arrived(account, from, to, root) {
  const { did } = account
  assert.equal(await dataRoot(to, did), root, 'the same tree')
  for (const [n, cid] of account.blobs.entries()) {
    const content = await bytes(to, 'com.atproto.sync.getBlob', { did, cid })
    assert.ok(blob(n).equals(content), `blob ${n}`)
  }
  const status = ok(await query(to, 'com.atproto.sync.getRepoStatus', { did }))
  assert.equal(status.active, true)
  const old = ok(await query(from, 'com.atproto.sync.getRepoStatus', { did }))
  assert.deepEqual([old.active, old.status], [false, 'deactivated'])
  const document = await (await fetch(`${plc.url}/${did}`)).json()
  const home = document.service.find((s) => s.id === '#atproto_pds').serviceEndpoint
  assert.equal(new URL(home).port, String(to.port))
}

describe('moving', { skip: TARGET !== 'ues' && 'both servers are in it' }, () => {
  it('from the official server to our node', async () => {
    const account = await settled(official, RECORDS, BLOBS)
    const root = await dataRoot(official, account.did)
    const agent = await moveByHand(account, official, ours, { records: RECORDS })
    await arrived(account, official, ours, root)
    const { preferences } = ok(await query(ours, 'app.bsky.actor.getPreferences', {}, { token: agent.session.accessJwt }))
    assert.deepEqual(preferences, account.preferences)
    const record = { $type: NOTE, text: 'at home' }
    const made = await agent.com.atproto.repo.createRecord({ repo: account.did, collection: NOTE, record })
    assert.ok(made.data.cid)
    await verifiedExport(ours, account.did)
  })

  it('from our node to the official server', async () => {
    const account = await settled(ours, RECORDS, BLOBS)
    const root = await dataRoot(ours, account.did)
    const agent = await moveByHand(account, ours, official, { records: RECORDS })
    await arrived(account, ours, official, root)
    const record = { $type: NOTE, text: 'gone elsewhere' }
    const made = await agent.com.atproto.repo.createRecord({ repo: account.did, collection: NOTE, record, validate: false })
    assert.ok(made.data.cid)
    // It signs anew with the first write only.
    await verifiedExport(official, account.did)
  })
})
