// The IPFS proxy: the original's and ours, each before a Kubo, are told the same by Kubo's own command line, and have to
// answer and to do the same. What ours does better is told apart.
import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { startOriginal, startOurs } from '../lib/cluster.mjs'
import { newKey, pinBlocks, rawCar, rawCid, reaches, until } from '../lib/pins.mjs'
import { freePort } from '../lib/process.mjs'
import { scratch, startUes } from '../lib/servers.mjs'

const LIMIT = { timeout: 180_000 }
const ABSENT = 'bafkreic7a2lw3s4o3uwjdy6aztujpfg44rq7pl2e3p7vduoa3pxpdzofla'

let original, ours, dir
before(async () => {
  ;[original, ours, dir] = await Promise.all([startOriginal(), startOurs(), scratch('proxy')])
}, LIMIT)
after(async () => {
  await Promise.all([original?.close(), ours?.close()])
  if (dir) await rm(dir, { recursive: true, force: true })
})

/** Does the same with both, and compares what comes of it. */
async function same(what, act) {
  const [expected, found] = await Promise.all([act(original), act(ours)])
  assert.deepEqual(found, expected, what)
  return found
}

/** The same command line against both: the same exit code and the same output. */
const sameCommand = (...args) => same(args.join(' '), (side) => side.ipfs(...args))

/** A command that both carry out; what it prints. */
async function succeeds(...args) {
  const done = await sameCommand(...args)
  assert.equal(done.code, 0, `${args.join(' ')}: ${done.stderr}`)
  return done.stdout
}

/** The same block in both; its CID. */
async function block(text) {
  const [a, b] = await Promise.all([original, ours].map((side) => side.kubo.block(Buffer.from(text))))
  assert.equal(a, b)
  return a
}

/** Waits until the Kubo of both has a recursive pin, or has it no more. */
const settles = (cid, pinned = true) =>
  Promise.all(
    [original, ours].map((side) =>
      until(`${side.name}: ${cid} is ${pinned ? '' : 'not '}pinned`, async () => (await side.kubo.pins()).has(cid) === pinned),
    ),
  )

const lines = (text) => text.split('\n').filter(Boolean)
const words = (text) => lines(text).sort()

