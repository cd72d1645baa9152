// What a method is given: for each com.atproto method that the official server serves, every kind of wrong input that its
// lexicon knows, by somebody who may call it, on our node and on the official server. Status and error name must be the same.
import { after, before, describe, it } from 'node:test'
import { authorised, newAuthor, startPair, stopPair } from '../lib/callers.mjs'
import { methods, validCall, verb, wantsJson, wrongCalls } from '../lib/lexicon-inputs.mjs'
import { assertAll, assertSame, whoServes } from '../lib/matrix.mjs'
import { call } from '../lib/xrpc.mjs'

const NS = 'com.atproto.'
const withJson = methods.filter((nsid) => wantsJson(nsid))
const NO_LEAST = [`${NS}admin.disableInviteCodes`, `${NS}server.deactivateAccount`, `${NS}server.reserveSigningKey`]
const CODED = ['identity.signPlcOperation', 'server.confirmEmail', 'server.deleteAccount', 'server.resetPassword'].map((n) => NS + n)

/** Where our node answers otherwise, and why. */
const differences = [
  {
    why: 'JSON is UTF-8 (RFC 8259 section 8.1); the official server puts question marks for what is not',
    methods: withJson.filter((nsid) => !NO_LEAST.includes(nsid)),
    cases: ['a body that is not UTF-8'],
    ours: '400 SyntaxError',
    theirs: '400 InvalidRequest',
  },
  {
    why: 'the same, where nothing is required',
    methods: NO_LEAST,
    cases: ['a body that is not UTF-8'],
    ours: '400 SyntaxError',
    theirs: '200',
  },
  {
    why: 'capitals or not are the same in media types (RFC 9110 section 8.3.1)',
    methods: withJson.filter((nsid) => ![...CODED, `${NS}identity.submitPlcOperation`, `${NS}admin.deleteAccount`].includes(nsid)),
    cases: ['type in capitals'],
    ours: '200',
    theirs: '400 InvalidRequest',
  },
  {
    why: 'the same, where the code is refused next',
    methods: CODED,
    cases: ['type in capitals'],
    ours: '400 InvalidToken',
    theirs: '400 InvalidRequest',
  },
  {
    why: 'the account is deleted by then, and the administrator is told',
    methods: [`${NS}admin.deleteAccount`],
    cases: ['a parameter that nobody knows', 'type with a charset', 'a property that nobody knows'],
    ours: '400 InvalidRequest',
    theirs: '200',
  },
  {
    why: 'media types have at most 255 characters (RFC 6838 section 4.2)',
    methods: [`${NS}repo.uploadBlob`],
    cases: ['type "text/aaaaaaaaaaaaaa… of 307'],
    ours: '400 InvalidRequest',
    theirs: '200',
  },
]

let pair
before(async () => {
  pair = await startPair()
})
after(() => stopPair(pair))

/** The outcomes of all wrong calls on one server. */
async function outcomes(side, nsid) {
  const author = await newAuthor(side)
  const token = authorised(nsid, author)
  const answers = new Map()
  for (const [name, { method = verb(nsid), ...options }] of wrongCalls(nsid, () => validCall(nsid, author))) {
    answers.set(name, await call(side.server, method, nsid, { token, ...options }))
  }
  return answers
}

// Wrong inputs that are none: what is empty is absent, what nobody knows is passed over.
const HARMLESS = /^(nothing wrong|a (parameter|property) that nobody knows|type with a charset|type in capitals)$|""$/

/** Where only our node serves a method, its lexicon says what must be refused. */
async function byLexicon(nsid) {
  const cells = [...(await outcomes(pair[0], nsid))].map(([name, ours]) => ({ name, ours }))
  assertAll(nsid, cells, ({ name, ours: { status, error } }) =>
    HARMLESS.test(name) || (status === 400 && ['InvalidRequest', 'SyntaxError'].includes(error)) ? undefined : 'must be refused',
  )
}

describe('methods and wrong inputs', { concurrency: 4 }, () => {
  for (const nsid of methods) {
    it(nsid, async (t) => {
      const [ours, theirs] = await whoServes(pair, nsid)
      if (!ours && !theirs) return t.skip('passed on to others')
      if (!theirs) return byLexicon(nsid)
      const both = await Promise.all(pair.map((side) => outcomes(side, nsid)))
      const cells = [...both[0]].map(([name, answer]) => ({ name, ours: answer, theirs: both[1].get(name) }))
      assertSame(nsid, cells, differences)
    })
  }
})
