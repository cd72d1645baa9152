// Blobs of a repository on several devices: what is uploaded on one is served by the other, whatever happens in between.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { attach, getBlob } from '../lib/device-repos.mjs'
import { DeviceNode, NOTE, call, operatorSession, pair } from '../lib/devices.mjs'
import { until } from '../lib/pins.mjs'

/** What a node says of the blobs of a repository. */
const statusOf = async (node, did) => (await node.run('sync', 'status')).blobs.find((row) => row.repo === did)

/** The CIDs that a node says are missing. */
async function missing(node, did) {
  const session = await operatorSession(node, did)
  const { blobs } = await call(node, session, 'com.atproto.repo.listMissingBlobs')
  return blobs.map((blob) => blob.cid).sort()
}

/** Waits until a node lacks so many blobs. */
const lacks = (node, did, count, seconds = 60) =>
  until(`${node.name} lacks ${count} blobs`, async () => (await statusOf(node, did))?.missing === count, seconds).catch(
    async (error) => {
      throw new Error(`${error.message}\n${JSON.stringify(await node.run('sync', 'status'), null, 1)}\n${node.server.program.log}`)
    },
  )

describe('blobs on several devices', () => {
  let laptop, phone, did
  /** Content by CID. */
  const known = new Map()
  const add = async (node, bytes) => {
    const content = randomBytes(bytes)
    const cid = await attach(node, did, content)
    known.set(cid, content)
    return cid
  }
  const servesAll = async (node) => {
    for (const [cid, content] of known) assert.deepEqual(await getBlob(node, did, cid), content, cid)
  }

  before(async () => {
    laptop = await DeviceNode.start('laptop')
    phone = await DeviceNode.start('phone')
    did = (await newAccount(laptop.server)).did
    await add(laptop, 100)
    await add(laptop, 4_500_000)
    await pair(laptop, did, phone)
  })
  after(async () => {
    for (const node of [laptop, phone]) {
      await node?.stop()
      if (node) await rm(node.dir, { recursive: true, force: true })
    }
  })

  it('come from the other device, older ones and new ones, in both directions', async () => {
    await lacks(phone, did, 0)
    await servesAll(phone)
    const cid = await add(laptop, 300_000)
    await until('the phone has the new one', () => getBlob(phone, did, cid))
    const back = await add(phone, 3_000_000)
    await until('the laptop has the one of the phone', () => getBlob(laptop, did, back))
    await servesAll(laptop)
    await servesAll(phone)
    assert.equal((await statusOf(phone, did)).fetched, 3)
  })

  it('are listed as missing until somebody asks for them, if they come on demand', async () => {
    await phone.stop()
    await phone.up({ UES_NETWORK_BLOBS: 'none' })
    const [first, second] = [await add(laptop, 5000), await add(laptop, 6000)]
    await lacks(phone, did, 2)
    assert.deepEqual(await missing(phone, did), [first, second].sort())
    assert.equal(await getBlob(phone, did, first), undefined)

    await phone.stop()
    await phone.up({ UES_NETWORK_BLOBS: 'demand' })
    await until('the one that is asked for comes', () => getBlob(phone, did, first))
    assert.deepEqual(await getBlob(phone, did, first), known.get(first))
    assert.deepEqual(await missing(phone, did), [second])

    // A record that names a blob which is not here yet can be changed here.
    const session = await operatorSession(phone, did)
    const { records } = await call(phone, session, `com.atproto.repo.listRecords?repo=${did}&collection=${NOTE}&limit=100`)
    const record = records.find((r) => r.value.attachment.ref.$link === second)
    const changed = { ...record.value, text: 'changed on the phone' }
    const rkey = record.uri.split('/').pop()
    const put = await call(phone, session, 'com.atproto.repo.putRecord', { repo: did, collection: NOTE, rkey, record: changed })
    assert.equal(put.status, 200, JSON.stringify(put))

    await phone.stop()
    await phone.up()
    await lacks(phone, did, 0)
    await servesAll(phone)
  })

  it('come when the other device is back', async () => {
    await phone.stop()
    await phone.up({ UES_NETWORK_ENABLED: 'false' })
    const offline = await add(phone, 2_500_000)
    const online = await add(laptop, 2_500_000)
    await phone.stop()
    await laptop.stop()
    await phone.up()
    await laptop.up()
    await until('both have both', async () => (await getBlob(phone, did, online)) && (await getBlob(laptop, did, offline)), 60)
    await servesAll(phone)
    await servesAll(laptop)
  })

  it('all come, and only they, when both are killed meanwhile', async () => {
    await phone.stop()
    for (let n = 0; n < 12; n++) await add(laptop, 4_000_000 + n)
    await phone.up()
    for (const killed of [phone, laptop]) {
      const { fetched } = await statusOf(phone, did)
      await until('some more came', async () => {
        const status = await statusOf(phone, did)
        return status.fetched > fetched || status.missing === 0
      }, 60)
      await killed.kill()
      await killed.up()
    }
    await lacks(phone, did, 0)
    await servesAll(phone)
    for (const node of [laptop, phone]) {
      await node.stop()
      await uesOk(node.data, ['check'])
      await node.up()
    }
    assert.deepEqual(await missing(phone, did), [])
  })

  it('go with the last record that names them', async () => {
    const cid = await add(laptop, 4000)
    await until('the phone has it', () => getBlob(phone, did, cid))
    const session = await operatorSession(laptop, did)
    const { records } = await call(laptop, session, `com.atproto.repo.listRecords?repo=${did}&collection=${NOTE}&limit=100`)
    const rkey = records.find((r) => r.value.attachment.ref.$link === cid).uri.split('/').pop()
    await call(laptop, session, 'com.atproto.repo.deleteRecord', { repo: did, collection: NOTE, rkey })
    await until('the phone has it no more', async () => (await getBlob(phone, did, cid)) === undefined)
    const { stdout } = await ues(phone.data, ['sync', 'status'])
    assert.match(stdout, /MISSING +COMING +FETCHED/)
  })
})
