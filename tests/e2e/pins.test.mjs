// The pin service of a node, with clients that others wrote.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ues, uesOk } from '../lib/cli.mjs'
import { Kubo } from '../lib/kubo.mjs'
import { allPins, newKey, pinBlocks, pinCall, rawCid, reaches, until } from '../lib/pins.mjs'
import { dataOf, startUes } from '../lib/servers.mjs'

const COMPLIANCE = fileURLToPath(
  new URL('../compliance/node_modules/@ipfs-shipyard/pinning-service-compliance/dist', import.meta.url),
)
const run = promisify(execFile)
const NOWHERE = rawCid('nobody has this')

describe('a node that stops', () => {
  it('lets go of those who watch', async () => {
    const server = await startUes({ env: { UES_LIMITS_STOP_SECONDS: '600' } })
    const key = await newKey(server, 'alice')
    const headers = { authorization: `Bearer ${key}` }
    const watched = await fetch(`${server.url}/pins/watch`, { headers })
    const lines = watched.text()
    const end = await server.close()
    assert.deepEqual(end, { code: 0, signal: null }, 'it does not wait for the watcher')
    assert.equal((await lines).trim(), '', 'the stream ends as a whole one does')
  })
})

describe('content in the node itself', () => {
  let server, data, alice, bob
  before(async () => {
    server = await startUes()
    data = dataOf(server)
    ;[alice, bob] = [await newKey(server, 'alice'), await newKey(server, 'bob')]
  })
  after(() => server.close())

  it('passes the nine compliance checks of the Pinning Service API', { timeout: 300_000 }, async () => {
    const key = await newKey(server, 'compliance')
    await run(process.execPath, [path.join(COMPLIANCE, 'src', 'index.js'), '-s', server.url, key], {
      maxBuffer: 1 << 26,
    })
    const report = await readFile(path.join(COMPLIANCE, 'docs', '127.0.0.1.md'), 'utf8')
    assert.match(report, /Summary \(9\/9 successful\)/, report)
    assert.equal((await allPins(server, key)).length, 0, 'the checks clean up after themselves')
  })

  it('pins files, folders and archives from the command line', async () => {
    const folder = path.join(server.dir, 'photos')
    await mkdir(path.join(folder, 'more'), { recursive: true })
    await writeFile(path.join(folder, 'a.txt'), 'a')
    await writeFile(path.join(folder, 'more', 'big.bin'), Buffer.alloc(3_000_000, 7))
    const [pin] = (await uesOk(data, ['pin', 'add', folder, '--json'])).trim().split('\n').map(JSON.parse)
    assert.equal(pin.status, 'pinned')
    assert.equal(pin.pin.name, 'photos')
    const car = path.join(server.dir, 'photos.car')
    await uesOk(data, ['car', 'add', folder, '-o', car])
    const again = JSON.parse(await uesOk(data, ['pin', 'add', car, '--name', 'the same', '--json']))
    assert.equal(again.pin.cid, pin.pin.cid)
    const shown = await uesOk(data, ['pin', 'status', pin.pin.cid])
    assert.match(shown, /status +pinned/)
    assert.match(await uesOk(data, ['pin', 'ls']), new RegExp(`pinned +${pin.pin.cid} the same`))
    await uesOk(data, ['pin', 'rm', pin.pin.cid])
    const gone = await ues(data, ['pin', 'status', pin.pin.cid])
    assert.equal(gone.code, 3, gone.stderr)
  })

  it('exports and imports pins', async () => {
    const contents = Array.from({ length: 2500 }, (_, i) => `export ${i}`)
    const lines = contents.map(rawCid).join('\n')
    const file = path.join(server.dir, 'cids.txt')
    await writeFile(file, `${lines}\n`)
    const said = JSON.parse(await uesOk(data, ['pin', 'import', file, '--json']))
    assert.deepEqual(said, { added: 2500, refused: 0 })
    const out = path.join(server.dir, 'pins.jsonl')
    await uesOk(data, ['pin', 'export', '-o', out])
    const exported = (await readFile(out, 'utf8')).trim().split('\n').map((line) => JSON.parse(line).cid)
    assert.deepEqual(new Set(exported), new Set(contents.map(rawCid)))
    assert.equal(exported.length, 2500, 'none twice')
    const refused = await ues(data, ['pin', 'import', '-', '--json'], {})
    assert.equal(refused.code, 0, 'nothing to import is no failure')
  })

  it('keeps a pin as long as one owner wants it', async () => {
    const [mine] = await pinBlocks(server, alice, ['shared'])
    await pinBlocks(server, bob, ['shared'])
    const cid = mine.pin.cid
    await reaches(server, bob, cid, 'pinned')
    assert.equal((await pinCall(server, alice, 'DELETE', `/pins/${mine.requestid}`)).status, 202)
    assert.equal((await pinCall(server, alice, 'GET', `/pins/${cid}`)).status, 404)
    await reaches(server, bob, cid, 'pinned')
    assert.equal((await pinCall(server, bob, 'DELETE', `/pins/${mine.requestid}`)).status, 404, "another's id")
    assert.equal((await pinCall(server, bob, 'DELETE', `/pins/${cid}`)).status, 202)
    assert.equal((await pinCall(server, bob, 'GET', `/pins/${cid}`)).status, 404)
  })

  it('ends a pin on time', async () => {
    const [pin] = await pinBlocks(server, alice, ['ends soon'], { ttl: 2 })
    await reaches(server, alice, pin.requestid, 'pinned')
    assert.ok(pin.info.pinned_until)
    const gone = async () => (await pinCall(server, alice, 'GET', `/pins/${pin.requestid}`)).status === 404
    await until('the pin has ended', gone, 20)
  })

  it('answers a repeated operation with the first answer', async () => {
    const body = { cid: NOWHERE, name: 'once', op_id: '01J9ZKQ5W8X6Y7V3B2N1M0C4D5' }
    const first = await pinCall(server, alice, 'POST', '/pins', body)
    const second = await pinCall(server, alice, 'POST', '/pins', body)
    assert.deepEqual([first.status, second.status], [202, 202])
    assert.equal(second.body.requestid, first.body.requestid)
    const other = await pinCall(server, alice, 'POST', '/pins', { ...body, name: 'twice' })
    assert.equal(other.status, 409)
    await pinCall(server, alice, 'DELETE', `/pins/${NOWHERE}`)
  })

  it('refuses what is wrong with the right status and a sentence', async () => {
    const post = (body, key = alice) => pinCall(server, key, 'POST', '/pins', body)
    const cases = [
      [await post({ cid: NOWHERE }, null), 401],
      [await post({ cid: NOWHERE }, 'ues_nonsense'), 401],
      [await post({ cid: NOWHERE }, await newKey(server, 'reader', '--scope', 'pins:read')), 403],
      [await post({ cid: 'nonsense' }), 400],
      [await post({}), 400],
      [await post({ cid: NOWHERE, name: 'x'.repeat(300) }), 400],
      [await post({ cid: NOWHERE, origins: ['nowhere'] }), 400],
      [await post({ cid: NOWHERE, replication: 5000 }), 400],
      [await post({ cid: NOWHERE, replication: { min: 3, max: 2 } }), 400],
      [await post({ cid: NOWHERE, until: '2001-01-01T00:00:00Z' }), 400],
      [await post({ cid: NOWHERE, tags: [''] }), 400],
      [await post({ cid: NOWHERE, meta: { a: 'x'.repeat(20_000) } }), 400],
      [await pinCall(server, alice, 'GET', '/pins?limit=0'), 400],
      [await pinCall(server, alice, 'GET', '/pins?status=nonsense'), 400],
      [await pinCall(server, alice, 'GET', '/pins?before=yesterday'), 400],
      [await pinCall(server, alice, 'GET', '/pins/nonsense'), 404],
      [await pinCall(server, alice, 'DELETE', `/pins/${NOWHERE}`), 404],
    ]
    for (const [{ status, body }, expected] of cases) {
      assert.equal(status, expected, JSON.stringify(body))
      assert.ok(body.error.reason && body.error.details, JSON.stringify(body))
    }
    const revoked = await newKey(server, 'gone')
    const [{ id }] = JSON.parse(await uesOk(data, ['key', 'ls', '--owner', 'gone', '--json']))
    await uesOk(data, ['key', 'revoke', id])
    assert.equal((await post({ cid: NOWHERE }, revoked)).status, 401)
  })

  it('takes many changes as lines, one answer each', async () => {
    const lines = [
      ...Array.from({ length: 5000 }, (_, i) => ({ cid: rawCid(`bulk ${i}`) })),
      { cid: 'nonsense' },
      { action: 'unpin', cid: rawCid('bulk 7') },
      { action: 'unpin', cid: NOWHERE },
      { action: 'dance', cid: NOWHERE },
    ]
    const res = await fetch(`${server.url}/pins/bulk`, {
      method: 'POST',
      headers: { authorization: `Bearer ${bob}` },
      body: `${lines.map((line) => JSON.stringify(line)).join('\n')}\nno json`,
    })
    const answers = (await res.text()).trim().split('\n').map(JSON.parse)
    assert.equal(answers.length, lines.length + 1)
    assert.ok(answers.slice(0, 5000).every((a, i) => a.status === 'queued' && a.cid === lines[i].cid))
    assert.deepEqual(
      answers.slice(5000).map((a) => a.error?.reason ?? a.status),
      ['BAD_REQUEST', 'removed', 'NOT_FOUND', 'BAD_REQUEST', 'BAD_REQUEST'],
    )
    assert.equal((await allPins(server, bob)).length, 4999)
  })

  it('shows changes as they happen', async () => {
    const stop = new AbortController()
    const cid = rawCid('watched')
    const headers = { authorization: `Bearer ${alice}` }
    const res = await fetch(`${server.url}/pins/watch?cid=${cid}`, { headers, signal: stop.signal })
    const reader = res.body.pipeThrough(new TextDecoderStream()).getReader()
    await pinBlocks(server, alice, ['watched'])
    let seen = ''
    while (!seen.includes('"pinned"')) seen += (await reader.read()).value
    assert.ok(seen.includes(cid))
    stop.abort()
  })
})

