// What a method may be asked with, by its lexicon: one valid call, and every way of making a part of it wrong.
import { readFileSync } from 'node:fs'
import { newHandle } from './accounts.mjs'

const CATALOG = new URL('../../crates/repo/lexicons/official.jsonl', import.meta.url)
const POST = 'app.bsky.feed.post'
const NO_DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const NO_CODE = 'AAAAA-AAAAA'
const CID = 'bafyreihxrxqzm2kxk2jz4hvq6hfxnnwmzpy5fm3mvnmc4zrlh4g6vyrvla'

/** The official lexicons by NSID. */
export const lexicons = new Map(
  readFileSync(CATALOG, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => JSON.parse(line))
    .map((doc) => [doc.id, doc]),
)

/** The queries and procedures of `com.atproto`, sorted. */
export const methods = [...lexicons.values()]
  .filter((doc) => doc.id.startsWith('com.atproto.') && ['query', 'procedure'].includes(doc.defs.main?.type))
  .map((doc) => doc.id)
  .sort()

/** The HTTP method that a method wants. */
export const verb = (nsid) => (lexicons.get(nsid).defs.main.type === 'query' ? 'GET' : 'POST')

const post = () => ({ $type: POST, text: 'hello', createdAt: '2026-01-01T00:00:00.000Z' })
const repoRef = (did) => ({ $type: 'com.atproto.admin.defs#repoRef', did })
const newEmail = () => `${newHandle().split('.')[0]}@example.com`
const place = (t) => ({ collection: POST, rkey: t.rkey })

// What a lexicon cannot say: which account, which record, a code that was never sent.
const valid = {
  'com.atproto.admin.deleteAccount': (t) => ({ did: t.did }),
  'com.atproto.admin.disableAccountInvites': (t) => ({ account: t.did }),
  'com.atproto.admin.disableInviteCodes': () => ({ codes: ['no-such-code'] }),
  'com.atproto.admin.enableAccountInvites': (t) => ({ account: t.did }),
  'com.atproto.admin.getAccountInfo': (t) => ({ did: t.did }),
  'com.atproto.admin.getAccountInfos': (t) => ({ dids: [t.did] }),
  'com.atproto.admin.getSubjectStatus': (t) => ({ did: t.did }),
  'com.atproto.admin.sendEmail': (t) => ({ recipientDid: t.did, senderDid: t.did, content: 'hello' }),
  'com.atproto.admin.updateAccountEmail': (t) => ({ account: t.did, email: newEmail() }),
  'com.atproto.admin.updateAccountHandle': (t) => ({ did: t.did, handle: newHandle() }),
  'com.atproto.admin.updateAccountPassword': (t) => ({ did: t.did, password: t.password }),
  'com.atproto.admin.updateSubjectStatus': (t) => ({ subject: repoRef(t.did), takedown: { applied: false } }),
  'com.atproto.identity.resolveHandle': (t) => ({ handle: t.handle }),
  'com.atproto.identity.signPlcOperation': () => ({ token: NO_CODE }),
  'com.atproto.identity.submitPlcOperation': () => ({ operation: { type: 'nothing' } }),
  'com.atproto.identity.updateHandle': () => ({ handle: newHandle() }),
  'com.atproto.moderation.createReport': (t) => ({
    reasonType: 'com.atproto.moderation.defs#reasonSpam',
    subject: repoRef(t.did),
  }),
  'com.atproto.repo.applyWrites': (t) => ({
    repo: t.did,
    writes: [{ $type: 'com.atproto.repo.applyWrites#create', collection: POST, value: post() }],
  }),
  'com.atproto.repo.createRecord': (t) => ({ repo: t.did, collection: POST, record: post() }),
  'com.atproto.repo.deleteRecord': (t) => ({ repo: t.did, collection: POST, rkey: '3jzfcijpj2z22' }),
  'com.atproto.repo.describeRepo': (t) => ({ repo: t.did }),
  'com.atproto.repo.getRecord': (t) => ({ repo: t.did, ...place(t) }),
  'com.atproto.repo.importRepo': (t) => ({ raw: t.car, type: 'application/vnd.ipld.car' }),
  'com.atproto.repo.listRecords': (t) => ({ repo: t.did, collection: POST }),
  'com.atproto.repo.putRecord': (t) => ({ repo: t.did, ...place(t), record: post() }),
  'com.atproto.repo.uploadBlob': () => ({ raw: 'abc', type: 'text/plain' }),
  'com.atproto.server.confirmEmail': (t) => ({ email: t.email, token: NO_CODE }),
  'com.atproto.server.createAccount': () => ({ handle: newHandle(), email: newEmail(), password: 'correct horse battery' }),
  'com.atproto.server.createAppPassword': () => ({ name: newHandle() }),
  'com.atproto.server.createInviteCode': () => ({ useCount: 1 }),
  'com.atproto.server.createInviteCodes': () => ({ codeCount: 1, useCount: 1 }),
  'com.atproto.server.createSession': (t) => ({ identifier: t.did, password: t.password }),
  'com.atproto.server.deactivateAccount': () => ({}),
  'com.atproto.server.deleteAccount': (t) => ({ did: t.did, password: t.password, token: NO_CODE }),
  'com.atproto.server.getServiceAuth': () => ({ aud: 'did:web:api.example.com', lxm: 'app.bsky.feed.getTimeline' }),
  'com.atproto.server.requestPasswordReset': (t) => ({ email: t.email }),
  'com.atproto.server.resetPassword': () => ({ token: NO_CODE, password: 'correct horse battery' }),
  'com.atproto.server.reserveSigningKey': () => ({}),
  'com.atproto.server.revokeAppPassword': () => ({ name: 'no such name' }),
  'com.atproto.server.updateEmail': () => ({ email: newEmail() }),
  'com.atproto.sync.getBlob': (t) => ({ did: t.did, cid: t.blob }),
  'com.atproto.sync.getBlocks': (t) => ({ did: t.did, cids: [t.head] }),
  'com.atproto.sync.getCheckout': (t) => ({ did: t.did }),
  'com.atproto.sync.getHead': (t) => ({ did: t.did }),
  'com.atproto.sync.getLatestCommit': (t) => ({ did: t.did }),
  'com.atproto.sync.getRecord': (t) => ({ did: t.did, ...place(t) }),
  'com.atproto.sync.getRepo': (t) => ({ did: t.did }),
  'com.atproto.sync.getRepoStatus': (t) => ({ did: t.did }),
  'com.atproto.sync.listBlobs': (t) => ({ did: t.did }),
}

/** The valid call of a method about an account: options of `call`. */
export function validCall(nsid, target) {
  const { parameters, input } = lexicons.get(nsid).defs.main
  const made = valid[nsid]?.(target) ?? {}
  if (input && input.encoding !== 'application/json') return made
  if (input) return { json: made }
  const needs = [...(parameters?.required ?? [])].filter((name) => made[name] === undefined)
  if (needs.length > 0) throw new Error(`${nsid} needs ${needs}: say in lexicon-inputs.mjs what`)
  return parameters ? { params: made } : {}
}
