// The REST API of IPFS-Cluster: the original with a Kubo and our node with a Kubo are told the same by the original's
// clients, and have to answer the same.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import * as client from '@nftstorage/ipfs-cluster'
import { startOriginal, startOurs } from '../lib/cluster.mjs'
import { until } from '../lib/pins.mjs'

const EMPTY = 'bafkqaaa'
const ABSENT = 'bafkreic7a2lw3s4o3uwjdy6aztujpfg44rq7pl2e3p7vduoa3pxpdzofla'

let original, ours
before(async () => {
  ;[original, ours] = await Promise.all([startOriginal(), startOurs()])
})
after(() => Promise.all([original?.close(), ours?.close()]))

/** Does the same with both, and compares what comes of it. */
async function same(what, act) {
  const [expected, found] = await Promise.all([act(original), act(ours)])
  assert.deepEqual(ours.plain(found), original.plain(expected), what)
  return found
}

/** The same block in both; its CID. */
async function block(text) {
  const [a, b] = await Promise.all([original, ours].map((side) => side.kubo.block(Buffer.from(text))))
  assert.equal(a, b)
  return a
}

const isPinned = async (side, cid) => (await side.kubo.pins()).has(cid)

/** Waits until both have it, by the word of their Kubo and their own. */
const pinned = (cid) =>
  Promise.all(
    [original, ours].map((side) =>
      until(`${side.name} has pinned ${cid}`, async () => {
        const { lines } = await side.call('GET', `/pins/${cid}`)
        const [fare] = Object.values(lines[0].peer_map)
        return fare.status === 'pinned' && (await isPinned(side, cid))
      }),
    ),
  )

const answer = ({ status, lines }) => ({ status, lines })
const sorted = (lines) => [...lines].sort((a, b) => (a.cid < b.cid ? -1 : 1))

describe('ipfs-cluster-ctl', () => {
  it('pins, shows and removes', { timeout: 120_000 }, async () => {
    const cid = await block('one of ctl')
    const add = ['pin', 'add', '--name', 'a name', '--metadata', 'k=v', '--expire-in', '1h', '--wait', cid]
    await same('pin add --wait', (side) => side.ctlJson(...add))
    for (const side of [original, ours]) assert.ok(await isPinned(side, cid), side.name)
    for (const args of [
      ['pin', 'ls'],
      ['pin', 'ls', cid],
      ['pin', 'ls', '--filter', 'pin', cid],
      ['status'],
      ['status', cid],
      ['status', '--local', cid],
      ['status', '--filter', 'pinned'],
      ['status', '--filter', 'error'],
      ['status', '--filter', 'queued,remote'],
      ['recover'],
      ['recover', cid],
    ]) {
      await same(args.join(' '), (side) => side.ctlJson(...args))
    }
    const next = await block('two of ctl')
    await same('pin update', (side) => side.ctlJson('pin', 'update', '--wait', cid, next))
    await same('pin ls of both', async (side) => sorted(await side.ctlJson('pin', 'ls')))
    for (const gone of [cid, next]) {
      await same('pin rm --wait', (side) => side.ctlJson('pin', 'rm', '--wait', gone))
      for (const side of [original, ours]) assert.ok(!(await isPinned(side, gone)), side.name)
    }
    await same('pin rm again', async (side) => (await side.ctl('pin', 'rm', cid)).code)
    await same('status afterwards', (side) => side.ctlJson('status', cid))
    await same('nothing is left', (side) => side.ctlJson('pin', 'ls'))
  })

  it('shows peers, health and version', async () => {
    for (const args of [['id'], ['peers', 'ls'], ['health', 'alerts'], ['health', 'bandwidth']]) {
      await same(args.join(' '), (side) => side.ctlJson(...args))
    }
    await same('health graph', async (side) => {
      const { status, lines } = await side.call('GET', '/health/graph')
      return { status, ...lines[0] }
    })
    await same('freespace', async (side) => {
      const [metrics] = await side.ctlJson('health', 'metrics', 'freespace')
      return metrics.map(({ name, peer, valid }) => ({ name, peer, valid }))
    })
    for (const args of [['version'], ['health', 'graph'], ['health', 'metrics'], ['health', 'metrics', 'ping'], ['ipfs', 'gc']]) {
      const done = await ours.ctl(...args)
      assert.equal(done.code, 0, done.stderr)
      assert.notEqual(done.stdout.trim(), '')
    }
  })
})

