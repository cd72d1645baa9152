// The tour of README.md, step by step, on an empty folder.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { AtpAgent } from '@atproto/api'
import { ues, uesOk } from '../lib/cli.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { Program, freePort } from '../lib/process.mjs'
import { listAll, readBlocks, verifiedExport } from '../lib/repos.mjs'
import { TARGET, scratch, startUes } from '../lib/servers.mjs'

const POST = 'app.bsky.feed.post'
const PASSWORD = 'a password of the tour'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The commands of the README's first block, as they stand there. */
const firstCommands = async () => {
  const readme = await readFile(path.join(root, 'README.md'), 'utf8')
  const [, block] = readme.match(/```sh\n([^]*?)```/)
  return block.trim().split('\n').map((line) => line.replace(/#.*/, '').trim().split(/\s+/))
}

describe('the first two commands of the README', { skip: TARGET !== 'ues' && 'it is our README' }, () => {
  it('start a node and make an account, run as they stand there', async () => {
    const [[cargo, ...up], [, ...create]] = await firstCommands()
    assert.equal(cargo, 'cargo')
    const dir = await scratch('first')
    const port = await freePort()
    const data = ['--data', path.join(dir, 'data')]
    // A build of minutes is left out where a program is given: what `cargo run` would run, a test in Rust looks after.
    const given = process.env.TEST_BINARY
    const program = given
      ? new Program('ues', given, [...up.slice(up.indexOf('--') + 1), ...data, '--listen', `127.0.0.1:${port}`])
      : new Program('cargo', cargo, [...up, ...data, '--listen', `127.0.0.1:${port}`], {}, root)
    try {
      await program.answers(`http://127.0.0.1:${port}/xrpc/_health`)
      const { stdout } = given
        ? await promisify(execFile)(given, [...create.slice(create.indexOf('--') + 1), ...data])
        : await promisify(execFile)(cargo, [...create, ...data], { cwd: root })
      assert.match(stdout, /alice\.test/)
    } finally {
      await program.stop()
      await rm(dir, { recursive: true, force: true })
    }
  })
})

describe('the tour', { skip: TARGET !== 'ues' && 'it is a tour of our node' }, () => {
  let server, dir, data, did
  before(async () => {
    dir = await scratch('tour')
    data = path.join(dir, 'data')
    server = await startUes({ dir })
  })
  after(async () => {
    await server?.program.stop()
    if (dir) await rm(dir, { recursive: true, force: true })
  })
  const run = (...args) => uesOk(data, args)

  it('ues up says where the page is and where the data lies', () => {
    assert.match(server.program.log, new RegExp(`http://(localhost|127\\.0\\.0\\.1):${server.port}`))
    assert.ok(server.program.log.includes(data), server.program.log)
    assert.match(server.program.log, /account create/)
  })

  it('ues account create makes an account', async () => {
    await run('account', 'create', 'alice.test', '--password', PASSWORD)
    const accounts = await run('account', 'ls')
    assert.match(accounts, /alice\.test/)
    const agent = new AtpAgent({ service: server.url })
    await agent.login({ identifier: 'alice.test', password: PASSWORD })
    did = agent.session.did
  })

  it('ues post writes, ues record ls reads back', async () => {
    const uri = (await run('post', 'Hello from my own machine', '--as', 'alice.test')).split('\n')[0]
    assert.match(uri, new RegExp(`^at://${did}/${POST}/`))
    assert.match(await run('record', 'ls', POST, '--as', 'alice.test'), /Hello from my own machine/)
    const [record] = await listAll(server, 'alice.test', POST)
    assert.equal(record.value.text, 'Hello from my own machine')
  })

  it('the official client posts and reads', async () => {
    const agent = new AtpAgent({ service: server.url })
    await agent.login({ identifier: 'alice.test', password: PASSWORD })
    await agent.post({ text: 'Hello from @atproto/api' })
    const { data: page } = await agent.com.atproto.repo.listRecords({ repo: 'alice.test', collection: POST })
    assert.deepEqual(page.records.map((r) => r.value.text), ['Hello from @atproto/api', 'Hello from my own machine'])
  })

  it('the page shows the node', async () => {
    const res = await fetch(server.url)
    assert.equal(res.status, 200)
    assert.match(res.headers.get('content-type'), /^text\/html/)
    assert.match(await res.text(), /alice\.test/)
  })

  it('the event stream tells of a post at once', async () => {
    const sub = new Subscription(server, { cursor: 0 })
    await run('post', 'watched', '--as', 'alice.test')
    await sub.until((events) => events.filter((e) => e.t === '#commit' && e.repo === did && e.ops.length).length === 3)
    await sub.close()
    assert.ok((await run('repo', 'log', 'alice.test')).trim().split('\n').length >= 4)
  })

  it('ues repo export and verify', async () => {
    const file = path.join(dir, 'alice.car')
    await run('repo', 'export', 'alice.test', '-o', file)
    const exported = new Set((await readBlocks(await readFile(file))).blocks.keys())
    const { car } = await verifiedExport(server, did)
    assert.deepEqual(exported, new Set((await readBlocks(car)).blocks.keys()))
    await run('repo', 'verify', file)
    const damaged = await readFile(file)
    damaged[damaged.length - 5] ^= 1
    await writeFile(`${file}.damaged`, damaged)
    const verdict = await ues(data, ['repo', 'verify', `${file}.damaged`])
    assert.equal(verdict.code, 4, `unsound\n${verdict.stdout}${verdict.stderr}`)
  })

  it('a second node on the same folder is refused', async () => {
    const second = await ues(data, ['up', '--listen', '127.0.0.1:0'])
    assert.notEqual(second.code, 0)
    assert.match(second.stderr, /another|already|running|in use/i)
  })

  it('the same commands work on a node that is stopped', async () => {
    const end = await server.program.stop()
    assert.equal(end.code, 0)
    assert.match(await run('account', 'ls'), /alice\.test/)
    await run('post', 'written while the node was down', '--as', 'alice.test')
    await run('check')
    server = await startUes({ dir, port: server.port })
    const texts = (await listAll(server, did, POST)).map((r) => r.value.text)
    assert.equal(texts[0], 'written while the node was down')
    assert.equal(texts.length, 4)
    await verifiedExport(server, did)
  })

  it('every command prints JSON', async () => {
    for (const args of [['account', 'ls'], ['record', 'ls', POST, '--as', 'alice.test'], ['repo', 'log', 'alice.test'], ['config', 'show']]) {
      const out = (await run(...args, '--json')).trim()
      const parse = () => {
        try {
          return JSON.parse(out)
        } catch {
          return out.split('\n').map((line) => JSON.parse(line))
        }
      }
      assert.doesNotThrow(parse, args.join(' '))
    }
  })
})
