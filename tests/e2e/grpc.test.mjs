// The pin service over gRPC, on the port of the node, with a client of others; what it does is compared with REST.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Code, all, as, call, clients, reflect } from '../lib/grpc.mjs'
import { allPins, newKey, pinCall, rawCar, rawCid, reaches, until } from '../lib/pins.mjs'
import { dataOf, startUes } from '../lib/servers.mjs'

const SERVICES = ['ues.pins.v1.PinService', 'ues.pins.v1.FleetService', 'grpc.health.v1.Health']

/** A pin of gRPC in the shape of the Pinning Service API, as far as both have it. */
function asRest(pin) {
  const time = (at) => new Date(Number(at.seconds) * 1000 + at.nanos / 1e6).toISOString()
  const { spec } = pin
  return {
    requestid: pin.request_id,
    status: pin.status.replace('PIN_STATUS_', '').toLowerCase(),
    created: time(pin.created_at),
    cid: spec.cid,
    name: spec.name,
    tags: spec.tags,
    // The client, which knows the service by reflection, has maps as lists of entries.
    meta: Object.fromEntries(spec.meta.map(({ key, value }) => [key, value])),
    copies: `${pin.copies} of ${pin.copies_desired}`,
    until: spec.expire_at ? time(spec.expire_at) : undefined,
  }
}

function ofRest(status) {
  const { pin } = status
  return {
    requestid: status.requestid,
    status: status.status,
    created: new Date(status.created).toISOString(),
    cid: pin.cid,
    name: pin.name ?? '',
    tags: pin.tags ?? [],
    meta: pin.meta ?? {},
    copies: status.info.copies,
    until: pin.until && new Date(pin.until).toISOString(),
  }
}

