// Who may call what: each com.atproto method that the official server serves, by each kind of caller, on our node and on the
// official server. Status and error name must be the same.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { callers, newCast, startPair, stopPair } from '../lib/callers.mjs'
import { methods, validCall, verb } from '../lib/lexicon-inputs.mjs'
import { assertSame, isServed } from '../lib/matrix.mjs'
import { call } from '../lib/xrpc.mjs'

/** Where our node answers otherwise, and why. */
const differences = []

let pair, casts
before(async () => {
  pair = await startPair()
  casts = await Promise.all(pair.map(newCast))
})
after(() => stopPair(pair))

describe('methods and their callers', { concurrency: 4 }, () => {
  for (const nsid of methods) {
    it(nsid, async (t) => {
      if (!isServed(await call(pair[1].server, verb(nsid), nsid))) return t.skip('the official server does not serve it')
      const cells = []
      for (const [name, caller] of Object.entries(callers)) {
        const [ours, theirs] = await Promise.all(
          pair.map(({ server }, n) => {
            const [target, options] = caller(casts[n])
            return call(server, verb(nsid), nsid, { ...validCall(nsid, target), ...options })
          }),
        )
        cells.push({ name, ours, theirs })
      }
      assertSame(nsid, cells, differences)
    })
  }
})