describe('pins by the command line of Kubo', () => {
  it('are added, listed, updated and removed', LIMIT, async () => {
    const [one, two] = [await block('one'), await block('two')]
    await succeeds('pin', 'add', one)
    await settles(one)
    await succeeds('pin', 'ls', one)
    await succeeds('pin', 'ls')
    await succeeds('pin', 'ls', '--stream')
    await succeeds('pin', 'ls', '--type=recursive', '--quiet')
    await succeeds('pin', 'update', '--unpin=false', one, two)
    await settles(two)
    await same('pin ls of both', async (side) => words((await side.ipfs('pin', 'ls')).stdout))
    await succeeds('pin', 'rm', one)
    await settles(one, false)
    const three = await block('three')
    await succeeds('pin', 'update', two, three)
    // The original may have removed the one before it pins the other by way of it, and then tries again much later.
    await until('ours has the other', async () => {
      const pins = await ours.kubo.pins()
      return pins.has(three) && !pins.has(two)
    })
    await succeeds('pin', 'ls')
    await succeeds('pin', 'rm', `/ipfs/${three}`)
    await settles(three, false)
    await succeeds('pin', 'ls')
  })

  it('are named by paths', LIMIT, async () => {
    const folder = path.join(dir, 'by-path')
    await mkdir(path.join(folder, 'in'), { recursive: true })
    await writeFile(path.join(folder, 'in', 'file'), 'named by a path')
    const roots = await Promise.all([original, ours].map((side) => side.kubo.ipfs(['add', '-Qr', '--pin=false', folder])))
    assert.equal(roots[0], roots[1])
    const target = await ours.kubo.ipfs(['resolve', `/ipfs/${roots[0]}/in`])
    const printed = await succeeds('pin', 'add', `/ipfs/${roots[0]}/in`)
    assert.ok(target.endsWith(printed.split(' ')[1]), printed)
    const cid = target.split('/')[2]
    await settles(cid)
    await succeeds('pin', 'rm', `${roots[0]}/in`)
    await settles(cid, false)
  })

  it('fail alike', LIMIT, async () => {
    for (const args of [
      ['pin', 'ls', ABSENT],
      ['pin', 'rm', ABSENT],
      ['pin', 'update', ABSENT, await block('never there')],
      ['pin', 'add', 'nothing'],
      ['pin', 'add', '/ipns'],
    ]) {
      await same(args.join(' '), async (side) => {
        const { code, stderr } = await side.ipfs(...args)
        assert.match(stderr, /^Error: ./, `${side.name}: ${args.join(' ')}`)
        return code
      })
    }
    const { stderr } = await sameCommand('pin', 'ls', ABSENT)
    assert.match(stderr, /is not pinned/)
    for (const query of ['', `?arg=${ABSENT}`]) {
      await same(`pin/update${query}`, async (side) => {
        const { status, text } = await side.proxy('POST', `/api/v0/pin/update${query}`)
        return { status, said: JSON.parse(text) }
      })
    }
  })

  it('take several arguments and a depth here', LIMIT, async () => {
    const cids = [await block('four'), await block('five'), await block('six')]
    const added = await ours.ipfs('pin', 'add', '--name', 'a name', cids[0], cids[1])
    assert.equal(lines(added.stdout).length, 2, JSON.stringify(added))
    await ours.ipfs('pin', 'add', '--recursive=false', cids[2])
    const list = async (...args) => words((await ours.ipfs('pin', 'ls', '--quiet', ...args)).stdout)
    await until('the direct one is listed', async () => (await list('--type=direct'))[0] === cids[2])
    assert.deepEqual(await list('--type=recursive'), cids.slice(0, 2).sort())
    assert.deepEqual(await list('--type=indirect'), [])
    const named = await ours.ipfs('pin', 'ls', '--names', cids[0])
    assert.match(named.stdout, /recursive a name/)
    await ours.ipfs('pin', 'rm', ...cids)
    assert.deepEqual(await list(), [])
  })
})