describe('gRPC', () => {
  let server, alice, reader, operator, PinService, FleetService, Health
  before(async () => {
    server = await startUes()
    alice = await newKey(server, 'alice')
    reader = await newKey(server, 'alice', '--scope', 'pins:read')
    operator = (await readFile(path.join(dataOf(server), 'operator-secret'), 'utf8')).trim()
    ;({ PinService, FleetService, Health } = await clients(server, SERVICES))
  })
  after(async () => {
    for (const client of [PinService, FleetService, Health]) client?.close()
    await server.close()
  })

  const fails = (promise, code) =>
    assert.rejects(promise, (error) => {
      assert.equal(error.code, code, error.message)
      assert.ok(error.details.length > 3, 'a sentence')
      return true
    })

  it('tells of itself', async () => {
    for (const version of ['v1', 'v1alpha']) {
      const [{ list_services_response: list }] = await reflect(server, [{ list_services: '' }], version)
      const names = list.service.map((service) => service.name)
      for (const name of SERVICES) assert.ok(names.includes(name), `${name} in ${names}`)
    }
    const health = await call(Health, 'Check', { service: 'ues.pins.v1.PinService' })
    assert.equal(health.status, 'SERVING')
  })

  it('stores an archive, pins its root and says what REST says', async () => {
    const contents = ['one', 'two', 'three']
    const archive = rawCar(contents)
    const imported = new Promise((resolve, reject) => {
      const stream = PinService.ImportCar(as(alice), (error, answer) => (error ? reject(error) : resolve(answer)))
      const spec = { name: 'archive', tags: ['t'], meta: [{ key: 'app', value: 'e2e' }], ttl: { seconds: 3600 } }
      stream.write({ spec, data: archive.subarray(0, 50) })
      stream.write({ data: archive.subarray(50) })
      stream.end()
    })
    const { pins } = await imported
    assert.deepEqual(new Set(pins.map((pin) => pin.spec.cid)), new Set(contents.map(rawCid)))
    for (const { request_id: id } of pins) {
      const rest = await reaches(server, alice, id, 'pinned')
      const { pin } = await call(PinService, 'GetPin', { id }, alice)
      assert.deepEqual(asRest(pin), ofRest(rest))
      assert.equal(pin.placements[0].state, 'PLACEMENT_STATE_PINNED')
    }
    const listed = await all(PinService, 'ListPins', { tag: 't', statuses: ['PIN_STATUS_PINNED'] }, alice)
    const rest = await pinCall(server, alice, 'GET', '/pins?tag=t&status=pinned')
    assert.deepEqual(listed.map(({ pin }) => asRest(pin)), rest.body.results.map(ofRest))
    assert.equal(listed.length, 3)
  })

  it('pins and unpins many, in order, each once', async () => {
    const cids = Array.from({ length: 3000 }, (_, i) => rawCid(`bulk ${i}`))
    const send = async (method, messages) => {
      const stream = PinService[method](as(alice))
      const answers = Array.fromAsync(stream)
      for (const message of messages) {
        if (!stream.write(message)) await new Promise((resolve) => stream.once('drain', resolve))
      }
      stream.end()
      return answers
    }
    const before = (await allPins(server, alice)).length
    const messages = cids.map((cid, i) => ({ spec: { cid }, op_id: `bulk-${i}` }))
    messages.push({ spec: { cid: 'nonsense' } })
    const first = await send('BulkPin', messages)
    assert.deepEqual(first.map((answer) => answer.index), messages.map((_, i) => i))
    assert.deepEqual(first.map((answer) => answer.cid), messages.map((message) => message.spec.cid))
    assert.equal(first.at(-1).error.code, Code.INVALID_ARGUMENT)
    const again = await send('BulkPin', messages)
    assert.deepEqual(again, first)
    assert.equal((await allPins(server, alice)).length, before + 3000)
    const gone = await send('BulkUnpin', cids.map((cid) => ({ cid })))
    assert.equal(gone.filter((answer) => answer.error).length, 0)
    const missing = await send('BulkUnpin', [{ cid: cids[0] }])
    assert.equal(missing[0].error.code, Code.NOT_FOUND)
    assert.equal((await allPins(server, alice)).length, before)
  })

  it('refuses in the words of gRPC', async () => {
    const spec = { cid: rawCid('refused') }
    await fails(call(PinService, 'Pin', { spec }), Code.UNAUTHENTICATED)
    await fails(call(PinService, 'Pin', { spec }, 'wrong'), Code.UNAUTHENTICATED)
    await fails(call(PinService, 'Pin', { spec }, reader), Code.PERMISSION_DENIED)
    await fails(call(PinService, 'Pin', { spec: { cid: 'x' } }, alice), Code.INVALID_ARGUMENT)
    await fails(call(PinService, 'GetPin', { id: rawCid('nowhere') }, reader), Code.NOT_FOUND)
    await fails(call(FleetService, 'ListWorkers', {}, alice), Code.PERMISSION_DENIED)
    const long = { spec: { ...spec, name: 'x'.repeat(300 << 10) } }
    await fails(call(PinService, 'Pin', long, alice), Code.OUT_OF_RANGE)
    await call(PinService, 'Pin', { spec, op_id: 'once' }, alice)
    const other = { spec: { cid: rawCid('another') }, op_id: 'once' }
    await fails(call(PinService, 'Pin', other, alice), Code.ALREADY_EXISTS)
    await fails(Array.fromAsync(PinService.Watch({}, as(alice), { deadline: Date.now() + 200 })), Code.DEADLINE_EXCEEDED)
  })

  it('tells of changes as they happen', async () => {
    const cid = rawCid('watched')
    const watcher = PinService.Watch({ cids: [cid] }, as(alice))
    const seen = []
    watcher.on('data', ({ change }) => seen.push(change))
    watcher.on('error', () => {})
    // The answer begins when it watches.
    await new Promise((resolve) => watcher.once('metadata', resolve))
    await pinCall(server, alice, 'POST', '/pins', { cid })
    await until('the change is told', () => seen.some((change) => change.cid === cid && change.worker))
    watcher.cancel()
  })

  it('shows the operator what REST shows', async () => {
    const rest = async (what) => {
      const res = await fetch(`${server.url}/admin/v1/pins/${what}`, { headers: { authorization: `Bearer ${operator}` } })
      return res.json()
    }
    const { workers } = await call(FleetService, 'ListWorkers', {}, operator)
    const [theirs] = (await rest('workers')).workers
    const { id, name, state, agent } = workers[0]
    assert.deepEqual(
      { id, name, state: state.replace('WORKER_STATE_', '').toLowerCase(), agent },
      { id: theirs.id, name: theirs.name, state: theirs.state, agent: theirs.agent },
    )
    const { queues } = await call(FleetService, 'ListQueues', {}, operator)
    assert.deepEqual(queues.map((queue) => queue.name).sort(), (await rest('queues')).queues.map((q) => q.name).sort())
    const cid = rawCid('one')
    const record = await call(FleetService, 'GetRecord', { cid }, operator)
    const same = await rest(`record?cid=${cid}`)
    assert.equal(record.requests, same.requests)
    assert.deepEqual(record.placements.map((p) => p.worker), same.placements.map((p) => p.worker))
    const drained = await call(FleetService, 'DrainWorker', { worker: name, draining: true }, operator)
    assert.equal(drained.id, id)
    assert.equal((await rest('workers')).workers[0].state, 'draining')
    await call(FleetService, 'DrainWorker', { worker: id, draining: false }, operator)
    assert.deepEqual((await call(FleetService, 'ListDeadLetters', {}, operator)).letters, [])
  })
})
