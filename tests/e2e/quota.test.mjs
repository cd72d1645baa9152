// How much of the node an account may take with its blobs.
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { after, before, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { bytes } from '../lib/repos.mjs'
import { dataOf, scratch, startUes } from '../lib/servers.mjs'
import { call } from '../lib/xrpc.mjs'

const POST = 'app.bsky.feed.post'
const QUOTA = 10_000

let server, folder
before(async () => {
  folder = await scratch('quota')
  server = await startUes({ dir: folder, env: { UES_QUOTA_BLOB_BYTES: String(QUOTA) } })
})
after(async () => {
  await server?.close()
  await rm(folder, { recursive: true, force: true })
})

const admin = (...args) => uesOk(dataOf(server), ['admin', 'quota', ...args, '--json']).then((text) => JSON.parse(text))
const blobs = async (...args) => {
  const { did, blobs, blobBytes, blobQuota } = await admin(...args)
  return { did, blobs, blobBytes, blobQuota }
}
const records = async (...args) => {
  const { records, recordBytes, recordQuota, recordBytesQuota } = await admin(...args)
  return [records, recordBytes, recordQuota, recordBytesQuota]
}
const blob = (size, seed) => Buffer.alloc(size, `${seed} `)
const upload = (account, bytes) =>
  fetch(`${server.url}/xrpc/com.atproto.repo.uploadBlob`, {
    method: 'POST',
    body: bytes,
    headers: { authorization: `Bearer ${account.token}`, 'content-type': 'image/png' },
  }).then(async (res) => ({ status: res.status, ...(await res.json()) }))
const FULL = [413, 'QuotaExceeded']
const outcome = ({ status, error }) => (error ? [status, error] : [status])

it('an account has the room that all have, to the byte', async () => {
  const account = await newAccount(server)
  assert.deepEqual(await blobs(account.handle), { did: account.did, blobs: 0, blobBytes: 0, blobQuota: QUOTA })
  assert.deepEqual(outcome(await upload(account, blob(QUOTA + 1, 'a'))), FULL)
  assert.equal((await admin(account.handle)).blobBytes, 0)
  assert.deepEqual(outcome(await upload(account, blob(6000, 'b'))), [200])
  assert.deepEqual(outcome(await upload(account, blob(4001, 'c'))), FULL)
  assert.deepEqual(outcome(await upload(account, blob(4000, 'd'))), [200])
  assert.deepEqual(outcome(await upload(account, blob(1, 'e'))), FULL)
  assert.deepEqual(outcome(await upload(account, blob(6000, 'b'))), [200], 'what is there already takes nothing')
  const { message } = await upload(account, blob(7, 'f'))
  assert.match(message, /10000 bytes.*has 10000.*7 more/)
  assert.deepEqual(await blobs(account.handle), { did: account.did, blobs: 2, blobBytes: QUOTA, blobQuota: QUOTA })
  const listed = JSON.parse(await uesOk(dataOf(server), ['account', 'ls', '--json'])).find((a) => a.did === account.did)
  assert.deepEqual([listed.blobs, listed.blobBytes], [2, QUOTA])
  assert.match(await uesOk(dataOf(server), ['account', 'show', account.handle]), /bytes +10000\nquota +10000/)
  const other = await newAccount(server)
  assert.deepEqual(outcome(await upload(other, blob(6000, 'b'))), [200])
})

it('uploads at once do not pass together', async () => {
  const account = await newAccount(server)
  const all = await Promise.all(Array.from({ length: 8 }, (_, i) => upload(account, blob(3000, `x${i}`))))
  assert.deepEqual(all.map((a) => a.status).sort(), [200, 200, 200, 413, 413, 413, 413, 413])
  assert.equal((await admin(account.handle)).blobBytes, 9000)
})

it('room comes back with what is deleted', async () => {
  const account = await newAccount(server)
  const { blob: image } = await upload(account, blob(9000, 'y'))
  const embed = { $type: 'app.bsky.embed.images', images: [{ alt: '', image }] }
  const record = { $type: POST, text: 'look', createdAt: new Date().toISOString(), embed }
  const write = (nsid, json) => call(server, 'POST', `com.atproto.repo.${nsid}`, { json: { repo: account.did, collection: POST, ...json }, token: account.token })
  assert.equal((await write('createRecord', { rkey: '3jzfcijpj2z2a', record })).status, 200)
  assert.deepEqual(outcome(await upload(account, blob(2000, 'z'))), FULL)
  assert.equal((await write('deleteRecord', { rkey: '3jzfcijpj2z2a' })).status, 200)
  assert.equal((await admin(account.handle)).blobBytes, 0)
  assert.deepEqual(outcome(await upload(account, blob(2000, 'z'))), [200])
})

it('the operator gives an account another bound', async () => {
  const account = await newAccount(server)
  assert.equal((await admin(account.handle, '100')).blobQuota, 100)
  assert.deepEqual(outcome(await upload(account, blob(101, 'p'))), FULL)
  assert.equal((await admin(account.handle, 'none')).blobQuota, null)
  assert.deepEqual(outcome(await upload(account, blob(QUOTA * 3, 'q'))), [200])
  assert.equal((await admin(account.handle, 'default')).blobQuota, QUOTA)
  assert.deepEqual(outcome(await upload(account, blob(1, 'r'))), FULL)
  assert.notEqual((await ues(dataOf(server), ['admin', 'quota', account.handle, '1 GB'])).code, 0)
  const audit = JSON.parse(await uesOk(dataOf(server), ['admin', 'audit', '--json']))
  const acts = audit.filter((a) => a.what === 'setQuota' && a.subject === account.did).map((a) => a.details.blobBytes)
  assert.deepEqual(acts, [null, 0, 100])
})

const NOTE = 'com.example.note'
const note = (size) => ({ $type: NOTE, text: 'x'.repeat(size) })
const write = (account, nsid, json) =>
  call(server, 'POST', `com.atproto.repo.${nsid}`, { json: { repo: account.did, ...json }, token: account.token })
const create = (account, rkey, size = 10) => write(account, 'createRecord', { collection: NOTE, rkey, record: note(size) })

it('records are bounded by number, whoever writes them and how', async () => {
  const account = await newAccount(server)
  assert.deepEqual((await records(account.handle)).slice(0, 2), [0, 0])
  await admin(account.handle, '--records', '5')
  for (const rkey of ['a', 'b', 'c']) assert.deepEqual(outcome(await create(account, rkey)), [200])
  const many = ['d', 'e', 'f'].map((rkey) => ({ $type: 'com.atproto.repo.applyWrites#create', collection: NOTE, rkey, value: note(10) }))
  const refused = await write(account, 'applyWrites', { writes: many })
  assert.deepEqual(outcome(refused), FULL)
  assert.match(refused.message, /5 records.*has 3.*3 more/)
  const gone = { $type: 'com.atproto.repo.applyWrites#delete', collection: NOTE, rkey: 'a' }
  assert.deepEqual(outcome(await write(account, 'applyWrites', { writes: [gone, ...many] })), [200])
  assert.deepEqual(outcome(await create(account, 'g')), FULL)
  const put = (rkey, size) => write(account, 'putRecord', { collection: NOTE, rkey, record: note(size) })
  assert.deepEqual(outcome(await put('b', 500)), [200], 'a record may be replaced')
  assert.deepEqual(outcome(await put('h', 5)), FULL)
  await admin(account.handle, '--records', '2')
  assert.deepEqual(outcome(await put('b', 600)), [200], 'also when there are too many already')
  assert.deepEqual(outcome(await write(account, 'deleteRecord', { collection: NOTE, rkey: 'b' })), [200])
  assert.deepEqual(outcome(await create(account, 'h')), FULL)
  assert.equal((await admin(account.handle, '--records', 'none')).recordQuota, null)
  assert.deepEqual(outcome(await create(account, 'h')), [200])
  const at = await Promise.all(Array.from({ length: 30 }, (_, i) => create(account, `at-once-${i}`)))
  assert.ok(at.every((a) => a.status === 200))
  assert.equal((await records(account.handle))[0], 35)
  await admin(account.handle, '--records', '40')
  const over = await Promise.all(Array.from({ length: 12 }, (_, i) => create(account, `more-${i}`)))
  assert.equal(over.filter((a) => a.status === 200).length, 5)
  await uesOk(dataOf(server), ['check'])
})

it('records are bounded by their bytes, and the total is what is there', async () => {
  const account = await newAccount(server)
  await create(account, 'one', 1000)
  const [count, size] = await records(account.handle)
  assert.equal(count, 1)
  assert.ok(size > 1000 && size < 1100)
  await admin(account.handle, '--record-bytes', String(3 * size))
  assert.deepEqual(outcome(await create(account, 'two', 1000)), [200])
  assert.deepEqual(outcome(await create(account, 'three', 1001)), FULL)
  assert.deepEqual(outcome(await create(account, 'three', 1000)), [200])
  assert.deepEqual(outcome(await create(account, 'four', 1)), FULL)
  const put = (size) => write(account, 'putRecord', { collection: NOTE, rkey: 'two', record: note(size) })
  assert.deepEqual(outcome(await put(1001)), FULL)
  assert.deepEqual(outcome(await put(10)), [200])
  const [three, fewer] = await records(account.handle)
  assert.equal(three, 3)
  assert.ok(fewer < 2.1 * size && fewer > 2 * size)
  assert.deepEqual(outcome(await create(account, 'four', 900)), [200])
  await write(account, 'deleteRecord', { collection: NOTE, rkey: 'one' })
  await write(account, 'deleteRecord', { collection: NOTE, rkey: 'two' })
  await write(account, 'deleteRecord', { collection: NOTE, rkey: 'three' })
  await write(account, 'deleteRecord', { collection: NOTE, rkey: 'four' })
  assert.deepEqual((await records(account.handle)).slice(0, 2), [0, 0])
  await uesOk(dataOf(server), ['check'])
})

it('what is imported counts, and has to fit', async () => {
  const [from, to] = [await newAccount(server), await newAccount(server)]
  for (let n = 0; n < 6; n++) await create(from, `r${n}`, 100 + n)
  const car = await bytes(server, 'com.atproto.sync.getRepo', { did: from.did })
  const before = await records(from.handle)
  const take = () => call(server, 'POST', 'com.atproto.repo.importRepo', { raw: car, type: 'application/vnd.ipld.car', token: to.token })
  await create(to, 'mine')
  await admin(to.handle, '--records', '5')
  assert.deepEqual(outcome(await take()), FULL)
  assert.equal((await records(to.handle))[0], 1)
  await admin(to.handle, '--records', '6')
  assert.deepEqual(outcome(await take()), [200])
  assert.deepEqual((await records(to.handle)).slice(0, 2), before.slice(0, 2))
  assert.deepEqual(outcome(await create(to, 'more')), FULL)
  await uesOk(dataOf(server), ['check'])
})

it('totals outlive the node, killed or not', async () => {
  const account = await newAccount(server)
  await upload(account, blob(4000, 'k'))
  for (let n = 0; n < 4; n++) await create(account, `k${n}`, 50)
  const before = await admin(account.handle)
  const { dir, port } = server
  await server.program.kill()
  server = await startUes({ dir, port, env: { UES_QUOTA_BLOB_BYTES: String(QUOTA), UES_QUOTA_RECORDS: '5' } })
  assert.deepEqual(await admin(account.handle), { ...before, recordQuota: 5 })
  assert.deepEqual(outcome(await create(account, 'k4')), [200])
  assert.deepEqual(outcome(await create(account, 'k5')), FULL)
  assert.deepEqual(outcome(await upload(account, blob(7000, 'm'))), FULL)
  await uesOk(dataOf(server), ['check'])
})
