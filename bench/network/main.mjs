// Measures what goes over the network: Bitswap beside Kubo, devices that hold one repository, a node with many peers.
//
//   cargo build --release -p ues && tests/peers/install.sh
//   .peers/node/bin/node bench/network/main.mjs [bitswap] [devices] [peers] [--megabytes N] [--records N] [--peers N]
//
// Without a name it does all of them. Prints tables in Markdown.
import { parseArgs } from 'node:util'
import { measureBitswap } from './bitswap.mjs'
import { measureDevices } from './devices.mjs'
import { measurePeers } from './peers.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    megabytes: { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '2' },
    records: { type: 'string', default: '100000' },
    changes: { type: 'string', default: '1000' },
    peers: { type: 'string', default: '50' },
  },
})

const parts = {
  bitswap: () => measureBitswap(Number(values.megabytes), Number(values.rounds)),
  devices: () => measureDevices(Number(values.records), Number(values.changes)),
  peers: () => measurePeers(Number(values.peers)),
}
const unknown = positionals.filter((name) => !(name in parts))
if (unknown.length > 0) {
  console.error(`there is no part ${unknown.join(', ')}; there are ${Object.keys(parts).join(', ')}`)
  process.exit(2)
}
for (const [name, measure] of Object.entries(parts)) {
  if (positionals.length === 0 || positionals.includes(name)) await measure()
}
// Programs that are still up end with this one.
process.exit(0)
