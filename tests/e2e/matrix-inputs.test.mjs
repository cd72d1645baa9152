// What a method is given: for each com.atproto method that the official server serves, every kind of wrong input that its
// lexicon knows, by somebody who may call it, on our node and on the official server. Status and error name must be the same.
import { after, before, describe, it } from 'node:test'
import { authorised, newAuthor, startPair, stopPair } from '../lib/callers.mjs'
import { methods, validCall, verb, wrongCalls } from '../lib/lexicon-inputs.mjs'
import { assertSame, isServed } from '../lib/matrix.mjs'
import { call } from '../lib/xrpc.mjs'

/** Where our node answers otherwise, and why. */
const differences = []

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

describe('methods and wrong inputs', { concurrency: 4 }, () => {
  for (const nsid of methods) {
    it(nsid, async (t) => {
      if (!isServed(await call(pair[1].server, verb(nsid), nsid))) return t.skip('the official server does not serve it')
      const [ours, theirs] = await Promise.all(pair.map((side) => outcomes(side, nsid)))
      const cells = [...ours].map(([name, answer]) => ({ name, ours: answer, theirs: theirs.get(name) }))
      assertSame(nsid, cells, differences)
    })
  }
})
