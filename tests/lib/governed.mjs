// A server under test that sends mail to us and that we administer.
import { MailServer } from './smtp.mjs'
import { startTarget } from './servers.mjs'
import { call } from './xrpc.mjs'

const PASSWORD = 'a:password with a colon'

/** Starts the target with a mail server of its own. `server.mail` is that server. */
export async function startGoverned({ env = {}, ...options } = {}) {
  const mail = await MailServer.start()
  const server = await startTarget({
    ...options,
    env: {
      UES_MAIL_SMTP_URL: mail.url,
      UES_MAIL_FROM: 'node@example.com',
      UES_ADMIN_PASSWORD: PASSWORD,
      PDS_EMAIL_SMTP_URL: mail.url,
      PDS_EMAIL_FROM_ADDRESS: 'node@example.com',
      PDS_MODERATION_EMAIL_SMTP_URL: mail.url,
      PDS_MODERATION_EMAIL_ADDRESS: 'moderation@example.com',
      PDS_ADMIN_PASSWORD: PASSWORD,
      ...env,
    },
  })
  server.mail = mail
  return server
}

/** Stops it and its mail server. */
export async function stopGoverned(server) {
  server?.mail.close()
  await server?.close()
}

export const ADMIN = `Basic ${Buffer.from(`admin:${PASSWORD}`).toString('base64')}`

/** A call as the administrator; fails unless it is answered 200. */
export async function asAdmin(server, nsid, { params, json } = {}) {
  const answer = await call(server, json ? 'POST' : 'GET', nsid, { params, json, token: ADMIN })
  if (answer.status !== 200) throw new Error(`${nsid}: ${answer.status} ${answer.error} ${answer.message}`)
  return answer.body
}

/** Status and error name of a refused call. */
export const refusal = ({ status, error }) => ({ status, error })
