// Accounts that move: by the methods of every tool, or by `ues account migrate` as a person runs it, killed where a test says,
// with a watch over the account's home meanwhile.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { AtpAgent } from '@atproto/api'
import { PASSWORD, newAccount, newHandle } from './accounts.mjs'
import { bytes } from './repos.mjs'
import { uesBinary } from './servers.mjs'
import { call, procedure, query } from './xrpc.mjs'

/**
 * Runs `ues account migrate`. `at` sees each line of its output; when it gives true, the command is killed, a promise
 * is waited for first. Returns `{ code, signal, lines, failure }`.
 */
export async function migrate(data, args, at = () => false) {
  const child = spawn(uesBinary(), ['--data', data, '--json', 'account', 'migrate', ...args], {
    env: { ...process.env, UES_PASSWORD: PASSWORD },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'close')
  const stderr = text(child.stderr)
  const lines = []
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(JSON.parse(line))
    const kill = at(lines.at(-1))
    if (kill instanceof Promise) await kill
    else if (kill) child.kill('SIGKILL')
  }
  const [code, signal] = await ended
  const last = (await stderr).trim().split('\n').at(-1)
  return { code, signal, lines, failure: code ? JSON.parse(last) : undefined }
}

/** The collection that an account which moves has records in. */
export const NOTE = 'com.example.note'

/** The content of one of its blobs. */
export const blob = (n) => Buffer.alloc(1000 * (n + 1), `${n} `)

/** The body of an answer that must be a good one. */
export const ok = (answer) => {
  assert.equal(answer.status, 200, `${answer.error}: ${answer.message}`)
  return answer.body
}

/** An account with so many records (in hundreds) and blobs, and with preferences. */
export async function settled(server, records, blobs) {
  const account = await newAccount(server, { handle: newHandle('mover') })
  const { agent, did } = account
  const files = []
  for (let n = 0; n < blobs; n++) {
    files.push((await agent.uploadBlob(blob(n), { encoding: 'application/octet-stream' })).data.blob)
  }
  for (let made = 0; made < records; made += 100) {
    await agent.com.atproto.repo.applyWrites({
      repo: did,
      validate: false,
      writes: Array.from({ length: 100 }, (_, n) => ({
        $type: 'com.atproto.repo.applyWrites#create',
        collection: NOTE,
        rkey: `note-${made + n}`,
        value: { $type: NOTE, text: `note ${made + n}`, ...(made + n < blobs && { file: files[made + n] }) },
      })),
    })
  }
  const preferences = [{ $type: 'app.bsky.actor.defs#adultContentPref', enabled: false }]
  ok(await procedure(server, 'app.bsky.actor.putPreferences', { preferences }, { token: account.token }))
  return { ...account, blobs: files.map(({ ref }) => ref.toString()), preferences }
}

