// What a method may be asked with, by its lexicon: one valid call, and every way of making a part of it wrong.
import { readFileSync } from 'node:fs'
import { newHandle } from './accounts.mjs'

const CATALOG = new URL('../../crates/repo/lexicons/official.jsonl', import.meta.url)
const POST = 'app.bsky.feed.post'
const NO_DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const NO_KEY = 'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme'
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

/** Whether a method takes a body of JSON. */
export const wantsJson = (nsid) => lexicons.get(nsid).defs.main.input?.encoding === 'application/json'

const post = () => ({ $type: POST, text: 'hello', createdAt: '2026-01-01T00:00:00.000Z' })
const repoRef = (did) => ({ $type: 'com.atproto.admin.defs#repoRef', did })
const newEmail = () => `${newHandle().split('.')[0]}@example.com`
const place = (t) => ({ collection: POST, rkey: t.rkey })

// What a lexicon cannot say: which account, which record, a code that was never sent.
const valid = {
  'app.bsky.actor.putPreferences': () => ({ preferences: [{ $type: 'app.bsky.actor.defs#adultContentPref', enabled: false }] }),
  'app.bsky.feed.searchPosts': () => ({ q: 'hello' }),
  'app.bsky.notification.updateSeen': () => ({ seenAt: '2026-01-01T00:00:00.000Z' }),
  'chat.bsky.convo.sendMessage': () => ({ convoId: '1', message: { text: 'hello' } }),
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
  'com.atproto.admin.searchAccounts': () => ({}),
  'com.atproto.admin.updateAccountSigningKey': (t) => ({ did: t.did, signingKey: NO_KEY }),
  'com.atproto.admin.updateSubjectStatus': (t) => ({ subject: repoRef(t.did), takedown: { applied: false } }),
  'com.atproto.identity.refreshIdentity': (t) => ({ identifier: t.did }),
  'com.atproto.identity.resolveDid': (t) => ({ did: t.did }),
  'com.atproto.identity.resolveIdentity': (t) => ({ identifier: t.did }),
  'com.atproto.identity.resolveHandle': (t) => ({ handle: t.handle }),
  'com.atproto.identity.signPlcOperation': () => ({ token: NO_CODE }),
  'com.atproto.identity.submitPlcOperation': () => ({ operation: { type: 'nothing' } }),
  'com.atproto.identity.updateHandle': () => ({ handle: newHandle() }),
  'com.atproto.label.queryLabels': () => ({ uriPatterns: ['*'] }),
  'com.atproto.lexicon.resolveLexicon': () => ({ nsid: POST }),
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
  'com.atproto.sync.getHostStatus': () => ({ hostname: 'localhost' }),
  'com.atproto.sync.listReposByCollection': () => ({ collection: POST }),
  'com.atproto.sync.requestCrawl': () => ({ hostname: 'localhost' }),
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

// Values that are not of a format.
const BROKEN = {
  'at-identifier': ['nonsense', 'did:x', '', 'a..test'],
  'at-uri': ['nonsense', 'https://a.test', 'at://', 'at://alice.test/nope', ''],
  cid: ['nonsense', '', 'bafybroken', `${CID}a`],
  datetime: ['yesterday', '2026-01-01', '2026-13-01T00:00:00Z', '2026-01-01T00:00:00', ''],
  did: ['nonsense', 'did:', 'did:plc', 'DID:web:a.test', 'did:web:a#b', 'alice.test', ''],
  handle: ['nonsense', '-a.test', 'a..test', 'alice.test.', 'a b.test', `${'a'.repeat(250)}.test`, ''],
  language: ['en_US', '1', ''],
  nsid: ['nonsense', 'com.example', 'com.example.3', 'com..example.a', `com.example.${'a'.repeat(310)}`, ''],
  'record-key': ['a/b', '.', '..', 'a b', 'a'.repeat(513), ''],
  tid: ['nonsense', '0jzfcijpj2z2a', '3jzfcijpj2z2', ''],
  uri: ['nonsense', ''],
}

// Values that are not of a type.
const JUNK = {
  string: [7, true, null, {}, ['a']],
  integer: ['1', 1.5, true, null, {}],
  boolean: ['true', 1, null, {}],
  array: ['a', 7, null, {}],
  object: ['a', 7, null, []],
  unknown: ['a', 7, true, null, []],
}

const show = (value) => {
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 20)}… of ${text.length}` : text
}

function resolve(id, ref) {
  const [other, name = 'main'] = ref.startsWith('#') ? [id, ref.slice(1)] : ref.split('#')
  const def = lexicons.get(other).defs[name]
  return def.type === 'ref' ? resolve(other, def.ref) : { id: other, def, type: name === 'main' ? other : `${other}#${name}` }
}

