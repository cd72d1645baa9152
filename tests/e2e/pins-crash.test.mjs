// The pin service is killed with SIGKILL at random moments while owners add and remove pins. After every restart each
// acknowledged request is there and none that was removed; in the end everything wanted is pinned and nothing else.
// PIN_CRASH_ROUNDS sets the number of kills, SEED repeats a run.
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { uesOk } from '../lib/cli.mjs'
import { allPins, newKey, pinBlocks, pinCall, rawCid, until } from '../lib/pins.mjs'
import { Random, SEED } from '../lib/random.mjs'
import { dataOf, scratch, startUes } from '../lib/servers.mjs'

const ROUNDS = Number(process.env.PIN_CRASH_ROUNDS ?? 25)
const CONTENTS = 60

/** An owner, and what it knows: acknowledged pins, and the changes whose answers never came. */
class Owner {
  constructor(name, key, random) {
    Object.assign(this, { name, key, random })
    this.wanted = new Set()
    this.unknown = new Map()
  }

  /** Changes one thing after another until the server is gone. */
  async run(server) {
    for (;;) {
      const chosen = Array.from({ length: 1 + this.random.below(4) }, () => `content ${this.random.below(CONTENTS)}`)
      const contents = [...new Set(chosen)]
      const remove = this.random.next() < 0.4
      const cids = contents.map(rawCid)
      this.unknown = new Map(cids.map((cid) => [cid, !remove]))
      try {
        if (remove) await this.remove(server, cids)
        else await pinBlocks(server, this.key, contents)
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        return
      }
      for (const cid of cids) {
        if (remove) this.wanted.delete(cid)
        else this.wanted.add(cid)
      }
      this.unknown.clear()
    }
  }

  async remove(server, cids) {
    for (const cid of cids) {
      const { status } = await pinCall(server, this.key, 'DELETE', `/pins/${cid}`)
      assert.ok([202, 404].includes(status), `status ${status}`)
    }
  }

  /** Compares with what the server knows now. */
  async settle(server) {
    const found = new Set((await allPins(server, this.key)).map((pin) => pin.pin.cid))
    for (const [cid, there] of this.unknown) {
      if (found.has(cid) === there) {
        if (there) this.wanted.add(cid)
        else this.wanted.delete(cid)
      }
    }
    this.unknown.clear()
    assert.deepEqual([...found].sort(), [...this.wanted].sort(), `pins of ${this.name}`)
  }
}

describe(`pins over ${ROUNDS} kills, seed ${SEED}`, () => {
  it('loses nothing that was acknowledged', { timeout: 900_000 }, async () => {
    const random = new Random(SEED)
    const dir = await scratch('pins-crash')
    let server = await startUes({ dir })
    const owners = []
    for (const name of ['ann', 'ben', 'cay']) {
      owners.push(new Owner(name, await newKey(server, name), new Random(SEED + owners.length + 1)))
    }
    for (let round = 0; round < ROUNDS; round++) {
      const running = owners.map((owner) => owner.run(server))
      await delay(150 + random.below(700))
      server.program.child.kill('SIGKILL')
      await server.program.done
      await Promise.all(running)
      server = await startUes({ dir })
      for (const owner of owners) await owner.settle(server)
    }
    await until(
      'everything wanted is pinned',
      async () => {
        const pins = (await Promise.all(owners.map((owner) => allPins(server, owner.key)))).flat()
        return pins.every((pin) => pin.status === 'pinned')
      },
      120,
    )
    const wanted = new Set(owners.flatMap((owner) => [...owner.wanted]))
    let worker
    await until(
      'the worker holds what is wanted and nothing else',
      async () => {
        ;[worker] = JSON.parse(await uesOk(dataOf(server), ['worker', 'ls', '--json']))
        return worker.pins === wanted.size
      },
      180,
    ).catch(async (error) => {
      const metrics = await (await fetch(`${server.url}/metrics`)).text()
      const said = [`${wanted.size} are wanted`, JSON.stringify(worker), metrics.replaceAll(/^#.*\n/gm, ''), server.program.log]
      throw new Error([error.message, ...said].join('\n'))
    })
    await server.close()
    await uesOk(dataOf(server), ['check'])
    await rm(dir, { recursive: true, force: true })
  })
})