/** Moves an account by the methods that every tool uses; both servers have a mail server. Gives its new client. */
export async function moveByHand(account, from, to, { records } = {}) {
  const { did, token } = account
  const email = `${account.handle.split('.')[0]}@example.com`
  const there = ok(await query(to, 'com.atproto.server.describeServer'))
  const lxm = 'com.atproto.server.createAccount'
  const { token: jwt } = ok(await query(from, 'com.atproto.server.getServiceAuth', { aud: there.did, lxm }, { token }))
  const input = { did, handle: account.handle, email, password: PASSWORD }
  const made = ok(await procedure(to, lxm, input, { token: jwt }))
  const session = made.accessJwt
  assert.equal(made.did, did)

  const car = await bytes(from, 'com.atproto.sync.getRepo', { did })
  ok(await call(to, 'POST', 'com.atproto.repo.importRepo', { raw: car, type: 'application/vnd.ipld.car', token: session }))
  const before = ok(await query(to, 'com.atproto.server.checkAccountStatus', {}, { token: session }))
  assert.deepEqual(
    [before.activated, before.expectedBlobs, before.importedBlobs, before.indexedRecords],
    [false, account.blobs.length, 0, records ?? before.indexedRecords],
  )

  let moved = 0
  for (let cursor; ; ) {
    const page = ok(await query(to, 'com.atproto.repo.listMissingBlobs', { limit: 5, cursor }, { token: session }))
    for (const { cid } of page.blobs) {
      const content = await bytes(from, 'com.atproto.sync.getBlob', { did, cid })
      const type = 'application/octet-stream'
      ok(await call(to, 'POST', 'com.atproto.repo.uploadBlob', { raw: content, type, token: session }))
      moved++
    }
    cursor = page.cursor
    if (!cursor || page.blobs.length === 0) break
  }
  assert.equal(moved, account.blobs.length)
  const after = ok(await query(to, 'com.atproto.server.checkAccountStatus', {}, { token: session }))
  assert.equal(after.importedBlobs, account.blobs.length)

  const { preferences } = ok(await query(from, 'app.bsky.actor.getPreferences', {}, { token }))
  ok(await procedure(to, 'app.bsky.actor.putPreferences', { preferences }, { token: session }))

  ok(await call(from, 'POST', 'com.atproto.identity.requestPlcOperationSignature', { token }))
  const letter = await from.mail.token(email)
  const wanted = ok(await query(to, 'com.atproto.identity.getRecommendedDidCredentials', {}, { token: session }))
  const { operation } = ok(await procedure(from, 'com.atproto.identity.signPlcOperation', { token: letter, ...wanted }, { token }))
  ok(await procedure(to, 'com.atproto.identity.submitPlcOperation', { operation }, { token: session }))
  ok(await call(to, 'POST', 'com.atproto.server.activateAccount', { token: session }))
  ok(await procedure(from, 'com.atproto.server.deactivateAccount', {}, { token }))

  const agent = new AtpAgent({ service: to.url })
  await agent.login({ identifier: account.handle, password: PASSWORD })
  return agent
}

/** The line by which a step reports that it is done. */
export const done = (step) => (line) => line.step === step && line.state === 'done'
/** The line by which a step reports that it begins. */
export const begins = (step) => (line) => line.step === step && line.state === 'begins'
/** The line by which so many blobs are reported. */
export const blobs = (count) => (line) => line.step === 'blobs' && line.done === count

/** The server that the identity names, by its port. */
export async function homePort(plc, did) {
  const document = await (await fetch(`${plc.url}/${did}`)).json()
  const home = document.service.find((s) => s.id === '#atproto_pds').serviceEndpoint
  return Number(new URL(home).port)
}

/**
 * Looks again and again where the account lives, until `end()`. At any time it is switched on somewhere, nowhere but where
 * its identity says, and at the old server as long as that says so. A server that was killed tells nothing.
 */
export function watchHome(plc, did, old, fresh) {
  let over = false
  let looks = 0
  const isActive = async (server) => {
    const answer = await query(server, 'com.atproto.sync.getRepoStatus', { did }).catch(() => undefined)
    if (!answer || answer.status >= 500) return undefined
    return answer.body.active === true
  }
  const look = async () => {
    // In this order: who is switched off first is looked at first.
    const atOld = await isActive(old)
    const atNew = await isActive(fresh)
    const home = await homePort(plc, did)
    if (atOld === false) assert.equal(home, fresh.port, 'switched off where it lived before it lives elsewhere')
    if (atNew === true) assert.equal(home, fresh.port, 'switched on where it does not live')
    if (atOld !== undefined && atNew !== undefined) {
      assert.ok(atOld || atNew, 'switched on nowhere')
      looks++
    }
  }
  const watching = (async () => {
    while (!over) {
      await look()
      await delay(20)
    }
    await look()
  })()
  watching.catch(() => {})
  return {
    end: async () => {
      over = true
      await watching
      assert.ok(looks > 0)
    },
  }
}
