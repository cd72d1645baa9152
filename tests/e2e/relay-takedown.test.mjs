// A record that was taken down, and the network behind the node: a strict relay and a mirror that come later, and that were there
// before, go on with the rest of the repository.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { uesOk } from '../lib/cli.mjs'
import { startRelay, startTap, until } from '../lib/relay.mjs'
import { head } from '../lib/repos.mjs'
import { TARGET, dataOf, scratch, startUes } from '../lib/servers.mjs'
import { procedure } from '../lib/xrpc.mjs'

const THING = 'com.example.thing'

describe('a record that is taken down', { skip: TARGET !== 'ues' && 'about our node only', timeout: 600_000 }, () => {
  let server, account
  const open = []
  before(async () => {
    server = await startUes({ dir: await scratch('relay-takedown') })
    server.keepData = false
    account = await newAccount(server)
  })
  after(async () => {
    for (const one of [...open.reverse(), server]) await one?.close()
  })

  const put = async (rkey, n) => {
    const body = { repo: account.did, collection: THING, rkey, record: { $type: THING, n } }
    const res = await procedure(server, 'com.atproto.repo.putRecord', body, { token: account.token })
    assert.equal(res.status, 200, res.message)
  }
  const network = async () => {
    const relay = await startRelay(server)
    open.push(relay)
    await until('the relay knows the account', async () => (await relay.status(account.did)).active)
    const tap = await startTap(server, relay)
    open.push(tap)
    return { relay, tap }
  }
  /** Waits until a mirror stands at the newest state, and gives the names of the records that it has. */
  const names = async ({ tap }) => {
    for (let tries = 1; ; tries++) {
      const { rev } = await head(server, account.did)
      const there = () => {
        const repo = tap.repo(account.did)
        if (repo.state !== 'active' || repo.rev !== rev) throw new Error(`${repo.state} ${repo.rev} ${repo.error_msg}, expected ${rev}`)
        return true
      }
      const failed = await until('the mirror', there, tries < 10 ? 6 : undefined).then(() => undefined, (error) => error)
      if (!failed) break
      if (tries === 10) throw failed
      // This mirror can be left behind by what comes while it takes an account over, and finds out at the next commit.
      await put('next', tries)
    }
    // The tree still names the hidden one, and a mirror keeps names; what it has of the content is nothing.
    const others = [`${THING}/two`, `${THING}/next`]
    return [...tap.repo(account.did).records.keys()].filter((name) => !others.includes(name)).sort()
  }
  const paths = (...keys) => keys.map((key) => `${THING}/${key}`)

  it('holds up neither those who were there before nor those who come later', async () => {
    for (const key of ['one', 'two', 'three']) await put(key, 1)
    const early = await network()
    assert.deepEqual(await names(early), paths('one', 'three'))
    await uesOk(dataOf(server), ['admin', 'takedown', `at://${account.did}/${THING}/two`])
    await put('four', 1)
    assert.deepEqual(await names(early), paths('four', 'one', 'three'))
    const late = await network()
    assert.deepEqual(await names(late), paths('four', 'one', 'three'))
    await put('two', 2)
    await put('five', 1)
    for (const one of [early, late]) {
      assert.deepEqual(await names(one), paths('five', 'four', 'one', 'three'))
      assert.deepEqual(one.relay.complaints(), [])
    }
  })
})
