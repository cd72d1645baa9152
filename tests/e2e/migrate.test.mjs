// Pins move from a real IPFS-Cluster to our node and back; migrations are killed, and sources fail in the middle.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, readdir, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { ues, uesOk } from '../lib/cli.mjs'
import { ClusterFolder, byCid, startOriginal } from '../lib/cluster.mjs'
import { allPins, newKey, rawCid, until } from '../lib/pins.mjs'
import { dataOf, scratch, startUes, uesBinary } from '../lib/servers.mjs'

const LIMIT = { timeout: 180_000 }
const PEER = '12D3KooWNjswi6F9Lfx7Fk8s9xnJdYoiCXd5WY6iAeorJQkypJab'
const NEVER = '0001-01-01T00:00:00Z'

let server, dir, data
before(async () => {
  server = await startUes()
  data = dataOf(server)
  dir = await scratch('migrate')
})
after(async () => {
  await server?.close()
  if (dir) await rm(dir, { recursive: true, force: true })
})

/** A pin as a cluster exports it. */
const pin = (name, more = {}) => ({
  replication_factor_min: 1,
  replication_factor_max: 2,
  name,
  mode: 'recursive',
  shard_size: 0,
  user_allocations: null,
  expire_at: NEVER,
  metadata: null,
  pin_update: null,
  origins: [],
  cid: rawCid(name),
  type: 'pin',
  allocations: [PEER],
  max_depth: -1,
  reference: null,
  timestamp: '2020-09-13T12:26:40Z',
  ...more,
})

/** Pins of all kinds that a service takes as they are. */
const various = (count) =>
  Array.from({ length: count }, (_, i) =>
    pin(`pin ${i} "ü" ${'x'.repeat(i % 90)}`, {
      ...(i % 3 === 0 && { metadata: { key: `value ${i}`, '{': '"\\' } }),
      ...(i % 5 === 0 && { replication_factor_min: -1, replication_factor_max: -1, allocations: [] }),
      ...(i % 7 === 0 && { mode: 'direct', max_depth: 0 }),
      ...(i % 11 === 0 && { expire_at: '2090-01-02T03:04:05Z' }),
      ...(i % 13 === 0 && { origins: [`/ip4/127.0.0.1/tcp/4001/p2p/${PEER}`] }),
      ...(i % 17 === 0 && { pin_update: rawCid(`before ${i}`), shard_size: i }),
      timestamp: new Date((1_600_000_000 + i * 7) * 1000).toISOString().replace('.000', ''),
    }),
  )

const lines = (pins) => pins.map((one) => `${JSON.stringify(one)}\n`).join('')
const sorted = (pins) => byCid(lines(pins))

/** Migrates; returns exit code, and the JSON that was printed or what went wrong. */
async function migrate(from, args = [], env = {}) {
  const { code, stdout, stderr } = await ues(data, ['pin', 'migrate', '--json', '--from', from, ...args], { env })
  return { code, ...JSON.parse(code === 0 ? stdout : stderr.trim().split('\n').at(-1)), stderr }
}

async function migrated(from, args, env) {
  const done = await migrate(from, args, env)
  assert.equal(done.code, 0, JSON.stringify(done))
  return done
}

async function failed(from, args, said) {
  const done = await migrate(from, args)
  assert.notEqual(done.code, 0, JSON.stringify(done))
  assert.match(done.message, said)
  return done
}

const file = async (name, content) => {
  const full = path.join(dir, name)
  await writeFile(full, content)
  return full
}

const exported = async (owner) =>
  byCid(await uesOk(data, ['pin', 'export', '--format', 'cluster', ...(owner ? ['--owner', owner] : [])]))

/** A migration from standard input that goes on until it is told or killed. */
function feeding(args) {
  const child = spawn(uesBinary(), ['--data', data, 'pin', 'migrate', '--json', '--from', '-', ...args])
  // It does not read on when it has failed.
  child.stdin.on('error', () => {})
  const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { child, ended: ended.then(([stdout, stderr, [code, signal]]) => ({ code, signal, stdout, stderr })) }
}

