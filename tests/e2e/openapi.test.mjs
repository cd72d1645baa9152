// The OpenAPI description of the pin service: Schemathesis, which others wrote, makes calls of it and holds the answers
// against it; what it cannot call (streams, archives) is called here, and its answers are checked by the same schemas.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { newKey, pinBlocks, pinCall, rawCid, reaches } from '../lib/pins.mjs'
import { SEED } from '../lib/random.mjs'
import { dataOf, startUes } from '../lib/servers.mjs'

const HOME = process.env.SCHEMATHESIS ?? fileURLToPath(new URL('../../.peers/schemathesis', import.meta.url))
// Checked by calls of their own: here, or where pins are migrated.
const STREAMS = ['changePins', 'watchPins', 'importCar', 'takeOverPins', 'digestPins', 'exportPins']

/** Runs Python with Schemathesis and what it brings along; returns what it printed. */
async function python(args, input = '') {
  const env = { ...process.env, PYTHONPATH: HOME }
  // Schemathesis leaves a report where it runs.
  const child = spawn('python3', args, { cwd: os.tmpdir(), env, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.end(input)
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (printed += chunk))
  const [code] = await once(child, 'close')
  return { code, printed }
}

const VALIDATE = `
import json, sys
import jsonschema_rs
document, answers = json.load(sys.stdin)
for name, answer in answers:
    schema = {"$ref": "#/components/schemas/" + name, "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    for error in validator.iter_errors(answer):
        print(name, json.dumps(answer), error.message)
`

describe('the OpenAPI description', () => {
  // What Schemathesis does with what it finds (remove it, pin it once more under its name) touches one owner's pins only.
  let server, key, fuzzed, operator, document
  before(async () => {
    server = await startUes()
    const scopes = ['--scope', 'pins:read', '--scope', 'pins:write']
    key = await newKey(server, 'alice', ...scopes)
    fuzzed = await newKey(server, 'bob', ...scopes)
    operator = (await readFile(path.join(dataOf(server), 'operator-secret'), 'utf8')).trim()
    document = await (await fetch(`${server.url}/pins/openapi.json`)).json()
    // Something to be told of.
    await described(fuzzed, ['one', 'two'])
  })
  after(() => server.close())

  /** Pins that have everything that a pin can have. */
  async function described(key, contents) {
    const pin = { name: 'described', tags: ['t'], meta: { a: 'b' }, replication: 1, ttl: 3600 }
    await pinBlocks(server, key, contents, pin)
    for (const content of contents) await reaches(server, key, rawCid(content), 'pinned')
  }

  /** Names of schemas and answers that have to be of them. */
  async function valid(answers) {
    const { code, printed } = await python(['-c', VALIDATE], JSON.stringify([document, answers]))
    assert.equal(code, 0, printed)
    assert.equal(printed, '')
  }

  for (const [tag, secret] of [
    ['pins', () => fuzzed],
    ['operator', () => operator],
  ]) {
    it(`is true for calls of ${tag}`, { timeout: 300_000 }, async () => {
      const { code, printed } = await python([
        ...['-m', 'schemathesis.cli', 'run', `${server.url}/pins/openapi.json`, '--url', server.url],
        ...['--header', `Authorization: Bearer ${secret()}`, '--include-tag', tag],
        ...STREAMS.flatMap((id) => ['--exclude-operation-id', id]),
        ...['--checks', 'not_a_server_error,status_code_conformance,content_type_conformance'],
        ...['--checks', 'response_headers_conformance,response_schema_conformance'],
        ...['--phases', 'examples,coverage,fuzzing', '--max-examples', '60', '--seed', String(SEED)],
        ...['--no-color', '--generation-database', 'none'],
      ])
      assert.equal(code, 0, printed)
      assert.match(printed, /[1-9]\d* passed/, printed)
    })
  }

  it('is true for many changes at once', async () => {
    const lines = [
      { cid: rawCid('line'), op_id: 'line' },
      { action: 'unpin', cid: rawCid('line') },
      { action: 'unpin', cid: rawCid('nobody has this') },
      { action: 'other', cid: rawCid('line') },
    ]
    await valid(lines.slice(0, 3).map((line) => ['BulkLine', line]))
    const body = `${lines.map((line) => JSON.stringify(line)).join('\n')}\nnonsense\n${' '.repeat(70_000)}x`
    const res = await fetch(`${server.url}/pins/bulk`, { method: 'POST', headers: { authorization: `Bearer ${key}` }, body })
    assert.equal(res.headers.get('content-type'), 'application/x-ndjson')
    const answers = (await res.text()).trim().split('\n').map((line) => JSON.parse(line))
    assert.equal(answers.length, 6)
    await valid(answers.map((answer) => ['BulkAnswer', answer]))
  })

  it('is true for changes as they happen, and for archives', async () => {
    const stop = new AbortController()
    const headers = { authorization: `Bearer ${key}` }
    const watched = await fetch(`${server.url}/pins/watch`, { headers, signal: stop.signal })
    assert.equal(watched.headers.get('content-type'), 'application/x-ndjson')
    const results = await pinBlocks(server, key, ['three'])
    const lines = []
    let rest = ''
    for await (const chunk of watched.body.pipeThrough(new TextDecoderStream())) {
      rest += chunk
      const parts = rest.split('\n')
      rest = parts.pop()
      lines.push(...parts.filter((line) => line).map((line) => JSON.parse(line)))
      if (lines.some((line) => line.state === 'pinned')) break
    }
    stop.abort()
    await described(key, ['four', 'five'])
    const { body } = await pinCall(server, 'wrong', 'GET', '/pins')
    const asked = (what) => fetch(`${server.url}/admin/v1/pins/${what}`, { headers: { authorization: `Bearer ${operator}` } })
    const record = await (await asked(`record?cid=${rawCid('four')}`)).json()
    assert.equal(record.placements.length, 1)
    const full = await pinCall(server, key, 'GET', '/pins?name=described')
    assert.equal(full.body.count, 2)
    await valid([
      ...lines.map((line) => ['WatchLine', line]),
      ...results.map((result) => ['PinStatus', result]),
      ['Failure', body],
      ['Record', record],
      ['PinResults', full.body],
    ])
  })

  it('notices what it does not say', async () => {
    const { printed } = await python(['-c', VALIDATE], JSON.stringify([document, [['Failure', { error: 'text' }]]]))
    assert.match(printed, /^Failure/)
  })
})
