// The official did:plc client against the directory under test: our embedded one at /plc, or the official server.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { P256Keypair, Secp256k1Keypair } from '@atproto/crypto'
import * as plc from '@did-plc/lib'
import { idResolver } from '../lib/accounts.mjs'
import { TARGET, startPlc, startUes } from '../lib/servers.mjs'

// The published directory package is older than the rules of the public directory.
const skip = TARGET === 'pds' && 'the published official directory does not check this'

let server, client, signing, rotation, recovery
before(async () => {
  server = TARGET === 'pds' ? await startPlc() : await startUes()
  client = new plc.Client(server.plcUrl)
  signing = await Secp256k1Keypair.create()
  rotation = await Secp256k1Keypair.create()
  recovery = await P256Keypair.create()
})
after(() => server?.close())

const create = (handle = 'someone.test', rotationKeys = [recovery.did(), rotation.did()]) =>
  client.createDid({ signingKey: signing.did(), handle, pds: 'https://pds.example.com', rotationKeys, signer: rotation })

/** Runs a call that the directory must refuse, and returns the status it answers. */
const refused = (promise) =>
  promise.then(
    () => assert.fail('was accepted'),
    (err) => err.status ?? err.response?.status,
  )

describe('a directory for did:plc', () => {
  it('is healthy', async () => {
    assert.ok(await client.health())
  })

  it('creates a DID and serves its document', async () => {
    const did = await create('first.test')
    const document = await client.getDocument(did)
    assert.equal(document.id, did)
    assert.deepEqual(document.alsoKnownAs, ['at://first.test'])
    assert.equal(document.service[0].serviceEndpoint, 'https://pds.example.com')
    assert.equal(document.service[0].type, 'AtprotoPersonalDataServer')
    assert.ok([`${did}#atproto`, '#atproto'].includes(document.verificationMethod[0].id))
    if (!skip) assert.equal(`did:key:${document.verificationMethod[0].publicKeyMultibase}`, signing.did())
    const data = await client.getDocumentData(did)
    assert.deepEqual(data, {
      did,
      verificationMethods: { atproto: signing.did() },
      rotationKeys: [recovery.did(), rotation.did()],
      alsoKnownAs: ['at://first.test'],
      services: { atproto_pds: { type: 'AtprotoPersonalDataServer', endpoint: 'https://pds.example.com' } },
    })
  })

  it('serves what the official resolver reads', async () => {
    const did = await create('resolved.test')
    const data = await idResolver(server).did.resolveAtprotoData(did)
    assert.deepEqual(data, { did, signingKey: signing.did(), handle: 'resolved.test', pds: 'https://pds.example.com' })
  })

  it('updates handle, key, service and rotation keys', async () => {
    const did = await create('second.test')
    const key = await P256Keypair.create()
    await client.updateHandle(did, rotation, 'renamed.test')
    await client.updateAtprotoKey(did, rotation, key.did())
    await client.updatePds(did, rotation, 'https://other.example.com')
    await client.updateRotationKeys(did, rotation, [recovery.did()])
    const data = await client.getDocumentData(did)
    assert.deepEqual(data.alsoKnownAs, ['at://renamed.test'])
    assert.equal(data.verificationMethods.atproto, key.did())
    assert.equal(data.services.atproto_pds.endpoint, 'https://other.example.com')
    assert.deepEqual(data.rotationKeys, [recovery.did()])
    assert.ok((await refused(client.updateHandle(did, rotation, 'again.test'))) >= 400, 'the removed key signs no more')
    const log = await client.getOperationLog(did)
    assert.equal(log.length, 5)
    const audit = await client.getAuditableLog(did)
    assert.equal(audit.length, 5)
    assert.ok(audit.every((entry) => entry.did === did && !entry.nullified && Date.parse(entry.createdAt)))
    assert.deepEqual(await client.getLastOp(did), log.at(-1))
  })

  it('keeps an audit log that the official library verifies', async () => {
    const did = await create('audited.test')
    for (let i = 0; i < 5; i++) await client.updateHandle(did, rotation, `audited${i}.test`)
    const log = await client.getOperationLog(did)
    const data = await plc.validateOperationLog(did, log)
    assert.deepEqual(data.alsoKnownAs, ['at://audited4.test'])
  })

  it('lets a higher key recover what a lower one did', async () => {
    const did = await create('owner.test')
    const honest = await client.getAuditableLog(did)
    await client.updateHandle(did, rotation, 'thief1.test')
    await client.updateHandle(did, rotation, 'thief2.test')
    const fork = await plc.createUpdateOp(honest[0].operation, recovery, (op) => ({ ...op, alsoKnownAs: ['at://rescued.test'] }))
    await client.sendOperation(did, fork)
    assert.deepEqual((await client.getDocumentData(did)).alsoKnownAs, ['at://rescued.test'])
    const audit = await client.getAuditableLog(did)
    assert.deepEqual(audit.map((e) => e.nullified), [false, true, true, false])
    assert.equal((await client.getOperationLog(did)).length, 2)
    assert.ok((await refused(client.sendOperation(did, await plc.createUpdateOp(honest[0].operation, rotation, (op) => op)))) >= 400)
  })

  it('buries a DID', async () => {
    const did = await create('mortal.test')
    await client.tombstone(did, rotation)
    assert.ok([404, 410].includes(await refused(client.getDocument(did))))
    assert.equal((await client.getLastOp(did)).type, 'plc_tombstone')
    await assert.rejects(client.updateHandle(did, rotation, 'undead.test'))
    const created = (await client.getOperationLog(did))[0]
    await client.sendOperation(did, await plc.createUpdateOp(created, recovery, (op) => op))
    assert.equal((await client.getDocument(did)).id, did, 'within 72 hours the higher key takes it back')
  })

  it('exports in order', { skip }, async () => {
    const all = await client.export()
    assert.ok(all.length >= 5)
    const times = all.map((e) => e.createdAt)
    assert.deepEqual(times, times.toSorted())
    const two = await client.export(undefined, 2)
    assert.deepEqual(two, all.slice(0, 2))
    const rest = await client.export(two[1].createdAt, 1000)
    assert.ok(rest.length > 0 && rest.every((e) => e.createdAt > two[1].createdAt))
  })
})

