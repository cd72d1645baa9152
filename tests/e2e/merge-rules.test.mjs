// Fields that merge: two real nodes write offline to one counter, set, list and text with the official client, and meet.
// Neither client knows that there are rules; both nodes come to one record that has what both wrote.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Agent } from '@atproto/api'
import { ues, uesOk } from '../lib/cli.mjs'
import { DeviceNode, operatorSession, pair } from '../lib/devices.mjs'
import { until } from '../lib/pins.mjs'
import { newAccount } from '../lib/accounts.mjs'
import { dataRoot, verifiedExport } from '../lib/repos.mjs'

const SHEET = 'com.example.sheet'

const lexicon = (tags = 'set') => ({
  lexicon: 1,
  id: SHEET,
  defs: {
    main: {
      type: 'record',
      key: 'any',
      record: {
        type: 'object',
        required: ['title'],
        properties: {
          title: { type: 'string' },
          colour: { type: 'string' },
          visits: { type: 'integer', minimum: 0, maximum: 100 },
          tags: { type: 'array', items: { type: 'string' }, maxLength: 6 },
          todo: { type: 'array', items: { type: 'string' } },
          body: { type: 'string', maxGraphemes: 200 },
          facets: { type: 'array', items: { type: 'ref', ref: 'app.bsky.richtext.facet' } },
        },
      },
      ues: {
        merge: [
          { field: 'visits', rule: 'counter' },
          { field: 'tags', rule: tags },
          { field: 'todo', rule: 'list' },
          { field: 'body', rule: 'text', facets: 'facets' },
          { rule: 'fields' },
        ],
      },
    },
  },
})

/** A client of a node, as any application has it. */
async function clientOf(node, did) {
  const { accessJwt } = await operatorSession(node, did)
  const agent = new Agent((url, init) =>
    fetch(new URL(url, node.server.url), { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), authorization: `Bearer ${accessJwt}` } }),
  )
  const repo = agent.com.atproto.repo
  return {
    get: async (rkey) => (await repo.getRecord({ repo: did, collection: SHEET, rkey })).data,
    put: (rkey, record, swapRecord) => repo.putRecord({ repo: did, collection: SHEET, rkey, record: { $type: SHEET, ...record }, swapRecord }),
    remove: (rkey) => repo.deleteRecord({ repo: did, collection: SHEET, rkey }),
    apply: (writes) => repo.applyWrites({ repo: did, writes }),
  }
}

/** Reads, changes and writes a record, as a careful application does. */
async function edit(client, rkey, change) {
  const { value, cid } = await client.get(rkey)
  await client.put(rkey, { ...value, ...change(value) }, cid)
}

const link = (text, word, uri) => {
  const byteStart = Buffer.byteLength(text.slice(0, text.indexOf(word)))
  return {
    index: { byteStart, byteEnd: byteStart + Buffer.byteLength(word) },
    features: [{ $type: 'app.bsky.richtext.facet#link', uri }],
  }
}

