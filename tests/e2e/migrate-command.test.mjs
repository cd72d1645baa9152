// `ues account migrate` moves accounts between the official server and our node, both ways, killed again and again: the
// command, our node, the official server. Nothing is lost, and the account has a home at any time.
import assert from 'node:assert/strict'
import { readdir, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { PASSWORD, newAccount, newHandle } from '../lib/accounts.mjs'
import { ues } from '../lib/cli.mjs'
import { NOTE, begins, blob, blobs, done, homePort, migrate, ok, settled, watchHome } from '../lib/moving.mjs'
import { freePort } from '../lib/process.mjs'
import { bytes, dataRoot, verifiedExport } from '../lib/repos.mjs'
import { TARGET, dataOf, scratch, startPds, startPlc, startUes } from '../lib/servers.mjs'
import { MailServer } from '../lib/smtp.mjs'
import { query } from '../lib/xrpc.mjs'

const RECORDS = Number(process.env.MOVE_RECORDS ?? 300)
const BLOBS = Number(process.env.MOVE_BLOBS ?? 24)
const LIMIT = { timeout: 300_000 }

let plc, mail, official, ours, dirs

const startOfficial = (port) =>
  startPds({
    dir: dirs.official,
    port,
    plc,
    env: {
      PDS_EMAIL_SMTP_URL: mail.url,
      PDS_EMAIL_FROM_ADDRESS: 'pds@example.com',
      // Without one it keeps no preferences; it is never asked.
      PDS_BSKY_APP_VIEW_URL: 'http://localhost:1',
      PDS_BSKY_APP_VIEW_DID: 'did:web:appview.example.com',
    },
  })

const startOurs = async (port) => {
  const server = await startUes({
    dir: dirs.ours,
    port,
    env: {
      // By a name, as the official server wants it of others.
      UES_PUBLIC_URL: `http://localhost:${port}`,
      UES_IDENTITY_DIRECTORY: `http://localhost:${plc.port}`,
      UES_PINS_ROLES: '',
    },
  })
  server.plcUrl = plc.url
  return server
}

before(async () => {
  plc = await startPlc()
  mail = await MailServer.start()
  dirs = { official: await scratch('pds'), ours: await scratch('node') }
  official = await startOfficial(await freePort())
  ours = await startOurs(await freePort())
})
after(async () => {
  mail?.close()
  for (const server of [official, ours, plc]) await server?.close()
  for (const dir of Object.values(dirs ?? {})) await rm(dir, { recursive: true, force: true })
})

const emailOf = (account) => `${account.handle.split('.')[0]}@example.com`

async function write(server, account, extra = '') {
  const agent = new AtpAgent({ service: server.url })
  await agent.login({ identifier: account.handle, password: PASSWORD })
  const record = { $type: NOTE, text: `at ${server.url}${extra}` }
  await agent.com.atproto.repo.createRecord({ repo: account.did, collection: NOTE, record, validate: false })
  return agent
}

/** All that the account had is at `to`, and it lives there and nowhere else. */
async function arrived(account, from, to, root) {
  const { did } = account
  assert.equal(await dataRoot(to, did), root, 'the same tree')
  for (const [n, cid] of account.blobs.entries()) {
    const content = await bytes(to, 'com.atproto.sync.getBlob', { did, cid })
    assert.ok(blob(n).equals(content), `blob ${n}`)
  }
  const status = async (server) => ok(await query(server, 'com.atproto.sync.getRepoStatus', { did }))
  assert.equal((await status(to)).active, true)
  assert.deepEqual([(await status(from)).active, (await status(from)).status], [false, 'deactivated'])
  assert.equal(await homePort(plc, did), to.port)
  const agent = await write(to, account)
  const { preferences } = ok(await query(to, 'app.bsky.actor.getPreferences', {}, { token: agent.session.accessJwt }))
  assert.deepEqual(preferences, account.preferences)
  const { records } = await verifiedExport(to, did)
  assert.ok(records.size > RECORDS)
}

const isDone = (run) => {
  assert.equal(run.code, 0, JSON.stringify(run.failure))
  assert.equal(run.lines.at(-1).state, 'finished')
}

/** Runs the command once for each line, killed where it prints it. Whether one run was finished before the signal came, as it may be
 * on a busy machine; so it may have asked for a code before. */
async function isFinished(args, lines, run = migrate) {
  for (const at of lines) {
    const cut = await run(dataOf(ours), args, at)
    assert.ok(cut.lines.some(at), JSON.stringify(cut.failure))
    if (cut.code === 0) return true
    if (!cut.signal) assert.match(cut.failure.message, /has sent a code by mail/)
  }
  return false
}

/** The code in the newest letter: each run that came to ask for one had another sent. */
async function newestCode(to) {
  let code
  do code = await mail.token(to)
  while (mail.mails.some((letter) => letter.to.includes(to)))
  return code
}

/** The command, with the code from a letter when it asks for one. */
async function finish(account, args, at) {
  const run = await migrate(dataOf(ours), args, at)
  if (run.code === 0 || run.signal) return run
  assert.match(run.failure.message, /has sent a code by mail/)
  assert.match(run.failure.hint, /--token/)
  assert.match(run.failure.hint, /lives at .* as before/)
  return migrate(dataOf(ours), [...args, '--token', await newestCode(emailOf(account))], at)
}

/** What is left in the node's folder of moves that are not finished. */
const leftOver = async () => {
  const names = await readdir(path.join(dataOf(ours), 'migrations'))
  return names.filter((name) => !name.endsWith('.lock'))
}

describe('ues account migrate', { skip: TARGET !== 'ues' && 'both servers are in it' }, () => {
  it('comes from the official server and goes back, the command killed at every step', LIMIT, async () => {
    const account = await settled(official, RECORDS, BLOBS)
    const from = ['--from', official.url, '--account', account.handle]
    let root = await dataRoot(official, account.did)
    let watch = watchHome(plc, account.did, official, ours)
    const early = [begins('account'), done('account'), begins('repository'), done('repository'), blobs(1)]
    assert.equal(await isFinished(from, [...early, blobs(9), done('blobs'), done('preferences'), done('check')]), false)
    const [file] = (await leftOver()).filter((name) => name.endsWith('.json'))
    const { mode } = await stat(path.join(dataOf(ours), 'migrations', file))
    assert.equal(mode & 0o777, 0o600)
    // What is written meanwhile comes along.
    await write(official, account)
    root = await dataRoot(official, account.did)
    const withCode = (_, args, at) => finish(account, args, at)
    if (!(await isFinished(from, [done('identity'), done('activate'), done('deactivate')], withCode))) {
      const last = await migrate(dataOf(ours), from)
      isDone(last)
      const steps = last.lines.filter((line) => line.state === 'done').map((line) => line.step)
      assert.deepEqual(steps, ['activate', 'deactivate'])
    }
    assert.deepEqual(await leftOver(), [])
    await watch.end()
    await arrived(account, official, ours, root)

    // The official server still has its old copy, and takes what changed since.
    const back = ['--to', official.url, '--account', account.did]
    root = await dataRoot(ours, account.did)
    watch = watchHome(plc, account.did, ours, official)
    const cuts = [done('account'), done('repository'), done('check'), done('identity'), done('activate')]
    if (!(await isFinished(back, cuts))) isDone(await migrate(dataOf(ours), back))
    await watch.end()
    await arrived(account, ours, official, root)
  })

  it('survives that either server is killed', LIMIT, async () => {
    const account = await settled(official, RECORDS, BLOBS)
    const args = ['--from', official.url, '--account', account.did]
    const root = await dataRoot(official, account.did)
    const watch = watchHome(plc, account.did, official, ours)
    const killed = []
    const once = (name, wanted, kill) => (line) => {
      if (killed.includes(name) || !wanted(line)) return false
      killed.push(name)
      return kill()
    }
    const ourEnd = (line) => once('ours', blobs(5), () => ours.program.kill())(line)
    const first = await migrate(dataOf(ours), args, ourEnd)
    assert.ok(first.code > 0)
    assert.match(first.failure.message, /does not answer/)
    // Nobody there to move it.
    const nobody = await migrate(dataOf(ours), args)
    assert.equal(nobody.code, 5)
    assert.match(nobody.failure.hint, /ues up/)
    ours = await startOurs(ours.port)

    const theirEnd = (line) => once('official', blobs(3), () => official.program.kill())(line)
    const second = await migrate(dataOf(ours), args, theirEnd)
    assert.ok(second.code > 0)
    assert.match(second.failure.message, /does not answer/)
    assert.match(second.failure.hint, /lives at .* as before/)
    official = await startOfficial(official.port)
    assert.deepEqual(killed, ['ours', 'official'])

    const third = await finish(account, args, (line) => once('late', done('identity'), () => official.program.kill())(line))
    // It lives here although nobody can switch it off there.
    assert.ok(third.code > 0)
    assert.match(third.failure.hint, /lives at .* now/)
    const status = ok(await query(ours, 'com.atproto.sync.getRepoStatus', { did: account.did }))
    assert.equal(status.active, true)
    official = await startOfficial(official.port)
    isDone(await migrate(dataOf(ours), args))
    await watch.end()
    await arrived(account, official, ours, root)
  })

  it('goes to the official server, all three killed', LIMIT, async () => {
    const account = await settled(ours, RECORDS, BLOBS)
    const args = ['--to', official.url, '--account', account.handle]
    const root = await dataRoot(ours, account.did)
    const watch = watchHome(plc, account.did, ours, official)
    assert.equal(await isFinished(args, [begins('account'), done('account'), done('repository'), blobs(4)]), false)
    const theirs = await migrate(dataOf(ours), args, (line) => blobs(5)(line) && official.program.kill())
    assert.ok(theirs.code > 0)
    official = await startOfficial(official.port)
    const own = await migrate(dataOf(ours), args, (line) => blobs(3)(line) && ours.program.kill())
    assert.ok(own.code > 0)
    ours = await startOurs(ours.port)
    if (!(await isFinished(args, [done('blobs'), done('preferences'), done('check'), begins('identity')]))) {
      isDone(await migrate(dataOf(ours), args))
    }
    await watch.end()
    await arrived(account, ours, official, root)
    const audit = JSON.parse((await ues(dataOf(ours), ['--json', 'admin', 'audit'])).stdout)
    assert.ok(audit.some((act) => act.what === 'signPlcOperation' && act.subject === account.did))
  })

  it('can be abandoned, and says what is wrong', LIMIT, async () => {
    const account = await newAccount(official, { handle: newHandle('stayer') })
    const args = ['--from', official.url, '--account', account.handle]
    assert.equal(await isFinished(args, [done('check')]), false)
    const other = await migrate(dataOf(ours), ['--from', plc.url, '--account', account.handle])
    assert.match(other.failure.message, /on its way already/)
    const status = () => query(ours, 'com.atproto.sync.getRepoStatus', { did: account.did })
    assert.equal(ok(await status()).active, false)
    const abandoned = await migrate(dataOf(ours), [...args, '--abandon'])
    assert.equal(abandoned.code, 0, JSON.stringify(abandoned.failure))
    assert.equal(abandoned.lines.at(-1).deleted, true)
    assert.notEqual((await status()).body.status, 'deactivated')
    assert.equal(await homePort(plc, account.did), official.port)
    await write(official, account)
    assert.deepEqual(await leftOver(), [])

    const file = path.join(dirs.ours, 'password')
    await writeFile(file, 'wrong\n')
    const wrong = await migrate(dataOf(ours), [...args, '--password-file', file])
    assert.equal(wrong.code, 1)
    assert.match(wrong.failure.message, /refuses com.atproto.server.createSession/)
    assert.match(wrong.failure.hint, /own password/)
    const clear = await migrate(dataOf(ours), ['--from', 'http://pds.example.com', '--account', account.handle])
    assert.equal(clear.code, 2)
    await migrate(dataOf(ours), [...args, '--abandon'])

    await writeFile(file, `${PASSWORD}\n`)
    const named = [...args, '--password-file', file, '--handle', newHandle('newname')]
    isDone(await finish(account, named))
    const shown = JSON.parse((await ues(dataOf(ours), ['--json', 'account', 'show', account.did])).stdout)
    assert.equal(shown.handle, named.at(-1))
  })
})
