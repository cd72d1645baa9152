// How much of the node an account may take with its blobs.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { dataOf, startUes } from '../lib/servers.mjs'
import { call } from '../lib/xrpc.mjs'

const POST = 'app.bsky.feed.post'
const QUOTA = 10_000

let server
before(async () => {
  server = await startUes({ env: { UES_QUOTA_BLOB_BYTES: String(QUOTA) } })
})
after(() => server?.close())

const admin = (...args) => uesOk(dataOf(server), ['admin', 'quota', ...args, '--json']).then((text) => JSON.parse(text))
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
  assert.deepEqual(await admin(account.handle), { did: account.did, blobs: 0, blobBytes: 0, blobQuota: QUOTA })
  assert.deepEqual(outcome(await upload(account, blob(QUOTA + 1, 'a'))), FULL)
  assert.equal((await admin(account.handle)).blobBytes, 0)
  assert.deepEqual(outcome(await upload(account, blob(6000, 'b'))), [200])
  assert.deepEqual(outcome(await upload(account, blob(4001, 'c'))), FULL)
  assert.deepEqual(outcome(await upload(account, blob(4000, 'd'))), [200])
  assert.deepEqual(outcome(await upload(account, blob(1, 'e'))), FULL)
  assert.deepEqual(outcome(await upload(account, blob(6000, 'b'))), [200], 'what is there already takes nothing')
  const { message } = await upload(account, blob(7, 'f'))
  assert.match(message, /10000 bytes.*has 10000.*7 more/)
  assert.deepEqual(await admin(account.handle), { did: account.did, blobs: 2, blobBytes: QUOTA, blobQuota: QUOTA })
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
