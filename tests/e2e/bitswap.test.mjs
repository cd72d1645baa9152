// Blocks of a running node, fetched by a real Kubo: what is public of repositories, and what is pinned.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { CarReader } from '@ipld/car'
import { newAccount } from '../lib/accounts.mjs'
import { uesOk } from '../lib/cli.mjs'
import { Kubo } from '../lib/kubo.mjs'
import { rawCid } from '../lib/pins.mjs'
import { freePort } from '../lib/process.mjs'
import { dataOf, startUes } from '../lib/servers.mjs'

const NOTE = 'com.example.note'

/** The blocks of an archive by their CIDs. */
async function blocksOf(car) {
  const blocks = new Map()
  for await (const { cid, bytes } of (await CarReader.fromBytes(car)).blocks()) blocks.set(String(cid), Buffer.from(bytes))
  return blocks
}

describe('Bitswap', () => {
  let kubo, server, account, peer
  const repo = () => account.agent.com.atproto.repo
  const upload = async (bytes) => (await repo().uploadBlob(bytes, { encoding: 'application/octet-stream' })).data.blob
  const note = (text, more = {}) =>
    repo().createRecord({
      repo: account.did,
      collection: NOTE,
      record: { $type: NOTE, text, createdAt: new Date().toISOString(), ...more },
    })
  /** Whether Kubo gets a block; it has no other peer, and would wait for ever. */
  const gets = (cid) =>
    kubo.bytes(['--timeout', '3s', 'block', 'get', String(cid)]).then(
      () => true,
      () => false,
    )

  before(async () => {
    kubo = await Kubo.start()
    const listen = `/ip4/127.0.0.1/tcp/${await freePort()}`
    server = await startUes({ env: { UES_NETWORK_START: 'always', UES_NETWORK_LISTEN: listen, UES_NETWORK_MDNS: 'false' } })
    account = await newAccount(server)
    ;[peer] = JSON.parse(await uesOk(dataOf(server), ['--json', 'peer', 'addresses']))
    await kubo.ipfs(['swarm', 'connect', peer])
  })
  after(async () => {
    await server?.close()
    await kubo?.close()
  })

  it('gives a Kubo a whole repository with its blobs', async () => {
    const content = randomBytes(1_500_000)
    const blob = await upload(content)
    const record = await note('with a blob', { attachment: blob })
    for (let n = 0; n < 20; n++) await note(`note ${n}`)
    const { cid: head } = (await account.agent.com.atproto.sync.getLatestCommit({ did: account.did })).data

    assert.deepEqual(await kubo.bytes(['block', 'get', String(blob.ref)]), content)
    assert.equal(rawCid(content), String(blob.ref))
    assert.deepEqual(await kubo.bytes(['cat', String(blob.ref)]), content)
    const seen = JSON.parse(await kubo.ipfs(['dag', 'get', record.data.cid]))
    assert.equal(seen.text, 'with a blob')

    const exported = await blocksOf(await kubo.bytes(['dag', 'export', '--progress=false', head]))
    const ours = await blocksOf((await account.agent.com.atproto.sync.getRepo({ did: account.did })).data)
    assert.ok(ours.size > 20)
    for (const [cid, bytes] of ours) assert.deepEqual(exported.get(cid), bytes, cid)
  })

  it('gives a Kubo what is pinned', async () => {
    const file = path.join(server.dir, 'file')
    const content = randomBytes(3_000_000)
    await writeFile(file, content)
    const [pin] = JSON.parse(`[${(await uesOk(dataOf(server), ['--json', 'pin', 'add', file])).trim().split('\n').join(',')}]`)
    const { cid } = (pin.pins?.[0] ?? pin[0] ?? pin).pin
    assert.deepEqual(await kubo.bytes(['cat', cid]), content)
  })

  it('gives nobody what is not public', async () => {
    const unused = await upload(randomBytes(1000))
    assert.equal(await gets(unused.ref), false, 'no record refers to it')
    const gone = (await note('deleted soon')).data
    await repo().deleteRecord({ repo: account.did, collection: NOTE, rkey: gone.uri.split('/').pop() })
    assert.equal(await gets(gone.cid), false, 'a deleted record')
    const large = await upload(randomBytes(2_200_000))
    await note('larger than a block may be', { attachment: large })
    assert.equal(await gets(large.ref), false, 'more than 2 MiB')

    const blob = await upload(randomBytes(1000))
    const kept = (await note('of an account that is switched off', { attachment: blob })).data
    await uesOk(dataOf(server), ['account', 'deactivate', account.did])
    assert.equal(await gets(kept.cid), false, 'a record of a deactivated account')
    assert.equal(await gets(blob.ref), false, 'a blob of a deactivated account')
    await uesOk(dataOf(server), ['account', 'activate', account.did])
    assert.equal(await gets(kept.cid), true)
    assert.equal(await gets(blob.ref), true)
  })
})
