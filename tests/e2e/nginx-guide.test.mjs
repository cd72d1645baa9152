// The guide to a node behind a proxy (docs/hosting.md), tried: a real nginx with the file that the guide shows, and clients that
// come by it over TLS.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import https from 'node:https'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { newAccount } from '../lib/accounts.mjs'
import { Subscription } from '../lib/firehose.mjs'
import { startSystemDns } from '../lib/internet.mjs'
import { RawClient, loopbackClient, newKey } from '../lib/oauth.mjs'
import { ownNetwork } from '../lib/own-network.mjs'
import { Browser } from '../lib/pages.mjs'
import { makeCertificate, makeRoot } from '../lib/pebble.mjs'
import { Program } from '../lib/process.mjs'
import { until } from '../lib/relay.mjs'
import { TARGET, scratch, startUes } from '../lib/servers.mjs'

const GUIDE = new URL('../../docs/hosting.md', import.meta.url)
/** The domain of the guide, and one that names of accounts may end with. */
const [EXAMPLE, NAME] = ['node.example', 'node.town.net']

/** The nginx file in the guide, for a domain of our own as its readers do. */
async function guideFile() {
  const blocks = [...(await readFile(GUIDE, 'utf8')).matchAll(/```text\n(server \{[\s\S]*?)```/g)]
  assert.equal(blocks.length, 1, 'the guide shows one file')
  return blocks[0][1].replaceAll(EXAMPLE, NAME)
}