describe('a directory for did:plc refuses', () => {
  const op = (fields = {}) =>
    plc.atprotoOp({
      signingKey: signing.did(),
      handle: 'bad.test',
      pds: 'https://pds.example.com',
      rotationKeys: [rotation.did()],
      prev: null,
      signer: rotation,
      ...fields,
    })
  const send = async (operation, did) => refused(client.sendOperation(did ?? (await plc.didForCreateOp(operation)), operation))

  it('an unknown DID with 404', async () => {
    assert.equal(await refused(client.getDocument('did:plc:aaaaaaaaaaaaaaaaaaaaaaaa')), 404)
  })

  it('a DID that is not the hash of its first operation', async () => {
    assert.equal(await send(await op(), 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'), 400)
  })

  it('a signature of a key that has no right', async () => {
    assert.equal(await send(await op({ signer: signing })), 400)
  })

  it('a signature with padding or of the wrong length', { skip }, async () => {
    const good = await op()
    assert.equal(await send({ ...good, sig: `${good.sig}=` }), 400)
    assert.equal(await send({ ...good, sig: good.sig.slice(4) }), 400)
  })

  it('a changed operation', async () => {
    const good = await op()
    assert.equal(await send({ ...good, alsoKnownAs: ['at://evil.test'] }), 400)
  })

  it('no rotation keys, too many, the same twice, or what is no key', { skip }, async () => {
    assert.equal(await send(await op({ rotationKeys: [] })), 400)
    const twice = [rotation.did(), rotation.did()]
    assert.equal(await send(await op({ rotationKeys: twice })), 400)
    const many = await Promise.all(Array.from({ length: 11 }, () => Secp256k1Keypair.create()))
    assert.equal(await send(await op({ rotationKeys: many.map((k) => k.did()) })), 400)
    assert.equal(await send(await op({ rotationKeys: ['did:key:nonsense'] })), 400)
  })

  it('an operation over 4000 bytes', { skip }, async () => {
    assert.equal(await send(await op({ handle: `${'a'.repeat(4500)}.test` })), 400)
  })

  it('an update that stands on nothing', async () => {
    const did = await create('forked.test')
    const [first] = await client.getOperationLog(did)
    const wrong = await plc.addSignature({ ...first, sig: undefined, prev: 'bafyreihxrxqzm2kxk2jz4hvq6hfxnnwmzpy5fm3mvnmc4zrlh4g6vyrvla' }, rotation).catch(() => null)
    if (wrong) assert.equal(await refused(client.sendOperation(did, wrong)), 400)
  })

  it('rubbish', { skip }, async () => {
    for (const body of ['', '{', '[]', 'null', '{"type":"plc_operation"}', '{"type":"other"}']) {
      const res = await fetch(`${server.plcUrl}/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
      assert.ok(res.status >= 400 && res.status < 500, `${body}: ${res.status}`)
    }
  })
})
