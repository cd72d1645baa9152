// Traces: one follows a pin from the call to the worker's report, as a collector sees it.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { Collector } from '../lib/collector.mjs'
import { uesOk } from '../lib/cli.mjs'
import { as, clients } from '../lib/grpc.mjs'
import { newKey, pinCall, rawCar, rawCid, reaches, until } from '../lib/pins.mjs'
import { freePort } from '../lib/process.mjs'
import { dataOf, startUes } from '../lib/servers.mjs'

const SOON = { OTEL_BSP_SCHEDULE_DELAY: '100' }
/** A trace that a caller has begun. */
const begin = (flags = '01') => {
  const [trace, span] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')]
  return { trace, span, header: `00-${trace}-${span}-${flags}` }
}

/** Stores blocks in a node without pinning them; the archive needs a root, which is pinned. */
async function store(server, key, contents) {
  const res = await fetch(`${server.url}/pins/car`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
    body: rawCar([randomBytes(8).toString('hex'), ...contents], 1),
  })
  assert.equal(res.status, 202, await res.text())
}

async function pin(server, key, cid, traceparent) {
  const res = await fetch(`${server.url}/pins`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, ...(traceparent && { traceparent }) },
    body: JSON.stringify({ cid }),
  })
  assert.equal(res.status, 202, await res.text())
}

/** Checks that a trace goes from a call over planner and worker to the report, each span below the one before. */
function whole(spans, call, above) {
  const path = []
  let parent = above
  for (const name of [call, 'announce', 'plan', 'assignment', 'report']) {
    const span = spans.find((span) => span.name === name && span.parent === parent)
    assert.ok(span, `${name} below ${path.at(-1)?.name}: ${JSON.stringify(spans, null, 1)}`)
    path.push(span)
    parent = span.id
  }
  assert.ok(spans.some((span) => span.name === 'tasks' && span.parent === path[3].id))
  return path
}