const declare = () => {
  let dir, dns, node, nginx, server
  before(async () => {
    ;[dir, dns] = [await scratch('nginx'), await startSystemDns()]
    const root = await makeRoot(dir)
    // Where the guide has the certificate, on a disk of nginx's own.
    await mkdir(path.join(dir, 'ssl'))
    await makeCertificate(path.join(dir, 'ssl'), root, NAME, `DNS:${NAME}`, `DNS:*.${NAME}`)
    tls.setDefaultCACertificates([await readFile(root.cert, 'utf8')])
    for (const name of ['', 'alice.', 'bob.']) dns.addresses.set(name + NAME, () => '127.0.0.1')

    await writeFile(path.join(dir, 'guide.conf'), await guideFile())
    const own = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`)
    const main = `user root; daemon off; pid ${dir}/pid; error_log stderr; events {}
      http { access_log off; ${own.join(' ')} include ${dir}/guide.conf; }`
    await writeFile(path.join(dir, 'nginx.conf'), main)
    const command = `mount --bind ${dir}/ssl /etc/ssl && exec nginx -p ${dir} -e stderr -c ${dir}/nginx.conf`
    nginx = new Program('nginx', 'unshare', ['-m', 'sh', '-ec', command])

    const env = {
      UES_PUBLIC_URL: `https://${NAME}`,
      UES_HANDLE_DOMAINS: `.${NAME}`,
      UES_LIMITS_BLOB_BYTES: '50MB',
      UES_RATE_LIMITS_ENABLED: 'true',
    }
    node = await startUes({ port: 2583, env })
    await nginx.answers(`https://${NAME}/xrpc/_health`)
    // Everything from here on comes by nginx.
    server = { url: `https://${NAME}`, wsUrl: `wss://${NAME}`, plcUrl: node.plcUrl }
  })
  after(async () => {
    await node?.close()
    await nginx?.stop()
    dns?.close()
    await rm(dir, { recursive: true, force: true })
  })

  let alice
  it('an account is made, and its handle is its own host', async () => {
    alice = await newAccount(server, { handle: `alice.${NAME}` })
    const res = await fetch(`https://alice.${NAME}/.well-known/atproto-did`)
    assert.deepEqual([res.status, (await res.text()).trim()], [200, alice.did])
    assert.equal((await fetch(`https://bob.${NAME}/.well-known/atproto-did`)).status, 404, 'nobody is called so')
    const { did } = await (await fetch(`https://${NAME}/xrpc/com.atproto.server.describeServer`)).json()
    assert.equal(did, `did:web:${NAME}`)
    const document = await (await fetch(`https://${NAME}/.well-known/did.json`)).json()
    assert.equal(document.id, did)
  })

  it('the event stream comes by WebSocket, as it happens', async () => {
    const sub = new Subscription(server, { cursor: 0 })
    await sub.opened
    for (let n = 0; n < 3; n++) {
      const { cid } = (await alice.agent.post({ text: `post ${n}` })) ?? {}
      assert.ok(cid)
      await sub.until((events) => events.some((e) => e.t === '#commit' && e.repo === alice.did && e.ops.some((op) => op.cid?.toString() === cid)))
    }
    assert.equal(sub.end, undefined, 'and goes on')
    await sub.close()
  })

  it('a blob of 6 MB goes up and comes down', async () => {
    const content = randomBytes(6_000_000)
    const { blob } = (await alice.agent.uploadBlob(content, { encoding: 'application/octet-stream' })).data
    const record = { $type: 'com.example.note', file: blob }
    await alice.agent.com.atproto.repo.createRecord({ repo: alice.did, collection: 'com.example.note', record })
    const res = await fetch(`https://${NAME}/xrpc/com.atproto.sync.getBlob?did=${alice.did}&cid=${blob.ref}`)
    assert.ok(content.equals(Buffer.from(await res.arrayBuffer())))
  })

  it('applications sign in: all addresses are those of the proxy', async () => {
    const get = async (name) => (await fetch(`https://${NAME}/.well-known/${name}`)).json()
    const resource = await get('oauth-protected-resource')
    assert.deepEqual([resource.resource, resource.authorization_servers], [server.url, [server.url]])
    const issuer = await get('oauth-authorization-server')
    assert.equal(issuer.issuer, server.url)
    const places = Object.entries(issuer).filter(([name]) => name.endsWith('_endpoint') || name === 'jwks_uri')
    assert.ok(places.length >= 4)
    for (const [name, place] of places) assert.equal(new URL(place).origin, server.url, name)

    const scope = 'atproto transition:generic'
    const app = new RawClient(server, { clientId: loopbackClient('http://127.0.0.1:4999/callback', scope), key: await newKey() })
    const tokens = await app.tokens(new Browser(server.url), alice)
    const session = await app.call(tokens.access_token, 'GET', 'com.atproto.server.getSession')
    assert.deepEqual([session.status, session.did], [200, alice.did])
  })

  it('the node sees who comes, and believes nobody who says to be somebody else', async () => {
    /** How many calls somebody at an address has left. */
    const left = async (localAddress, headers = {}) => {
      const request = https.get(`https://${NAME}/xrpc/com.atproto.server.describeServer`, { localAddress, headers, agent: false })
      const [res] = await once(request, 'response')
      res.resume()
      assert.equal(res.statusCode, 200)
      return Number(res.headers['ratelimit-remaining'])
    }
    const first = await left('127.0.0.2')
    assert.ok(first > 0)
    assert.equal(await left('127.0.0.2'), first - 1)
    assert.equal(await left('127.0.0.2', { 'x-forwarded-for': '9.9.9.9' }), first - 2, 'the same one, whatever it says')
    assert.equal(await left('127.0.0.3'), first, 'another one')
  })

  it('a node that is started again is there again', async () => {
    await node.program.stop()
    assert.equal((await fetch(`https://${NAME}/xrpc/_health`)).status, 502)
    const { dir: kept } = node
    const again = await startUes({ dir: kept, port: 2583, env: { UES_PUBLIC_URL: `https://${NAME}`, UES_HANDLE_DOMAINS: `.${NAME}` } })
    node.program = again.program
    await until('the node', async () => (await fetch(`https://${NAME}/xrpc/_health`)).ok)
  })
}

if (TARGET === 'pds') it('is about our node', { skip: 'a guide of ours' })
else if (ownNetwork(import.meta.url, { needs: ['nginx', 'mount'] })) describe('behind nginx, as the guide says', declare)
