// A did:plc directory and an account's server in one, whose repository a test makes and signs itself: it can tell of another
// key, go back, or tell two stories.
import { Secp256k1Keypair } from '@atproto/crypto'
import { BlockMap, MemoryBlockstore, Repo, WriteOpAction, blocksToCarFile, getFullRepo, signCommit } from '@atproto/repo'
import { CID } from 'multiformats/cid'
import http from 'node:http'
import { buffer } from 'node:stream/consumers'

/** What the official library makes of the states of one repository. */
export class FakeOrigin {
  static async start(did) {
    const origin = new FakeOrigin()
    origin.did = did
    origin.key = await Secp256k1Keypair.create({ exportable: true })
    origin.storage = new MemoryBlockstore()
    origin.repo = await Repo.create(origin.storage, did, origin.key)
    origin.asked = []
    origin.http = http.createServer((req, res) => origin.answer(req, res).catch((e) => res.writeHead(500).end(String(e))))
    await new Promise((resolve) => origin.http.listen(0, '127.0.0.1', resolve))
    origin.port = origin.http.address().port
    origin.url = `http://localhost:${origin.port}`
    return origin
  }

  close() {
    this.http.closeAllConnections()
    this.http.close()
  }

  /** Writes a record; returns the state after it, to go back to. */
  async write(collection, rkey, record) {
    const write = { action: WriteOpAction.Create, collection, rkey, record }
    this.repo = await this.repo.applyWrites(write, this.key)
    return this.repo
  }

  /** Another commit, of an earlier state, with a revision that was used already. */
  async fork(from, rev) {
    const commit = await signCommit({ did: this.did, version: 3, prev: null, data: from.commit.data, rev }, this.key)
    const blocks = new BlockMap()
    const cid = await blocks.add(commit)
    await this.storage.putMany(blocks)
    return { cid, commit }
  }

  get document() {
    return {
      '@context': ['https://www.w3.org/ns/did/v1'],
      id: this.did,
      alsoKnownAs: ['at://fake.test'],
      verificationMethod: [
        { id: `${this.did}#atproto`, type: 'Multikey', controller: this.did, publicKeyMultibase: this.key.did().slice('did:key:'.length) },
      ],
      service: [{ id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: this.url }],
    }
  }

  async answer(req, res) {
    const url = new URL(req.url, this.url)
    this.asked.push(url.pathname)
    const json = (status, body) => res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    const car = (bytes) => res.writeHead(200, { 'content-type': 'application/vnd.ipld.car' }).end(bytes)
    if (url.pathname === `/${this.did}`) return json(200, this.document)
    switch (url.pathname) {
      case '/xrpc/com.atproto.sync.getLatestCommit':
        return json(200, { cid: this.repo.cid.toString(), rev: this.repo.commit.rev })
      case '/xrpc/com.atproto.sync.getBlocks': {
        const { blocks } = await this.storage.getBlocks(url.searchParams.getAll('cids').map((cid) => CID.parse(cid)))
        return car(await blocksToCarFile(null, blocks))
      }
      case '/xrpc/com.atproto.sync.getRepo':
        return car(await buffer(getFullRepo(this.storage, this.repo.cid)))
    }
    return json(404, { error: 'MethodNotImplemented', message: 'not here' })
  }
}