describe('content', () => {
  let folder
  before(async () => {
    folder = path.join(dir, 'a folder')
    await mkdir(path.join(folder, 'sub', 'empty'), { recursive: true })
    await writeFile(path.join(folder, 'ünï code.txt'), 'some words')
    await writeFile(path.join(folder, 'sub', 'large'), Buffer.alloc(3_000_000, 'large '))
    await writeFile(path.join(folder, 'sub', 'none'), '')
  })

  for (const [what, args] of [
    ['a folder', ['-r']],
    ['a folder in a wrapper', ['-r', '-w']],
    ['a folder as a newer version', ['-r', '--cid-version=1']],
    ['a folder with raw leaves', ['-r', '--raw-leaves', '--chunker=size-100000']],
    ['a folder as a trickle', ['-r', '--trickle', '--hash=blake2b-256', '--cid-version=1']],
  ]) {
    it(`is added: ${what}`, LIMIT, async () => {
      const printed = await same(what, async (side) => {
        const { code, stdout, stderr } = await side.ipfs('add', ...args, '--progress=false', folder)
        assert.equal(code, 0, `${side.name}: ${stderr}`)
        return lines(stdout)
      })
      const root = printed.at(-1).split(' ')[1]
      await settles(root)
      const alone = await ours.kubo.ipfs(['add', ...args, '-Q', '--only-hash', folder])
      assert.equal(root, alone, 'what a Kubo makes of it')
      await succeeds('pin', 'rm', root)
      await settles(root, false)
    })
  }

  // The original answers that the CID is not possible.
  it('is added with another hash, which takes a newer version here', LIMIT, async () => {
    const { stdout: root, stderr } = await ours.ipfs('add', '-Qr', '--hash=sha2-512', '--raw-leaves', folder)
    assert.equal(root, await ours.kubo.ipfs(['add', '-Qr', '--hash=sha2-512', '--only-hash', folder]), stderr)
    await until('it is pinned', async () => (await ours.kubo.pins()).has(root))
    await ours.ipfs('pin', 'rm', root)
  })

  it('is added without being pinned, and not when only its hash is asked for', LIMIT, async () => {
    const file = path.join(folder, 'ünï code.txt')
    const cid = await succeeds('add', '-Q', '--pin=false', file)
    assert.equal(await succeeds('cat', cid), 'some words')
    assert.equal(await succeeds('pin', 'ls'), '')
    const { stderr } = await ours.ipfs('add', '--only-hash', file)
    assert.match(stderr, /only-hash is not supported/)
    const wrong = await same('a wrong chunker', async (side) => {
      const { code, stderr } = await side.ipfs('add', '-Q', '--chunker=size-x', file)
      return code !== 0 && stderr.length > 0
    })
    assert.equal(wrong, true)
  })

  it('is added by the REST API of the cluster as well', LIMIT, async () => {
    const added = await same('ctl add', async (side) => {
      const all = await side.ctlJson('add', '-r', folder)
      return all.map(({ name, cid, size }) => ({ name, cid, size }))
    })
    await settles(added.at(-1).cid)
  })

  it('is taken from archives, whose blocks are checked', LIMIT, async () => {
    const key = await newKey(ours.server, 'archivist')
    const contents = ['of an archive', 'also of it'].map((text) => Buffer.from(text))
    const pinned = await pinBlocks(ours.server, key, contents)
    assert.deepEqual(pinned.map((view) => view.pin.cid), contents.map(rawCid))
    for (const view of pinned) await reaches(ours.server, key, view.requestid, 'pinned')
    const damaged = rawCar(contents)
    damaged[damaged.length - 1] ^= 1
    for (const car of [damaged, rawCar(contents).subarray(0, -3)]) {
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/vnd.ipld.car' }
      const res = await fetch(`${ours.server.url}/pins/car`, { method: 'POST', headers, body: car })
      assert.equal(res.status, 400, await res.text())
    }
    // By the REST API, with an archive that a Kubo has made.
    const full = path.join(dir, 'made.car')
    const stored = await ours.kubo.ipfs(['add', '-Qr', '--pin=false', folder])
    const res = await fetch(`${ours.kubo.api}/api/v0/dag/export?arg=${stored}`, { method: 'POST' })
    await writeFile(full, Buffer.from(await res.arrayBuffer()))
    const added = await same('ctl add --format car', async (side) => {
      const all = await side.ctlJson('add', '--format', 'car', full)
      return all.map(({ cid }) => cid)
    })
    assert.equal(added.at(-1), stored)
    await settles(stored)
  })

  it('is put as a block or a node and pinned', LIMIT, async () => {
    const put = async (side, command, text) => {
      const form = new FormData()
      form.append('file', new Blob([text]))
      const { status, text: said } = await side.proxy('POST', `/api/v0/${command}&pin=true`, { body: form })
      return { status, said: lines(said).map((line) => JSON.parse(line)) }
    }
    const raw = await same('block/put', (side) => put(side, 'block/put?cid-codec=raw', 'a block that is put'))
    await settles(raw.said[0].Key)
    const node = await same('dag/put', (side) => put(side, 'dag/put?store-codec=dag-cbor', '{"a":[1]}'))
    await settles(node.said[0].Cid['/'])
    for (const cid of [raw.said[0].Key, node.said[0].Cid['/']]) await succeeds('pin', 'rm', cid)
  })
})

