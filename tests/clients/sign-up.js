// An application in the browser that asks for a new account, by the official client; says who it is.
import { BrowserOAuthClient } from '@atproto/oauth-client-browser'

const { node, scope } = window.SETUP
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
  handleResolver: { resolve: async () => null },
  plcDirectoryUrl: node,
  // The directory lies below a path, which the client's setting cannot say.
  fetch: (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input)
    return /^\/did(:|%3A)plc/.test(url.pathname) ? fetch(`${node}/plc${url.pathname}`, init) : fetch(input, init)
  },
})

const say = (what) => (document.querySelector('output').textContent = JSON.stringify(what))
const failed = (e) => say({ error: String(e), cause: String(e.cause) })

document.querySelector('#in').onclick = () => client.signInRedirect(node, { scope, prompt: 'create' }).catch(failed)

async function run() {
  const found = await client.init()
  if (!found) return say({ nobody: true })
  const res = await found.session.fetchHandler('/xrpc/com.atproto.server.getSession')
  say({ did: found.session.did, session: await res.json() })
}

run().catch(failed)