/** The strings that a definition of a string refuses. */
function badStrings(def) {
  const bad = [...(BROKEN[def.format] ?? [])]
  if (def.maxLength !== undefined) bad.push('a'.repeat(def.maxLength + 1))
  if (def.maxGraphemes !== undefined) bad.push('a'.repeat(def.maxGraphemes + 1))
  if (def.minLength > 0) bad.push('')
  if (def.enum) bad.push('none of these')
  if (def.const !== undefined) bad.push(`not ${def.const}`)
  return bad
}

function badIntegers(def) {
  const bad = []
  if (def.minimum !== undefined) bad.push(def.minimum - 1)
  if (def.maximum !== undefined) bad.push(def.maximum + 1)
  return bad
}

/** What may be wrong with a value of a definition: `[what, value]`. `value` is a good one, if there is one. */
function* badValues(id, def, value) {
  if (def.type === 'ref') {
    const found = resolve(id, def.ref)
    return yield* badValues(found.id, found.def, value)
  }
  const kind = def.type === 'union' ? 'object' : def.type
  for (const junk of JUNK[kind] ?? []) yield [show(junk), junk]
  if (def.type === 'string') for (const bad of badStrings(def)) yield [show(bad), bad]
  if (def.type === 'integer') for (const bad of badIntegers(def)) yield [show(bad), bad]
  if (def.type === 'array') {
    const [first] = value ?? []
    for (const [what, bad] of badValues(id, def.items, first)) yield [`[${what}]`, [bad]]
    if (def.maxLength !== undefined) yield ['one too many', Array(def.maxLength + 1).fill(first)]
  }
  if (def.type === 'object') yield* badObjects(id, def, value ?? {})
  if (def.type === 'union') {
    const known = def.refs.map((ref) => resolve(id, ref))
    yield ['without a type', { ...value, $type: undefined }]
    yield ['of an unknown type', { ...value, $type: 'com.example.unknown' }]
    yield ['of a type that is a number', { ...value, $type: 7 }]
    for (const { id: where, def: one, type } of known) {
      const good = type === value?.$type ? value : { $type: type, ...sample(where, one) }
      for (const [what, bad] of badObjects(where, one, good)) yield [`${type.split('#').pop()} ${what}`, bad]
    }
  }
}

/** Objects of which one property is missing or wrong. */
function* badObjects(id, def, good) {
  for (const name of def.required ?? []) yield [`without ${name}`, { ...good, [name]: undefined }]
  for (const [name, one] of Object.entries(def.properties ?? {})) {
    for (const [what, bad] of badValues(id, one, good[name])) yield [`${name} ${what}`, { ...good, [name]: bad }]
  }
}

/** A good value of what a definition requires. */
function sample(id, def) {
  if (def.type === 'ref') {
    const found = resolve(id, def.ref)
    return sample(found.id, found.def)
  }
  if (def.type === 'object') {
    return Object.fromEntries((def.required ?? []).map((name) => [name, sample(id, def.properties[name])]))
  }
  const formats = { did: NO_DID, cid: CID, 'at-uri': `at://${NO_DID}/${POST}/3jzfcijpj2z2a`, nsid: POST, 'record-key': '3jzfcijpj2z2a' }
  return { string: formats[def.format] ?? 'text', integer: 1, boolean: true, array: [], unknown: post() }[def.type]
}

/** Parameters of which one is missing, wrong, or there twice. */
function* badParams(def, good) {
  for (const name of def.required ?? []) yield [`without ${name}`, { ...good, [name]: undefined }]
  for (const [name, one] of Object.entries(def.properties ?? {})) {
    const item = one.type === 'array' ? one.items : one
    const bad = { string: badStrings, integer: badIntegers, boolean: () => [] }[item.type](item)
    if (item.type === 'integer') bad.push('ten', '1.5', '', '0x10', '1e1', ' 5', '99999999999999999999')
    if (item.type === 'boolean') bad.push('maybe', '1', '', 'TRUE')
    for (const value of bad) yield [`${name} ${show(value)}`, { ...good, [name]: value }]
    if (one.type !== 'array') {
      const value = good[name] ?? { integer: 1, boolean: true, string: item.format ? undefined : 'a' }[item.type]
      if (value !== undefined) yield [`${name} twice`, { ...good, [name]: [value, value] }]
    } else if (good[name]) {
      for (const value of bad) yield [`${name} good and ${show(value)}`, { ...good, [name]: [good[name][0], value] }]
    }
  }
  yield ['a parameter that nobody knows', { ...good, whatever: '1' }]
}