describe('the rest', () => {
  it('shows the size of the store, and collects', LIMIT, async () => {
    const unpinned = await block('waste')
    const kept = await block('kept')
    await succeeds('pin', 'add', kept)
    await settles(kept)
    const size = async (side) => JSON.parse((await side.proxy('POST', '/api/v0/repo/stat')).text)
    const [a, b] = [await size(original), await size(ours)]
    assert.deepEqual(Object.keys(b), Object.keys(a))
    assert.equal(b.StorageMax, a.StorageMax)
    assert.ok(b.RepoSize > 0)
    assert.equal((await ours.ipfs('repo', 'stat', '--size-only')).code, (await original.ipfs('repo', 'stat', '--size-only')).code)
    await same('repo gc', async (side) => {
      const { code, stdout } = await side.ipfs('repo', 'gc')
      return [code, stdout.includes(`removed ${unpinned}`), stdout.includes(kept)]
    }).then((found) => assert.deepEqual(found, [0, true, false]))
    await succeeds('pin', 'rm', kept)
  })

  it('is passed on', LIMIT, async () => {
    const cid = await block('passed on')
    assert.equal(await succeeds('cat', cid), 'passed on')
    await succeeds('block', 'stat', cid)
    await succeeds('version')
    await same('what there is not', async (side) => (await side.ipfs('cat', ABSENT, '--offline')).code)
    await same('id', async (side) => JSON.parse((await side.ipfs('id')).stdout).ID === (await side.kubo.rpc('id'))[0].ID)
    await same('no such command', async (side) => (await side.proxy('POST', '/api/v0/nonsense')).status)
    await same('HEAD', async (side) => (await side.proxy('HEAD', '/api/v0/pin/ls')).status)
    await same('GET', async (side) => (await side.proxy('GET', `/api/v0/pin/ls/${ABSENT}`)).text)
    // An upload of some size to a call that is passed on.
    await succeeds('files', 'mkdir', '/here')
    const large = path.join(dir, 'large')
    await writeFile(large, Buffer.alloc(20_000_000, 'x'))
    await succeeds('files', 'write', '--create', '/here/large', large)
    assert.equal(await succeeds('files', 'ls', '/here'), 'large')
    assert.equal((await succeeds('files', 'stat', '--format=<size>', '/here/large')).trim(), '20000000')
  })

  it('does nothing for strange web pages', LIMIT, async () => {
    const cid = await block('of nobody')
    const target = `/api/v0/pin/add?arg=${cid}`
    const pages = [
      { origin: 'https://strange.example' },
      { 'sec-fetch-site': 'cross-site' },
      { origin: 'null', 'sec-fetch-site': 'cross-site' },
    ]
    for (const headers of pages) {
      for (const method of ['POST', 'GET']) {
        const { status } = await ours.proxy(method, target, { headers })
        assert.equal(status, 403, JSON.stringify(headers))
      }
    }
    assert.equal((await ours.ipfs('pin', 'ls', cid)).code, 1)
    const allowed = `http://127.0.0.1:${ours.kubo.port}`
    const { status, headers } = await ours.proxy('POST', target, { headers: { origin: allowed } })
    assert.deepEqual([status, headers.get('access-control-allow-origin')], [200, allowed])
    await same('a preflight', async (side) => {
      const asked = { origin: `http://127.0.0.1:${side.kubo.port}`, 'access-control-request-method': 'POST' }
      const { status, headers } = await side.proxy('OPTIONS', '/api/v0/pin/add', { headers: asked })
      return [status, headers.get('access-control-allow-origin') === asked.origin]
    })
    await ours.ipfs('pin', 'rm', cid)
  })
})

describe('a node with its own store', () => {
  it('adds and pins without a Kubo, and says what it cannot do', LIMIT, async () => {
    const port = await freePort()
    const server = await startUes({ env: { UES_PINS_PROXY_LISTEN: `127.0.0.1:${port}` } })
    const ipfs = (...args) => ours.kubo.ipfs(['--api', `/ip4/127.0.0.1/tcp/${port}`, ...args])
    try {
      const file = path.join(dir, 'own')
      await writeFile(file, 'kept by the node itself')
      const cid = await ipfs('add', '-Q', '--cid-version=1', file)
      assert.equal(cid, rawCid('kept by the node itself'))
      assert.equal(await ipfs('pin', 'ls', cid), `${cid} recursive`)
      const key = await newKey(server, 'default')
      await reaches(server, key, cid, 'pinned')
      await until('the worker has told its size', async () => !(await ipfs('repo', 'stat')).includes('RepoSize:   0\n'))
      await assert.rejects(ipfs('cat', cid), /needs a Kubo/)
      await ipfs('pin', 'rm', cid)
      assert.equal(await ipfs('pin', 'ls'), '')
    } finally {
      await server.close()
    }
  })
})