describe('content in a Kubo', () => {
  let kubo, server, key
  before(async () => {
    kubo = await Kubo.start()
    server = await startUes({ env: { UES_PINS_BACKEND: 'kubo', UES_PINS_KUBO_API: kubo.api } })
    key = await newKey(server, 'kubo')
  })
  after(async () => {
    await server.close()
    await kubo.close()
  })

  it('pins there and unpins there', async () => {
    const cid = await kubo.block('one block')
    const { body } = await pinCall(server, key, 'POST', '/pins', { cid, name: 'block' })
    await reaches(server, key, body.requestid, 'pinned')
    assert.ok((await kubo.pins()).has(cid))
    await pinCall(server, key, 'DELETE', `/pins/${cid}`)
    await until('Kubo has let go', async () => !(await kubo.pins()).has(cid))
  })

  it('is a remote pinning service to a Kubo', async () => {
    const cid = await kubo.block('remote')
    await kubo.ipfs(['pin', 'remote', 'service', 'add', 'ues', server.url, key])
    await kubo.ipfs(['pin', 'remote', 'add', '--service=ues', '--name=far', cid])
    assert.match(await kubo.ipfs(['pin', 'remote', 'ls', '--service=ues', '--name=far']), new RegExp(`${cid}.*pinned`))
    await kubo.ipfs(['pin', 'remote', 'rm', '--service=ues', '--name=far'])
    assert.equal(await kubo.ipfs(['pin', 'remote', 'ls', '--service=ues', '--name=far']), '')
  })

  it('notices another Kubo in the place of its own, and pins again what can be found', async () => {
    const contents = Array.from({ length: 20 }, (_, i) => `kept ${i}`)
    const cids = []
    for (const content of contents) cids.push(await kubo.block(content))
    for (const cid of cids) await pinCall(server, key, 'POST', '/pins', { cid })
    for (const cid of cids) await reaches(server, key, cid, 'pinned')
    await kubo.replace(contents)
    const back = async () => {
      const pins = await kubo.pins()
      return cids.every((cid) => pins.has(cid))
    }
    await until('everything is pinned again', back, 60)
  })
})
