// Makes what tests/e2e/upgrade.test.mjs opens: a small data folder, written by the program that TEST_BINARY names, and a list of
// what is in it. To be run once with the last program of each format of the folder:
//
//   TEST_BINARY=… .peers/node/bin/node tests/by-hand/old-folder.mjs tests/fixtures/format-N
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { newAccount } from '../lib/accounts.mjs'
import { uesOk } from '../lib/cli.mjs'
import { ADMIN, asAdmin, startGoverned, stopGoverned } from '../lib/governed.mjs'
import { dataRoot, head, verifiedExport } from '../lib/repos.mjs'
import { dataOf, scratch } from '../lib/servers.mjs'
import { call } from '../lib/xrpc.mjs'

const [out] = process.argv.slice(2)
const [POST, NOTE] = ['app.bsky.feed.post', 'com.example.note']
const dir = await scratch('old')
const server = await startGoverned({ dir, env: { UES_PUBLIC_URL: 'https://node.example' } })
const data = dataOf(server)

const accounts = {}
for (const name of ['alice', 'asleep', 'gone', 'erased']) {
  accounts[name] = await newAccount(server, { handle: `${name}.test` })
  // Their documents say where the node will be, which is not here.
  accounts[name].agent.sessionManager.pdsUrl = undefined
}
const { alice, asleep, gone, erased } = accounts
const { agent, did } = alice
const content = 'the content of a file '.repeat(20)
const { blob } = (await agent.uploadBlob(Buffer.from(content), { encoding: 'text/plain' })).data
const put = (rkey, more) => agent.com.atproto.repo.putRecord({ repo: did, collection: NOTE, rkey, record: { $type: NOTE, ...more } })
await put('file', { file: blob })
for (let n = 0; n < 40; n++) await put(`note-${n}`, { n })
for (let n = 0; n < 40; n += 4) await agent.com.atproto.repo.deleteRecord({ repo: did, collection: NOTE, rkey: `note-${n}` })
const post = await agent.post({ text: 'a post' })
await agent.like(post.uri, post.cid)
await gone.agent.like(post.uri, post.cid)
await asleep.agent.post({ text: 'another post' })
const preferences = [{ $type: 'app.bsky.actor.defs#interestsPref', tags: ['a', 'b'] }]
await call(server, 'POST', 'app.bsky.actor.putPreferences', { json: { preferences }, token: alice.token })
const app = (await agent.com.atproto.server.createAppPassword({ name: 'phone' })).data
await asAdmin(server, 'com.atproto.admin.updateSubjectStatus', {
  json: { subject: { $type: 'com.atproto.admin.defs#repoRef', did: gone.did }, takedown: { applied: true, ref: 'spam' } },
})
await asleep.agent.com.atproto.server.deactivateAccount({})
await call(server, 'POST', 'com.atproto.admin.deleteAccount', { json: { did: erased.did }, token: ADMIN })
const { code } = await asAdmin(server, 'com.atproto.server.createInviteCode', { json: { useCount: 3 } })
await uesOk(data, ['admin', 'label', 'add', did, 'spam'])

const { records } = await verifiedExport(server, did)
const known = {
  dids: Object.fromEntries(Object.entries(accounts).map(([name, one]) => [name, one.did])),
  password: alice.password,
  appPassword: app.password,
  blob: { cid: blob.ref.toString(), content },
  head: await head(server, did),
  root: await dataRoot(server, did),
  records: Object.fromEntries(records),
  post: post.uri,
  preferences,
  invite: code,
  audit: JSON.parse(await uesOk(data, ['admin', 'audit', '--json'])).length,
}
await stopGoverned(server)
execFileSync('tar', ['-C', data, '-cSJf', path.resolve(`${out}.tar.xz`), '.'], { env: { ...process.env, XZ_OPT: '-9e' } })
await writeFile(`${out}.json`, `${JSON.stringify(known, null, 1)}\n`)
