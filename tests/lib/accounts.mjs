// Accounts on a server under test, and the keys and identities that verify them.
import { AtpAgent } from '@atproto/api'
import { IdResolver } from '@atproto/identity'
import http from 'node:http'

let counter = 0

/** The password of every test account. */
export const PASSWORD = 'correct horse battery'

/** A handle that no other account of this run has. */
export const newHandle = (prefix = 'user') => `${prefix}${process.pid % 10000}x${counter++}.test`

/** A fresh account and its logged-in official client. */
export async function newAccount(server, { handle = newHandle(), email, password = PASSWORD } = {}) {
  const agent = new AtpAgent({ service: server.url })
  await agent.createAccount({ handle, email: email ?? `${handle.split('.')[0]}@example.com`, password })
  return {
    agent,
    handle,
    password,
    did: agent.session.did,
    get token() {
      return agent.session.accessJwt
    },
  }
}

/** A fetch that reaches the server under test for every address an identity of a local node names. */
export function localFetch(server) {
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input)
    // The resolver keeps only the origin of its directory's address.
    if (url.pathname.startsWith('/did%3Aplc') || url.pathname.startsWith('/did:plc')) {
      return fetch(server.plcUrl + url.pathname + url.search, init)
    }
    if (url.pathname === '/.well-known/atproto-did') return wellKnown(server, url.hostname)
    return fetch(url, init)
  }
}

/** `/.well-known/atproto-did` as asked for the given host name. */
export function wellKnown(server, host) {
  return new Promise((resolve, reject) => {
    const request = http.get(
      { host: '127.0.0.1', port: server.port, path: '/.well-known/atproto-did', headers: { host }, agent: false },
      (res) => {
        const chunks = []
        res.on('data', (chunk) => chunks.push(chunk))
        res.on('end', () => {
          const headers = new Headers()
          for (const [name, value] of Object.entries(res.headers)) headers.set(name, String(value))
          resolve(new Response(Buffer.concat(chunks), { status: res.statusCode, headers }))
        })
      },
    )
    request.on('error', reject)
  })
}

/** The official identity resolver, pointed at the server's directory. */
export const idResolver = (server) => new IdResolver({ plcUrl: server.plcUrl, fetch: localFetch(server), timeout: 10_000 })

/** The did:key that signs the account's commits, read from the directory by the official resolver. */
export const signingKey = (server, did) => idResolver(server).did.resolveAtprotoKey(did)
