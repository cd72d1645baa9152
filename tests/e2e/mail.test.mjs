// E-mail addresses, forgotten passwords, and the letters that carry the codes.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { PASSWORD, newAccount } from '../lib/accounts.mjs'
import { authenticator, stepNow } from '../lib/authenticator.mjs'
import { ues, uesOk } from '../lib/cli.mjs'
import { refusal, startGoverned, stopGoverned } from '../lib/governed.mjs'
import { TARGET, dataOf, startUes } from '../lib/servers.mjs'
import { call, procedure, query } from '../lib/xrpc.mjs'

const SERVER = 'com.atproto.server'
const INVALID_TOKEN = { status: 400, error: 'InvalidToken' }
const addressOf = (account) => `${account.handle.split('.')[0]}@example.com`

let server
before(async () => {
  server = await startGoverned()
})
after(() => stopGoverned(server))

const session = async (account) => (await query(server, `${SERVER}.getSession`, {}, { token: account.token })).body

/** An account whose address is confirmed. */
async function confirmed() {
  const account = await newAccount(server)
  await account.agent.com.atproto.server.requestEmailConfirmation()
  const token = await server.mail.token(addressOf(account))
  await account.agent.com.atproto.server.confirmEmail({ email: addressOf(account), token })
  return account
}

describe('an e-mail address', () => {
  it('is confirmed by the code in a letter, once', async () => {
    const account = await newAccount(server)
    const email = addressOf(account)
    assert.equal((await session(account)).emailConfirmed, false)
    await account.agent.com.atproto.server.requestEmailConfirmation()
    const token = await server.mail.token(email)
    const confirm = (input) => procedure(server, `${SERVER}.confirmEmail`, { email, token, ...input }, { token: account.token })
    assert.deepEqual(refusal(await confirm({ email: 'other@example.com' })), { status: 400, error: 'InvalidEmail' })
    assert.deepEqual(refusal(await confirm({ token: 'AAAAA-AAAAA' })), INVALID_TOKEN)
    assert.equal((await confirm({ token: token.toLowerCase() })).status, 200)
    assert.equal((await session(account)).emailConfirmed, true)
    assert.deepEqual(refusal(await confirm()), INVALID_TOKEN)
  })

  it('changes freely until it is confirmed', async () => {
    const account = await newAccount(server)
    const { data } = await account.agent.com.atproto.server.requestEmailUpdate()
    assert.equal(data.tokenRequired, false)
    await account.agent.com.atproto.server.updateEmail({ email: `New-${addressOf(account)}` })
    assert.equal((await session(account)).email, `new-${addressOf(account)}`)
  })

  it('changes by a code to the old one afterwards', async () => {
    const account = await confirmed()
    const email = `next-${addressOf(account)}`
    const update = (input) => procedure(server, `${SERVER}.updateEmail`, { email, ...input }, { token: account.token })
    assert.deepEqual(refusal(await update()), { status: 400, error: 'TokenRequired' })
    const { data } = await account.agent.com.atproto.server.requestEmailUpdate()
    assert.equal(data.tokenRequired, true)
    const token = await server.mail.token(addressOf(account))
    assert.deepEqual(refusal(await update({ token: 'AAAAA-AAAAA' })), INVALID_TOKEN)
    assert.equal((await update({ token })).status, 200)
    const now = await session(account)
    assert.deepEqual([now.email, now.emailConfirmed], [email, false])
  })

  it('belongs to one account', async () => {
    const [a, b] = [await newAccount(server), await newAccount(server)]
    const taken = await procedure(server, `${SERVER}.updateEmail`, { email: addressOf(a) }, { token: b.token })
    assert.deepEqual(refusal(taken), { status: 400, error: 'InvalidRequest' })
    const bad = await procedure(server, `${SERVER}.updateEmail`, { email: 'no address' }, { token: b.token })
    assert.deepEqual(refusal(bad), { status: 400, error: 'InvalidRequest' })
  })
})

describe('a forgotten password', () => {
  it('is replaced by the code in a letter, once, and all sessions end', async () => {
    const account = await newAccount(server)
    const email = addressOf(account)
    const { refreshJwt } = account.agent.session
    const asked = await procedure(server, `${SERVER}.requestPasswordReset`, { email: email.toUpperCase() })
    assert.equal(asked.status, 200)
    const token = await server.mail.token(email)
    const reset = (input) => procedure(server, `${SERVER}.resetPassword`, { token, password: 'another one', ...input })
    assert.deepEqual(refusal(await reset({ token: 'AAAAA-AAAAA' })), INVALID_TOKEN)
    assert.deepEqual(refusal(await reset({ password: 'x'.repeat(300) })), { status: 400, error: 'InvalidRequest' })
    assert.equal((await reset()).status, 200)
    assert.deepEqual(refusal(await reset({ password: 'a third' })), INVALID_TOKEN)
    const agent = new AtpAgent({ service: server.url })
    await assert.rejects(agent.login({ identifier: account.did, password: PASSWORD }), { status: 401 })
    await agent.login({ identifier: account.did, password: 'another one' })
    const refresh = await call(server, 'POST', `${SERVER}.refreshSession`, { token: refreshJwt })
    assert.deepEqual(refusal(refresh), { status: 400, error: 'ExpiredToken' })
  })

  it('tells nobody whether there is such an account', { skip: TARGET === 'pds' && 'the official server tells' }, async () => {
    const answer = await procedure(server, `${SERVER}.requestPasswordReset`, { email: 'nobody@example.com' })
    assert.equal(answer.status, 200)
  })
})

