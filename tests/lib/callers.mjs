// Everybody who may call a method: the same people, with the same rights, on both servers.
import { randomBytes } from 'node:crypto'
import { Secp256k1Keypair } from '@atproto/crypto'
import { createServiceJwt } from '@atproto/xrpc-server'
import * as plc from '@did-plc/lib'
import { PASSWORD, newHandle } from './accounts.mjs'
import { Service, serviceDid } from './appview.mjs'
import { startDns } from './dns.mjs'
import { callAs, grants } from './grants.mjs'
import { newKey } from './oauth.mjs'
import { freePort } from './process.mjs'
import { scratch, startPds, startPlc, startUes } from './servers.mjs'
import { tokenMaker } from './session-keys.mjs'
import { MailServer } from './smtp.mjs'
import { call } from './xrpc.mjs'

const POST = 'app.bsky.feed.post'
const RKEY = '3jzfcijpj2z2a'
const REPORTS_DID = 'did:web:reports.example.com'
const ADMIN_PASSWORD = 'the password of the administrator'

const basic = (name, password) => `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
const ADMIN = basic('admin', ADMIN_PASSWORD)

/** The moderation service that both servers trust: the same DID in both directories. So is any other service. */
export async function moderator(services = {}) {
  const key = await Secp256k1Keypair.create()
  const op = await plc.signOperation(
    {
      type: 'plc_operation',
      verificationMethods: { atproto: key.did(), atproto_label: key.did() },
      rotationKeys: [key.did()],
      alsoKnownAs: ['at://moderation.test'],
      services,
      prev: null,
    },
    key,
  )
  return { did: await plc.didForCreateOp(op), key, op }
}

// Permission sets: what they list, by name.
const POSTS = 'app.bsky.feed.authPosts'
const SEARCH = 'app.bsky.feed.authSearch'
const CHATS = 'chat.bsky.convo.authChats'
const SETS = {
  [POSTS]: [{ resource: 'repo', collection: [POST], action: ['create'] }],
  [SEARCH]: [{ resource: 'rpc', lxm: ['app.bsky.feed.searchPosts'], inheritAud: true }],
  [CHATS]: [{ resource: 'rpc', lxm: ['chat.bsky.convo.listConvos'], inheritAud: true }],
}

/** Publishes the permission sets by an account of a server; gives who that is. */
async function publishSets(server) {
  const side = { server }
  const { did, token } = await newPerson(side)
  for (const [id, permissions] of Object.entries(SETS)) {
    const main = { type: 'permission-set', permissions: permissions.map((one) => ({ type: 'permission', ...one })) }
    const record = { $type: 'com.atproto.lexicon.schema', lexicon: 1, id, defs: { main } }
    const json = { repo: did, collection: record.$type, rkey: id, record, validate: false }
    await tell(side, 'com.atproto.repo.putRecord', { json, token })
  }
  return did
}

/** Our node, which finds permission sets by DNS. */
async function startOurs({ env, ...options }) {
  const dns = await startDns()
  const server = await startUes({ ...options, env: { ...env, UES_IDENTITY_DNS_SERVERS: dns.address, UES_PROXY_ALLOW_PRIVATE_ADDRESSES: 'true' } })
  const did = await publishSets(server)
  for (const name of ['feed.bsky.app', 'convo.bsky.chat']) dns.records.set(`_lexicon.${name}`, [`did=${did}`])
  server.needs = [dns]
  return server
}

/** The official server, which is told at its start who publishes them. */
async function startTheirs({ env }) {
  const [plc, dir, port] = await Promise.all([startPlc(), scratch('pds'), freePort()])
  const first = await startPds({ plc, dir, port })
  const did = await publishSets(first)
  await first.close()
  const server = await startPds({ plc, dir, port, env: { ...env, PDS_LEXICON_AUTHORITY_DID: did } })
  Object.assign(server, { keepData: false, needs: [plc] })
  return server
}

/**
 * Our node and the official server, each with a mail server that keeps what it is sent; both trust one moderation service.
 * Reports are kept by our node, and passed on by the official server to a service, since it keeps none. Ours is the first.
 * `envs` is what each is told besides.
 */
export async function startPair(envs = [{}, {}]) {
  const mails = await Promise.all([MailServer.start(), MailServer.start()])
  const reports = await Service.start()
  reports.answer('com.atproto.moderation.createReport', (request) => ({
    json: { ...JSON.parse(request.body), id: 1, reportedBy: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', createdAt: '2026-01-01T00:00:00.000Z' },
  }))
  const moderation = await moderator()
  const port = await freePort()
  const servers = await Promise.all([
    startOurs({
      port,
      env: {
        UES_PUBLIC_URL: `http://127.0.0.1:${port}`,
        UES_MAIL_SMTP_URL: mails[0].url,
        UES_MAIL_FROM: 'node@example.com',
        UES_ADMIN_PASSWORD: ADMIN_PASSWORD,
        UES_MODERATION_URL: reports.url,
        UES_MODERATION_DID: moderation.did,
        UES_PINS_ROLES: '',
        ...envs[0],
      },
    }),
    startTheirs({
      env: {
        PDS_EMAIL_SMTP_URL: mails[1].url,
        PDS_EMAIL_FROM_ADDRESS: 'node@example.com',
        PDS_MODERATION_EMAIL_SMTP_URL: mails[1].url,
        PDS_MODERATION_EMAIL_ADDRESS: 'node@example.com',
        PDS_ADMIN_PASSWORD: ADMIN_PASSWORD,
        PDS_MOD_SERVICE_URL: reports.url,
        PDS_MOD_SERVICE_DID: moderation.did,
        PDS_REPORT_SERVICE_URL: reports.url,
        PDS_REPORT_SERVICE_DID: REPORTS_DID,
        ...envs[1],
      },
    }),
  ])
  const sides = servers.map(async (server, n) => {
    await new plc.Client(server.plcUrl).sendOperation(moderation.did, moderation.op)
    return { server, mail: mails[n], reports, moderation, did: await didOf(server) }
  })
  return Promise.all(sides)
}