describe('calls', () => {
  it('are answered with the same status and sentence when they are wrong', async () => {
    for (const [method, path] of [
      ['GET', '/nothing'],
      ['GET', `/allocations/${ABSENT}`],
      ['DELETE', `/pins/${ABSENT}`],
      ['GET', '/allocations?filter=nonsense'],
      ['GET', '/pins?filter=nonsense'],
      ['POST', `/pins/${EMPTY}?pin-update=${ABSENT}`],
      ['POST', '/token'],
      ['POST', '/peers'],
      ['POST', '/add'],
      ['GET', '/monitor/metrics/nonsense'],
    ]) {
      await same(`${method} ${path}`, async (side) => answer(await side.call(method, path)))
    }
    for (const [method, path, sentence] of [
      ['GET', '/pins/xx', 'error decoding Cid: '],
      ['POST', '/pins/xx', 'error decoding Cid: '],
      ['GET', '/allocations/xx', 'error decoding Cid: '],
      ['GET', `/pins?cids=${EMPTY},xx`, 'error decoding Cid: '],
      ['DELETE', '/peers/xx', 'error decoding Peer ID: '],
    ]) {
      await same(`${method} ${path}`, async (side) => {
        const { status, lines } = await side.call(method, path)
        assert.ok(lines[0].message.startsWith(sentence), lines[0].message)
        return { status, code: lines[0].code }
      })
    }
    // The original answers 400 and pins all the same.
    for (const query of ['replication-min=x', 'expire-in=1ms', 'expire-at=x', 'origins=x', 'pin-update=x']) {
      const { status, lines } = await ours.call('POST', `/pins/${ABSENT}?${query}`)
      assert.equal(status, 400, JSON.stringify(lines))
      assert.equal((await ours.call('GET', `/allocations/${ABSENT}`)).status, 404)
    }
  })

  it('have the same heads', async () => {
    const heads = ['content-type', 'location', 'trailer', 'access-control-allow-origin', 'access-control-expose-headers']
    const read = ({ status, headers }) => [
      status,
      // The original announces a trailer even where there is no body.
      ...heads.filter((name) => status === 200 || name !== 'trailer').map((name) => headers.get(name)?.toLowerCase()),
    ]
    for (const path of ['/pins', '/allocations', '/peers', '/health', '/health/alerts']) {
      await same(path, async (side) => read(await side.call('GET', path, { origin: 'https://example.org' })))
    }
    await same('a slash too many', async (side) => {
      const { status, headers } = await side.call('POST', '/pins/recover/?local=true')
      return [status, headers.get('location')]
    })
    for (const method of ['GET', 'POST']) {
      await same(`preflight of ${method}`, async (side) => {
        const { status, headers } = await side.call('OPTIONS', '/pins', {
          origin: 'https://example.org',
          'access-control-request-method': method,
        })
        return [status, headers.get('access-control-allow-origin'), headers.get('access-control-allow-methods')]
      })
    }
    await same('a method that there is not', async (side) => (await side.call('PUT', '/id')).status)
  })

  it('stream what is pinned', { timeout: 120_000 }, async () => {
    const cids = []
    for (let i = 0; i < 30; i++) cids.push(await block(`streamed ${i}`))
    await same('pins', (side) =>
      Promise.all(cids.map(async (cid, i) => answer(await side.call('POST', `/pins/${cid}?name=n${i}`)).status)),
    )
    for (const cid of cids) await pinned(cid)
    for (const path of [
      '/allocations',
      '/allocations?filter=pin,nonsense',
      '/allocations?filter=shard-pin',
      '/pins',
      '/pins?filter=pinned',
      '/pins?filter=pin_error,unpinned',
      '/pins?local=true',
      `/pins?cids=${cids.slice(0, 3)},${ABSENT}`,
      '/pins/recover',
    ]) {
      const method = path.endsWith('recover') ? 'POST' : 'GET'
      await same(path, async (side) => {
        const { status, lines } = await side.call(method, path)
        return { status, lines: sorted(lines) }
      })
    }
    await same('removal', (side) =>
      Promise.all(cids.map(async (cid) => answer(await side.call('DELETE', `/pins/${cid}`)))),
    )
    await same('nothing is left', async (side) => answer(await side.call('GET', '/allocations')))
  })

  it('take the options of a pin', { timeout: 120_000 }, async () => {
    const cid = await block('with options')
    const old = await block('with the same options')
    const peer = '12D3KooWAHoEkEqnKzM5PXFygh2movVBCSX3k8tDsT2cneU68Gyt'
    const query = new URLSearchParams({
      name: 'ünï "quoted" <b>',
      'meta-a': '1',
      'meta-b': 'ü',
      'replication-min': '1',
      'replication-max': '1',
      'expire-in': '2h',
      'shard-size': '7',
      origins: `/ip4/127.0.0.1/tcp/1/p2p/${peer}`,
    })
    await same('made', async (side) => (await side.call('POST', `/pins/${old}?${query}`)).status)
    await pinned(old)
    await same('shown', async (side) => answer(await side.call('GET', `/allocations/${old}`)))
    const update = `/pins/${cid}?pin-update=${old}&replication-min=-1`
    await same('updated', async (side) => (await side.call('POST', update)).status)
    await pinned(cid)
    await same('shown again', async (side) => answer(await side.call('GET', `/allocations/${cid}`)))
    await same('by a path', async (side) => (await side.call('DELETE', `/pins/ipfs/${cid}`)).status)
    await same('by another', async (side) => answer(await side.call('DELETE', `/pins/ipld/${old}`)))
  })
})

