// Who may call what: each com.atproto method that the official server serves, by each kind of caller, on our node and on the
// official server. Status and error name must be the same.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { callers, newAuthor, newCast, startPair, stopPair } from '../lib/callers.mjs'
import { methods, validCall, verb } from '../lib/lexicon-inputs.mjs'
import { assertAll, assertSame, outcome, whoServes } from '../lib/matrix.mjs'
import { call } from '../lib/xrpc.mjs'

/** Where our node answers otherwise, and why. */
const differences = [
  {
    why: 'whoever asks for a letter does not learn which addresses have an account',
    methods: ['com.atproto.server.requestPasswordReset'],
    cases: Object.keys(callers).filter((name) => /deleted account/.test(name)),
    ours: '200',
    theirs: '400 InvalidRequest',
  },
  {
    why: 'nobody waits in a queue here, so that no token says so',
    methods: ['com.atproto.server.getSession', 'com.atproto.temp.checkSignupQueue'],
    cases: ['the owner, still in the queue'],
    ours: '400 InvalidToken',
    theirs: '200',
  },
]

// Methods that end or change what the sessions of other methods are about have accounts of their own. Those of one group do
// not mind each other.
const GROUPS = {
  'com.atproto.identity.updateHandle': 'changes',
  'com.atproto.repo.importRepo': 'changes',
  'com.atproto.server.updateEmail': 'changes',
  'com.atproto.server.activateAccount': 'on',
  'com.atproto.server.deactivateAccount': 'off',
  'com.atproto.server.deleteSession': 'ends',
  'com.atproto.server.refreshSession': 'goes on',
}

// What administrators do to an account that no session is about.
const TO_OTHERS = new Set([
  'com.atproto.admin.deleteAccount',
  'com.atproto.admin.updateAccountEmail',
  'com.atproto.admin.updateAccountHandle',
  'com.atproto.admin.updateAccountPassword',
  'com.atproto.admin.updateSubjectStatus',
])

let pair, shared
const groups = new Map()
before(async () => {
  pair = await startPair()
  shared = await Promise.all(pair.map(newCast))
})

/** Who calls a method, on both servers. */
async function castsFor(nsid) {
  if (TO_OTHERS.has(nsid)) return Promise.all(shared.map(async (cast) => ({ ...cast, victim: await newAuthor(cast.side) })))
  const group = GROUPS[nsid]
  if (!group) return shared
  if (!groups.has(group)) groups.set(group, Promise.all(pair.map(newCast)))
  return groups.get(group)
}
after(() => stopPair(pair))

/** Makes a call as somebody. */
async function cell(cast, caller, nsid) {
  const { target, token, send = call } = await caller(cast, nsid)
  const about = target === cast.alice ? (cast.victim ?? target) : target
  return send(cast.side.server, verb(nsid), nsid, { ...validCall(nsid, about), token })
}

// Methods that only our node serves, and those of the official server that are open to the same callers.
const TWINS = {
  'com.atproto.admin.searchAccounts': 'com.atproto.admin.getInviteCodes',
  'com.atproto.admin.updateAccountSigningKey': 'com.atproto.server.createInviteCode',
  'com.atproto.identity.refreshIdentity': 'com.atproto.server.reserveSigningKey',
  'com.atproto.identity.resolveDid': 'com.atproto.identity.resolveHandle',
  'com.atproto.identity.resolveIdentity': 'com.atproto.identity.resolveHandle',
  'com.atproto.label.queryLabels': 'com.atproto.sync.listRepos',
  'com.atproto.lexicon.resolveLexicon': 'com.atproto.identity.resolveHandle',
  'com.atproto.sync.getHostStatus': 'com.atproto.sync.listRepos',
  'com.atproto.sync.listHosts': 'com.atproto.sync.listRepos',
  'com.atproto.sync.listReposByCollection': 'com.atproto.sync.listRepos',
  'com.atproto.sync.requestCrawl': 'com.atproto.server.reserveSigningKey',
}

/** Whether somebody is kept out: by the token, not by what is asked. */
const isOut = ({ status, error }) => [401, 403].includes(status) || ['InvalidToken', 'ExpiredToken'].includes(error)

async function byTwin(nsid) {
  assert.ok(TWINS[nsid], `say in TWINS who may call ${nsid}`)
  const cells = []
  for (const [name, caller] of Object.entries(callers)) {
    cells.push({ name, ours: await cell(shared[0], caller, nsid), twin: await cell(shared[1], caller, TWINS[nsid]) })
  }
  assertAll(nsid, cells, ({ ours, twin }) => (isOut(ours) === isOut(twin) || twin.status >= 500 ? undefined : `and the twin ${outcome(twin)}`))
}

describe('methods and their callers', { concurrency: 4 }, () => {
  for (const nsid of methods) {
    it(nsid, async (t) => {
      const [ours, theirs] = await whoServes(pair, nsid)
      if (!ours && !theirs) return t.skip('passed on to others')
      if (!theirs) return byTwin(nsid)
      const casts = await castsFor(nsid)
      const cells = []
      for (const [name, caller] of Object.entries(callers)) {
        const [ours, theirs] = await Promise.all(casts.map((cast) => cell(cast, caller, nsid)))
        cells.push({ name, ours, theirs })
      }
      assertSame(nsid, cells, differences)
    })
  }
})

// Sessions that one method ended would make all cells after it the same.
describe('the accounts that were shared', () => {
  it('are as they were', async () => {
    for (const cast of shared) {
      for (const name of ['the owner', "another user's session", 'an app password', 'OAuth atproto', 'OAuth atproto transition:generic']) {
        const answer = await cell(cast, callers[name], 'com.atproto.server.getSession')
        assert.equal(answer.status, 200, `${cast.side.server.kind}, ${name}: ${answer.error}`)
      }
    }
  })
})
