// Labels that the node makes: asked for, listened to, taken back, and checked with libraries that others wrote.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { AtpAgent, ComAtprotoLabelDefs, ComAtprotoLabelSubscribeLabels } from '@atproto/api'
import { verifySignature } from '@atproto/crypto'
import { getDidKeyFromMultibase } from '@atproto/identity'
import * as cbor from '@ipld/dag-cbor'
import { idResolver, newAccount } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { dataOf, startUes } from '../lib/servers.mjs'
import { query } from '../lib/xrpc.mjs'

const LABELS = 'com.atproto.label.subscribeLabels'

let server, agent
before(async () => {
  server = await startUes()
  agent = new AtpAgent({ service: server.url })
})
after(() => server?.close())

const label = (...args) => uesOk(dataOf(server), ['admin', 'label', ...args, '--json']).then((text) => JSON.parse(text))
const ask = async (params) => (await agent.com.atproto.label.queryLabels(params)).data
const listen = (options) => new Subscription(server, { ...options, nsid: LABELS })

/** The labeler's key as its DID document has it, found by the official resolver. */
async function labelerKey(did) {
  const document = await idResolver(server).did.ensureResolve(did)
  const method = document.verificationMethod.find((m) => m.id.endsWith('#atproto_label'))
  const service = document.service.find((s) => s.id.endsWith('#atproto_labeler'))
  assert.deepEqual([service.type, new URL(service.serviceEndpoint).port], ['AtprotoLabeler', String(server.port)])
  return getDidKeyFromMultibase({ type: method.type, publicKeyMultibase: method.publicKeyMultibase })
}

/** Checks a label as it came over the stream or from the official client. */
async function assertSigned(signed) {
  const { sig, $type, ...rest } = signed
  const key = await labelerKey(rest.src)
  assert.equal(await verifySignature(key, cbor.encode(rest), sig), true)
  assert.equal(await verifySignature(key, cbor.encode({ ...rest, val: `${rest.val}x` }), sig), false)
}

