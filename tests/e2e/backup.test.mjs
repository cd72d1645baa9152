// A copy of the folder of a stopped node is a whole backup: a node started on it is the same node.
import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { newAccount } from '../lib/accounts.mjs'
import { uesOk } from '../lib/cli.mjs'
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
