// Clients of the authorisation server: the official one, and one made by hand so that each part of a request can be wrong.
// Signatures are by `jose`.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { NodeOAuthClient } from '@atproto/oauth-client-node'
import { atprotoLoopbackClientMetadata } from '@atproto/oauth-types'
import { SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'

export const sha256 = (text) => createHash('sha256').update(text).digest('base64url')
export const random = () => randomBytes(32).toString('base64url')

/** A fresh ES256 key. */
export async function newKey() {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { privateKey, jwk, jkt: await calculateJwkThumbprint(jwk) }
}

/** The id of a client on this computer. */
export const loopbackClient = (redirect, scope) =>
  `http://localhost?${new URLSearchParams({ redirect_uri: redirect, scope })}`

const memory = () => {
  const rows = new Map()
  return { get: async (key) => rows.get(key), set: async (key, value) => void rows.set(key, value), del: async (key) => void rows.delete(key) }
}

/** The official client, pointed at a node's directory, for one account. */
export function officialClient(server, clientId, account) {
  const plc = new URL(server.plcUrl)
  return new NodeOAuthClient({
    clientMetadata: atprotoLoopbackClientMetadata(clientId),
    stateStore: memory(),
    sessionStore: memory(),
    allowHttp: true,
    requestLock: (_key, fn) => fn(),
    handleResolver: { resolve: async (handle) => (handle === account.handle ? account.did : null) },
    plcDirectoryUrl: plc.origin,
    fetch: (input, init) => {
      const url = new URL(input instanceof Request ? input.url : input)
      if (/^\/did(:|%3A)plc/.test(url.pathname)) return fetch(server.plcUrl + url.pathname, init)
      return fetch(input, init)
    },
  })
}

export class RawClient {
  nonce = undefined

  constructor(server, { clientId, key, redirect = 'http://127.0.0.1:4999/callback', assertion }) {
    Object.assign(this, { server, clientId, key, redirect, assertion })
  }

  /** A proof; `change` replaces claims, `header` parts of the header. */
  proof(method, path, { token, change = {}, header = {}, key = this.key } = {}) {
    const claims = {
      jti: random(),
      htm: method,
      htu: this.server.url + path,
      iat: Math.floor(Date.now() / 1000),
      ...(this.nonce && { nonce: this.nonce }),
      ...(token && { ath: sha256(token) }),
      ...change,
    }
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: key.jwk, ...header })
      .sign(key.privateKey)
  }

  /** A form to the authorisation server; asks again when it is told to use a nonce. */
  async post(path, fields, options = {}) {
    for (let tries = 0; ; tries++) {
      const proof = options.proof ?? (await this.proof('POST', path, options))
      const assertion = this.assertion ? await this.assertion() : {}
      const res = await fetch(this.server.url + path, {
        method: 'POST',
        headers: options.withoutProof ? {} : { dpop: proof },
        body: new URLSearchParams({ client_id: this.clientId, ...assertion, ...fields }),
      })
      this.nonce = res.headers.get('dpop-nonce') ?? this.nonce
      const body = await res.json()
      if (body.error === 'use_dpop_nonce' && tries === 0 && !options.proof) continue
      return { status: res.status, ...body }
    }
  }

  /** Pushes a request. */
  async push(fields = {}, options = {}) {
    this.verifier = random() + random().slice(0, 10)
    return this.post(
      '/oauth/par',
      {
        response_type: 'code',
        redirect_uri: this.redirect,
        scope: 'atproto transition:generic',
        state: 'the state',
        code_challenge: sha256(this.verifier),
        code_challenge_method: 'S256',
        ...fields,
      },
      options,
    )
  }

  page(requestUri) {
    return `/oauth/authorize?${new URLSearchParams({ client_id: this.clientId, request_uri: requestUri })}`
  }

  /** The code that the owner's browser brings back. */
  async code(browser, account, fields = {}) {
    const pushed = await this.push(fields)
    assert.equal(pushed.status, 201, JSON.stringify(pushed))
    let page = await browser.get(this.page(pushed.request_uri))
    if (page.html.includes('name="password"')) {
      page = await browser.submit(page, 'sign_in', { identifier: account.handle, password: account.password })
    }
    const back = await browser.submit(page, 'allow')
    assert.ok(back.left, back.html)
    assert.equal(back.left.searchParams.get('state'), 'the state')
    assert.equal(back.left.searchParams.get('iss'), this.server.url)
    return back.left.searchParams.get('code')
  }

  redeem(code, fields = {}, options = {}) {
    const grant = { grant_type: 'authorization_code', code, redirect_uri: this.redirect, code_verifier: this.verifier }
    return this.post('/oauth/token', { ...grant, ...fields }, options)
  }

  refresh(token, options = {}) {
    return this.post('/oauth/token', { grant_type: 'refresh_token', refresh_token: token }, options)
  }

  /** Tokens of an account. */
  async tokens(browser, account, fields = {}) {
    const tokens = await this.redeem(await this.code(browser, account, fields))
    assert.equal(tokens.status, 200, JSON.stringify(tokens))
    return tokens
  }

  /** Calls a method with an access token. */
  async call(token, method, nsid, { query = '', body, options = {}, headers = {} } = {}) {
    const path = `/xrpc/${nsid}`
    for (let tries = 0; ; tries++) {
      const proof = options.proof ?? (await this.proof(method, path, { token, ...options }))
      const json = body && !headers['content-type'] ? { 'content-type': 'application/json' } : {}
      const res = await fetch(this.server.url + path + query, {
        method,
        headers: { authorization: `DPoP ${token}`, dpop: proof, ...json, ...headers },
        body: json['content-type'] ? JSON.stringify(body) : body,
      })
      const challenge = res.headers.get('www-authenticate') ?? ''
      this.nonce = res.headers.get('dpop-nonce') ?? this.nonce
      const answer = await res.json().catch(() => ({}))
      if (challenge.includes('use_dpop_nonce') && tries === 0 && !options.proof) continue
      return { status: res.status, challenge, ...answer, lastProof: proof }
    }
  }
}
