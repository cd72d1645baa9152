// Passkeys: Chromium's virtual authenticator, and one made by hand so that each part of an answer can be wrong.
import { createHash, createPrivateKey, sign } from 'node:crypto'

const sha256 = (data) => createHash('sha256').update(data).digest()

/** Gives a page an authenticator that verifies its user. Says how to read its keys. */
export async function virtualAuthenticator(page) {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true }
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', { options })
  return {
    credentials: async () => (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials,
    verifies: (isUserVerified) => cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified }),
  }
}

/** An answer to a challenge by a key that was read from an authenticator (WebAuthn level 3, section 7.2). */
export function assertion(credential, { challenge, origin, rpId = credential.rpId, type = 'webauthn.get', counter, flags = 0x05, userHandle = credential.userHandle, tamper = false }) {
  const client = Buffer.from(JSON.stringify({ type, challenge, origin, crossOrigin: false }))
  const counted = Buffer.alloc(4)
  counted.writeUInt32BE(counter)
  const data = Buffer.concat([sha256(rpId), Buffer.from([flags]), counted])
  const key = createPrivateKey({ key: Buffer.from(credential.privateKey, 'base64'), format: 'der', type: 'pkcs8' })
  const signature = sign('sha256', Buffer.concat([data, sha256(client)]), key)
  if (tamper) signature[signature.length - 1] ^= 1
  const url = (bytes) => Buffer.from(bytes).toString('base64url')
  const id = url(Buffer.from(credential.credentialId, 'base64'))
  return JSON.stringify({
    id,
    rawId: id,
    type: 'public-key',
    extensions: {},
    response: {
      clientDataJSON: url(client),
      authenticatorData: url(data),
      signature: url(signature),
      userHandle: url(Buffer.from(userHandle, 'base64')),
    },
  })
}
