// Two devices that hold one repository, real processes over loopback: how long a change takes from the one to the other,
// and how long the first sync of a large repository takes.
import { rm } from 'node:fs/promises'
import { newAccount } from '../../tests/lib/accounts.mjs'
import { DeviceNode, NOTE, call, note, operatorSession, pair } from '../../tests/lib/devices.mjs'
import { Subscription } from '../../tests/lib/firehose.mjs'
import { dataRoot } from '../../tests/lib/repos.mjs'
import { figure, memory, quantile, table } from './measure.mjs'

const BATCH = 200

/** Writes that many records. */
async function fill(node, did, records) {
  const session = await operatorSession(node, did)
  for (let done = 0; done < records; done += BATCH) {
    const writes = Array.from({ length: Math.min(BATCH, records - done) }, (_, n) => ({
      $type: 'com.atproto.repo.applyWrites#create',
      collection: NOTE,
      rkey: `n${done + n}`,
      value: note(`record ${done + n} of a repository that has many of them`),
    }))
    const answer = await call(node, session, 'com.atproto.repo.applyWrites', { repo: did, writes })
    if (answer.status !== 200) throw new Error(`applyWrites: ${JSON.stringify(answer)}`)
  }
}

/** Waits until both have the same tree; returns the seconds since `begun`. */
async function equal(did, a, b, begun) {
  const want = await dataRoot(a.server, did)
  for (;;) {
    if ((await dataRoot(b.server, did).catch(() => undefined)) === want) return (performance.now() - begun) / 1000
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Milliseconds from before a write is sent to one device until the other's firehose tells of it, for each of many. */
async function latencies(from, to, did, changes) {
  const session = await operatorSession(from, did)
  const stream = new Subscription(to.server)
  await stream.opened
  const took = []
  for (let n = 0; n < changes; n++) {
    const rkey = `change-${from.name}-${n}`
    const begun = performance.now()
    const seen = stream.until((events) => events.at(-1)?.ops?.some((op) => op.path.endsWith(`/${rkey}`)) && performance.now())
    const input = { repo: did, collection: NOTE, rkey, record: note(rkey) }
    const answer = await call(from, session, 'com.atproto.repo.createRecord', input)
    if (answer.status !== 200) throw new Error(`createRecord: ${JSON.stringify(answer)}`)
    took.push((await seen) - begun)
  }
  stream.socket.terminate()
  return took
}

export async function measureDevices(records, changes) {
  const nodes = [await DeviceNode.start('first'), await DeviceNode.start('second')]
  const [first, second] = nodes
  try {
    const { did } = await newAccount(first.server)
    await fill(first, did, records)
    const begun = performance.now()
    await pair(first, did, second)
    const paired = (performance.now() - begun) / 1000
    const whole = await equal(did, first, second, begun)
    const peaks = await Promise.all(nodes.map((node) => memory(node.server.program)))
    table(
      'First sync',
      ['records', 'pairing, s', 'until both are equal, s', 'records/s after pairing', 'memory at its highest, MB: first', 'second'],
      [[figure(records), figure(paired), figure(whole), figure(records / (whole - paired)), ...peaks.map((m) => figure(m.peak))]],
    )
    const rows = []
    for (const [name, from, to] of [
      ['from the device with the root key', first, second],
      ['to the device with the root key', second, first],
    ]) {
      const took = await latencies(from, to, did, changes)
      rows.push([name, figure(quantile(took, 0.5)), figure(quantile(took, 0.99)), figure(Math.max(...took))])
    }
    table(
      `A change on one device until the other's firehose tells it, ${figure(changes)} changes one after another, ${figure(records)} records there`,
      ['', 'p50, ms', 'p99, ms', 'longest, ms'],
      rows,
    )
  } finally {
    for (const node of nodes) {
      await node.stop()
      await rm(node.dir, { recursive: true, force: true })
    }
  }
}
