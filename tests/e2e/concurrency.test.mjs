// Compare-and-swap and plain writes from many clients at once: nothing is lost, nothing happens twice.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newAccount } from '../lib/accounts.mjs'
import { head, listAll, verifiedExport } from '../lib/repos.mjs'
import { startTarget } from '../lib/servers.mjs'
import { procedure, query } from '../lib/xrpc.mjs'

const NSID = 'com.example.counter'
const record = (n, by = 0) => ({ $type: NSID, n, by })
const times = (n, make) => Promise.all(Array.from({ length: n }, (_, i) => make(i)))

let server
before(async () => {
  server = await startTarget()
})
after(() => server?.close())

const write = (account, method, fields) =>
  procedure(server, `com.atproto.repo.${method}`, { repo: account.did, collection: NSID, ...fields }, { token: account.token })
const read = async (account, rkey) =>
  (await query(server, 'com.atproto.repo.getRecord', { repo: account.did, collection: NSID, rkey })).body

describe('swapRecord', () => {
  it('lets exactly one of many writers win', async () => {
    const account = await newAccount(server)
    const first = (await write(account, 'putRecord', { rkey: 'a', record: record(0) })).body
    for (let round = 0, expected = first.cid; round < 5; round++) {
      const results = await times(16, (i) =>
        write(account, 'putRecord', { rkey: 'a', record: record(round * 100 + i + 1), swapRecord: expected }),
      )
      const won = results.filter((r) => r.status === 200)
      assert.equal(won.length, 1)
      for (const lost of results.filter((r) => r.status !== 200)) assert.deepEqual([lost.status, lost.error], [400, 'InvalidSwap'])
      expected = won[0].body.cid
      assert.equal((await read(account, 'a')).cid, expected)
    }
  })

  it('null lets exactly one create', async () => {
    const account = await newAccount(server)
    const results = await times(16, (i) => write(account, 'putRecord', { rkey: 'b', record: record(i), swapRecord: null }))
    assert.equal(results.filter((r) => r.status === 200).length, 1)
    assert.equal(results.filter((r) => r.error === 'InvalidSwap').length, 15)
  })

  it('guards a deletion', async () => {
    const account = await newAccount(server)
    const { cid } = (await write(account, 'putRecord', { rkey: 'c', record: record(0) })).body
    const results = await Promise.all([
      write(account, 'deleteRecord', { rkey: 'c', swapRecord: cid }),
      write(account, 'putRecord', { rkey: 'c', record: record(1), swapRecord: cid }),
      write(account, 'deleteRecord', { rkey: 'c', swapRecord: cid }),
    ])
    const changed = results.filter((r) => r.status === 200 && r.body.commit)
    assert.equal(changed.length, 1)
  })

  it('makes a counter that many clients raise exact', async () => {
    const account = await newAccount(server)
    await write(account, 'putRecord', { rkey: 'n', record: record(0) })
    const raise = async (by) => {
      for (let tries = 0; tries < 500; tries++) {
        const { cid, value } = await read(account, 'n')
        const res = await write(account, 'putRecord', { rkey: 'n', record: record(value.n + 1, by), swapRecord: cid })
        if (res.status === 200) return
        assert.equal(res.error, 'InvalidSwap')
      }
      assert.fail('no turn in 500 tries')
    }
    await times(8, async (by) => {
      for (let i = 0; i < 10; i++) await raise(by)
    })
    assert.equal((await read(account, 'n')).value.n, 80)
    await verifiedExport(server, account.did)
  })
})

describe('swapCommit', () => {
  it('lets exactly one of many writers win', async () => {
    const account = await newAccount(server)
    for (let round = 0; round < 5; round++) {
      const { cid } = await head(server, account.did)
      const results = await times(16, (i) => write(account, 'createRecord', { record: record(i), swapCommit: cid }))
      const won = results.filter((r) => r.status === 200)
      assert.equal(won.length, 1)
      assert.equal(results.filter((r) => r.error === 'InvalidSwap').length, 15)
      assert.equal(won[0].body.commit.cid, (await head(server, account.did)).cid)
    }
    assert.equal((await listAll(server, account.did, NSID)).length, 5)
  })

  it('guards a batch as a whole', async () => {
    const account = await newAccount(server)
    const { cid } = await head(server, account.did)
    const results = await times(8, (i) =>
      procedure(
        server,
        'com.atproto.repo.applyWrites',
        {
          repo: account.did,
          swapCommit: cid,
          writes: Array.from({ length: 5 }, (_, j) => ({
            $type: 'com.atproto.repo.applyWrites#create',
            collection: NSID,
            rkey: `w${i}-${j}`,
            value: record(j),
          })),
        },
        { token: account.token },
      ),
    )
    assert.equal(results.filter((r) => r.status === 200).length, 1)
    assert.equal((await listAll(server, account.did, NSID)).length, 5)
  })
})

describe('plain writes', () => {
  it('of many clients into one repository are all there', async () => {
    const account = await newAccount(server)
    const results = await times(200, (i) => write(account, 'createRecord', { rkey: `r${i}`, record: record(i) }))
    assert.ok(results.every((r) => r.status === 200), JSON.stringify(results.find((r) => r.status !== 200)?.body))
    const { records } = await verifiedExport(server, account.did)
    assert.equal(records.size, 200)
    for (const r of results) assert.equal(records.get(r.body.uri.split('/').slice(3).join('/')), r.body.cid)
  })

  it('create one key once', async () => {
    const account = await newAccount(server)
    const results = await times(16, (i) => write(account, 'createRecord', { rkey: 'once', record: record(i) }))
    const won = results.filter((r) => r.status === 200)
    assert.equal(won.length, 1)
    assert.equal((await read(account, 'once')).cid, won[0].body.cid)
  })

  it('into many repositories do not mix', async () => {
    const accounts = await times(6, () => newAccount(server))
    await Promise.all(accounts.flatMap((a, n) => Array.from({ length: 20 }, (_, i) => write(a, 'createRecord', { record: record(n * 1000 + i) }))))
    for (const [n, account] of accounts.entries()) {
      const values = (await listAll(server, account.did, NSID)).map((r) => r.value.n).sort((a, b) => a - b)
      assert.deepEqual(values, Array.from({ length: 20 }, (_, i) => n * 1000 + i))
      await verifiedExport(server, account.did)
    }
  })

  it('are read by the writer at once', async () => {
    const account = await newAccount(server)
    await times(8, async (w) => {
      for (let i = 0; i < 10; i++) {
        const made = await write(account, 'createRecord', { rkey: `w${w}-${i}`, record: record(i) })
        assert.equal((await read(account, `w${w}-${i}`)).cid, made.body.cid)
      }
    })
  })
})
