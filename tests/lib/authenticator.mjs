// An authenticator app: the codes of a secret, by RFC 6238.
import { createHmac } from 'node:crypto'

/** The step of now. */
export const stepNow = () => Math.floor(Date.now() / 30_000)

/** The code of a secret in base 32 at a step. */
export function authenticator(secret, step = stepNow()) {
  const bits = [...secret].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(step))
  const hash = createHmac('sha1', key).update(counter).digest()
  return String((hash.readUInt32BE(hash.at(-1) & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}
