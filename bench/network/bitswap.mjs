// One large file by Bitswap over loopback: Kubo to Kubo, our node to Kubo, Kubo to our node. Who fetches begins with an
// empty store, knows the other's address, and is done when all of it is pinned.
import { createWriteStream } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { uesOk } from '../../tests/lib/cli.mjs'
import { Kubo } from '../../tests/lib/kubo.mjs'
import { freePort } from '../../tests/lib/process.mjs'
import { dataOf, scratch, startUes } from '../../tests/lib/servers.mjs'
import { figure, memory, table } from './measure.mjs'

const PIECE = 1 << 20

/** A file of random bytes. */
async function randomFile(folder, megabytes) {
  const file = path.join(folder, 'content')
  const out = createWriteStream(file)
  for (let n = 0; n < megabytes; n++) {
    if (!out.write(randomBytes(PIECE))) await once(out, 'drain')
  }
  out.end()
  await once(out, 'close')
  return file
}

const kuboAddress = async (kubo) => JSON.parse(await kubo.ipfs(['id'])).Addresses.find((a) => a.startsWith('/ip4/127.0.0.1/tcp'))

async function startNode() {
  const listen = `/ip4/127.0.0.1/tcp/${await freePort()}`
  return startUes({ env: { UES_NETWORK_START: 'always', UES_NETWORK_LISTEN: listen, UES_NETWORK_MDNS: 'false' } })
}

const ourAddress = async (node) => JSON.parse(await uesOk(dataOf(node), ['--json', 'peer', 'addresses']))[0]

/** Runs `work`; returns how many seconds it took. */
async function seconds(work) {
  const begun = performance.now()
  await work()
  return (performance.now() - begun) / 1000
}

/** A fresh Kubo fetches from an address. */
async function toKubo(address, cid) {
  const kubo = await Kubo.start()
  await kubo.ipfs(['swarm', 'connect', address])
  const took = await seconds(() => kubo.ipfs(['pin', 'add', cid]))
  const { peak } = await memory(kubo.program)
  await kubo.close()
  return { took, peak }
}

/** A fresh node of ours fetches from an address. */
async function toOurs(address, cid) {
  const node = await startNode()
  const took = await seconds(() => uesOk(dataOf(node), ['pin', 'add', cid, '--origin', address]))
  const { peak } = await memory(node.program)
  await node.close()
  return { took, peak }
}

/** Measures `rounds` times, the ways in turn; the best of each counts. */
export async function measureBitswap(megabytes, rounds) {
  const folder = await scratch('bitswap')
  const [kubo, node] = await Promise.all([Kubo.start(), startNode()])
  try {
    const file = await randomFile(folder, megabytes)
    const cid = await kubo.ipfs(['add', '-Q', '--cid-version', '1', file])
    await uesOk(dataOf(node), ['pin', 'add', file])
    const [theirs, ours] = [await kuboAddress(kubo), await ourAddress(node)]
    const ways = [
      ['Kubo to Kubo', () => toKubo(theirs, cid)],
      ['ours to Kubo', () => toKubo(ours, cid)],
      ['Kubo to ours', () => toOurs(theirs, cid)],
      ['ours to ours', () => toOurs(ours, cid)],
    ]
    const runs = ways.map(() => [])
    for (let round = 0; round < rounds; round++) {
      for (const [n, [, fetchIt]] of ways.entries()) runs[n].push(await fetchIt())
    }
    const best = runs.map((all) => all.reduce((a, b) => (a.took < b.took ? a : b)))
    const rows = ways.map(([name], n) => [
      name,
      figure(best[n].took),
      figure((megabytes * PIECE) / 1e6 / best[n].took),
      `${figure(best[0].took / best[n].took)}x`,
      figure(best[n].peak),
    ])
    table(
      `Bitswap, ${megabytes} MiB, best of ${rounds}`,
      ['way', 'seconds', 'MB/s', 'Kubo to Kubo', 'memory of who fetches at its highest, MB'],
      rows,
    )
    const served = await Promise.all([memory(kubo.program), memory(node.program)])
    console.log(`\nMemory of who serves at its highest: Kubo ${figure(served[0].peak)} MB, ours ${figure(served[1].peak)} MB.`)
  } finally {
    await node.close()
    await kubo.close()
    await rm(folder, { recursive: true, force: true })
  }
}