describe('fields with merge rules', () => {
  let home
  let boat
  let account
  const documents = {}

  before(async () => {
    home = await DeviceNode.start('home')
    boat = await DeviceNode.start('boat')
    for (const rule of ['set', 'list']) {
      documents[rule] = path.join(home.dir, `${rule}.json`)
      await writeFile(documents[rule], JSON.stringify(lexicon(rule)))
    }
    // The boat never hears of the lexicon: rules travel with what is written.
    await home.run('lexicon', 'add', documents.set)
    account = await newAccount(home.server)
    const here = await clientOf(home, account.did)
    // From before there were several devices.
    await here.put('old', { title: 'old', visits: 10, tags: ['one', 'two'] })
    await pair(home, account.did, boat)
  })

  after(async () => {
    for (const node of [home, boat]) {
      await node?.stop()
      if (node) await rm(node.dir, { recursive: true, force: true })
    }
  })

  /** Waits until both have the same tree. */
  const equal = () =>
    until(
      'both have the same records',
      async () => {
        const roots = await Promise.all([home, boat].map((node) => dataRoot(node.server, account.did).catch(() => undefined)))
        return roots[0] && roots[0] === roots[1]
      },
      60,
    )

  /** Has both write without a network, and meet. */
  const apart = async (athome, aboard) => {
    await equal()
    await boat.stop()
    await boat.up({ UES_NETWORK_ENABLED: 'false' })
    await aboard(await clientOf(boat, account.did))
    await athome(await clientOf(home, account.did))
    await boat.stop()
    await boat.up()
    await equal()
    const [here, there] = await Promise.all([home, boat].map(async (node) => clientOf(node, account.did)))
    return async (rkey) => {
      const [mine, theirs] = [await here.get(rkey), await there.get(rkey)]
      assert.deepEqual(mine, theirs)
      return mine
    }
  }

  it('are declared in a lexicon, and changing them breaks it', async () => {
    const same = await ues(home.data, ['lexicon', 'check', documents.set, documents.set])
    assert.equal(same.code, 0)
    const broken = await ues(home.data, ['lexicon', 'check', documents.set, documents.list])
    assert.equal(broken.code, 4)
    assert.match(broken.stdout, /the rule of tags was set and would be list/)
    const refused = await ues(home.data, ['lexicon', 'add', documents.list])
    assert.notEqual(refused.code, 0)
    assert.match(refused.stderr, /the rule of tags/)
  })

  it('keep what both wrote: counter, set, list, text and its facets', async () => {
    const here = await clientOf(home, account.did)
    await here.put('sheet', { title: 'list', visits: 5, tags: ['oat', 'rye'], todo: ['buy', 'cook'], body: 'the quick fox' })
    const read = await apart(
      async (client) => {
        await edit(client, 'sheet', (r) => ({ visits: r.visits + 3, tags: ['oat', 'tea'] }))
        await edit(client, 'sheet', (r) => ({ todo: [...r.todo, 'eat', 'rest'], title: 'supper' }))
        await edit(client, 'sheet', () => {
          const body = 'the quick brown fox'
          return { body, facets: [link(body, 'brown', 'https://brown.example')] }
        })
      },
      async (client) => {
        await edit(client, 'sheet', (r) => ({ visits: r.visits - 1, tags: [...r.tags, 'fig'] }))
        await edit(client, 'sheet', (r) => ({ todo: ['think', ...r.todo.slice(1)], colour: 'blue' }))
        await edit(client, 'sheet', (r) => ({ body: `${r.body} jumps` }))
      },
    )
    const { value } = await read('sheet')
    assert.equal(value.visits, 7)
    assert.deepEqual([...value.tags].sort(), ['fig', 'oat', 'tea'])
    assert.deepEqual(value.todo, ['think', 'cook', 'eat', 'rest'])
    assert.equal(value.body, 'the quick brown fox jumps')
    assert.deepEqual(value.facets, [link(value.body, 'brown', 'https://brown.example')])
    // Fields without a rule of their own merge one by one.
    assert.deepEqual([value.title, value.colour], ['supper', 'blue'])
    const { records } = await verifiedExport(home.server, account.did)
    assert.equal(records.get(`${SHEET}/sheet`), (await read('sheet')).cid)
  })

  it('tell in the history which versions were merged', async () => {
    const uri = `at://${account.did}/${SHEET}/sheet`
    for (const node of [home, boat]) {
      const { versions, record } = await node.run('record', 'history', uri)
      const standing = versions.map((v) => v.standing)
      assert.equal(standing.filter((s) => s === 'won').length, 1)
      assert.equal(standing.filter((s) => s === 'merged').length, 1)
      assert.ok(standing.filter((s) => s === 'replaced').length >= 5)
      const won = versions.find((v) => v.standing === 'won')
      const merged = versions.find((v) => v.standing === 'merged')
      assert.deepEqual([won.with[0].seq, merged.into.seq], [merged.seq, won.seq])
      assert.equal(record.value.body, 'the quick brown fox jumps')
    }
    const words = await uesOk(home.data, ['record', 'history', uri])
    assert.match(words, /counts together with .*: neither knew the other, and the lexicon says how they merge/)
    assert.match(words, /= merged/)
  })

  it('merge in records from before there were devices, and in records that both create', async () => {
    const read = await apart(
      async (client) => {
        await edit(client, 'old', (r) => ({ visits: r.visits + 1, tags: [...r.tags, 'three'] }))
        await client.put('fresh', { title: 'fresh', visits: 2, tags: ['home'] })
        await client.put('fresh', { title: 'fresh', visits: 3, tags: ['home'] })
      },
      async (client) => {
        // A device without the lexicon cannot begin with rules; it goes on with those that a record has.
        await edit(client, 'sheet', (r) => ({ visits: r.visits + 20 }))
      },
    )
    assert.equal((await read('old')).value.visits, 11)
    assert.equal((await read('sheet')).value.visits, 27)
    const again = await apart(
      (client) => edit(client, 'old', (r) => ({ visits: r.visits + 5, tags: r.tags.filter((t) => t !== 'one') })),
      (client) => edit(client, 'old', (r) => ({ visits: r.visits + 7, tags: [...r.tags, 'four'] })),
    )
    const { value } = await again('old')
    assert.equal(value.visits, 23)
    assert.deepEqual([...value.tags].sort(), ['four', 'three', 'two'])
  })

  it('keep the limits of the lexicon, whatever both add up to', async () => {
    const read = await apart(
      (client) => edit(client, 'sheet', (r) => ({ visits: 90, tags: [...r.tags, 'a', 'b'] })),
      (client) => edit(client, 'sheet', (r) => ({ visits: r.visits + 30, tags: [...r.tags, 'c', 'd'] })),
    )
    const { value } = await read('sheet')
    assert.equal(value.visits, 100)
    assert.equal(value.tags.length, 6)
  })

  it('leave a record that one deletes and the other changes, and forget what was deleted', async () => {
    const here = await clientOf(home, account.did)
    await here.put('gone', { title: 'gone', visits: 50, tags: ['a'] })
    await here.put('kept', { title: 'kept', visits: 50, tags: ['a'] })
    const read = await apart(
      async (client) => {
        await client.remove('kept')
        await client.apply([{ $type: 'com.atproto.repo.applyWrites#delete', collection: SHEET, rkey: 'gone' }])
        await client.put('gone', { title: 'anew', visits: 1, tags: [] })
      },
      (client) => edit(client, 'kept', (r) => ({ visits: r.visits + 1, tags: [...r.tags, 'b'] })),
    )
    const kept = (await read('kept')).value
    assert.deepEqual([kept.visits, kept.tags], [51, ['a', 'b']])
    const last = await apart(
      (client) => edit(client, 'gone', (r) => ({ visits: r.visits + 1 })),
      (client) => edit(client, 'gone', (r) => ({ visits: r.visits + 2 })),
    )
    assert.equal((await last('gone')).value.visits, 4)
  })

  it('go on merging once the log has been pruned', async () => {
    await equal()
    const done = await home.run('sync', 'compact', '--now', '--as', account.did)
    assert.ok(done.dropped > 5, JSON.stringify(done))
    await boat.run('sync', 'compact', '--now', '--as', account.did)
    const read = await apart(
      (client) => edit(client, 'old', (r) => ({ visits: r.visits + 1, tags: [...r.tags, 'x'] })),
      (client) => edit(client, 'old', (r) => ({ visits: r.visits + 1, tags: [...r.tags, 'y'] })),
    )
    const { value } = await read('old')
    assert.equal(value.visits, 25)
    assert.deepEqual([...value.tags].sort(), ['four', 'three', 'two', 'x', 'y'])
    await verifiedExport(home.server, account.did)
    for (const node of [home, boat]) await uesOk(node.data, ['check'])
  })
})
