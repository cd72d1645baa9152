// Folders that older programs wrote (tests/by-hand/old-folder.mjs): the program opens them, raises their format, and is the
// same node.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { uesOk } from '../lib/cli.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { asAdmin, refusal, startGoverned, stopGoverned } from '../lib/governed.mjs'
import { bytes, dataRoot, head, listAll, verifiedExport } from '../lib/repos.mjs'
import { TARGET, dataOf, scratch } from '../lib/servers.mjs'
import { call, procedure, query } from '../lib/xrpc.mjs'

const FIXTURES = fileURLToPath(new URL('../fixtures/', import.meta.url))
const NOTE = 'com.example.note'
const olds = readdirSync(FIXTURES).filter((name) => /^format-\d+\.tar\.xz$/.test(name))

for (const old of olds) {
  describe(`a folder of ${old}`, { skip: TARGET !== 'ues' && 'it is a folder of our node' }, () => {
    let dir, known, server
    const start = () => startGoverned({ dir, port: server?.port, env: { UES_PUBLIC_URL: 'https://node.example' } })
    const format = async () => Number(/^ues-store (\d+)\n$/.exec(await readFile(path.join(dir, 'data', 'store', 'FORMAT'), 'utf8'))[1])
    const signIn = (identifier, password, more = {}) => procedure(server, 'com.atproto.server.createSession', { identifier, password, ...more })

    before(async () => {
      known = JSON.parse(await readFile(path.join(FIXTURES, old.replace('.tar.xz', '.json')), 'utf8'))
      dir = await scratch('old')
      await mkdir(path.join(dir, 'data'))
      execFileSync('tar', ['-C', path.join(dir, 'data'), '-xJf', path.join(FIXTURES, old)])
    })
    after(async () => {
      await stopGoverned(server)
      await rm(dir, { recursive: true, force: true })
    })

    it('is opened, has the new format then, and is sound', async () => {
      const before = await format()
      assert.equal(before, Number(/\d+/.exec(old)[0]))
      server = await start()
      assert.ok((await format()) > before)
      await uesOk(dataOf(server), ['check'])
    })

    it('has its repository, with every record, blob and preference', async () => {
      const { dids, blob, records, root } = known
      assert.deepEqual(await head(server, dids.alice), known.head)
      assert.equal(await dataRoot(server, dids.alice), root)
      const { records: found } = await verifiedExport(server, dids.alice)
      assert.deepEqual(Object.fromEntries(found), records)
      const notes = Object.keys(records).filter((name) => name.startsWith(`${NOTE}/`))
      assert.equal((await listAll(server, dids.alice, NOTE)).length, notes.length)
      const got = await bytes(server, 'com.atproto.sync.getBlob', { did: dids.alice, cid: blob.cid })
      assert.equal(Buffer.from(got).toString(), blob.content)
    })

    it('lets those in who could come in, with what they had', async () => {
      const { dids, password, appPassword, preferences } = known
      for (const word of [password, appPassword]) {
        const { status, body } = await signIn('alice.test', word)
        assert.deepEqual([status, body.did, body.active], [200, dids.alice, true])
        const got = await query(server, 'app.bsky.actor.getPreferences', {}, { token: body.accessJwt })
        assert.deepEqual(got.body.preferences, preferences)
      }
      assert.equal((await signIn('alice.test', 'wrong')).status, 401)
      const asleep = await signIn('asleep.test', password)
      assert.deepEqual([asleep.status, asleep.body.active, asleep.body.status], [200, false, 'deactivated'])
      assert.deepEqual(refusal(await signIn('gone.test', password)), { status: 401, error: 'AccountTakedown' })
      assert.deepEqual(refusal(await signIn('erased.test', password)), { status: 401, error: 'AuthenticationRequired' })
    })

    it('remembers what its operator did', async () => {
      const { dids, invite, audit } = known
      const { takedown } = await asAdmin(server, 'com.atproto.admin.getSubjectStatus', { params: { did: dids.gone } })
      assert.deepEqual(takedown, { applied: true, ref: 'spam' })
      const { codes } = await asAdmin(server, 'com.atproto.admin.getInviteCodes')
      assert.equal(codes.find(({ code }) => code === invite)?.available, 3)
      assert.ok(JSON.parse(await uesOk(dataOf(server), ['admin', 'audit', '--json'])).length >= audit)
      const { body } = await query(server, 'com.atproto.label.queryLabels', { uriPatterns: dids.alice })
      assert.deepEqual(body.labels.map(({ val }) => val), ['spam'])
    })

    it('is written on, and so once more after another start', async () => {
      const { dids, password, records } = known
      for (let round = 1; round <= 2; round++) {
        const { accessJwt: token } = (await signIn('alice.test', password)).body
        const before = await head(server, dids.alice)
        const sub = new Subscription(server, { cursor: 0 })
        await sub.opened
        const json = { repo: dids.alice, collection: NOTE, rkey: `new-${round}`, record: { $type: NOTE, round } }
        const made = await call(server, 'POST', 'com.atproto.repo.putRecord', { json, token })
        assert.equal(made.status, 200, made.message)
        const told = await sub.until((events) => events.find((e) => e.commit?.toString() === made.body.commit.cid))
        assert.equal(told.since, before.rev)
        await sub.close()
        assert.equal((await verifiedExport(server, dids.alice)).records.size, Object.keys(records).length + round)
        await uesOk(dataOf(server), ['check'])
        await stopGoverned(server)
        server = await start()
      }
      const asleep = (await signIn('asleep.test', password)).body.accessJwt
      assert.equal((await call(server, 'POST', 'com.atproto.server.activateAccount', { token: asleep })).status, 200)
      assert.equal((await verifiedExport(server, dids.asleep)).records.size, 1)
    })
  })
}

describe('folders of older programs', () => {
  it('are here', () => assert.ok(olds.length > 0))
})
