// Compares cells of a matrix, one call each, on our node and the official server.
import assert from 'node:assert/strict'
import { verb } from './lexicon-inputs.mjs'
import { call } from './xrpc.mjs'

/** Status and error name of an answer, as one word. */
export const outcome = ({ status, error }) => (error === undefined ? `${status}` : `${status} ${error}`)

const isServed = ({ message }) => !/^No service configured for/.test(message)

/** Which of our node and the official server, both without an AppView, serve a method: `[ours, theirs]`. */
export async function whoServes(pair, nsid) {
  const answers = await Promise.all(pair.map(({ server }) => call(server, verb(nsid), nsid)))
  return answers.map(isServed)
}

/**
 * Demands that the outcomes of each cell are the same, but for those that a table of differences names, which must
 * differ as it says. Where the official server fails, ours must tell the client what was wrong.
 */
export function assertSame(nsid, cells, differences) {
  const known = new Map(
    differences
      .filter(({ methods }) => methods.includes(nsid))
      .flatMap(({ cases, ours, theirs }) => cases.map((name) => [name, `${ours} | ${theirs}`])),
  )
  if (process.env.MATRIX_PRINT) {
    for (const { name, ours, theirs } of cells) console.log([nsid, name, outcome(ours), outcome(theirs), theirs.message].join(' # '))
  }
  const wrong = []
  for (const { name, ours, theirs } of cells) {
    const found = `${outcome(ours)} | ${outcome(theirs)}`
    const listed = known.get(name)
    known.delete(name)
    const fair = theirs.status >= 500 ? ours.status >= 400 && ours.error : outcome(ours) === outcome(theirs)
    if (ours.status >= 500 || (listed ? listed !== found : !fair)) {
      const told = listed ? `, listed as ${listed}` : ''
      wrong.push(`${name}: ${found}${told}\n      ${ours.message} | ${theirs.message}`)
    }
  }
  for (const name of known.keys()) wrong.push(`${name}: listed, but there is no such case`)
  assert.ok(wrong.length === 0, `${nsid}: ours | theirs\n  ${wrong.join('\n  ')}`)
}

/** Demands of each cell what a function of it says: `undefined`, or what is wrong with it. */
export function assertAll(nsid, cells, judge) {
  const wrong = cells.flatMap((cell) => {
    const why = cell.ours.status >= 500 ? 'a failure' : judge(cell)
    return why ? [`${cell.name}: ${outcome(cell.ours)}, ${why}\n      ${cell.ours.message}`] : []
  })
  assert.ok(wrong.length === 0, `${nsid}\n  ${wrong.join('\n  ')}`)
}
