// Blobs in a bucket of an S3 server that others wrote: they come and go as on the disk, and a server that is down costs none.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { newAccount } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { Moto } from '../lib/moto.mjs'
import { dataOf, scratch, startUes } from '../lib/servers.mjs'
import { call, query } from '../lib/xrpc.mjs'

const FILE = 'com.example.file'
const PART = 5 * 1024 * 1024
const env = () => ({ ...moto.env('one/node'), UES_LIMITS_BLOB_BYTES: '200MB' })

let moto, dir, server
before(async () => {
  ;[moto, dir] = [await Moto.start(), await scratch('s3')]
  server = await startUes({ dir, env: env() })
})
after(async () => {
  await server?.close()
  await moto?.close()
  await rm(dir, { recursive: true, force: true })
})

const upload = (account, body, type = 'application/octet-stream') =>
  call(server, 'POST', 'com.atproto.repo.uploadBlob', { raw: body, type, token: account.token })
const refer = (account, blob, rkey) =>
  call(server, 'POST', 'com.atproto.repo.putRecord', {
    json: { repo: account.did, collection: FILE, rkey, record: { $type: FILE, file: blob } },
    token: account.token,
  })
const get = (account, blob) => query(server, 'com.atproto.sync.getBlob', { did: account.did, cid: blob.ref.$link })
const remove = (account, rkey) =>
  call(server, 'POST', 'com.atproto.repo.deleteRecord', { json: { repo: account.did, collection: FILE, rkey }, token: account.token })
/** Waits until something is so. */
async function until(what, isSo, seconds = 90) {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await delay(200)) if (await isSo()) return
  assert.fail(`${what}: not within ${seconds} s\n${server.program.log.slice(-2000)}`)
}
const restart = async () => {
  const { port } = server
  await server.program.stop()
  server = await startUes({ dir, port, env: env() })
}

it('content goes to the bucket and comes back, whatever its size', async () => {
  const account = await newAccount(server)
  for (const [n, size] of [1, PART - 1, PART, PART + 1, 17_000_001].entries()) {
    const content = randomBytes(size)
    const before = (await moto.objects()).length
    const { body, status } = await upload(account, content)
    assert.equal(status, 200)
    assert.equal((await moto.objects()).length, before + 1)
    assert.equal((await get(account, body.blob)).status, 400, 'what was only uploaded is not public')
    assert.equal((await refer(account, body.blob, `r${n}`)).status, 200)
    const got = await get(account, body.blob)
    assert.equal(got.status, 200)
    assert.ok(content.equals(got.body), `${size} bytes`)
    assert.equal(got.headers.get('content-length'), String(size))
    assert.equal(got.headers.get('content-security-policy'), "default-src 'none'; sandbox")
    assert.equal(got.headers.get('x-content-type-options'), 'nosniff')
  }
  for (const { key } of await moto.objects()) assert.match(key, /^one\/node\/[0-9a-f]{16}\/[0-9a-f]{16}$/)
  assert.deepEqual(await moto.uploads(), [])
  const missing = await query(server, 'com.atproto.repo.listMissingBlobs', {}, { token: account.token })
  assert.deepEqual(missing.body.blobs, [])
})

it('goes with the last record that refers to it', async () => {
  const [one, other] = [await newAccount(server), await newAccount(server)]
  const content = randomBytes(300_000)
  const here = async () => (await moto.objects()).filter((o) => o.size === content.length).length
  for (const account of [one, other]) {
    const { body } = await upload(account, content, 'image/png')
    await refer(account, body.blob, 'a')
    await refer(account, body.blob, 'b')
    account.blob = body.blob
  }
  assert.equal(await here(), 2)
  await remove(one, 'a')
  assert.equal((await get(one, one.blob)).status, 200)
  await remove(one, 'b')
  assert.equal((await get(one, one.blob)).status, 400)
  // What is no longer needed is freed within a minute, and when the node starts.
  await restart()
  await until('the object is gone', async () => (await here()) === 1)
  assert.ok(content.equals((await get(other, other.blob)).body))
})