describe('labels', () => {
  it('are asked for by subject and signed by the key in the document', async () => {
    const { did, handle } = await newAccount(server)
    const uri = `at://${did}/app.bsky.feed.post/3jzfcijpj2z2a`
    const cid = 'bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
    await label('add', handle, 'spam')
    await label('add', `at://${handle}/app.bsky.feed.post/3jzfcijpj2z2a`, 'rude', '--cid', cid)
    await label('add', uri, '!warn', '--expires', '2199-01-31T00:00:00Z')
    const other = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
    await label('add', other, 'spam')

    const { labels } = await ask({ uriPatterns: [did, `at://${did}/*`] })
    assert.deepEqual(labels.map((l) => [l.uri, l.val, l.cid, l.exp, l.neg]), [
      [did, 'spam', undefined, undefined, undefined],
      [uri, 'rude', cid, undefined, undefined],
      [uri, '!warn', undefined, '2199-01-31T00:00:00Z', undefined],
    ])
    for (const one of labels) {
      assert.equal(ComAtprotoLabelDefs.validateLabel(one).success, true)
      await assertSigned(one)
    }
    const vals = async (params) => (await ask(params)).labels.map((l) => l.val)
    assert.deepEqual(await vals({ uriPatterns: [uri] }), ['rude', '!warn'])
    assert.deepEqual(await vals({ uriPatterns: [did] }), ['spam'])
    assert.deepEqual(await vals({ uriPatterns: [`${did.slice(0, -1)}*`] }), ['spam'])
    assert.deepEqual(await vals({ uriPatterns: ['at://*'] }), ['rude', '!warn'])
    assert.deepEqual(await vals({ uriPatterns: [did, did, `${did}*`] }), ['spam'])
    const { src } = labels[0]
    assert.deepEqual(await vals({ uriPatterns: [did], sources: [src, other] }), ['spam'])
    assert.deepEqual(await vals({ uriPatterns: [did], sources: [other] }), [])

    const seen = []
    for (let cursor; ; ) {
      const page = await ask({ uriPatterns: ['*'], limit: 1, cursor })
      seen.push(...page.labels.map((l) => `${l.uri} ${l.val}`))
      cursor = page.cursor
      if (!cursor) break
    }
    assert.deepEqual(seen, [`${did} spam`, `${uri} rude`, `${uri} !warn`, `${other} spam`])
    for (const params of [{ uriPatterns: ['at://*/x'] }, { uriPatterns: [did], cursor: 'x' }, {}]) {
      const refused = await query(server, 'com.atproto.label.queryLabels', params)
      assert.deepEqual([refused.status, refused.error], [400, 'InvalidRequest'], JSON.stringify(params))
    }
  })

  it('are listened to from a cursor on, and live', async () => {
    const { did } = await newAccount(server)
    const live = listen()
    await live.opened
    await label('add', did, 'one')
    const first = await live.until((events) => events[0])
    assert.equal(first.t, '#labels')
    const { t, ...message } = first
    assert.equal(ComAtprotoLabelSubscribeLabels.validateLabels({ $type: `${LABELS}#labels`, ...message }).success, true)
    await label('add', did, 'two')
    await label('rm', did, 'one')
    await live.until((events) => events.length === 3)
    assert.deepEqual(live.events.map((e) => e.labels.map((l) => [l.uri, l.val, l.neg])), [
      [[did, 'one', undefined]], [[did, 'two', undefined]], [[did, 'one', true]],
    ])
    for (const { labels } of live.events) for (const one of labels) await assertSigned(one)

    const later = listen({ cursor: first.seq })
    await later.until((events) => events.length === 2)
    assert.deepEqual(later.events, live.events.slice(1))
    const all = listen({ cursor: 0 })
    await all.until((events) => events.some((e) => e.seq === live.events[2].seq))
    assert.deepEqual(all.events.map((e) => e.seq), all.events.map((_, i) => i + 1))
    const future = listen({ cursor: live.events[2].seq + 1000 })
    await future.closed
    assert.deepEqual(future.frames.map((f) => [f.op, f.body.error]), [[-1, 'FutureCursor']])
    for (const wrong of [{ cursor: -1 }, { cursor: 'x' }]) {
      const refused = listen(wrong)
      await refused.closed
      assert.equal(refused.frames[0].op, -1)
    }
    for (const stream of [live, later, all]) stream.socket.close()
  })

  it('no longer hold once they are taken back or have ended', async () => {
    const { did } = await newAccount(server)
    const vals = async () => (await ask({ uriPatterns: [did] })).labels.map((l) => l.val)
    await label('add', did, 'spam')
    await label('rm', did, 'spam')
    assert.deepEqual(await vals(), [])
    assert.equal((await ues(dataOf(server), ['admin', 'label', 'rm', did, 'spam'])).code, 3)
    await label('add', did, 'spam')
    assert.deepEqual(await vals(), ['spam'])
    const soon = new Date(Date.now() + 1500).toISOString()
    await label('add', did, 'brief', '--expires', soon)
    for (;;) {
      const held = (await vals()).includes('brief')
      if (!held) break
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.ok(Date.now() >= Date.parse(soon))
    assert.deepEqual((await label('ls', did)).map((l) => l.val), ['spam'])
    for (const wrong of [['add', did, 'Spam'], ['add', 'https://example.com', 'spam'], ['add', did, 'x', '--expires', '2001-01-01T00:00:00Z']]) {
      assert.notEqual((await ues(dataOf(server), ['admin', 'label', ...wrong])).code, 0, wrong.join(' '))
    }
    const audit = JSON.parse(await uesOk(dataOf(server), ['admin', 'audit', '--json']))
    assert.deepEqual(audit.filter((a) => a.subject === did).map((a) => [a.what, a.details.label]).reverse(), [
      ['createLabel', 'spam'], ['negateLabel', 'spam'], ['createLabel', 'spam'], ['createLabel', 'brief'],
    ])
  })

  it('may be those of another DID, and outlive a restart', async () => {
    const { did } = await newAccount(server)
    const node = await startUes({ env: { UES_LABELS_DID: did } })
    try {
      await uesOk(dataOf(node), ['admin', 'label', 'add', did, 'spam'])
      const key = JSON.parse(await uesOk(dataOf(node), ['admin', 'label', 'key', '--json']))
      assert.deepEqual([key.did, key.published], [did, false])
      const document = await (await fetch(`${node.url}/.well-known/did.json`)).json()
      assert.equal(document.verificationMethod, undefined)
      const get = async () => (await query(node, 'com.atproto.label.queryLabels', { uriPatterns: ['*'] })).body.labels
      const [one] = await get()
      const { sig, ...rest } = one
      const bytes = Buffer.from(sig.$bytes, 'base64')
      assert.equal(await verifySignature(key.verificationMethods.atproto_label, cbor.encode(rest), bytes), true)
      assert.equal(one.src, did)
      await node.program.stop()
      const again = await startUes({ dir: node.dir, env: { UES_LABELS_DID: did } })
      try {
        assert.deepEqual((await query(again, 'com.atproto.label.queryLabels', { uriPatterns: ['*'] })).body.labels, [one])
        const after = JSON.parse(await uesOk(dataOf(again), ['admin', 'label', 'key', '--json']))
        assert.deepEqual(after.verificationMethods, key.verificationMethods)
      } finally {
        await again.close()
      }
    } finally {
      await node.close()
    }
  })
})
