// `ues account migrate` as a person runs it, killed where a test says, and a watch over the account's home meanwhile.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { PASSWORD, newAccount, newHandle } from './accounts.mjs'
import { uesBinary } from './servers.mjs'
import { procedure, query } from './xrpc.mjs'

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