/** What is written down of unfinished migrations, with where. */
async function journals() {
  const folder = path.join(data, 'migrations')
  const files = (await readdir(folder)).filter((name) => name.endsWith('.json')).map((name) => path.join(folder, name))
  return Promise.all(files.map(async (file) => ({ file, journal: JSON.parse(await readFile(file, 'utf8')) })))
}

const journalOf = async (owner) => (await journals()).find(({ journal }) => journal.owner === owner)?.journal

async function writeJournal(journal) {
  const { file } = (await journals()).find((found) => found.journal.owner === journal.owner)
  await writeFile(file, JSON.stringify(journal))
}

describe('there and back', () => {
  it('keeps a state as it is', LIMIT, async () => {
    const pins = various(3000)
    const [a, b] = await Promise.all([ClusterFolder.make(), ClusterFolder.make()])
    try {
      await a.import(lines(pins))
      const raw = await a.service('state', 'export')
      const before = byCid(raw)
      assert.deepEqual(before, sorted(pins), 'the original keeps what it was given')
      const done = await migrated(await file('a.json', raw), ['--owner', 'there', '--expect', '3000'])
      assert.deepEqual([done.read, done.taken, done.compared, done.leftOut], [3000, 3000, 3000, {}])
      assert.equal(await journalOf('there'), undefined, 'nothing is left to go on with')

      const out = path.join(dir, 'b.json')
      await uesOk(data, ['pin', 'export', '--format', 'cluster', '--owner', 'there', '-o', out])
      const ours = await readFile(out, 'utf8')
      assert.deepEqual(byCid(ours), before)
      await b.import(ours)
      assert.deepEqual(await b.exported(), before)
    } finally {
      await Promise.all([a.remove(), b.remove()])
    }
  })

  it('shows what was taken over to its owner', LIMIT, async () => {
    const [one] = sorted(various(1))
    const full = await file('one.json', lines([one]))
    const done = await migrated(full, ['--owner', 'shown'])
    const key = await newKey(server, 'shown')
    const [found] = await allPins(server, key)
    assert.deepEqual(
      [found.pin.cid, found.pin.name, found.pin.meta, found.created, found.pin.tags],
      [one.cid, one.name, one.metadata, one.timestamp, [done.tag]],
    )
    // The same again is the same request, with the tag of the later migration.
    const again = await migrated(full, ['--owner', 'shown'])
    assert.deepEqual([again.taken, again.replaced], [1, 1])
    assert.deepEqual((await allPins(server, key)).map((view) => view.requestid), [found.requestid])
  })
})

describe('a running cluster', () => {
  let original
  before(async () => {
    const folder = await ClusterFolder.make()
    await folder.import(lines(various(2500)))
    original = await startOriginal({ folder, rest: { basic_auth_credentials: { me: 'a:secret' } } })
  }, LIMIT)
  after(() => original?.close())

  it('is read by its REST API', LIMIT, async () => {
    const refused = await failed(original.url, ['--owner', 'live'], /401/)
    assert.match(refused.hint, /--user/)
    await migrated(original.url, ['--owner', 'live', '--user', 'me:a:secret', '--expect', '2500'])
    const ours = await exported('live')
    // Unlike at the export no daemon may have the folder.
    await original.halt()
    assert.deepEqual(ours, await original.folder.exported())
    assert.equal(ours.length, 2500)
  })
})