describe('@nftstorage/ipfs-cluster', () => {
  it('works as with the original', { timeout: 120_000 }, async () => {
    const cid = await block('of the client')
    const reach = (side) => ({ url: new URL(side.url) })
    // It reads times into dates.
    const plain = (value) => JSON.parse(JSON.stringify(value))
    const does = (what, act) => same(what, async (side) => plain(await act(reach(side))))
    const options = { name: 'n', metadata: { a: 'b' }, replicationFactorMin: 1, replicationFactorMax: 1 }
    // Workers are chosen after the answer.
    await does('pin', async (to) => ({ ...(await client.pin(to, cid, options)), allocations: [] }))
    await pinned(cid)
    await does('allocation', (to) => client.allocation(to, cid))
    await does('status', (to) => client.status(to, cid))
    await does('statusAll', (to) => client.statusAll(to, { filter: ['pinned'] }))
    await does('recover', (to) => client.recover(to, cid))
    await does('peerList', (to) => client.peerList(to))
    await does('unpin', (to) => client.unpin(to, cid))
    assert.ok((await client.metricNames(reach(ours))).includes('freespace'))
    assert.equal(typeof (await client.version(reach(ours))), 'string')
  })
})

describe('what a node adds to it', () => {
  it('keeps a direct pin direct', { timeout: 60_000 }, async () => {
    const cid = await block('direct')
    const { lines } = await ours.call('POST', `/pins/${cid}?mode=direct`)
    assert.equal(lines[0].mode, 'direct')
    await until('the Kubo has it', async () => {
      const pins = await ours.kubo.rpc('pin/ls', { type: 'direct', stream: 'true' })
      return pins.some((pin) => pin.Cid === cid)
    })
    await ours.call('DELETE', `/pins/${cid}`)
  })

  it('says what it cannot do', async () => {
    const below = await ours.call('POST', `/pins/ipfs/${EMPTY}/a`)
    assert.equal(below.status, 501)
    assert.match(below.lines[0].message, /cannot be resolved here/)
  })
})
