// The same calls, right and wrong, into the server under test and into the official one:
// the status and the error's name must be the same. Where the official server fails with a 5xx, ours must
// tell the client what was wrong.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { newAccount } from '../lib/accounts.mjs'
import { deviations, errorCases, prepare } from '../lib/error-cases.mjs'
import { startPds, startTarget } from '../lib/servers.mjs'
import { call } from '../lib/xrpc.mjs'

describe('statuses and error names are those of the official server', () => {
  let target, official
  before(async () => {
    const servers = await Promise.all([startTarget(), startPds()])
    ;[target, official] = await Promise.all(
      servers.map(async (server) => ({ server, context: await prepare(server, newAccount) })),
    )
  })
  after(async () => {
    await target?.server.close()
    await official?.server.close()
  })

  const ask = async (side, [, method, path, options]) => {
    const { status, error } = await call(side.server, method, path, options(side.context))
    return { status, error }
  }

  for (const row of errorCases) {
    it(row[0], async () => {
      const [ours, theirs] = await Promise.all([ask(target, row), ask(official, row)])
      if (isDeepStrictEqual(ours, theirs)) return
      if (theirs.status >= 500) {
        assert.ok(ours.status >= 400 && ours.status < 500 && ours.error, `${ours.status} ${ours.error}`)
        return
      }
      assert.deepEqual(ours, deviations[row[0]] ?? theirs)
    })
  }
})
