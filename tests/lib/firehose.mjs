// A raw firehose reader: frames as they are on the wire, decoded with the reference DAG-CBOR library.
import * as cbor from '@ipld/dag-cbor'
import { decodeFirst } from 'cborg'
import WebSocket from 'ws'

/** One frame: `{ op, t, body }`; `op` 1 is a message, -1 an error. */
export function decodeFrame(bytes) {
  const [header, rest] = decodeFirst(bytes, cbor.decodeOptions)
  return { op: header.op, t: header.t, body: cbor.decode(rest), size: bytes.length }
}

/** A subscription, of repositories or another one by its `nsid`. `frames`, and `events` (the messages' bodies with their type), grow as they arrive. */
export class Subscription {
  constructor(server, { cursor, query = '', nsid = 'com.atproto.sync.subscribeRepos' } = {}) {
    const params = cursor === undefined ? query : `cursor=${cursor}${query}`
    this.frames = []
    this.events = []
    this.waiting = new Set()
    this.socket = new WebSocket(`${server.wsUrl}/xrpc/${nsid}?${params}`)
    this.socket.binaryType = 'nodebuffer'
    this.opened = new Promise((resolve, reject) => {
      this.socket.once('open', resolve)
      this.socket.once('error', reject)
    })
    this.opened.catch(() => {})
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => {
        this.end = { code, reason: reason.toString() }
        resolve(this.end)
        this.wake()
      })
    })
    this.socket.on('message', (data) => {
      const frame = decodeFrame(new Uint8Array(data))
      this.frames.push(frame)
      if (frame.op === 1) this.events.push({ t: frame.t, ...frame.body })
      this.wake()
    })
  }

  wake() {
    for (const check of this.waiting) check()
  }

  /** Waits until `test(events)` gives something true, and returns it. Fails when the stream closes or time is up. */
  until(test, seconds = 60) {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        clearTimeout(timer)
        this.waiting.delete(check)
        settle(value)
      }
      const check = () => {
        const value = test(this.events, this.frames)
        if (value) finish(resolve, value)
        else if (this.end) finish(reject, new Error(`firehose closed: ${this.end.code} ${this.end.reason}`))
      }
      const timer = setTimeout(
        () => finish(reject, new Error(`condition not met after ${seconds} s and ${this.frames.length} frames`)),
        seconds * 1000,
      )
      this.waiting.add(check)
      check()
    })
  }

  async close() {
    this.socket.terminate()
    await this.closed
  }
}
