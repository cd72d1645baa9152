// The pin service on a NATS server that asks for a login.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import path from 'node:path'
import { ues } from '../lib/cli.mjs'
import { Nats } from '../lib/nats.mjs'
import { newKey, pinBlocks, reaches } from '../lib/pins.mjs'
import { freePort } from '../lib/process.mjs'
import { scratch, startUes } from '../lib/servers.mjs'

describe('a NATS server with a login', () => {
  let nats, bus
  before(async () => {
    nats = await Nats.start(['--user', 'ues', '--pass', 'let me in'])
    bus = { UES_PINS_BUS: nats.url, UES_NATS_USERNAME: 'ues', UES_NATS_PASSWORD: 'let me in', UES_NATS_PREFIX: 'mine' }
  })
  after(() => nats.close())

  it('carries the work of who has the password', async () => {
    const server = await startUes({ env: bus })
    try {
      const key = await newKey(server, 'alice')
      const [pin] = await pinBlocks(server, key, ['over NATS'])
      await reaches(server, key, pin.pin.cid, 'pinned')
      const streams = await (await fetch(`http://127.0.0.1:${nats.ports.monitor}/jsz?streams=true`)).json()
      const names = streams.account_details.flatMap((account) => account.stream_detail.map((stream) => stream.name))
      assert.ok(names.length > 0 && names.every((name) => name.startsWith('MINE_')), `${names}`)
    } finally {
      await server.close()
    }
  })

  for (const [what, change, sentence] of [
    ['a wrong password', { UES_NATS_PASSWORD: 'wrong' }, /authorization/i],
    ['a name without a password', { UES_NATS_PASSWORD: '' }, /nats\.username and nats\.password go together/],
    ['two replicas', { UES_NATS_REPLICAS: '2' }, /nats\.replicas: 1, 3 or 5 expected, found 2/],
  ]) {
    it(`refuses to start with ${what}, and says so`, async () => {
      const data = path.join(await scratch('nats-refused'), 'data')
      const listen = `127.0.0.1:${await freePort()}`
      const done = await ues(data, ['up', '--listen', listen], { env: { ...bus, ...change } })
      assert.notEqual(done.code, 0)
      assert.match(done.stderr, sentence)
    })
  }
})
