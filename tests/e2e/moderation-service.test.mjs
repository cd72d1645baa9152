// A moderation service that the node trusts reads what apps keep for an account, as at the official server.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createServiceJwt } from '@atproto/xrpc-server'
import * as plc from '@did-plc/lib'
import { newAccount } from '../lib/accounts.mjs'
import { Service, pdsBefore, serviceDid, uesBefore } from '../lib/appview.mjs'
import { moderator } from '../lib/callers.mjs'
import { procedure, query } from '../lib/xrpc.mjs'

const PREFERENCES = 'app.bsky.actor.getPreferences'
const ADULT = { $type: 'app.bsky.actor.defs#adultContentPref', enabled: true }
const BORN = { $type: 'app.bsky.actor.defs#personalDetailsPref', birthDate: '1990-05-05T00:00:00.000Z' }

describe('the moderation service', () => {
  let appview, moderation, sides
  before(async () => {
    ;[appview, moderation] = await Promise.all([Service.start(), moderator()])
    const { did, op } = moderation
    const servers = await Promise.all([
      uesBefore(appview, { env: { UES_MODERATION_URL: appview.url, UES_MODERATION_DID: did } }),
      pdsBefore(appview, { env: { PDS_MOD_SERVICE_URL: appview.url, PDS_MOD_SERVICE_DID: did } }),
    ])
    sides = await Promise.all(
      servers.map(async (server) => {
        await new plc.Client(server.plcUrl).sendOperation(did, op)
        const account = await newAccount(server)
        await procedure(server, 'app.bsky.actor.putPreferences', { preferences: [ADULT, BORN] }, { token: account.token })
        const aud = (await query(server, 'com.atproto.server.describeServer', {})).body.did
        const labeler = await serviceDid(server, { atproto_labeler: { type: 'AtprotoLabeler', endpoint: appview.url } })
        return { server, account, aud, labeler }
      }),
    )
  })
  after(async () => {
    for (const { server } of sides ?? []) await server.close()
    await appview?.close()
  })

  /** Asks both servers for the preferences of their accounts. */
  const ask = (change = () => ({}), params = (side) => ({ did: side.account.did }), headers = () => ({})) =>
    Promise.all(
      sides.map(async (side) => {
        const claims = { iss: moderation.did, aud: side.aud, lxm: PREFERENCES, keypair: moderation.key, ...change(side) }
        return query(side.server, PREFERENCES, params(side), { token: await createServiceJwt(claims), headers: headers(side) })
      }),
    )

  it('reads preferences by its own token', async () => {
    for (const { status, body, message } of await ask()) {
      assert.equal(status, 200, message)
      assert.deepEqual(body.preferences.slice(0, 2), [ADULT, BORN])
    }
  })

  for (const [what, change, params, headers] of [
    ['who says nobody', undefined, () => ({})],
    ['who says no DID', undefined, () => ({ did: 'nobody' })],
    ['of an account elsewhere', undefined, () => ({ did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' })],
    ['of another service', undefined, undefined, (side) => ({ 'atproto-proxy': `${side.labeler.did}#atproto_labeler` })],
    ['by another service', (side) => ({ iss: side.labeler.did, keypair: side.labeler.key })],
    ['by another key', (side) => ({ keypair: side.labeler.key })],
    ['by a token for another method', () => ({ lxm: 'com.atproto.admin.getAccountInfo' })],
    ['by a token for another server', () => ({ aud: 'did:web:elsewhere.example.com' })],
    ['by a token whose time has passed', () => ({ iat: 1, exp: 2 })],
  ]) {
    it(`is refused ${what}, as at the official server`, async () => {
      const [ours, theirs] = await ask(change, params, headers)
      assert.notEqual(ours.status, 200)
      const same = ours.status === theirs.status && ours.error === theirs.error
      assert.ok(same, `${ours.status} ${ours.error} (${ours.message}) here, ${theirs.status} ${theirs.error} (${theirs.message}) there`)
    })
  }
})