/** Stops what came up of them. */
export async function stopPair(pair) {
  for (const { server, mail } of pair ?? []) {
    mail.close()
    await server.close()
  }
  await pair?.[0].reports.close()
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

/** The accounts, services and keys of one or several methods. */
export async function newCast(side) {
  const { server, did: serverDid } = side
  const [alice, bob, gone, asleep, erased, service, liar, make] = await Promise.all([
    newAuthor(side),
    newAuthor(side),
    newAuthor(side),
    newAuthor(side),
    newAuthor(side),
    serviceDid(server, {}),
    Secp256k1Keypair.create(),
    tokenMaker(server, serverDid),
  ])
  for (const privileged of [false, true]) {
    const json = { name: `privileged ${privileged}`, privileged }
    const { password } = await tell(side, 'com.atproto.server.createAppPassword', { json, token: alice.token })
    const session = await tell(side, 'com.atproto.server.createSession', { json: { identifier: alice.did, password } })
    alice[privileged ? 'privileged' : 'app'] = { token: session.accessJwt, refresh: session.refreshJwt }
  }
  const granted = await grants(server, alice, SCOPES)
  for (const person of [gone, asleep, erased]) person.granted = (await grants(server, person, [GENERIC])).get(GENERIC)

  const subject = { $type: 'com.atproto.admin.defs#repoRef', did: gone.did }
  const takedown = { json: { subject, takedown: { applied: true } }, token: ADMIN }
  await tell(side, 'com.atproto.admin.updateSubjectStatus', takedown)
  const again = { identifier: gone.did, password: gone.password, allowTakendown: true }
  gone.takendown = (await tell(side, 'com.atproto.server.createSession', { json: again })).accessJwt
  await tell(side, 'com.atproto.server.deactivateAccount', { json: {}, token: asleep.token })
  await tell(side, 'com.atproto.admin.deleteAccount', { json: { did: erased.did }, token: ADMIN })

  const serviceToken = (nsid, change = {}) => {
    const params = { iss: service.did, aud: serverDid, lxm: nsid, keypair: service.key, ...change }
    return createServiceJwt(params)
  }
  const ownToken = async (nsid, aud = serverDid) => {
    const options = { params: { aud, lxm: nsid }, token: alice.token }
    return call(server, 'GET', 'com.atproto.server.getServiceAuth', options)
  }
  return { side, alice, bob, gone, asleep, erased, make, liar, serviceToken, ownToken, granted }
}

const past = () => Math.floor(Date.now() / 1000) - 3600
const anyKey = randomBytes(32)

// A caller says for a cast and a method whom the call is about, which token it carries, and how it is sent if not by `call`.
const about = (target, token) => ({ target, token })
const alices = (token) => async (cast, nsid) => about(cast.alice, await token(cast, nsid))

const sessions = {
  nobody: alices(() => undefined),
  'a token that is none': alices(() => 'nonsense'),
  'a token of three parts that is none': alices(() => 'a.b.c'),
  'an unknown scheme': alices(() => 'Digest nonsense'),
  'a header of three parts': alices(({ alice }) => `Bearer ${alice.token} more`),
  "another user's session": alices(({ bob }) => bob.token),
  'an app password': alices(({ alice }) => alice.app.token),
  'a privileged app password': alices(({ alice }) => alice.privileged.token),
  'the refresh token of an app password': alices(({ alice }) => alice.app.refresh),
  "the owner's refresh token": alices(({ alice }) => alice.refresh),
  'the owner, expired': alices(({ alice, make }) => make(alice.did, { seconds: -10 })),
  'the owner, expired refresh token': alices(({ alice, make }) => make(alice.did, { typ: 'refresh+jwt', seconds: -10 })),
  'a refresh token that nobody knows': alices(({ alice, make }) => make(alice.did, { typ: 'refresh+jwt' })),
  'the owner, signed by another key': alices(({ alice, make }) => make(alice.did, { key: anyKey })),
  'the owner, for another server': alices(({ alice, make }) => make(alice.did, { aud: 'did:web:elsewhere.example.com' })),
  'the owner, without a scope': alices(({ alice, make }) => make(alice.did, { scope: undefined })),
  'the owner, of an unknown scope': alices(({ alice, make }) => make(alice.did, { scope: 'com.example.all' })),
  'the owner, still in the queue': alices(({ alice, make }) => make(alice.did, { scope: 'com.atproto.signupQueued' })),
  'an access token that says it is for a method': alices(({ alice, make }, nsid) => make(alice.did, { lxm: nsid })),
  'an access token that is bound to a key': alices(({ alice, make }) => make(alice.did, { cnf: { jkt: 'x' } })),
  'a session of an account that was never here': alices(({ make }) => make('did:plc:aaaaaaaaaaaaaaaaaaaaaaaa')),
  'an account that was taken down': ({ gone }) => about(gone, gone.token),
  'an account that was taken down, refresh token': ({ gone }) => about(gone, gone.refresh),
  'an account that was taken down, signed in since': ({ gone }) => about(gone, gone.takendown),
  'a deactivated account': ({ asleep }) => about(asleep, asleep.token),
  'a deactivated account, refresh token': ({ asleep }) => about(asleep, asleep.refresh),
  'a deleted account': ({ erased }) => about(erased, erased.token),
  'a deleted account, refresh token': ({ erased }) => about(erased, erased.refresh),
  'nobody, about an account that was taken down': ({ gone }) => about(gone),
  'nobody, about a deactivated account': ({ asleep }) => about(asleep),
  'nobody, about a deleted account': ({ erased }) => about(erased),
}

const services = {
  'a service': alices(({ serviceToken }, nsid) => serviceToken(nsid)),
  'a service, for another server': alices(({ serviceToken }, nsid) => serviceToken(nsid, { aud: 'did:web:elsewhere.example.com' })),
  'a service, for another method': alices(({ serviceToken }) => serviceToken('com.example.other')),
  'a service, for no method': alices(({ serviceToken }) => serviceToken(null)),
  'a service, expired': alices(({ serviceToken }, nsid) => serviceToken(nsid, { iat: past(), exp: past() + 60 })),
  'a service, signed by another key': alices(({ serviceToken, liar }, nsid) => serviceToken(nsid, { keypair: liar })),
  'a service that nobody knows': alices(({ serviceToken }, nsid) => serviceToken(nsid, { iss: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' })),
  'somebody who says to be the owner': alices(({ serviceToken, alice }, nsid) => serviceToken(nsid, { iss: alice.did })),
  'the moderation service, for another method': alices(({ serviceToken, side }) => serviceToken('com.example.other', by(side))),
  'the moderation service, for another server': alices(({ serviceToken, side }, nsid) =>
    serviceToken(nsid, { ...by(side), aud: 'did:web:elsewhere.example.com' }),
  ),
  'somebody who says to be the moderation service': alices(({ serviceToken, side, liar }, nsid) =>
    serviceToken(nsid, { ...by(side), keypair: liar }),
  ),
  'a service token of the owner': async (cast, nsid) => owned(cast, await cast.ownToken(nsid)),
  'a service token of the owner, for another server': async (cast, nsid) =>
    owned(cast, await cast.ownToken(nsid, 'did:web:elsewhere.example.com')),
}
const by = ({ moderation }) => ({ iss: moderation.did, keypair: moderation.key })

/** A token that the server did not give is the outcome itself. */
const owned = ({ alice }, answer) =>
  answer.status === 200 ? about(alice, answer.body.token) : { target: alice, send: () => answer }

const SCOPES = [
  'atproto',
  'atproto transition:generic',
  'atproto transition:email',
  'atproto transition:generic transition:chat.bsky',
  'atproto repo:*',
  'atproto repo:app.bsky.feed.post?action=create',
  'atproto repo:app.bsky.feed.like',
  'atproto blob:*/*',
  'atproto blob:image/*',
  'atproto rpc:app.bsky.feed.getTimeline?aud=*',
  'atproto rpc:*?aud=did:web:api.example.com%23bsky_appview',
  'atproto rpc:com.atproto.moderation.createReport?aud=*',
  'atproto account:email',
  'atproto account:email?action=manage',
  'atproto account:repo?action=manage',
  'atproto account:status?action=manage',
  'atproto identity:handle',
  'atproto identity:*',
  // several together
  'atproto transition:chat.bsky',
  'atproto transition:generic transition:email',
  'atproto transition:generic repo:app.bsky.feed.like',
  'atproto repo:app.bsky.feed.like repo:app.bsky.feed.post?action=create',
  'atproto repo:app.bsky.feed.post?action=create blob:image/*',
  'atproto repo:app.bsky.feed.post?action=create&action=delete',
  'atproto account:email identity:handle',
  'atproto account:status?action=manage account:repo?action=manage',
  'atproto rpc:app.bsky.feed.searchPosts?aud=* transition:chat.bsky',
  'atproto rpc:app.bsky.actor.getPreferences?aud=* rpc:app.bsky.actor.putPreferences?aud=*',
  'atproto rpc:chat.bsky.convo.listConvos?aud=*',
  'atproto rpc:*?aud=did:web:appview.example.com%23bsky_appview',
  // permission sets
  `atproto include:${POSTS}`,
  `atproto include:${SEARCH}?aud=did:web:appview.example.com%23bsky_appview`,
  `atproto include:${SEARCH}?aud=did:web:elsewhere.example.com%23bsky_appview`,
  `atproto include:${POSTS} blob:image/*`,
  `atproto include:${CHATS}?aud=did:web:appview.example.com%23bsky_appview`,
]
const granting = (send) => async (cast) => ({ target: cast.alice, send: await send(cast) })
const GENERIC = 'atproto transition:generic'
const applications = {
  ...Object.fromEntries(SCOPES.map((scope) => [`OAuth ${scope}`, granting(({ granted }) => callAs(granted.get(scope)))])),
  'OAuth, of an account that was taken down': ({ gone }) => ({ target: gone, send: callAs(gone.granted) }),
  'OAuth, of a deactivated account': ({ asleep }) => ({ target: asleep, send: callAs(asleep.granted) }),
  'OAuth, of a deleted account': ({ erased }) => ({ target: erased, send: callAs(erased.granted) }),
  'OAuth, proof of another key': granting(async ({ granted }) => callAs(granted.get(GENERIC), { key: await newKey() })),
  'OAuth, proof for another method': granting(({ granted }) => callAs(granted.get(GENERIC), { change: { htm: 'PUT' } })),
  'OAuth, token as bearer': alices(({ granted }) => granted.get(GENERIC).token),
  'OAuth, no proof': alices(({ granted }) => `DPoP ${granted.get(GENERIC).token}`),
  'OAuth, session token with a proof': granting(({ granted, alice }) =>
    callAs({ client: granted.get(GENERIC).client, token: alice.token }),
  ),
}

// Last those who may do most, since what they do may end the account.
export const callers = {
  ...sessions,
  ...services,
  ...applications,
  'the owner': alices(({ alice }) => alice.token),
  'the administrator, wrong password': alices(() => basic('admin', 'wrong')),
  'the administrator, wrong name': alices(() => basic('root', ADMIN_PASSWORD)),
  'the administrator, no name': alices(() => `Basic ${Buffer.from(ADMIN_PASSWORD).toString('base64')}`),
  'the moderation service': alices(({ serviceToken, side }, nsid) => serviceToken(nsid, by(side))),
  "the moderation service's labeler": alices(({ serviceToken, side }, nsid) =>
    serviceToken(nsid, { ...by(side), iss: `${side.moderation.did}#atproto_labeler` }),
  ),
  'the administrator': alices(() => ADMIN),
}

// Methods that the bearer of an account's token does not open.
const ADMINISTRATIVE = /^com\.atproto\.(admin\.|server\.createInviteCode)/
const OPEN =
  /^com\.atproto\.(server\.(createAccount|createSession|deleteAccount|describeServer|requestPasswordReset|reserveSigningKey|resetPassword)|identity\.resolve.*|repo\.(getRecord|listRecords|describeRepo)|sync\..*)$/
const REFRESHING = /^com\.atproto\.server\.(refreshSession|deleteSession)$/

/** The token by which an account, or whoever administers, may call a method. */
export function authorised(nsid, account) {
  if (ADMINISTRATIVE.test(nsid)) return ADMIN
  if (OPEN.test(nsid)) return undefined
  return REFRESHING.test(nsid) ? account.refresh : account.token
}
