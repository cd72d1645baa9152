// Seeded randomness: SEED repeats a run. Each suite prints the seed it used.
import { randomInt } from 'node:crypto'

/** The seed of this run. */
export const SEED = process.env.SEED ? Number(process.env.SEED) >>> 0 : randomInt(2 ** 32)

/** A small generator (mulberry32) with the few shapes that the tests need. */
export class Random {
  constructor(seed = SEED) {
    this.state = seed >>> 0
  }

  /** A number in [0, 1). */
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** An integer in [0, n). */
  below(n) {
    return Math.floor(this.next() * n)
  }

  /** One of the items. */
  pick(items) {
    return items[this.below(items.length)]
  }

  /** A word of `n` characters from `alphabet`. */
  word(n, alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789') {
    let out = ''
    for (let i = 0; i < n; i++) out += alphabet[this.below(alphabet.length)]
    return out
  }

  /** `n` bytes. */
  bytes(n) {
    return Uint8Array.from({ length: n }, () => this.below(256))
  }
}