describe('traces', () => {
  let server, key, collector
  before(async () => {
    collector = await new Collector().open()
    const env = { ...SOON, UES_TELEMETRY_OTLP_ENDPOINT: collector.url, UES_TELEMETRY_SERVICE_NAME: 'node-1' }
    server = await startUes({ env })
    key = await newKey(server, 'alice')
    // A pin that comes before the first worker is found by the walk over all records, and that is nobody's trace.
    await until('there is a worker', async () => {
      const workers = JSON.parse(await uesOk(dataOf(server), ['worker', 'ls', '--json']))
      return workers.some((worker) => worker.state === 'ready')
    })
    await store(server, key, ['warm'])
    await pin(server, key, rawCid('warm'))
    await reaches(server, key, rawCid('warm'), 'pinned')
  })
  after(async () => {
    await server.close()
    collector.close()
  })

  const arrived = (trace, count = 6) =>
    until('the trace is there', () => collector.trace(trace).length >= count && collector.trace(trace))

  it('follow a pin from the call to the report', async () => {
    await store(server, key, ['traced'])
    const caller = begin()
    await pin(server, key, rawCid('traced'), caller.header)
    await reaches(server, key, rawCid('traced'), 'pinned')
    const spans = await arrived(caller.trace)
    const [call] = whole(spans, 'POST /pins', caller.span)
    assert.equal(call.service, 'node-1')
    assert.equal(call.attributes['http.response.status_code'], 202)
    assert.equal(call.attributes['http.route'], '/pins')
    assert.ok(!JSON.stringify(collector.spans).includes(key), 'no secrets')
  })

  it('begin here when the caller has none, or does not want theirs', async () => {
    const known = new Set(collector.spans.map((span) => span.trace))
    await store(server, key, ['begun', 'unwanted'])
    const unwanted = begin('00')
    await pin(server, key, rawCid('unwanted'), unwanted.header)
    await pin(server, key, rawCid('begun'))
    for (const content of ['begun', 'unwanted']) await reaches(server, key, rawCid(content), 'pinned')
    const fresh = await until('the trace is there', () =>
      collector.spans.find((span) => span.name === 'POST /pins' && span.parent === '' && !known.has(span.trace)),
    )
    whole(await arrived(fresh.trace), 'POST /pins', '')
    assert.deepEqual(collector.trace(unwanted.trace), [])
    const roots = collector.spans.filter((span) => span.parent === '').map((span) => span.name)
    assert.deepEqual(
      roots.filter((name) => !/^(GET|POST) /.test(name)),
      [],
      'only calls begin traces',
    )
  })

  it('go on over gRPC', async () => {
    await store(server, key, ['over gRPC', 'many'])
    const { PinService } = await clients(server, ['ues.pins.v1.PinService'])
    const caller = begin()
    const metadata = as(key)
    metadata.set('traceparent', caller.header)
    const one = new Promise((resolve, reject) => {
      const done = (error, answer) => (error ? reject(error) : resolve(answer))
      PinService.Pin({ spec: { cid: rawCid('over gRPC') } }, metadata, done)
    })
    await one
    await reaches(server, key, rawCid('over gRPC'), 'pinned')
    whole(await arrived(caller.trace), 'ues.pins.v1.PinService/Pin', caller.span)
    const stream = PinService.BulkPin(metadata)
    const answers = Array.fromAsync(stream)
    stream.end({ spec: { cid: rawCid('many') } })
    assert.equal((await answers).length, 1)
    await reaches(server, key, rawCid('many'), 'pinned')
    whole(await arrived(caller.trace, 12), 'ues.pins.v1.PinService/BulkPin', caller.span)
    PinService.close()
  })

  it('are linked with the work that they share', async () => {
    const contents = Array.from({ length: 30 }, (_, i) => `shared ${i}`)
    await store(server, key, contents)
    const callers = contents.map(() => begin())
    await Promise.all(contents.map((content, i) => pin(server, key, rawCid(content), callers[i].header)))
    for (const content of contents) await reaches(server, key, rawCid(content), 'pinned')
    const reported = ({ trace }) =>
      collector.spans.some((span) => span.name === 'announce' && (span.trace === trace || span.links.includes(trace)))
    await until('each change is announced in its trace or linked', () => callers.every(reported))
  })
})

describe('traces', () => {
  it('are sampled', async () => {
    const collector = await new Collector().open()
    const env = { ...SOON, UES_TELEMETRY_OTLP_ENDPOINT: collector.url, UES_TELEMETRY_SAMPLE: '0' }
    const server = await startUes({ env })
    const key = await newKey(server, 'alice')
    for (let i = 0; i < 20; i++) await pin(server, key, rawCid(`unsampled ${i}`))
    const caller = begin()
    await pin(server, key, rawCid('sampled'), caller.header)
    await until('the one is there', () => collector.trace(caller.trace).length >= 3)
    await server.close()
    assert.deepEqual([...new Set(collector.spans.map((span) => span.trace))], [caller.trace])
    collector.close()
  })

  it('are lost without harm when nobody takes them', async () => {
    const port = await freePort()
    const env = { ...SOON, UES_TELEMETRY_OTLP_ENDPOINT: `http://127.0.0.1:${port}` }
    const server = await startUes({ env })
    const key = await newKey(server, 'alice')
    await pin(server, key, rawCid('lost'))
    await until('it is warned', () => server.program.log.includes('traces are lost'))
    const { status } = await pinCall(server, key, 'GET', '/pins')
    assert.equal(status, 200)
    const started = Date.now()
    await server.close()
    assert.ok(Date.now() - started < 8000, 'the end waits a little only')
    assert.equal(server.program.log.split('traces are lost').length, 2, 'warned once')
  })

  it('are nowhere without a collector', async () => {
    const server = await startUes()
    const key = await newKey(server, 'alice')
    await pin(server, key, rawCid('untraced'), begin().header)
    const { status } = await pinCall(server, key, 'GET', `/pins/${rawCid('untraced')}`)
    assert.equal(status, 200)
    assert.ok(!server.program.log.includes('ues_span'))
    await server.close()
  })
})
