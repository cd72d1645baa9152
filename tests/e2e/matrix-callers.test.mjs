// Who may call what: each com.atproto method that the official server serves, by each kind of caller, on our node and on the
// official server. Status and error name must be the same.
import { after, before, describe, it } from 'node:test'
import { callers, newCast, startPair, stopPair } from '../lib/callers.mjs'
import { methods, validCall, verb } from '../lib/lexicon-inputs.mjs'
import { assertSame, isServed } from '../lib/matrix.mjs'
import { call } from '../lib/xrpc.mjs'

/** Where our node answers otherwise, and why. */
const differences = []

// Methods that change what other methods of the same account do.
const ALONE = new Set([
  'com.atproto.admin.deleteAccount',
  'com.atproto.admin.updateAccountEmail',
  'com.atproto.admin.updateAccountHandle',
  'com.atproto.admin.updateAccountPassword',
  'com.atproto.admin.updateSubjectStatus',
  'com.atproto.identity.updateHandle',
  'com.atproto.repo.importRepo',
  'com.atproto.server.activateAccount',
  'com.atproto.server.deactivateAccount',
  'com.atproto.server.deleteSession',
  'com.atproto.server.refreshSession',
  'com.atproto.server.updateEmail',
])

let pair, shared
before(async () => {
  pair = await startPair()
  shared = await Promise.all(pair.map(newCast))
})
after(() => stopPair(pair))

/** Makes a call as somebody. */
async function cell(cast, caller, nsid) {
  const { target, token, send = call } = await caller(cast, nsid)
  return send(cast.side.server, verb(nsid), nsid, { ...validCall(nsid, target), token })
}

describe('methods and their callers', { concurrency: 4 }, () => {
  for (const nsid of methods) {
    it(nsid, async (t) => {
      if (!isServed(await call(pair[1].server, verb(nsid), nsid))) return t.skip('the official server does not serve it')
      const casts = ALONE.has(nsid) ? await Promise.all(pair.map(newCast)) : shared
      const cells = []
      for (const [name, caller] of Object.entries(callers)) {
        const [ours, theirs] = await Promise.all(casts.map((cast) => cell(cast, caller, nsid)))
        cells.push({ name, ours, theirs })
      }
      assertSame(nsid, cells, differences)
    })
  }
})
