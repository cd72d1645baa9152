// Methods that want a code from a letter: the right one, one that was used, another account's, one for something else; on our
// node and on the official server. Status and error name must be the same.
import { after, before, describe, it } from 'node:test'
import { newAuthor, startPair, stopPair } from '../lib/callers.mjs'
import { assertSame } from '../lib/matrix.mjs'
import { newHandle } from '../lib/accounts.mjs'
import { call } from '../lib/xrpc.mjs'

const SERVER = 'com.atproto.server'
const IDENTITY = 'com.atproto.identity'

let pair
before(async () => {
  pair = await startPair()
})
after(() => stopPair(pair))

/** One account on one server, who asks for codes and uses them; keeps every outcome. */
class Person {
  outcomes = new Map()

  constructor(side, account, other) {
    Object.assign(this, { side, account, other })
  }

  static async on(side) {
    return new Person(side, await newAuthor(side), await newAuthor(side))
  }

  async post(name, nsid, json, token = this.account.token) {
    const answer = await call(this.side.server, 'POST', nsid, { json, token })
    this.outcomes.set(name, answer)
    return answer.body
  }

  /** Asks for a letter and reads the code in it. */
  async code(nsid, json, account = this.account) {
    await this.post(`a letter by ${nsid.split('.').pop()}`, nsid, json, account.token)
    return this.side.mail.token(account.email)
  }
}

const steps = {
  [`${SERVER}.confirmEmail`]: async (me) => {
    const nsid = `${SERVER}.confirmEmail`
    const { email } = me.account
    const reset = await me.code(`${SERVER}.requestPasswordReset`, { email })
    const others = await me.code(`${SERVER}.requestEmailConfirmation`, undefined, me.other)
    const token = await me.code(`${SERVER}.requestEmailConfirmation`)
    await me.post('a code for something else', nsid, { email, token: reset })
    await me.post("another account's code", nsid, { email, token: others })
    await me.post('another address', nsid, { email: me.other.email, token })
    await me.post('in small letters', nsid, { email, token: token.toLowerCase() })
    await me.post('the code again', nsid, { email, token })
    await me.post('confirmed already', `${SERVER}.requestEmailConfirmation`)
  },
  [`${SERVER}.updateEmail`]: async (me) => {
    const nsid = `${SERVER}.updateEmail`
    const confirm = await me.code(`${SERVER}.requestEmailConfirmation`)
    await me.post('confirmed', `${SERVER}.confirmEmail`, { email: me.account.email, token: confirm })
    const token = await me.code(`${SERVER}.requestEmailUpdate`)
    const email = `${newHandle().split('.')[0]}@example.com`
    await me.post('without a code', nsid, { email })
    await me.post('a wrong code', nsid, { email, token: 'AAAAA-AAAAA' })
    await me.post('a code for something else', nsid, { email, token: confirm })
    await me.post('no address', nsid, { email: 'nonsense', token })
    await me.post('an address that is taken', nsid, { email: me.other.email, token })
    await me.post('the code', nsid, { email, token: await me.code(`${SERVER}.requestEmailUpdate`) })
    await me.post('the code again', nsid, { email, token })
  },
  [`${SERVER}.resetPassword`]: async (me) => {
    const nsid = `${SERVER}.resetPassword`
    const { email } = me.account
    const other = await me.code(`${SERVER}.requestEmailConfirmation`)
    const first = await me.code(`${SERVER}.requestPasswordReset`, { email })
    const token = await me.code(`${SERVER}.requestPasswordReset`, { email })
    await me.post('a code for something else', nsid, { token: other, password: 'another password' })
    await me.post('a code that another followed', nsid, { token: first, password: 'another password' })
    await me.post('a password that is too long', nsid, { token, password: 'a'.repeat(257) })
    await me.post('the code', nsid, { token, password: 'another password' })
    await me.post('the code again', nsid, { token, password: 'another password' })
    const identifier = me.account.did
    await me.post('the old password', `${SERVER}.createSession`, { identifier, password: me.account.password })
    await me.post('the new password', `${SERVER}.createSession`, { identifier, password: 'another password' })
    await me.post('the old session', `${SERVER}.refreshSession`, undefined, me.account.refresh)
  },
  [`${IDENTITY}.signPlcOperation`]: async (me) => {
    const nsid = `${IDENTITY}.signPlcOperation`
    const other = await me.code(`${SERVER}.requestEmailConfirmation`)
    const others = await me.code(`${IDENTITY}.requestPlcOperationSignature`, undefined, me.other)
    const token = await me.code(`${IDENTITY}.requestPlcOperationSignature`)
    await me.post('without a code', nsid, {})
    await me.post('a code for something else', nsid, { token: other })
    await me.post("another account's code", nsid, { token: others })
    const handle = newHandle()
    const { operation } = await me.post('the code', nsid, { token, alsoKnownAs: [`at://${me.account.handle}`, `at://${handle}`] })
    await me.post('the code again', nsid, { token })
    const submit = `${IDENTITY}.submitPlcOperation`
    const change = (part) => ({ operation: { ...operation, ...part } })
    await me.post('no rotation key of the server', submit, change({ rotationKeys: [] }))
    await me.post('no service', submit, change({ services: {} }))
    await me.post('another signing key', submit, change({ verificationMethods: { atproto: 'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme' } }))
    await me.post('another handle first', submit, change({ alsoKnownAs: [`at://${handle}`] }))
    await me.post('a signature of somebody else', submit, change({ sig: 'A'.repeat(86) }))
    await me.post("another account's operation", submit, { operation }, me.other.token)
    await me.post('the operation', submit, { operation })
  },
  [`${SERVER}.deleteAccount`]: async (me) => {
    const nsid = `${SERVER}.deleteAccount`
    const { did, password } = me.account
    const other = await me.code(`${SERVER}.requestEmailConfirmation`)
    const others = await me.code(`${SERVER}.requestAccountDelete`, undefined, me.other)
    const token = await me.code(`${SERVER}.requestAccountDelete`)
    await me.post('a code for something else', nsid, { did, password, token: other })
    await me.post("another account's code", nsid, { did, password, token: others })
    await me.post('a wrong password', nsid, { did, password: 'wrong', token })
    await me.post('a password that is too long', nsid, { did, password: 'a'.repeat(600), token })
    await me.post('an account that is not there', nsid, { did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', password, token })
    await me.post('the code', nsid, { did, password, token })
    await me.post('the code again', nsid, { did, password, token })
    await me.post('signing in since', `${SERVER}.createSession`, { identifier: did, password })
  },
}

describe('methods and codes from letters', { concurrency: 3 }, () => {
  for (const [nsid, walk] of Object.entries(steps)) {
    it(nsid, async () => {
      const people = await Promise.all(pair.map(Person.on))
      await Promise.all(people.map(walk))
      const cells = [...people[0].outcomes].map(([name, ours]) => ({ name, ours, theirs: people[1].outcomes.get(name) }))
      assertSame(nsid, cells, [])
    })
  }
})
