// A copy of the folder of a stopped node is a whole backup: a node started on it is the same node.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { cp, rm } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { newAccount } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { Moto } from '../lib/moto.mjs'
import { until } from '../lib/relay.mjs'
import { bytes, dataRoot, verifiedExport } from '../lib/repos.mjs'
import { TARGET, dataOf, scratch, startUes } from '../lib/servers.mjs'

const NOTE = 'com.example.note'

describe('a backup', { skip: TARGET !== 'ues' && 'it is a folder of our node' }, () => {
  let dir, copy, server
  before(async () => {
    ;[dir, copy] = [await scratch('original'), await scratch('copy')]
    server = await startUes({ dir })
  })
  after(async () => {
    await server?.close()
    for (const folder of [dir, copy]) await rm(folder, { recursive: true, force: true })
  })

  it('holds accounts, passwords, keys, records and blobs', async () => {
    const { agent, did, handle, password } = await newAccount(server)
    const content = Buffer.alloc(3_000_000, 'abc')
    const { blob } = (await agent.uploadBlob(content, { encoding: 'application/octet-stream' })).data
    const create = (client, text, more = {}) =>
      client.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record: { $type: NOTE, text, ...more } })
    await create(agent, 'with a file', { file: blob })
    for (let n = 0; n < 50; n++) await create(agent, `note ${n}`)
    const root = await dataRoot(server, did)
    const refresh = agent.session

    const { port } = server
    await server.program.stop()
    await cp(path.join(dir, 'data'), path.join(copy, 'data'), { recursive: true, preserveTimestamps: true })
    await rm(path.join(dir, 'data'), { recursive: true })

    // On the same address, so that the identity's document still leads there.
    server = await startUes({ dir: copy, port })
    assert.equal(await dataRoot(server, did), root)
    await verifiedExport(server, did)
    const got = await bytes(server, 'com.atproto.sync.getBlob', { did, cid: blob.ref.toString() })
    assert.ok(content.equals(got))
    assert.match(await uesOk(dataOf(server), ['check']), /\S/)

    const again = new AtpAgent({ service: server.url })
    await again.login({ identifier: handle, password })
    await create(again, 'after the restore')
    const resumed = new AtpAgent({ service: server.url })
    await resumed.resumeSession(refresh)
    assert.equal(resumed.session.did, did, 'sessions go on')
    const { cid } = (await create(resumed, 'and once more')).data
    assert.ok(cid)
    await verifiedExport(server, did)
  })
})

describe('a backup of a node with its blobs in a bucket', { skip: TARGET !== 'ues' && 'it is a folder of our node' }, () => {
  let dir, copy, moto, server
  before(async () => {
    ;[moto, dir, copy] = [await Moto.start(), await scratch('original'), await scratch('copy')]
  })
  after(async () => {
    await server?.close()
    await moto?.close()
    for (const folder of [dir, copy]) await rm(folder, { recursive: true, force: true })
  })
  /** Starts the node on a folder, with a bucket. */
  const start = async (folder, bucket = moto.bucket) => {
    const { port } = server ?? {}
    await server?.program.stop()
    server = await startUes({ dir: folder, port, env: { ...moto.env('node'), UES_LIMITS_BLOB_BYTES: '50MB', UES_BLOBS_S3_BUCKET: bucket } })
  }
  const client = async ({ handle, password }) => {
    const agent = new AtpAgent({ service: server.url })
    await agent.login({ identifier: handle, password })
    return agent
  }
  /** Uploads a file and has a record refer to it. */
  const keep = async (agent, rkey, content) => {
    const { blob } = (await agent.uploadBlob(content, { encoding: 'application/octet-stream' })).data
    await agent.com.atproto.repo.putRecord({ repo: agent.assertDid, collection: NOTE, rkey, record: { $type: NOTE, file: blob } })
    return blob.ref.toString()
  }
  const isServed = async (did, cid, content) => assert.ok(content.equals(await bytes(server, 'com.atproto.sync.getBlob', { did, cid })))
  const isNot = (did, cid, why) => assert.rejects(bytes(server, 'com.atproto.sync.getBlob', { did, cid }), why)

  it('is the folder and then the bucket; with the live bucket, what was deleted since is missing and named', async () => {
    await start(dir)
    const account = await newAccount(server)
    const { did } = account
    const [stays, goes, comes] = [randomBytes(6_000_000), randomBytes(200_000), randomBytes(300_000)]
    const kept = await keep(account.agent, 'stays', stays)
    const gone = await keep(account.agent, 'goes', goes)
    const root = await dataRoot(server, did)

    await server.program.stop()
    await cp(path.join(dir, 'data'), path.join(copy, 'data'), { recursive: true, preserveTimestamps: true })
    await start(dir)
    // The node goes on before the bucket is copied.
    const later = await keep(await client(account), 'comes', comes)
    await moto.copy('backup')
    await (await client(account)).com.atproto.repo.deleteRecord({ repo: did, collection: NOTE, rkey: 'goes' })
    // What nothing refers to any more is freed when the node starts.
    const { length } = await moto.objects()
    await start(dir)
    await until('its object is gone', async () => (await moto.objects()).length === length - 1)

    const kinds = [
      ['backup', async () => {
        await isServed(did, gone, goes)
        assert.match(await uesOk(dataOf(server), ['check']), /\S/)
      }],
      [moto.bucket, async () => {
        await isNot(did, gone, /Blob not found/)
        const check = await ues(dataOf(server), ['check'])
        assert.notEqual(check.code, 0)
        assert.match(check.stdout + check.stderr, new RegExp(gone))
        assert.doesNotMatch(check.stdout + check.stderr, new RegExp(kept))
      }],
    ]
    for (const [bucket, look] of kinds) {
      const restored = `${copy}-${bucket}`
      await cp(copy, restored, { recursive: true, preserveTimestamps: true })
      try {
        await start(restored, bucket)
        assert.equal(await dataRoot(server, did), root)
        await isServed(did, kept, stays)
        await look()
        await isNot(did, later, /Blob not found/)
        const agent = await client(account)
        // The same content once more, and other content.
        for (const content of [comes, randomBytes(1000)]) {
          const cid = await keep(agent, 'after', content)
          await isServed(did, cid, content)
        }
        await verifiedExport(server, did)
      } finally {
        await server.program.stop()
        await rm(restored, { recursive: true, force: true })
      }
    }
  })
})