describe('other forms', () => {
  it('reads what is packed', LIMIT, async () => {
    const pins = various(700)
    const packed = gzipSync(lines(pins))
    await migrated(await file('packed.json.gz', packed), ['--owner', 'packed'])
    assert.deepEqual(await exported('packed'), sorted(pins))
    const cut = await file('cut.json.gz', packed.subarray(0, packed.length - 100))
    await failed(cut, ['--owner', 'packed-cut'], /unpack the source/)
  })

  it('reads the list of an old version, and says what it leaves out', LIMIT, async () => {
    const golden = new URL('../../crates/pins/tests/golden/export-0.10.json', import.meta.url)
    const done = await migrated(golden.pathname, ['--owner', 'old', '--expect', '7'])
    assert.deepEqual([done.taken, done.converted], [4, 1])
    assert.deepEqual(done.leftOut, { 'clusterdag-pin': 1, 'shard-pin': 2 })
    const left = (await readFile(done.leftOutFile, 'utf8')).trim().split('\n')
    assert.deepEqual(left.map((line) => JSON.parse(line).pin.type), [8, 16, 16])
    assert.equal((await exported('old')).length, 4)
  })

  it('leaves out what has ended, and fails for what it refuses', LIMIT, async () => {
    const pins = [
      pin('stays'),
      pin('over', { expire_at: '2001-01-01T00:00:00Z' }),
      pin('a long name'.repeat(30)),
      pin('soon over', { expire_at: new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+/, '') }),
    ]
    const { code, stdout, stderr } = await ues(data, [
      ...['pin', 'migrate', '--json', '--owner', 'some', '--from', await file('some.json', lines(pins))],
    ])
    assert.equal(code, 1)
    assert.match(stderr, /1 pins were refused/)
    const done = JSON.parse(stdout)
    assert.deepEqual(done.leftOut, { ended: 1, refused: 1 })
    assert.deepEqual([done.taken, done.compared], [2, 1])
    assert.match(await readFile(done.leftOutFile, 'utf8'), /a name may have at most 255 bytes/)
  })

  it('takes the last one of pins that come twice', LIMIT, async () => {
    const pins = various(30)
    const later = pins.map((one) => ({ ...one, name: 'later' }))
    const twice = await file('twice.json', lines([...pins, ...pins, ...later, ...later.slice(0, 3)]))
    const done = await migrated(twice, ['--owner', 'twice'])
    assert.deepEqual([done.read, done.repeated, done.compared], [93, 63, 30])
    assert.deepEqual(await exported('twice'), sorted(later))
  })
})

describe('an interruption', () => {
  const pins = various(9000)
  const whole = lines(pins)

  it('by SIGKILL is gone on from', LIMIT, async () => {
    const args = ['--owner', 'killed', '--expect', '9000']
    const first = feeding(args)
    first.child.stdin.write(whole.slice(0, whole.length / 2))
    const seen = await until('a batch is written down', async () => {
      const journal = await journalOf('killed').catch(() => undefined)
      return journal?.read >= 4000 && journal
    })
    first.child.kill('SIGKILL')
    assert.equal((await first.ended).signal, 'SIGKILL')

    // Another source is not gone on with, and it does not spoil what is written down.
    const other = feeding([...args, '--resume'])
    other.child.stdin.end(whole.replace('pin 5 ', 'pin X '))
    const refused = await other.ended
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /are not those that were read before/)
    const short = feeding([...args, '--resume'])
    short.child.stdin.end(whole.slice(0, 1000))
    assert.equal((await short.ended).code, 1)
    assert.deepEqual(await journalOf('killed'), seen)

    const second = feeding([...args, '--resume'])
    second.child.stdin.end(whole)
    const { code, stdout, stderr } = await second.ended
    assert.equal(code, 0, stderr)
    const done = JSON.parse(stdout)
    assert.deepEqual([done.read, done.taken, done.repeated, done.tag], [9000, 9000, 0, seen.tag])
    assert.deepEqual(await exported('killed'), sorted(pins))
    await failed('-', [...args, '--resume'], /no unfinished migration/)
  })

  it('between the service and the journal does no harm', LIMIT, async () => {
    const args = ['--owner', 'between']
    const reads = (count) =>
      until(`${count} pins are written down`, async () => {
        const journal = await journalOf('between').catch(() => undefined)
        return journal?.read === count && journal
      })
    const first = feeding(args)
    first.child.stdin.write(lines(pins.slice(0, 2000)))
    const early = await reads(2000)
    first.child.stdin.write(lines(pins.slice(2000, 4000)))
    await reads(4000)
    first.child.kill('SIGKILL')
    await first.ended
    // As it is when the last pins arrived and were not written down.
    await writeJournal(early)
    const second = feeding([...args, '--resume'])
    second.child.stdin.end(whole)
    const { code, stdout, stderr } = await second.ended
    assert.equal(code, 0, stderr)
    const done = JSON.parse(stdout)
    assert.deepEqual([done.read, done.taken, done.repeated], [9000, 9000, 0])
    assert.deepEqual(await exported('between'), sorted(pins))
  })
})

