// Documents of applications that lie where no stranger may send the node: nothing there is asked. Names that lead elsewhere each
// time, and redirects, need a public address to begin with: `led-inside.test.mjs`.
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { startDns } from '../lib/dns.mjs'
import { random, sha256 } from '../lib/oauth.mjs'
import { TARGET, startUes } from '../lib/servers.mjs'

describe('documents of applications', { skip: TARGET === 'pds' && 'tests our own guards' }, () => {
  let dns, node, inside
  const asked = []
  const visits = []

  before(async () => {
    dns = await startDns()
    // What lies in the node's own network.
    inside = net.createServer((socket) => {
      visits.push(socket.remotePort)
      socket.destroy()
    })
    await new Promise((resolve) => inside.listen(0, '127.0.0.1', resolve))
    node = await startUes({ env: { UES_PUBLIC_URL: 'https://node.example', UES_IDENTITY_DNS_SERVERS: dns.address } })
  })
  after(async () => {
    await node?.close()
    inside?.close()
    dns?.close()
  })

  async function push(clientId) {
    const body = new URLSearchParams({
      client_id: clientId,
      response_type: 'code',
      redirect_uri: 'https://app.example.com/callback',
      scope: 'atproto',
      state: 'x',
      code_challenge: sha256(random()),
      code_challenge_method: 'S256',
    })
    const res = await fetch(`${node.url}/oauth/par`, { method: 'POST', body })
    return { status: res.status, ...(await res.json()) }
  }

  it('by address, by a name without a dot, by plain HTTP', async () => {
    const { port } = inside.address()
    for (const id of [
      `http://127.0.0.1:${port}/client.json`,
      `https://127.0.0.1:${port}/client.json`,
      `https://[::1]:${port}/client.json`,
      `https://[::ffff:127.0.0.1]:${port}/client.json`,
      `https://2130706433:${port}/client.json`,
      `https://localhost:${port}/client.json`,
      'https://169.254.169.254/latest/meta-data',
    ]) {
      const refused = await push(id)
      assert.ok([400, 401].includes(refused.status), `${id}: ${JSON.stringify(refused)}`)
      assert.match(refused.error, /invalid_(client|request)/)
    }
    assert.deepEqual(visits, [])
  })

  for (const [what, address] of [
    ['that leads inside', '127.0.0.1'],
    ['that leads to a cloud’s own services', '169.254.169.254'],
  ]) {
    it(`by a name ${what}`, async () => {
      const name = `inside${asked.length}.example.com`
      dns.addresses.set(name, () => {
        asked.push(name)
        return address
      })
      const id = `https://${name}:${inside.address().port}/client.json`
      for (let tries = 0; tries < 3; tries++) {
        const refused = await push(id)
        assert.deepEqual([refused.status, refused.error], [400, 'invalid_client_metadata'], JSON.stringify(refused))
      }
      assert.ok(asked.includes(name), 'the name was looked up')
      assert.deepEqual(visits, [], 'and nobody came')
    })
  }
})
