// An application in the browser: signs in with the official client, writes a record, says what came of it.
import { BrowserOAuthClient } from '@atproto/oauth-client-browser'

const { node, handle, did, scope } = window.SETUP
const directory = `${node}/plc`

// The directory lies below a path, which the client's setting cannot say.
const fetchNode = (input, init) => {
  const url = new URL(input instanceof Request ? input.url : input)
  return /^\/did(:|%3A)plc/.test(url.pathname) ? fetch(directory + url.pathname, init) : fetch(input, init)
}

const here = `${location.origin}/`
const client = new BrowserOAuthClient({
  clientMetadata: {
    client_id: `http://localhost?redirect_uri=${encodeURIComponent(here)}&scope=${encodeURIComponent(scope)}`,
    redirect_uris: [here],
    scope,
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
    dpop_bound_access_tokens: true,
  },
  allowHttp: true,
  handleResolver: { resolve: async (name) => (name === handle ? did : null) },
  plcDirectoryUrl: node,
  fetch: fetchNode,
})

const say = (what) => (document.querySelector('output').textContent = JSON.stringify(what))

document.querySelector('#in').onclick = () => client.signInRedirect(handle, { scope, state: 'mine' }).catch((e) => say({ error: String(e) }))

async function run() {
  const found = await client.init()
  if (found) {
    const call = async (nsid, body) => {
      const res = await found.session.fetchHandler(`/xrpc/${nsid}`, body && { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
      return { status: res.status, ...(await res.json()) }
    }
    const record = { $type: 'com.example.note', text: 'from the browser' }
    const written = await call('com.atproto.repo.createRecord', { repo: found.session.did, collection: record.$type, record })
    const before = await found.session.getTokenInfo(false)
    const after = await found.session.getTokenInfo(true)
    document.querySelector('#out').onclick = () => found.session.signOut().then(() => say({ out: true }), (e) => say({ error: String(e) }))
    say({ did: found.session.did, state: found.state, written, refreshed: after.expiresAt >= before.expiresAt, session: await call('com.atproto.server.getSession') })
  } else {
    say({ nobody: true })
  }
}

run().catch((e) => say({ error: String(e), cause: String(e.cause) }))
