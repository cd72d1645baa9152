// Session tokens made with the server's own secret: those that a server never gives out, or not in the time of a test.
import { createDecipheriv, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { SignJWT } from 'jose'
import { dataOf } from './servers.mjs'

const OFFICIAL = 'a-secret-of-a-test-server-only'

/** The secret that signs a server's session tokens. */
export async function sessionKey(server) {
  if (server.kind === 'pds') return Buffer.from(OFFICIAL)
  const data = dataOf(server)
  const key = Buffer.from((await readFile(path.join(data, 'keystore.key'), 'utf8')).trim(), 'hex')
  const { nonce, sealed } = JSON.parse(await readFile(path.join(data, 'keystore.json'), 'utf8'))
  const bytes = Buffer.from(sealed, 'base64')
  const cipher = createDecipheriv('chacha20-poly1305', key, Buffer.from(nonce, 'base64'), { authTagLength: 16 })
  cipher.setAAD(Buffer.from('ues-keystore 1 key file'), { plaintextLength: bytes.length - 16 })
  cipher.setAuthTag(bytes.subarray(-16))
  const keys = JSON.parse(Buffer.concat([cipher.update(bytes.subarray(0, -16)), cipher.final()]).toString('utf8'))
  return Buffer.from(keys['atproto.sessions'].secret, 'hex')
}

/** Makes session tokens for the accounts of a server: `make(did, { typ, seconds, ...claims })`. */
export async function tokenMaker(server, serverDid) {
  const secret = await sessionKey(server)
  return (did, { typ = 'at+jwt', seconds = 600, key = secret, ...claims } = {}) => {
    const now = Math.floor(Date.now() / 1000)
    const scope = typ === 'refresh+jwt' ? 'com.atproto.refresh' : 'com.atproto.access'
    const all = { scope, aud: serverDid, sub: did, iat: now - 1000, exp: now + seconds, ...claims }
    if (typ === 'refresh+jwt') all.jti ??= randomBytes(24).toString('base64')
    return new SignJWT(all).setProtectedHeader({ typ, alg: 'HS256' }).sign(key)
  }
}
