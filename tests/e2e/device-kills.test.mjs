// Devices that are killed while a repository comes over: afterwards both hold the same, and all of it is sound.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { newAccount } from '../lib/accounts.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { attach, equalRoots, explain, getBlob, texts } from '../lib/device-repos.mjs'
import { DeviceNode, NOTE, call, invite, note, operatorSession, pair } from '../lib/devices.mjs'
import { until } from '../lib/pins.mjs'
import { Random, SEED } from '../lib/random.mjs'

/** How long after the beginning somebody is killed at most, in milliseconds. */
const LATEST = 1500

describe(`devices that are killed while they sync (seed ${SEED})`, () => {
  const random = new Random()
  const nodes = []
  const blobs = new Map()
  let [laptop, did, records] = [undefined, undefined, 0]

  /** Gives the laptop much to send. */
  const write = async () => {
    const session = await operatorSession(laptop, did)
    for (let part = 0; part < 4; part++) {
      const writes = Array.from({ length: 100 }, (_, i) => ({
        $type: 'com.atproto.repo.applyWrites#create',
        collection: NOTE,
        value: note(`${part} ${i}`),
      }))
      const { status } = await call(laptop, session, 'com.atproto.repo.applyWrites', { repo: did, writes })
      assert.equal(status, 200)
      records += writes.length
    }
    for (let n = 0; n < 3; n++) {
      const content = randomBytes(2_000_000 + random.below(1000))
      blobs.set(await attach(laptop, did, content), content)
      records += 1
    }
  }
  const agree = async (phone) => {
    await equalRoots(did, [laptop, phone], 120)
    assert.equal((await texts(phone, did)).length, records)
    for (const [cid, content] of blobs) {
      const came = until(`the blob ${cid}`, () => getBlob(phone, did, cid), 60)
      assert.deepEqual(await came.catch((error) => explain(error, [laptop, phone])), content)
    }
  }
  const kill = async (node) => {
    await delay(random.below(LATEST))
    await node.kill()
    await node.up()
  }
  const device = async (name) => {
    const node = await DeviceNode.start(name)
    nodes.push(node)
    return node
  }

  before(async () => {
    laptop = await device('laptop')
    did = (await newAccount(laptop.server)).did
    await write()
  })
  after(async () => {
    for (const node of nodes) {
      await node.stop()
      await rm(node.dir, { recursive: true, force: true })
    }
  })

  for (const victim of ['the new device', 'the one that invites']) {
    it(`comes over though ${victim} is killed while the other joins`, async () => {
      const phone = await device(`phone ${nodes.length}`)
      const { link, done, child } = await invite(laptop, did)
      const joining = ues(phone.data, ['device', 'join', '--yes', link])
      await kill(victim === 'the new device' ? phone : laptop)
      const { code } = await joining
      // An invitation that nobody took stands until it is given up.
      if (code !== 0) child.kill()
      await done
      // What was not finished is begun again, as people would.
      const { repositories } = await phone.run('sync', 'status')
      if (!repositories.includes(did)) await pair(laptop, did, phone)
      await agree(phone)
    })
  }

  it('comes over though now one, now the other is killed while there is much to send', async () => {
    const phone = nodes.at(-1)
    for (let round = 0; round < 6; round++) {
      await phone.stop()
      await write()
      await phone.up()
      await kill(round % 2 ? phone : laptop)
    }
    await agree(phone)
  })

  it('has left nothing broken', async () => {
    for (const node of nodes) {
      await node.stop()
      await uesOk(node.data, ['check'])
      await node.up()
    }
    await write()
    for (const phone of nodes.slice(1)) await agree(phone)
  })
})
