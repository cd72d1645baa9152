// An AppView (or any other service) of the test's own: it answers what the test says and keeps what it was asked.
import http from 'node:http'
import { once } from 'node:events'
import { Secp256k1Keypair } from '@atproto/crypto'
import * as plc from '@did-plc/lib'
import { verifyJwt } from '@atproto/xrpc-server'
import { signingKey } from './accounts.mjs'
import { startPds, startUes } from './servers.mjs'

/** A service on the loopback. `seen` has every request; `answers` maps a method to what it gets. */
export class Service {
  constructor() {
    this.seen = []
    this.answers = new Map()
    this.server = http.createServer((req, res) => this.take(req, res))
  }

  static async start() {
    const service = new Service()
    service.server.listen(0, '127.0.0.1')
    await once(service.server, 'listening')
    service.port = service.server.address().port
    service.url = `http://localhost:${service.port}`
    return service
  }

  /** Answers a method with `{ status, headers, json | body }`, or with what a function `(request)` gives. */
  answer(nsid, what) {
    this.answers.set(nsid, what)
  }

  async take(req, res) {
    const chunks = []
    for await (const chunk of req) chunks.push(chunk)
    const url = new URL(req.url, this.url)
    const nsid = url.pathname.split('/').pop()
    const request = { method: req.method, path: req.url, nsid, params: url.searchParams, headers: req.headers, body: Buffer.concat(chunks) }
    this.seen.push(request)
    let answer = this.answers.get(nsid) ?? { json: { method: req.method, path: req.url } }
    if (typeof answer === 'function') answer = await answer(request, res)
    if (!answer) return
    const { status = 200, headers = {}, json, body } = answer
    const type = json === undefined ? {} : { 'content-type': 'application/json' }
    res.writeHead(status, { ...type, ...headers })
    res.end(json === undefined ? body : JSON.stringify(json))
  }

  /** The newest request for a method. */
  last(nsid) {
    return this.seen.findLast((r) => r.nsid === nsid)
  }

  async close() {
    this.server.closeAllConnections()
    this.server.close()
    await once(this.server, 'close')
  }
}

/** DID of the AppView under test; nobody has to resolve it. */
export const APPVIEW_DID = 'did:web:appview.example.com'

/** Our node with an AppView. */
export const uesBefore = (appview, { env = {}, ...options } = {}) =>
  startUes({
    ...options,
    env: { UES_APPVIEW_URL: appview.url, UES_APPVIEW_DID: APPVIEW_DID, UES_PROXY_ALLOW_PRIVATE_ADDRESSES: 'true', ...env },
  })

/** The official server with an AppView. */
export const pdsBefore = (appview, { env = {}, ...options } = {}) =>
  startPds({
    ...options,
    env: { PDS_BSKY_APP_VIEW_URL: appview.url, PDS_BSKY_APP_VIEW_DID: APPVIEW_DID, ...env },
  })

/** Registers a service's DID in the directory of a server under test; gives the DID and its key. */
export async function serviceDid(server, services) {
  const key = await Secp256k1Keypair.create({ exportable: true })
  const unsigned = {
    type: 'plc_operation',
    verificationMethods: { atproto: key.did(), atproto_label: key.did() },
    rotationKeys: [key.did()],
    alsoKnownAs: ['at://service.test'],
    services,
    prev: null,
  }
  const op = await plc.signOperation(unsigned, key)
  const did = await plc.didForCreateOp(op)
  await new plc.Client(server.plcUrl).sendOperation(did, op)
  return { did, key }
}

/** Checks the token of a request by the official library; gives what it says. */
export function readToken(server, request, audience = APPVIEW_DID, nsid = request.nsid) {
  const token = request.headers.authorization.replace(/^Bearer /, '')
  return verifyJwt(token, audience, nsid, (did) => signingKey(server, did))
}
