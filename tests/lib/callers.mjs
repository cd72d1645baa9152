// Everybody who may call a method: the same people, with the same rights, on both servers.
import { AtpAgent } from '@atproto/api'
import { PASSWORD, newHandle } from './accounts.mjs'
import { MailServer } from './smtp.mjs'
import { startPds, startUes } from './servers.mjs'
import { call } from './xrpc.mjs'

const POST = 'app.bsky.feed.post'
const RKEY = '3jzfcijpj2z2a'
const ADMIN_PASSWORD = 'the password of the administrator'

const basic = (name, password) => `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
const ADMIN = basic('admin', ADMIN_PASSWORD)

/** Our node and the official server, each with a mail server that keeps what it is sent. Ours is the first. */
export async function startPair() {
  const mails = await Promise.all([MailServer.start(), MailServer.start()])
  const servers = await Promise.all([
    startUes({
      env: {
        UES_MAIL_SMTP_URL: mails[0].url,
        UES_MAIL_FROM: 'node@example.com',
        UES_ADMIN_PASSWORD: ADMIN_PASSWORD,
        UES_PINS_ROLES: '',
      },
    }),
    startPds({
      env: {
        PDS_EMAIL_SMTP_URL: mails[1].url,
        PDS_EMAIL_FROM_ADDRESS: 'node@example.com',
        PDS_MODERATION_EMAIL_SMTP_URL: mails[1].url,
        PDS_MODERATION_EMAIL_ADDRESS: 'node@example.com',
        PDS_ADMIN_PASSWORD: ADMIN_PASSWORD,
      },
    }),
  ])
  return Promise.all(servers.map(async (server, n) => ({ server, mail: mails[n], did: await didOf(server) })))
}

/** Stops what came up of them. */
export async function stopPair(pair) {
  for (const { server, mail } of pair ?? []) {
    mail.close()
    await server.close()
  }
}

const didOf = async (server) => ok(await call(server, 'GET', 'com.atproto.server.describeServer')).did

function ok(answer) {
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.error}: ${answer.message}`)
  return answer.body
}

const ask = async (side, nsid, options) => ok(await call(side.server, 'GET', nsid, options))
const tell = async (side, nsid, options) => ok(await call(side.server, 'POST', nsid, options))

/** A fresh account with nothing in it. */
export async function newPerson(side) {
  const handle = newHandle()
  const email = `${handle.split('.')[0]}@example.com`
  const made = await tell(side, 'com.atproto.server.createAccount', { json: { handle, email, password: PASSWORD } })
  return { did: made.did, handle, email, password: PASSWORD, token: made.accessJwt, refresh: made.refreshJwt }
}

/** A fresh account with a record and a blob. */
export async function newAuthor(side) {
  const person = await newPerson(side)
  const { token, did } = person
  const { blob } = await tell(side, 'com.atproto.repo.uploadBlob', { raw: 'a picture', type: 'image/png', token })
  const record = {
    $type: POST,
    text: 'hello',
    createdAt: '2026-01-01T00:00:00.000Z',
    embed: { $type: 'app.bsky.embed.images', images: [{ alt: '', image: blob }] },
  }
  await tell(side, 'com.atproto.repo.createRecord', { json: { repo: did, collection: POST, rkey: RKEY, record }, token })
  const car = await ask(side, 'com.atproto.sync.getRepo', { params: { did } })
  const { cid } = await ask(side, 'com.atproto.sync.getLatestCommit', { params: { did } })
  return { ...person, rkey: RKEY, blob: blob.ref.$link, head: cid, car }
}

/** The people of one or several methods. */
export async function newCast(side) {
  const [alice, bob] = await Promise.all(Array.from({ length: 2 }, () => newAuthor(side)))
  return { alice, bob }
}

// A caller is a function of side and cast that says whom the call is about and what it carries.
export const callers = {
  nobody: ({ alice }) => [alice, {}],
  'a token that is none': ({ alice }) => [alice, { token: 'nonsense' }],
  owner: ({ alice }) => [alice, { token: alice.token }],
  "owner's refresh token": ({ alice }) => [alice, { token: alice.refresh }],
  'another user': ({ alice, bob }) => [alice, { token: bob.token }],
  administrator: ({ alice }) => [alice, { token: ADMIN }],
  'administrator, wrong password': ({ alice }) => [alice, { token: basic('admin', 'wrong') }],
}
