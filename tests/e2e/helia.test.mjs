// Helia keeps its pins with us: blocks that only it has are fetched from it by the Kubo of a worker.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { CID, startHelia } from '../helia/index.mjs'
import { Kubo } from '../lib/kubo.mjs'
import { allPins, newKey, rawCid } from '../lib/pins.mjs'
import { startUes } from '../lib/servers.mjs'

const PATIENCE = { signal: AbortSignal.timeout(120_000) }

/** All that an asynchronous iterator gives. */
const all = (source) => Array.fromAsync(source)

describe('remote pinning of a Helia', () => {
  let kubo, server, key, helia
  before(async () => {
    kubo = await Kubo.start()
    server = await startUes({ args: ['--pin-backend', 'kubo', '--kubo-api', kubo.api] })
    key = await newKey(server, 'helia')
    helia = await startHelia(server.url, key)
  })
  after(async () => {
    await helia?.stop()
    await server?.close()
    await kubo?.close()
  })

  it('pins what only the Helia has, and lists, changes and removes it', { timeout: 180_000 }, async () => {
    const contents = [randomBytes(200_000), randomBytes(10)]
    const cids = contents.map((bytes) => CID.parse(rawCid(bytes)))
    for (const [i, cid] of cids.entries()) {
      await helia.blockstore.put(cid, contents[i])
      assert.equal(await helia.pins.isPinned(cid), false)
      const added = await all(helia.pins.add(cid, { name: `block ${i}`, metadata: { place: `${i}` }, ...PATIENCE }))
      assert.deepEqual(added.map(String), [String(cid)])
      assert.equal(await helia.pins.isPinned(cid), true)
    }
    // The worker's own Kubo has the bytes now, and holds them without the Helia.
    await helia.libp2p.stop()
    const held = await kubo.rpc('pin/ls', [['type', 'recursive']])
    for (const cid of cids) assert.ok(held[0].Keys[cid], `${cid} is pinned`)
    const stat = await kubo.rpc('block/stat', [['arg', String(cids[0])]])
    assert.equal(stat[0].Size, contents[0].length)

    const listed = (await all(helia.pins.ls({ cid: cids[1] })))[0]
    assert.equal(String(listed.cid), String(cids[1]))
    assert.deepEqual(listed.metadata, { place: '1' })

    assert.deepEqual((await all(helia.pins.rm(cids[0]))).map(String), [String(cids[0])])
    assert.equal(await helia.pins.isPinned(cids[0]), false)
    assert.deepEqual((await allPins(server, key)).map((pin) => pin.pin.cid), [String(cids[1])])
  })

  it('says that a key is wrong', async () => {
    const stranger = await startHelia(server.url, 'no such key')
    try {
      await assert.rejects(stranger.pins.isPinned(CID.parse(rawCid('anything'))))
      await assert.rejects(all(stranger.pins.add(CID.parse(rawCid('anything')), PATIENCE)))
    } finally {
      await stranger.stop()
    }
  })
})