describe('codes at sign-in', { skip: TARGET === 'pds' && 'only its operator’s own front has them' }, () => {
  it('are asked for once they are wished for, and not of programs', async () => {
    const account = await confirmed()
    const email = addressOf(account)
    const program = (await account.agent.com.atproto.server.createAppPassword({ name: 'p' })).data.password
    await account.agent.com.atproto.server.requestEmailUpdate()
    const wish = await server.mail.token(email)
    await account.agent.com.atproto.server.updateEmail({ email, emailAuthFactor: true, token: wish })
    const now = await session(account)
    assert.deepEqual([now.emailAuthFactor, now.emailConfirmed], [true, true])

    const sign = (input) => procedure(server, `${SERVER}.createSession`, { identifier: email, password: PASSWORD, ...input })
    assert.deepEqual(refusal(await sign()), { status: 401, error: 'AuthFactorTokenRequired' })
    const authFactorToken = await server.mail.token(email)
    assert.deepEqual(refusal(await sign({ authFactorToken: 'AAAAA-AAAAA' })), INVALID_TOKEN)
    assert.equal((await sign({ authFactorToken })).status, 200)
    assert.deepEqual(refusal(await sign({ authFactorToken })), INVALID_TOKEN)
    assert.equal((await sign({ password: 'wrong' })).status, 401)
    assert.equal((await sign({ password: program })).status, 200)
  })
})

describe('an authenticator', { skip: TARGET === 'pds' && 'only our node knows them' }, () => {
  it('is asked for once its first code was shown', async () => {
    const data = dataOf(server)
    const { handle } = await newAccount(server)
    const { secret, uri } = JSON.parse(await uesOk(data, ['account', 'totp', handle, '--json']))
    assert.match(uri, /^otpauth:\/\/totp\//)
    const sign = (authFactorToken) => procedure(server, `${SERVER}.createSession`, { identifier: handle, password: PASSWORD, authFactorToken })
    assert.equal((await sign()).status, 200, 'not confirmed yet')
    assert.notEqual((await ues(data, ['account', 'totp', handle, '--code', '000000'])).code, 0)
    const step = stepNow()
    const { recoveryCodes } = JSON.parse(await uesOk(data, ['account', 'totp', handle, '--code', authenticator(secret, step), '--json']))
    assert.equal(new Set(recoveryCodes).size, 10)
    assert.notEqual((await ues(data, ['account', 'totp', handle])).code, 0, 'it is on, and not replaced unasked')
    assert.deepEqual(refusal(await sign()), { status: 401, error: 'AuthFactorTokenRequired' })
    assert.deepEqual(refusal(await sign(authenticator(secret, step))), INVALID_TOKEN, 'it was used')
    assert.equal((await sign(authenticator(secret, step + 1))).status, 200)
    assert.equal((await sign(recoveryCodes[0])).status, 200)
    assert.deepEqual(refusal(await sign(recoveryCodes[0])), INVALID_TOKEN, 'it was used')
    const renewed = JSON.parse(await uesOk(data, ['account', 'totp', handle, '--recovery', '--json'])).recoveryCodes
    assert.deepEqual(refusal(await sign(recoveryCodes[1])), INVALID_TOKEN, 'the old ones are void')
    assert.equal((await sign(renewed[1].replace('-', ' ').toUpperCase())).status, 200)
    await uesOk(data, ['account', 'totp', handle, '--off'])
    assert.equal((await sign()).status, 200)
    assert.notEqual((await ues(data, ['account', 'totp', handle, '--recovery'])).code, 0, 'there is nothing to recover')
  })
})

describe('without a mail server', { skip: TARGET === 'pds' && 'it only logs its letters' }, () => {
  it('letters wait where the operator reads them', async () => {
    const node = await startUes()
    try {
      const account = await newAccount(node)
      await account.agent.com.atproto.server.requestEmailConfirmation()
      const [mail] = JSON.parse(await uesOk(dataOf(node), ['mail', 'ls', '--json']))
      assert.equal(mail.to, addressOf(account))
      const { text } = JSON.parse(await uesOk(dataOf(node), ['mail', 'show', String(mail.id), '--json']))
      const token = /[A-Z2-7]{5}-[A-Z2-7]{5}/.exec(text)[0]
      await account.agent.com.atproto.server.confirmEmail({ email: mail.to, token })
    } finally {
      await node.close()
    }
  })
})
