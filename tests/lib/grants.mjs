// Tokens that an application gets by OAuth, from our pages and from the interface behind the official server's pages.
import http from 'node:http'
import { Browser } from './pages.mjs'
import { RawClient, loopbackClient, newKey } from './oauth.mjs'
import { call } from './xrpc.mjs'

const REDIRECT = 'http://127.0.0.1:4999/callback'

/** The address that a server says it has: the official one calls itself by name. */
const publicOf = (server) => (server.kind === 'pds' ? { ...server, url: `http://localhost:${server.port}` } : server)

/** One request with exactly these headers. */
function request(url, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const { hostname, port, pathname, search } = new URL(url)
    const options = { host: '127.0.0.1', port, path: pathname + search, method, headers: { host: `${hostname}:${port}`, ...headers } }
    const sent = http.request(options, async (res) => {
      const chunks = []
      for await (const chunk of res) chunks.push(chunk)
      resolve({ status: res.statusCode, headers: res.headers, text: Buffer.concat(chunks).toString('utf8') })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** A browser on the official server, signed in: it asks the interface behind the pages, as their script does. */
class OfficialBrowser {
  cookies = new Map()

  constructor(origin, account) {
    Object.assign(this, { origin, account })
  }

  async ask(url, options) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await request(url, { ...options, headers: { ...options.headers, ...(cookie && { cookie }) } })
    for (const set of answer.headers['set-cookie'] ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set)
      this.cookies.set(name, value)
    }
    return answer
  }

  async post(page, what, json) {
    const answer = await this.ask(`${this.origin}/@atproto/oauth-provider/~api/${what}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        origin: this.origin,
        referer: page,
        'sec-fetch-mode': 'same-origin',
        'sec-fetch-site': 'same-origin',
        'x-csrf-token': this.cookies.get('csrf-token'),
      },
      body: JSON.stringify(json),
    })
    if (answer.status !== 200) throw new Error(`${what}: ${answer.status} ${answer.text}`)
    return JSON.parse(answer.text)
  }

  /** The code for a request that was pushed. */
  async code(client, scope) {
    const pushed = await client.push({ scope })
    if (pushed.status !== 201) throw new Error(`${scope}: ${JSON.stringify(pushed)}`)
    const page = this.origin + client.page(pushed.request_uri)
    await this.ask(page, { headers: { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' } })
    const { handle, password, did } = this.account
    if (!this.signedIn) await this.post(page, 'sign-in', { username: handle, password, locale: 'en', remember: true })
    this.signedIn = true
    const { url } = await this.post(page, 'consent', { did, scope })
    const code = new URL(url).searchParams.get('code')
    if (!code) throw new Error(`no code in ${url}`)
    return code
  }
}

/** Tokens of an account for an application, one for each scope: `{ client, token }` by scope. */
export async function grants(server, account, scopes) {
  const shown = publicOf(server)
  const official = server.kind === 'pds'
  const browser = official ? new OfficialBrowser(shown.url, account) : new Browser(server.url)
  const granted = new Map()
  for (const scope of scopes) {
    const client = new RawClient(shown, { clientId: loopbackClient(REDIRECT, scope), key: await newKey(), redirect: REDIRECT })
    const code = official ? await browser.code(client, scope) : await client.code(browser, account, { scope })
    const tokens = await client.redeem(code)
    if (tokens.status !== 200) throw new Error(`${scope}: ${JSON.stringify(tokens)}`)
    granted.set(scope, { client, token: tokens.access_token })
  }
  return granted
}

/** Calls as an application: `call` with a proof for the token, asked again where the server wants its nonce in it. */
export const callAs =
  ({ client, token }, proofOptions = {}) =>
  async (server, method, nsid, options) => {
    for (let tries = 0; ; tries++) {
      const dpop = await client.proof(method, `/xrpc/${nsid}`, { token, ...proofOptions })
      const answer = await call(server, method, nsid, { ...options, headers: { ...options?.headers, authorization: `DPoP ${token}`, dpop } })
      client.nonce = answer.headers.get('dpop-nonce') ?? client.nonce
      if (!/use_dpop_nonce/.test(answer.headers.get('www-authenticate') ?? '') || tries > 0) return answer
    }
  }