describe('a source that fails', () => {
  const pins = various(5000)
  const whole = lines(pins)

  /** A server that is no cluster: what it does with a request is up to the test. */
  async function pretending(answer, tls) {
    const pretender = tls ? https.createServer(tls, answer) : http.createServer(answer)
    pretender.listen(0, '127.0.0.1')
    await once(pretender, 'listening')
    const url = `http${tls ? 's' : ''}://127.0.0.1:${pretender.address().port}`
    return { url, close: () => pretender.close() }
  }

  /** Fails, and leaves a journal with what came before. */
  async function fails(from, owner, said) {
    await failed(from, ['--owner', owner], said)
    const journal = await journalOf(owner)
    assert.ok(journal.read > 0 && journal.read <= 5000 && !journal.complete, JSON.stringify(journal))
  }

  it('by a cut line, and is whole later', LIMIT, async () => {
    const name = 'growing.json'
    const cut = whole.lastIndexOf('"cid"')
    await fails(await file(name, whole.slice(0, cut)), 'cut', /ends at byte \d+, in the middle/)
    const full = await file(name, whole)
    await migrated(full, ['--owner', 'cut', '--resume'])
    assert.deepEqual(await exported('cut'), sorted(pins))
  })

  it('by a cut list', LIMIT, async () => {
    const list = JSON.stringify(pins, null, 4)
    await fails(await file('list.json', list.slice(0, list.lastIndexOf('}') + 1)), 'cut-list', /in the middle/)
  })

  it('by a missing line, when the number is known', LIMIT, async () => {
    const short = await file('short.json', lines(pins.slice(0, -1)))
    await failed(short, ['--owner', 'short', '--expect', '5000'], /5000 pins were expected, and the source has 4999/)
    await failed(await file('empty.json', ''), ['--owner', 'short'], /no pins/)
  })

  it('by an unreadable pin, which is not passed over', LIMIT, async () => {
    const broken = [...pins]
    broken[4500] = { ...broken[4500], cid: 'nothing' }
    const full = await file('broken.json', lines(broken))
    await fails(full, 'broken', /unreadable pin at byte \d+: CID "nothing"/)
    await failed(full, ['--owner', 'broken', '--resume'], /unreadable pin/)
  })

  it('by a trailer, by a connection that breaks off, by an answer that is none', LIMIT, async () => {
    const half = whole.slice(0, whole.indexOf('\n', whole.length / 2) + 1)
    const server = await pretending((req, res) => {
      if (req.url === '/trailer/allocations?filter=all') {
        res.writeHead(200, { trailer: 'X-Stream-Error' })
        res.write(half)
        res.addTrailers({ 'X-Stream-Error': 'the datastore is gone' })
        res.end()
      } else if (req.url === '/broken/allocations?filter=all') {
        res.writeHead(200)
        res.write(half, () => setImmediate(() => res.destroy()))
      } else {
        res.writeHead(500).end('{"code":500,"message":"not today"}')
      }
    })
    try {
      await fails(`${server.url}/trailer`, 'trailer', /failed in the middle: the datastore is gone/)
      await fails(`${server.url}/broken`, 'broken-off', /broke off/)
      await failed(server.url, ['--owner', 'none'], /500 .*not today/)
    } finally {
      server.close()
    }
    await failed(server.url, ['--owner', 'none'], /does not answer/)
  })

  it('not by https', LIMIT, async () => {
    const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(dir, name))
    const make = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    const named = ['-subj', '/CN=cluster', '-keyout', key, '-out', cert]
    const meant = ['basicConstraints=critical,CA:FALSE', 'subjectAltName=IP:127.0.0.1'].flatMap((x) => ['-addext', x])
    await promisify(execFile)('openssl', [...make, ...named, ...meant])
    const tls = { key: await readFile(key), cert: await readFile(cert) }
    const server = await pretending((_, res) => res.end(whole), tls)
    try {
      await failed(server.url, ['--owner', 'https'], /does not answer.*certificate/i)
      await migrated(server.url, ['--owner', 'https'], { SSL_CERT_FILE: cert })
    } finally {
      server.close()
    }
  })
})
