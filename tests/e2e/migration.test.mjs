// An account moves from the official server to our node, and another one the other way, by the official methods that every
// moving tool uses: the same records under the same root, the same blobs and preferences, and one home at any time.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { PASSWORD } from '../lib/accounts.mjs'
import { NOTE, blob, ok, settled } from '../lib/moving.mjs'
import { MailServer } from '../lib/smtp.mjs'
import { freePort } from '../lib/process.mjs'
import { bytes, dataRoot, verifiedExport } from '../lib/repos.mjs'
import { TARGET, startPds, startPlc, startUes } from '../lib/servers.mjs'
import { call, procedure, query } from '../lib/xrpc.mjs'

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

/** Moves an account; returns its new client. */
async function move(account, from, to) {
  const { did, token } = account
  const email = `${account.handle.split('.')[0]}@example.com`
  const there = ok(await query(to, 'com.atproto.server.describeServer'))
  const lxm = 'com.atproto.server.createAccount'
  const { token: jwt } = ok(await query(from, 'com.atproto.server.getServiceAuth', { aud: there.did, lxm }, { token }))
  const input = { did, handle: account.handle, email, password: PASSWORD }
  const made = ok(await procedure(to, lxm, input, { token: jwt }))
  const session = made.accessJwt
  assert.equal(made.did, did)

  const car = await bytes(from, 'com.atproto.sync.getRepo', { did })
  ok(await call(to, 'POST', 'com.atproto.repo.importRepo', { raw: car, type: 'application/vnd.ipld.car', token: session }))
  const before = ok(await query(to, 'com.atproto.server.checkAccountStatus', {}, { token: session }))
  assert.deepEqual(
    [before.activated, before.expectedBlobs, before.importedBlobs, before.indexedRecords],
    [false, BLOBS, 0, RECORDS],
  )

  let moved = 0
  for (let cursor; ; ) {
    const page = ok(await query(to, 'com.atproto.repo.listMissingBlobs', { limit: 5, cursor }, { token: session }))
    for (const { cid } of page.blobs) {
      const content = await bytes(from, 'com.atproto.sync.getBlob', { did, cid })
      const type = 'application/octet-stream'
      ok(await call(to, 'POST', 'com.atproto.repo.uploadBlob', { raw: content, type, token: session }))
      moved++
    }
    cursor = page.cursor
    if (!cursor || page.blobs.length === 0) break
  }
  assert.equal(moved, BLOBS)
  const after = ok(await query(to, 'com.atproto.server.checkAccountStatus', {}, { token: session }))
  assert.equal(after.importedBlobs, BLOBS)

  const { preferences } = ok(await query(from, 'app.bsky.actor.getPreferences', {}, { token }))
  ok(await procedure(to, 'app.bsky.actor.putPreferences', { preferences }, { token: session }))

  ok(await call(from, 'POST', 'com.atproto.identity.requestPlcOperationSignature', { token }))
  const letter = await from.mail.token(email)
  const wanted = ok(await query(to, 'com.atproto.identity.getRecommendedDidCredentials', {}, { token: session }))
  const { operation } = ok(await procedure(from, 'com.atproto.identity.signPlcOperation', { token: letter, ...wanted }, { token }))
  ok(await procedure(to, 'com.atproto.identity.submitPlcOperation', { operation }, { token: session }))
  ok(await call(to, 'POST', 'com.atproto.server.activateAccount', { token: session }))
  ok(await procedure(from, 'com.atproto.server.deactivateAccount', {}, { token }))

  const agent = new AtpAgent({ service: to.url })
  await agent.login({ identifier: account.handle, password: PASSWORD })
  return agent
}

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
    const agent = await move(account, official, ours)
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
    const agent = await move(account, ours, official)
    await arrived(account, ours, official, root)
    const record = { $type: NOTE, text: 'gone elsewhere' }
    const made = await agent.com.atproto.repo.createRecord({ repo: account.did, collection: NOTE, record, validate: false })
    assert.ok(made.data.cid)
    // It signs anew with the first write only.
    await verifiedExport(official, account.did)
  })
})
