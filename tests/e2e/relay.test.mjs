// The network behind the node: a strict relay must pass every event on, and a mirror built from what it passes on must
// equal the repositories, whatever happens to accounts and to the node.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newAccount, newHandle } from '../lib/accounts.mjs'
import { uesOk } from '../lib/cli.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { Random, SEED } from '../lib/random.mjs'
import { startRelay, startTap, until } from '../lib/relay.mjs'
import { bytes, head, verifiedExport } from '../lib/repos.mjs'
import { TARGET, dataOf, scratch, startUes } from '../lib/servers.mjs'
import { call, procedure } from '../lib/xrpc.mjs'

const THING = 'com.example.thing'
const POST = 'app.bsky.feed.post'

describe(`a strict relay and a mirror behind it (SEED=${SEED})`, { skip: TARGET !== 'ues' && 'about our node only', timeout: 600_000 }, () => {
  const random = new Random()
  const accounts = []
  let server, relay, tap, passed
  before(async () => {
    server = await startUes({ dir: await scratch('relayed') })
    server.keepData = false
    accounts.push(await newAccount(server))
    relay = await startRelay(server)
    // The mirror asks for all accounts once and follows from there.
    await until('the relay knows the account', async () => (await relay.status(accounts[0].did)).active)
    tap = await startTap(server, relay)
    passed = new Subscription(relay, { cursor: 0 })
  })
  after(async () => {
    await passed?.close()
    for (const one of [tap, relay, server]) await one?.close()
  })

  const write = async (account, method, body) => {
    const res = await procedure(server, `com.atproto.repo.${method}`, { repo: account.did, ...body }, { token: account.token })
    assert.equal(res.status, 200, res.message)
    return res.body
  }
  const put = (account, rkey, n) => write(account, 'putRecord', { collection: THING, rkey, record: { $type: THING, n } })

  /** Waits until the mirror has what the node has. */
  const mirrored = async (account) => {
    const { rev } = await head(server, account.did)
    const { records } = await verifiedExport(server, account.did)
    await until(`the mirror of ${account.handle}`, () => {
      const repo = tap.repo(account.did)
      if (repo.state !== 'active' || repo.rev !== rev) throw new Error(`${repo.state} ${repo.rev} ${repo.error_msg}, expected ${rev}`)
      return repo.records.size === records.size
    })
    assert.deepEqual([...tap.repo(account.did).records].sort(), [...records].sort())
  }
  /** What the relay complained of. When it has lost the connection it asks once more for what waits in its own queue, and then
   * drops what it has passed on already. */
  const complaints = async () => {
    const all = []
    for (const line of relay.complaints()) {
      const { msg, did, rev } = JSON.parse(line)
      const isPassed = (events) => events.some((e) => e.t === '#commit' && e.repo === did && e.rev === rev)
      const again = msg === 'dropping commit with old rev' && (await passed.until(isPassed, 5).catch(() => false))
      if (!again) all.push(line)
    }
    return all
  }
  const allMirrored = async () => {
    for (const account of accounts) await mirrored(account)
    assert.deepEqual(await complaints(), [])
  }

  it('take over an account that was there before', allMirrored)

  it('take new accounts and their first records', async () => {
    accounts.push(await newAccount(server), await newAccount(server))
    for (const account of accounts) await put(account, 'first', 1)
    await allMirrored()
  })

  it('follow heavy writing', async () => {
    await Promise.all(
      accounts.map(async (account) => {
        for (let i = 0; i < 120; i++) {
          const rkey = `k${random.below(30)}`
          if (random.next() < 0.3) await write(account, 'deleteRecord', { collection: THING, rkey })
          else await put(account, rkey, random.below(1000))
        }
        for (let batch = 0; batch < 5; batch++) {
          const writes = Array.from({ length: 200 }, (_, i) => ({
            $type: 'com.atproto.repo.applyWrites#create',
            collection: THING,
            rkey: `b${batch}-${i}`,
            value: { $type: THING, n: i, text: 'x'.repeat(random.below(2000)) },
          }))
          await write(account, 'applyWrites', { writes })
        }
        const deletes = Array.from({ length: 200 }, (_, i) => ({ $type: 'com.atproto.repo.applyWrites#delete', collection: THING, rkey: `b1-${i}` }))
        await write(account, 'applyWrites', { writes: deletes })
      }),
    )
    // Many at once: the node puts what waits into one commit.
    const now = () => new Date().toISOString()
    await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        write(accounts[i % 3], 'createRecord', { collection: POST, record: { $type: POST, text: `post ${i}`, createdAt: now() } }),
      ),
    )
    await allMirrored()
  })

  it('follow an import', async () => {
    const [account] = accounts
    const car = await bytes(server, 'com.atproto.sync.getRepo', { did: account.did })
    // What it brings back was deleted: the mirror never forgets what an import leaves out.
    const { records } = await verifiedExport(server, account.did)
    const names = [...records.keys()].filter((path) => path.startsWith(`${THING}/`)).slice(0, 40)
    for (const path of names) await write(account, 'deleteRecord', { collection: THING, rkey: path.split('/')[1] })
    await mirrored(account)
    const res = await call(server, 'POST', 'com.atproto.repo.importRepo', { raw: car, type: 'application/vnd.ipld.car', token: account.token })
    assert.equal(res.status, 200, res.message)
    await put(account, 'after-import', 1)
    await allMirrored()
  })

  it('follow a new handle', async () => {
    const handle = newHandle('renamed')
    await accounts[1].agent.com.atproto.identity.updateHandle({ handle })
    accounts[1].handle = handle
    await put(accounts[1], 'renamed', 1)
    await allMirrored()
  })

  it('follow an account that goes off and comes back', async () => {
    const [, , account] = accounts
    const data = dataOf(server)
    await uesOk(data, ['account', 'deactivate', account.handle])
    await until('the relay knows', async () => (await relay.status(account.did)).status === 'deactivated')
    await until('the mirror knows', () => tap.repo(account.did).status === 'deactivated')
    await uesOk(data, ['account', 'activate', account.handle])
    await until('the relay knows again', async () => (await relay.status(account.did)).active === true)
    await put(account, 'back', 1)
    await until('the mirror knows again', () => tap.repo(account.did).status === 'active')
    await allMirrored()
  })

  it('follow an owner who goes off and comes back', async () => {
    const [, , account] = accounts
    const tell = async (name, json) => {
      const res = await procedure(server, `com.atproto.server.${name}`, json, { token: account.token })
      assert.equal(res.status, 200, res.message)
    }
    await tell('deactivateAccount', {})
    await until('the relay knows', async () => (await relay.status(account.did)).status === 'deactivated')
    await until('the mirror knows', () => tap.repo(account.did).status === 'deactivated')
    await tell('activateAccount')
    await until('the relay knows again', async () => (await relay.status(account.did)).active === true)
    await until('the mirror knows again', () => tap.repo(account.did).status === 'active')
    await put(account, 'back-again', 1)
    await allMirrored()
  })

  it('flag nothing so far', async () => {
    const metrics = await relay.metrics()
    const of = (name) => [...metrics].filter(([key, value]) => key.startsWith(name) && value > 0)
    assert.ok(of('events_received_counter').length, [...metrics.keys()].join())
    assert.deepEqual(of('events_warn_counter'), [])
  })

  it('follow a node that is stopped and started again', async () => {
    for (const account of accounts) await put(account, 'before-the-stop', 1)
    const end = await server.program.stop()
    assert.deepEqual([end.code, end.forced], [0, undefined], 'it ended by itself')
    const again = await startUes({ dir: server.dir, port: server.port })
    server.program = again.program
    for (const account of accounts) await put(account, 'after-the-stop', 1)
    await allMirrored()
    const metrics = await relay.metrics()
    assert.deepEqual([...metrics].filter(([name, value]) => name.startsWith('events_warn_counter') && value > 0), [])
  })

  it('follow a node that is killed while it writes, and comes back', async () => {
    const writers = accounts.map(async (account) => {
      for (let i = 0; ; i++) {
        const sent = await procedure(server, 'com.atproto.repo.putRecord', { repo: account.did, collection: THING, rkey: `c${i % 50}`, record: { $type: THING, i } }, { token: account.token }).catch(() => undefined)
        if (!sent) return
      }
    })
    const [account] = accounts
    const start = await head(server, account.did)
    await until('some writes', async () => (await head(server, account.did)).rev !== start.rev)
    await server.program.kill()
    await Promise.all(writers)
    const again = await startUes({ dir: server.dir, port: server.port })
    server.program = again.program
    for (const one of accounts) await put(one, 'after-restart', 1)
    await allMirrored()
  })

  it('follow an account that is deleted', async () => {
    const gone = accounts.pop()
    await uesOk(dataOf(server), ['account', 'delete', gone.handle, '--yes'])
    await until('the relay knows', async () => {
      const { code, status } = await relay.status(gone.did)
      return status === 'deleted' || code === 404
    })
    await until('the mirror forgets', () => tap.repo(gone.did).records.size === 0)
    await allMirrored()
  })

  it('passed every event on', async () => {
    const count = async (of, t) => {
      const sub = new Subscription(of, { cursor: 0 })
      await put(accounts[0], `end${random.below(1e9)}`, 1)
      const { cid } = await head(server, accounts[0].did)
      await sub.until((events) => events.some((e) => e.commit?.toString() === cid))
      await sub.close()
      return sub.events.filter((e) => e.t === t).map((e) => e.commit?.toString() ?? `${e.did} ${e.rev}`)
    }
    for (const t of ['#commit', '#sync']) {
      const [sent, passed] = [await count(server, t), await count(relay, t)]
      const missing = sent.filter((one) => !passed.includes(one))
      assert.deepEqual(missing, [], `${t}: ${sent.length} sent, ${passed.length} passed on`)
    }
    assert.deepEqual(await complaints(), [])
  })
})
