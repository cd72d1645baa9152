// Helia, an IPFS node in JavaScript, over TCP and Bitswap, with its client for remote pinning.
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { bitswap } from '@helia/block-brokers'
import { heliaWithRemotePins } from '@helia/remote-pinning'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { createHelia } from 'helia'
import { createLibp2p } from 'libp2p'

export { CID } from 'multiformats/cid'

/** Starts a Helia that nobody finds and whose pins are kept by a Pinning Service API. */
export async function startHelia(endpointUrl, accessToken) {
  const libp2p = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() },
  })
  const helia = await createHelia({ libp2p, blockBrokers: [bitswap()], routers: [] })
  return heliaWithRemotePins(helia, { endpointUrl, accessToken, pollInterval: 100 })
}
