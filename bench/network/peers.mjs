// The memory of an idle node with many peers: other nodes of ours, each a process.
import { uesOk } from '../../tests/lib/cli.mjs'
import { freePort } from '../../tests/lib/process.mjs'
import { dataOf, startUes } from '../../tests/lib/servers.mjs'
import { figure, memory, table } from './measure.mjs'

/** How long a node rests before it is looked at. */
const REST_MS = 20_000

async function start(more = {}) {
  const listen = `/ip4/127.0.0.1/tcp/${await freePort()}`
  const env = { UES_NETWORK_START: 'always', UES_NETWORK_LISTEN: listen, UES_NETWORK_MDNS: 'false', ...more }
  return startUes({ env })
}

const run = async (node, ...args) => JSON.parse(await uesOk(dataOf(node), ['--json', ...args]))
const rest = () => new Promise((resolve) => setTimeout(resolve, REST_MS))
const connected = async (node) => (await run(node, 'peer', 'ls')).state.peers.filter((peer) => peer.connections.length > 0).length

export async function measurePeers(count) {
  const node = await start()
  const others = []
  try {
    await rest()
    const alone = await memory(node.program)
    const [address] = await run(node, 'peer', 'addresses')
    for (let n = 0; n < count; n++) {
      const other = await start({ UES_PINS_ROLES: '' })
      others.push(other)
      await run(other, 'peer', 'add', address)
    }
    while ((await connected(node)) < count) await new Promise((resolve) => setTimeout(resolve, 500))
    await rest()
    const together = await memory(node.program)
    table(
      'Memory of an idle node, pin service included, MB',
      ['peers', 'now', 'at its highest'],
      [
        ['0', figure(alone.now), figure(alone.peak)],
        [String(await connected(node)), figure(together.now), figure(together.peak)],
      ],
    )
  } finally {
    await Promise.all(others.map((other) => other.close()))
    await node.close()
  }
}
