#!/usr/bin/env node
// Random records of every official record type, judged by the official engine (@atproto/lex-document).
//
//   node tests/lexicon-diff/generate.mjs [COUNT] [SEED] | cargo run -p ues-repo --example lexicon_diff
//
// Writes one line of JSON per record: {collection, record, valid, message}. Most values follow their schema,
// some are spoiled, so that both verdicts are common.

import { readFileSync } from 'node:fs'
import { LexiconIterableIndexer, LexiconSchemaBuilder } from '@atproto/lex-document'
import { jsonToLex } from '@atproto/lex-json'

const count = Number(process.argv[2] ?? 20_000)
const seed = Number(process.argv[3] ?? process.env.SEED ?? 1)
const CATALOG = new URL('../../crates/repo/lexicons/official.jsonl', import.meta.url)
const CID = 'bafkreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq'
const LINK = 'bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq'

// mulberry32: small, and the same everywhere.
let state = seed >>> 0
function random() {
  state = (state + 0x6d2b79f5) >>> 0
  let t = state
  t = Math.imul(t ^ (t >>> 15), t | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}
const below = (n) => Math.floor(random() * n)
const pick = (list) => list[below(list.length)]
const chance = (p) => random() < p

const documents = new Map(
  readFileSync(CATALOG, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => JSON.parse(line))
    .map((doc) => [doc.id, doc]),
)

// Left out, since the interoperability vectors decide where the official engine differs from them: days
// that a month does not have (the engine lets them roll over), CIDs of version 0 (it accepts them), CIDs
// in a multibase that it cannot read, and URI schemes with a dot, plus or minus (it refuses them).
const FORMATS = {
  'at-identifier': ['alice.test', 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', 'alice', 'did:x', ''],
  'at-uri': [
    'at://alice.test/app.bsky.feed.post/3kznmn7xqxl22',
    'at://did:web:a.test',
    'at://did:web:a.test/app.bsky.feed.post',
    'at://alice.test/',
    'at://alice.test/nope',
    'https://a.test',
    'at://alice.test/app.bsky.feed.post/a/b',
    'at://alice.test/app.bsky.feed.post/..',
    'at://alice.test/app.bsky.feed.post/x#y',
  ],
  cid: [CID, LINK, 'bafy', '', `${CID}a`],
  datetime: [
    '2026-01-01T00:00:00Z', '2026-01-01T00:00:00.123456789+05:30', '2026-01-01',
    '2026-01-01T00:00:00', '2026-01-01t00:00:00z', '2026-01-01T24:00:00Z', '0000-01-01T00:00:00Z',
    '2026-01-01T00:00:60Z', '2026-01-01T00:00:00-00:00', '2026-13-01T00:00:00Z', '2024-02-29T23:59:59.9Z',
  ],
  did: ['did:plc:ewvi7nxzyoun6zhxrhs64oiz', 'did:web:a.test%3A80', 'did:', 'DID:web:a', 'did:a:b:', 'did:web:a#b'],
  handle: ['alice.test', 'a.b.c', 'alice', '-a.test', 'a..test', 'alice.test.', 'xn--a.test', 'a.1'],
  language: ['en', 'de-CH', 'zh-Hant-TW', 'x', 'en_US', '', 'i-klingon', 'x-private', 'englishlanguage'],
  nsid: ['com.example.thing', 'com.example', 'com.example.thing-x', 'a.b.c', 'com.1example.thing', 'com.example.3'],
  'record-key': ['self', '3kznmn7xqxl22', '.', '..', 'a/b', 'a:b~c_d-e.f', '', 'a b'],
  tid: ['3kznmn7xqxl22', '3kznmn7xqxl2', 'zzzzzzzzzzzzz', '0kznmn7xqxl22'],
  uri: ['https://a.test/b?c#d', 'mailto:a@b', 'did:web:a', 'no', 'http:', 'https:// x', 'a://b', ':x', 'a:x'],
}
const JUNK = [null, true, 0, -1, 7, '', 'junk', [], {}, [1], { $type: 'com.example.x' }, { $link: LINK }, { $bytes: 'YWJj' }]
const GRAPHEMES = ['a', 'é', '👩‍👩‍👦‍👦', '🇩🇪', 'e\u0301', 'नि', '\r\n', '가']

function resolve(doc, ref) {
  const [id, name = 'main'] = ref.startsWith('#') ? [doc.id, ref.slice(1)] : ref.split('#')
  const target = documents.get(id)
  return { doc: target, def: target?.defs[name], type: name === 'main' ? id : `${id}#${name}` }
}

function text(def) {
  if (def.enum && chance(0.8)) return pick(def.enum)
  if (def.const !== undefined && chance(0.8)) return def.const
  if (def.format) return chance(0.7) ? FORMATS[def.format][0] : pick(FORMATS[def.format])
  if (def.knownValues && chance(0.5)) return pick(def.knownValues)
  // Lengths around the limits find what is counted wrongly.
  const unit = pick(GRAPHEMES)
  const limits = [def.maxGraphemes, def.minGraphemes, 3].filter((n) => n !== undefined)
  const bytes = Buffer.byteLength(unit)
  for (const limit of [def.maxLength, def.minLength]) if (limit) limits.push(Math.floor(limit / bytes))
  return unit.repeat(Math.max(0, chance(0.8) ? below(4) + (def.minLength ?? 0) : pick(limits) + below(3) - 1))
}

function integer(def) {
  const limits = [def.minimum, def.maximum, 0].filter((n) => n !== undefined)
  return chance(0.7) ? Math.max(def.minimum ?? 0, Math.min(def.maximum ?? 9, 3)) : pick(limits) + below(3) - 1
}

function blob(def) {
  const mime = chance(0.8) ? (def.accept?.[0] ?? 'a/b').replace('*', 'png') : pick(['a/b', 'image', '', 'image/x'])
  const size = chance(0.8) ? 10 : pick([0, -1, def.maxSize ?? 5, (def.maxSize ?? 5) + 1])
  const value = { $type: 'blob', ref: { $link: CID }, mimeType: mime, size }
  if (chance(0.03)) value.extra = 1
  if (chance(0.03)) delete value[pick(Object.keys(value))]
  if (chance(0.03)) return { cid: CID, mimeType: mime }
  return value
}

function generate(doc, def, depth) {
  if (chance(0.012)) return pick(JUNK)
  switch (def.type) {
    case 'boolean': return def.const ?? chance(0.5)
    case 'integer': return integer(def)
    case 'string': return text(def)
    case 'bytes': return { $bytes: Buffer.alloc(below(12)).toString('base64').replace(/=+$/, '') }
    case 'cid-link': return { $link: LINK }
    case 'blob': return blob(def)
    case 'unknown': return pick([{}, { a: 1 }, { $type: 'com.example.x', b: [{}] }])
    case 'array': {
      const max = chance(0.9) ? 3 : (def.maxLength ?? 3) + 1
      const length = Math.min(40, (def.minLength ?? 0) + below(max + 1))
      return Array.from({ length }, () => generate(doc, def.items, depth + 1))
    }
    case 'object': return object(doc, def, depth)
    case 'ref': {
      const target = resolve(doc, def.ref)
      if (target.def.type === 'token') return target.type
      const value = generate(target.doc, target.def, depth + 1)
      if (target.def.type === 'object' && value?.constructor === Object && chance(0.2)) {
        return { $type: chance(0.8) ? target.type : `${target.type}x`, ...value }
      }
      return value
    }
    case 'union': {
      if (!def.refs.length || chance(0.05)) return { $type: pick(['com.example.x', 3, 'app.bsky.feed.post#main']) }
      const target = resolve(doc, pick(def.refs))
      const inner = target.def?.type === 'record' ? target.def.record : target.def
      if (inner?.type !== 'object') return { $type: target.type }
      const value = object(target.doc, inner, depth + 1)
      return chance(0.97) ? { $type: target.type, ...value } : value
    }
    default: throw new Error(`no generator for ${def.type}`)
  }
}

function object(doc, def, depth) {
  const value = {}
  for (const [name, inner] of Object.entries(def.properties ?? {})) {
    const required = def.required?.includes(name)
    if (!chance(required ? 0.99 : depth > 5 ? 0.1 : 0.5)) continue
    value[name] = def.nullable?.includes(name) && chance(0.3) ? null : generate(doc, inner, depth + 1)
  }
  if (chance(0.05)) value.unheardOf = pick(JUNK)
  return value
}

const records = [...documents.values()].filter((doc) => doc.defs.main?.type === 'record')
// The official builder wants every reference with its fragment.
const full = (key, value) => {
  const one = (ref) => (typeof ref !== 'string' || ref.includes('#') ? ref : `${ref}#main`)
  if (key === 'ref') return one(value)
  return key === 'refs' ? value.map(one) : value
}
const spelled = [...documents.values()].map((doc) => JSON.parse(JSON.stringify(doc, full)))
const indexer = new LexiconIterableIndexer(spelled)
const schemas = new Map()
for (const doc of records) schemas.set(doc.id, await LexiconSchemaBuilder.build(indexer, `${doc.id}#main`))

const lines = []
for (let n = 0; n < count; n++) {
  const doc = records[n % records.length]
  const record = { $type: doc.id, ...object(doc, doc.defs.main.record, 0) }
  const verdict = schemas.get(doc.id).safeValidate(jsonToLex(record))
  const message = verdict.success ? undefined : verdict.reason.message
  lines.push(JSON.stringify({ collection: doc.id, record, valid: verdict.success, message }))
}
process.stdout.write(`${lines.join('\n')}\n`)
