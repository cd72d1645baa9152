// The network's own software behind a node: indigo's relay, which drops what is not exactly right, and its tap, which
// mirrors repositories through the relay.
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Program, freePort } from './process.mjs'
import { Server, scratch } from './servers.mjs'

const bin = (name) => {
  const folder = process.env.INDIGO ?? fileURLToPath(new URL('../../.peers/indigo', import.meta.url))
  const found = path.join(folder, name)
  if (!existsSync(found)) throw new Error(`${found} is missing: run tests/peers/install.sh indigo`)
  return found
}

/**
 * What a relay says of a node that is stopped and started again, and of followers that leave: it is not about events. After a
 * restart it asks again for the last events that it has, which come with the revision that it knows.
 */
const AROUND = /dialing failed|host connection failed|failed to read message from client/
const isAbout = ({ level, msg, rev, prevRev }) =>
  ['WARN', 'ERROR'].includes(level) && !AROUND.test(msg) && !(msg === 'dropping commit with old rev' && rev === prevRev)

/** A strict relay that follows a node, and other servers that share its directory. */
export async function startRelay(server, ...others) {
  const dir = await scratch('relay')
  await mkdir(path.join(dir, 'persist'))
  const port = await freePort()
  const metrics = await freePort()
  const url = `http://127.0.0.1:${port}`
  const file = path.join(dir, 'relay.sqlite')
  const start = async () => {
    const args = ['--admin-password', 'pw', '--plc-host', server.plcUrl, '--log-level', 'info', 'serve', '--bind', `127.0.0.1:${port}`]
    args.push('--metrics-listen', `127.0.0.1:${metrics}`, '--db-url', `sqlite://${file}`)
    args.push('--persist-dir', path.join(dir, 'persist'), '--allow-insecure-hosts', '--initial-seq-number', '1')
    const program = new Program('relay', bin('relay'), args, {}, dir)
    program.lines = []
    for (const stream of [program.child.stdout, program.child.stderr]) {
      let rest = ''
      stream.on('data', (chunk) => {
        const parts = (rest + chunk).split('\n')
        rest = parts.pop()
        program.lines.push(...parts)
      })
    }
    await program.answers(`${url}/xrpc/_health`)
    return program
  }
  // It refuses to be asked to crawl a local address: the host is entered by hand once its tables are there, as one whose
  // first event was seen, since only then it asks for what came before.
  await (await start()).stop()
  const db = new DatabaseSync(file)
  const insert = `insert into host(created_at, updated_at, hostname, no_ssl, trusted, account_limit, last_seq, status)
    values(datetime('now'), datetime('now'), ?, 1, 1, 100000, 1, 'active')`
  for (const { port } of [server, ...others]) db.prepare(insert).run(`localhost:${port}`)
  db.close()
  const relay = new Server({ kind: 'relay', url, port, dir, program: await start() })

  /** What it complained of. */
  relay.complaints = () => relay.program.lines.filter((line) => line.startsWith('{') && isAbout(JSON.parse(line)))

  /** Sums of its counters, by name and labels. */
  relay.metrics = async () => {
    const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text()
    const out = new Map()
    for (const line of text.split('\n')) {
      const found = /^(\w+(?:\{[^}]*\})?) ([-+0-9.e]+)$/.exec(line)
      if (found) out.set(found[1], Number(found[2]))
    }
    return out
  }

  /** The state of an account, as it tells others. */
  relay.status = async (did) => {
    const res = await fetch(`${url}/xrpc/com.atproto.sync.getRepoStatus?did=${did}`)
    return { code: res.status, ...(await res.json()) }
  }
  return relay
}

/** A mirror of all repositories behind a relay. */
export async function startTap(server, relay) {
  const dir = await scratch('tap')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const file = path.join(dir, 'tap.db')
  const args = ['run', '--plc-url', server.plcUrl, '--relay-url', relay.url, '--bind', `127.0.0.1:${port}`]
  args.push('--full-network', '--disable-acks', '--db-url', `sqlite://${file}`)
  const program = new Program('tap', bin('tap'), args, {}, dir)
  await program.answers(`${url}/health`)
  const tap = new Server({ kind: 'tap', url, port, dir, program })

  /** What it has of an account: `{ state, rev, records }`. */
  tap.repo = (did) => {
    const db = new DatabaseSync(file, { readOnly: true })
    try {
      const repo = db.prepare('select state, status, rev, handle, error_msg from repos where did = ?').get(did)
      const rows = db.prepare('select collection, rkey, cid from repo_records where did = ?').all(did)
      return { ...repo, records: new Map(rows.map((r) => [`${r.collection}/${r.rkey}`, r.cid])) }
    } finally {
      db.close()
    }
  }
  return tap
}

/** Waits until `test` gives something true; the last error or value is told when time is up. */
export async function until(what, test, seconds = Number(process.env.PATIENCE ?? 90)) {
  const deadline = Date.now() + seconds * 1000
  let last
  for (;;) {
    try {
      last = await test()
      if (last) return last
    } catch (err) {
      last = err
    }
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s (${last?.message ?? last})`)
    await delay(100)
  }
}