it('an S3 server that is down is told, loses nothing and is tried again', async () => {
  const account = await newAccount(server)
  const content = randomBytes(200_000)
  const { body } = await upload(account, content)
  await refer(account, body.blob, 'kept')
  const gone = randomBytes(123_456)
  const second = await upload(account, gone)
  await refer(account, second.body.blob, 'gone')
  await moto.cut()
  const refused = await upload(account, randomBytes(1000))
  assert.deepEqual([refused.status, refused.error], [503, 'BlobStoreUnavailable'])
  assert.match(refused.message, /try again/i)
  const unread = await get(account, body.blob)
  assert.deepEqual([unread.status, unread.error], [503, 'BlobStoreUnavailable'])
  assert.equal((await remove(account, 'gone')).status, 200, 'records need no bucket')
  const check = await ues(dataOf(server), ['check'])
  assert.equal(check.code, 4, check.stdout + check.stderr)
  assert.match(check.stdout, /does not answer/)
  // Neither a start needs it.
  await restart()
  assert.equal((await get(account, body.blob)).status, 503)
  await moto.mend()
  assert.ok(content.equals((await get(account, body.blob)).body))
  assert.equal((await upload(account, randomBytes(1000))).status, 200)
  // It is tried again each minute, and when the node starts.
  await restart()
  await until('what was deleted meanwhile is freed', async () => !(await moto.objects()).some((o) => o.size === gone.length))
  await uesOk(dataOf(server), ['check'])
})

it('a crash in the middle of an upload leaves nothing behind', async () => {
  const account = await newAccount(server)
  const before = (await moto.objects()).length
  const body = new ReadableStream({
    async pull(controller) {
      controller.enqueue(randomBytes(1 << 20))
      await delay(5)
    },
  })
  const sending = fetch(`${server.url}/xrpc/com.atproto.repo.uploadBlob`, {
    method: 'POST',
    body,
    duplex: 'half',
    headers: { authorization: `Bearer ${account.token}`, 'content-type': 'video/mp4' },
  }).catch(() => 'broken off')
  await until('the upload is under way', async () => (await moto.uploads()).length === 1)
  await server.program.kill()
  assert.equal(await sending, 'broken off')
  server = await startUes({ dir, port: server.port, env: env() })
  await until('the parts are gone', async () => (await moto.uploads()).length === 0)
  assert.equal((await moto.objects()).length, before)
})

it('what is on the disk stays there, and a check finds what was changed in the bucket', async () => {
  const { port } = server
  await server.program.stop()
  server = await startUes({ dir, port })
  const account = await newAccount(server)
  const old = randomBytes(70_000)
  const { body } = await upload(account, old)
  await refer(account, body.blob, 'old')
  await server.program.stop()
  // The secret by a file, as orchestrators give it.
  const file = path.join(dir, 's3-secret')
  await writeFile(file, 'a-secret\n', { mode: 0o600 })
  server = await startUes({ dir, port, env: { ...env(), UES_BLOBS_S3_SECRET_KEY: '', UES_BLOBS_S3_SECRET_KEY_FILE: file } })
  assert.ok(old.equals((await get(account, body.blob)).body))
  const content = randomBytes(40_000)
  const { body: fresh } = await upload(account, content)
  await refer(account, fresh.blob, 'fresh')
  await uesOk(dataOf(server), ['check'])
  const { key } = (await moto.objects()).find((o) => o.size === content.length)
  await moto.replace(key, randomBytes(content.length))
  const check = await ues(dataOf(server), ['check'])
  assert.equal(check.code, 4, check.stdout + check.stderr)
  assert.match(check.stdout, new RegExp(`the blob ${fresh.blob.ref.$link} is not what its CID says`))
})

it('without what it needs it says what that is', async () => {
  const data = await scratch('s3-wrong')
  const env = { ...moto.env(), UES_BLOBS_S3_BUCKET: '' }
  const { code, stderr } = await ues(path.join(data, 'data'), ['up', '--listen', '127.0.0.1:0'], { env })
  assert.notEqual(code, 0)
  assert.match(stderr, /blobs\.s3_bucket/)
  await rm(data, { recursive: true, force: true })
})
