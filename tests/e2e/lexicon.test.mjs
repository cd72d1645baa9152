// Random records of every official type, judged by the official lexicon engine and by ours: the same verdict for each.
// SEED repeats a run, RECORDS sets their number.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { SEED } from '../lib/random.mjs'
import { TARGET } from '../lib/servers.mjs'

const RECORDS = Number(process.env.RECORDS ?? 40_000)
const root = new URL('../..', import.meta.url).pathname
// The file that `cargo test` has built already, with the same features.
const judge = path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, 'target'), 'debug/examples/lexicon_diff')

describe('lexicons', { skip: TARGET === 'pds' && 'compares two engines, not two servers' }, () => {
  it(`judge ${RECORDS} random records as the official engine does (SEED=${SEED})`, async () => {
    // As `./test` builds: with the others the same crates get more features, and are compiled once more.
    const others = ['sync', 'mst', 'cql', 'pins'].flatMap((bench) => ['--exclude', `bench-${bench}`])
    execFileSync('cargo', ['build', '--workspace', ...others, '--example', 'lexicon_diff', '--quiet'], { cwd: root, stdio: 'inherit' })
    const generate = new URL('../lexicon-diff/generate.mjs', import.meta.url).pathname
    const generator = spawn(process.execPath, [generate, String(RECORDS), String(SEED)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const judged = spawn(judge, { stdio: ['pipe', 'pipe', 'inherit'] })
    generator.stdout.pipe(judged.stdin)
    const [output, [code], [generated]] = await Promise.all([
      text(judged.stdout),
      once(judged, 'exit'),
      once(generator, 'exit'),
    ])
    assert.equal(generated, 0)
    assert.equal(code, 0, output.slice(-4000))
    assert.match(output, /, 0 differ/)
  })
})