const NO_BYTES = new Uint8Array()
const bytes = (text) => new TextEncoder().encode(text)

/** Bodies that are no JSON of the kind that is wanted. */
function* badJson(make) {
  const text = JSON.stringify(make())
  yield ['no body', {}]
  yield ['an empty body', { raw: NO_BYTES, type: 'application/json' }]
  for (const [what, raw] of [
    ['that is not JSON', 'nonsense'],
    ['that is cut off', text.slice(0, -1)],
    ['with more behind', `${text}x`],
    ['of two values', text + text],
    ['in single quotes', text.replaceAll('"', "'")],
    ['null', 'null'],
    ['a number', '7'],
    ['a string', '"text"'],
    ['true', 'true'],
    ['an array', '[]'],
    ['an array of it', `[${text}]`],
    ['an empty object', '{}'],
    ['that is not UTF-8', Buffer.concat([bytes('{"a":"'), Buffer.from([0xff, 0xfe]), bytes('"}')])],
    ['nested deeply', '['.repeat(5000) + ']'.repeat(5000)],
  ]) {
    yield [`a body ${what}`, { raw: typeof raw === 'string' ? bytes(raw) : raw, type: 'application/json' }]
  }
  for (const type of ['text/plain', 'application/xml', 'application/vnd.ipld.car', 'application/x-www-form-urlencoded', 'nonsense']) {
    yield [`type ${type}`, { raw: bytes(text), type }]
  }
  yield ['no type', { raw: bytes(text) }]
  yield ['type with a charset', { json: make(), type: 'application/json; charset=utf-8' }]
  yield ['type in capitals', { json: make(), type: 'Application/JSON' }]
  yield ['a property that nobody knows', { json: { ...make(), whatever: 1 } }]
}

/** Bodies of bytes. */
function* badBytes(encoding, good) {
  const raw = typeof good.raw === 'string' ? bytes(good.raw) : good.raw
  yield ['no body', { raw: undefined, type: undefined }]
  yield ['an empty body', { raw: NO_BYTES, type: good.type }]
  yield ['no type', { raw, type: undefined }]
  yield ['type nonsense', { raw, type: 'nonsense' }]
  yield ['type of JSON', { raw, type: 'application/json' }]
  yield ['type with a parameter', { raw, type: `${good.type}; a=b` }]
  if (encoding === '*/*') {
    for (const type of ['*/*', 'text/', '/plain', 'text/plain/more', 'text /plain', `text/${'a'.repeat(300)}`]) yield [`type ${show(type)}`, { raw, type }]
  }
}

/** A valid call, and every way of making a part of it wrong: `[name, options]`; `make` gives a valid call each time. */
export function* wrongCalls(nsid, make) {
  const { parameters, input, type } = lexicons.get(nsid).defs.main
  yield ['nothing wrong', make()]
  yield ['the other HTTP method', { method: type === 'query' ? 'POST' : 'GET' }]
  const params = parameters ?? { properties: {} }
  for (const [name, bad] of badParams(params, make().params ?? {})) yield [name, { ...make(), params: bad }]
  if (type === 'query') return
  if (!input) {
    yield ['a body that nobody wants', { ...make(), json: {} }]
    yield ['an empty body', { ...make(), raw: NO_BYTES, type: 'application/json' }]
    return
  }
  if (input.encoding !== 'application/json') {
    for (const [name, bad] of badBytes(input.encoding, make())) yield [name, { ...make(), ...bad }]
    return
  }
  for (const [name, bad] of badJson(() => make().json)) yield [name, bad]
  const schema = input.schema.type === 'ref' ? resolve(nsid, input.schema.ref).def : input.schema
  const count = [...badObjects(nsid, schema, make().json)].length
  for (let n = 0; n < count; n++) {
    // Anew each time: a name that the last call took is taken.
    const [name, json] = [...badObjects(nsid, schema, make().json)][n]
    yield [name, { json }]
  }
}
