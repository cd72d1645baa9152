// Who may call what others answer, and what the account keeps for them: some methods by each kind of caller, on our node and on
// the official server, both before the same AppView. Status and error name must be the same, and what the service is asked.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import * as plc from '@did-plc/lib'
import { APPVIEW_DID, Service } from '../lib/appview.mjs'
import { callers, moderator, newCast, startPair, stopPair } from '../lib/callers.mjs'
import { validCall, verb } from '../lib/lexicon-inputs.mjs'
import { assertSame } from '../lib/matrix.mjs'
import { TARGET } from '../lib/servers.mjs'
import { call } from '../lib/xrpc.mjs'

/** Methods, and the service that the client asks for. */
const ROWS = [
  ['app.bsky.actor.getPreferences'],
  ['app.bsky.actor.putPreferences'],
  ['app.bsky.feed.searchPosts'],
  ['app.bsky.feed.getTimeline'],
  ['app.bsky.notification.updateSeen'],
  ['app.bsky.feed.searchPosts', 'appview'],
  ['app.bsky.feed.searchPosts', 'chat'],
  ['chat.bsky.convo.listConvos'],
  ['chat.bsky.convo.listConvos', 'appview'],
  ['chat.bsky.convo.listConvos', 'chat'],
  ['chat.bsky.convo.sendMessage', 'chat'],
  ['chat.bsky.actor.exportAccountData', 'chat'],
]

describe('methods that others answer, and their callers', { skip: TARGET !== 'ues' && 'both servers are in it' }, () => {
  let appview, pair, casts, chat
  before(async () => {
    appview = await Service.start()
    pair = await startPair([
      { UES_APPVIEW_URL: appview.url, UES_APPVIEW_DID: APPVIEW_DID },
      { PDS_BSKY_APP_VIEW_URL: appview.url, PDS_BSKY_APP_VIEW_DID: APPVIEW_DID },
    ])
    chat = await moderator({ bsky_chat: { type: 'BskyChatService', endpoint: appview.url } })
    for (const { server } of pair) await new plc.Client(server.plcUrl).sendOperation(chat.did, chat.op)
    casts = await Promise.all(pair.map(newCast))
  })
  after(async () => {
    await stopPair(pair)
    await appview?.close()
  })

  /** Makes a call as somebody; what the service was asked for it goes into the outcome. */
  async function cell(cast, caller, nsid, service) {
    const { target, token, send = call } = await caller(cast, nsid)
    const headers = {}
    if (service) headers['atproto-proxy'] = { appview: `${APPVIEW_DID}#bsky_appview`, chat: `${chat.did}#bsky_chat` }[service]
    const before = appview.seen.length
    const answer = await send(cast.side.server, verb(nsid), nsid, { ...validCall(nsid, target), token, headers })
    const asked = appview.seen.slice(before).map((request) => {
      const { aud, lxm } = JSON.parse(Buffer.from(request.headers.authorization.split('.')[1], 'base64url'))
      return `${request.method} ${request.nsid} for ${aud} ${lxm}`
    })
    return { ...answer, asked }
  }

  for (const [nsid, service] of ROWS) {
    it(`${nsid}${service ? ` of the service ${service}` : ''}`, async () => {
      const cells = []
      for (const [name, caller] of Object.entries(callers)) {
        const ours = await cell(casts[0], caller, nsid, service)
        const theirs = await cell(casts[1], caller, nsid, service)
        assert.deepEqual(ours.asked, theirs.asked, `${name}: what the service was asked`)
        cells.push({ name, ours, theirs })
      }
      assertSame(nsid, cells, [])
      const passed = cells.filter(({ ours }) => ours.asked.length > 0).length
      if (/Preferences$/.test(nsid)) assert.equal(passed, 0)
      else if (!(nsid.startsWith('chat.') && !service)) assert.ok(passed > 0 && passed < cells.length, 'some may, and some may not')
    })
  }
})
