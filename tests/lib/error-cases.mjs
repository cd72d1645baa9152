// Calls that a client may get wrong, one row each: what is asked, with whose token, and with what.
// A row is [name, method, nsid or path, (context) => options]; the same rows go to both servers.

const POST = 'app.bsky.feed.post'
const post = (text = 'hello') => ({ $type: POST, text, createdAt: '2026-01-01T00:00:00.000Z' })
const FOREIGN_CID = 'bafyreihxrxqzm2kxk2jz4hvq6hfxnnwmzpy5fm3mvnmc4zrlh4g6vyrvla'
const RAW_CID = 'bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy'
const NO_DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const LONG = 'a'.repeat(600)

// Record keys: posts are named by TIDs.
const KEY = { post: '3jzfcijpj2z2a', absent: '3jzfcijpj2z22', first: '3jzfcijpj2z23', twice: '3jzfcijpj2z24', gone: '3jzfcijpj2z25' }

const get = (name, nsid, params, options = {}) => [name, 'GET', nsid, (c) => ({ params: value(params, c), ...value(options, c) })]
const send = (name, nsid, json, as = 'alice', options = {}) => [
  name,
  'POST',
  nsid,
  (c) => ({ json: value(json, c), token: as ? c[as].token : undefined, ...value(options, c) }),
]
const value = (maybe, context) => (typeof maybe === 'function' ? maybe(context) : maybe)

const server = [
  get('describeServer', 'com.atproto.server.describeServer', {}),
  send('describeServer as procedure', 'com.atproto.server.describeServer', {}),
  get('getSession without token', 'com.atproto.server.getSession', {}),
  get('getSession', 'com.atproto.server.getSession', {}, (c) => ({ token: c.alice.token })),
  get('getSession with refresh token', 'com.atproto.server.getSession', {}, (c) => ({ token: c.alice.refresh })),
  get('getSession with garbage', 'com.atproto.server.getSession', {}, { token: 'garbage' }),
  get('getSession with unsigned token', 'com.atproto.server.getSession', {}, (c) => ({
    token: c.alice.token.split('.').slice(0, 2).join('.') + '.AAAA',
  })),
  get('getSession with Basic', 'com.atproto.server.getSession', {}, { token: 'Basic YTpi' }),
  get('getSession with empty bearer', 'com.atproto.server.getSession', {}, { token: 'Bearer ' }),
  get('getSession with unknown scheme', 'com.atproto.server.getSession', {}, { token: 'Digest abc' }),
  send('createSession without password', 'com.atproto.server.createSession', { identifier: 'alice.test' }, null),
  send('createSession wrong password', 'com.atproto.server.createSession', { identifier: 'alice.test', password: 'no' }, null),
  send('createSession unknown handle', 'com.atproto.server.createSession', { identifier: 'nobody.test', password: 'no' }, null),
  send('createSession empty identifier', 'com.atproto.server.createSession', { identifier: '', password: 'no' }, null),
  send('createSession number', 'com.atproto.server.createSession', { identifier: 5, password: 'no' }, null),
  send('createSession by e-mail', 'com.atproto.server.createSession', (c) => ({ identifier: c.alice.email, password: c.alice.password }), null),
  send('createSession by DID', 'com.atproto.server.createSession', (c) => ({ identifier: c.alice.did, password: c.alice.password }), null),
  send('createSession in capitals', 'com.atproto.server.createSession', (c) => ({ identifier: c.alice.handle.toUpperCase(), password: c.alice.password }), null),
  ['createSession without body', 'POST', 'com.atproto.server.createSession', () => ({})],
  ['createSession broken JSON', 'POST', 'com.atproto.server.createSession', () => ({ raw: '{"identifier":', type: 'application/json' })],
  ['createSession JSON array', 'POST', 'com.atproto.server.createSession', () => ({ raw: '[]', type: 'application/json' })],
  ['createSession JSON null', 'POST', 'com.atproto.server.createSession', () => ({ raw: 'null', type: 'application/json' })],
  ['createSession as text', 'POST', 'com.atproto.server.createSession', () => ({ raw: 'hello', type: 'text/plain' })],
  ['createSession without type', 'POST', 'com.atproto.server.createSession', () => ({ raw: new TextEncoder().encode('{}') })],
  get('createSession as query', 'com.atproto.server.createSession', {}),
  send('refreshSession with access token', 'com.atproto.server.refreshSession', undefined),
  send('refreshSession without token', 'com.atproto.server.refreshSession', undefined, null),
  send('refreshSession garbage', 'com.atproto.server.refreshSession', undefined, null, { token: 'x.y.z' }),
  send('deleteSession with access token', 'com.atproto.server.deleteSession', undefined),
  send('deleteSession without token', 'com.atproto.server.deleteSession', undefined, null),
  ...[
    ['taken handle', { handle: 'alice.test', email: 'n1@example.com', password: 'password1' }],
    ['taken e-mail', (c) => ({ handle: 'new1.test', email: c.alice.email, password: 'password1' })],
    ['no handle', { email: 'n2@example.com', password: 'password1' }],
    ['handle with space', { handle: 'a b.test', email: 'n3@example.com', password: 'password1' }],
    ['handle with underscore', { handle: 'a_b.test', email: 'n4@example.com', password: 'password1' }],
    ['handle without dot', { handle: 'alice', email: 'n5@example.com', password: 'password1' }],
    ['handle of one letter', { handle: 'a.test', email: 'n6@example.com', password: 'password1' }],
    ['handle of two letters', { handle: 'ab.test', email: 'n7@example.com', password: 'password1' }],
    ['handle too long', { handle: `${'a'.repeat(30)}.test`, email: 'n8@example.com', password: 'password1' }],
    ['handle with two labels', { handle: 'a.long.test', email: 'n9@example.com', password: 'password1' }],
    ['handle of another domain', { handle: 'someone.example.com', email: 'n10@example.com', password: 'password1' }],
    ['handle of a forbidden top level', { handle: 'someone.invalid', email: 'n11@example.com', password: 'password1' }],
    ['reserved handle', { handle: 'admin.test', email: 'n12@example.com', password: 'password1' }],
    ['no e-mail', { handle: 'new2.test', password: 'password1' }],
    ['e-mail without at', { handle: 'new3.test', email: 'nope', password: 'password1' }],
    ['no password', { handle: 'new4.test', email: 'n13@example.com' }],
    ['unknown did', { handle: 'new5.test', email: 'n14@example.com', password: 'password1', did: NO_DID }],
    ['bad did', { handle: 'new6.test', email: 'n15@example.com', password: 'password1', did: 'nonsense' }],
    ['number as handle', { handle: 7, email: 'n16@example.com', password: 'password1' }],
    ['password too long', { handle: 'new7.test', email: 'n17@example.com', password: 'p'.repeat(300) }],
  ].map(([name, json]) => send(`createAccount: ${name}`, 'com.atproto.server.createAccount', json, null)),
]

const identity = [
  get('resolveHandle', 'com.atproto.identity.resolveHandle', { handle: 'alice.test' }),
  get('resolveHandle in capitals', 'com.atproto.identity.resolveHandle', { handle: 'ALICE.test' }),
  get('resolveHandle unknown', 'com.atproto.identity.resolveHandle', { handle: 'nobody.test' }),
  get('resolveHandle missing', 'com.atproto.identity.resolveHandle', {}),
  get('resolveHandle invalid', 'com.atproto.identity.resolveHandle', { handle: 'no spaces' }),
  get('resolveHandle a did', 'com.atproto.identity.resolveHandle', { handle: NO_DID }),
  get('resolveHandle twice', 'com.atproto.identity.resolveHandle', { handle: ['alice.test', 'bob.test'] }),
  send('updateHandle without token', 'com.atproto.identity.updateHandle', { handle: 'other.test' }, null),
  send('updateHandle taken', 'com.atproto.identity.updateHandle', { handle: 'bob.test' }),
  send('updateHandle invalid', 'com.atproto.identity.updateHandle', { handle: 'b b' }),
  send('updateHandle missing', 'com.atproto.identity.updateHandle', {}),
  send('updateHandle short', 'com.atproto.identity.updateHandle', { handle: 'b.test' }),
  send('updateHandle reserved', 'com.atproto.identity.updateHandle', { handle: 'admin.test' }),
  send('updateHandle with refresh token', 'com.atproto.identity.updateHandle', { handle: 'other.test' }, null, (c) => ({ token: c.alice.refresh })),
]

const WRITE = {
  'com.atproto.repo.createRecord': (extra) => ({ collection: POST, record: post(), ...extra }),
  'com.atproto.repo.putRecord': (extra) => ({ collection: POST, rkey: '3jzfcijpj2z26', record: post(), ...extra }),
}
const writes = Object.entries(WRITE).flatMap(([nsid, make]) => {
  const short = nsid.split('.').at(-1)
  const key = (letter) => `3jzfcijpj2${short === 'putRecord' ? 'p' : 'c'}2${letter}`
  const row = (name, extra, as = 'alice') => send(`${short}: ${name}`, nsid, (c) => ({ repo: c.alice.did, ...make(value(extra, c)) }), as)
  return [
    row('no token', {}, null),
    row("another's repo", {}, 'bob'),
    row('no repo', { repo: undefined }),
    row('unknown repo', { repo: NO_DID }),
    row('invalid repo', { repo: 'not a repo' }),
    row('handle as repo', (c) => ({ repo: c.alice.handle, rkey: key('h') })),
    row('no collection', { collection: undefined }),
    row('invalid collection', { collection: 'nope' }),
    row('collection with a fragment', { collection: `${POST}#a` }),
    row('no record', { record: undefined }),
    row('record is text', { record: 'text' }),
    row('record is a list', { record: [] }),
    row('record is null', { record: null }),
    row('record of another type', { record: { ...post(), $type: 'app.bsky.feed.like' } }),
    row('record without type', (c) => ({ record: { text: 'x', createdAt: '2026-01-01T00:00:00Z' }, rkey: key('u') })),
    row('record misses a field', { record: { $type: POST, text: 'x' } }),
    row('field of a wrong type', { record: { ...post(), text: 5 } }),
    row('bad datetime', { record: { ...post(), createdAt: 'yesterday' } }),
    row('text too long', { record: post('x'.repeat(3001)) }),
    row('too many graphemes', { record: post('x'.repeat(301)) }),
    row('a float', { record: { ...post(), extra: 1.5 } }),
    row('a float, unvalidated', { validate: false, record: { ...post(), extra: 1.5 } }),
    row('unvalidated rubbish', { validate: false, rkey: key('r'), record: { $type: POST, nothing: true } }),
    row('unknown lexicon', { collection: 'com.example.thing', rkey: `${short}-unknown`, record: { $type: 'com.example.thing', a: 1 } }),
    row('unknown lexicon, validated', { collection: 'com.example.thing', validate: true, rkey: `${short}-unk2`, record: { $type: 'com.example.thing', a: 1 } }),
    row('validate is text', { validate: 'yes' }),
    row('rkey with a slash', { rkey: 'a/b' }),
    row('rkey dot', { rkey: '.' }),
    row('rkey dot dot', { rkey: '..' }),
    row('rkey empty', { rkey: '' }),
    row('rkey too long', { rkey: LONG }),
    row('rkey with space', { rkey: 'a b' }),
    row('rkey is not a tid', { rkey: `${short}-plain` }),
    row('rkey of a literal lexicon', { collection: 'app.bsky.actor.profile', rkey: 'other', record: { $type: 'app.bsky.actor.profile' } }),
    row('rkey self', { collection: 'app.bsky.actor.profile', rkey: 'self', record: { $type: 'app.bsky.actor.profile' } }),
    row('broken link', { record: { ...post(), embed: { $type: 'com.example.x', ref: { $link: 'nope' } } } }),
    row('broken bytes', { record: { ...post(), extra: { $bytes: '***' } } }),
    row('link with a second key', { record: { ...post(), extra: { $link: FOREIGN_CID, more: 1 } } }),
    row('blob that is not there', {
      record: {
        ...post(),
        embed: {
          $type: 'app.bsky.embed.images',
          images: [{ alt: '', image: { $type: 'blob', ref: { $link: RAW_CID }, mimeType: 'image/png', size: 10 } }],
        },
      },
    }),
    row('blob of a wrong type', (c) => ({
      record: {
        ...post(),
        embed: { $type: 'app.bsky.embed.images', images: [{ alt: '', image: { ...c.alice.blob, mimeType: 'text/plain' } }] },
      },
    })),
    row('legacy blob', {
      record: {
        ...post(),
        embed: { $type: 'app.bsky.embed.images', images: [{ alt: '', image: { cid: RAW_CID, mimeType: 'image/png' } }] },
      },
    }),
    row('swapCommit invalid', { swapCommit: 'nope' }),
    row('swapCommit stale', { swapCommit: FOREIGN_CID }),
    row('refresh token', {}, 'aliceRefresh'),
    row('list too long', { record: { ...post(), langs: ['en', 'de', 'fr', 'it'] } }),
    row('bad language', { record: { ...post(), langs: ['not a language'] } }),
    row('bad uri in facet', {
      record: { ...post(), facets: [{ index: { byteStart: 0, byteEnd: 1 }, features: [{ $type: 'app.bsky.richtext.facet#link', uri: 'nope' }] }] },
    }),
    row('negative index', {
      record: { ...post(), facets: [{ index: { byteStart: -1, byteEnd: 1 }, features: [] }] },
    }),
  ]
})

const records = [
  send('createRecord: existing rkey', 'com.atproto.repo.createRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey, record: post() })),
  send('putRecord: no rkey', 'com.atproto.repo.putRecord', (c) => ({ repo: c.alice.did, collection: POST, record: post() })),
  send('putRecord: swapRecord stale', 'com.atproto.repo.putRecord', (c) => ({
    repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey, record: post('swap'), swapRecord: FOREIGN_CID,
  })),
  send('putRecord: swapRecord null on an existing one', 'com.atproto.repo.putRecord', (c) => ({
    repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey, record: post('swap'), swapRecord: null,
  })),
  send('putRecord: swapRecord on a missing one', 'com.atproto.repo.putRecord', (c) => ({
    repo: c.alice.did, collection: POST, rkey: KEY.absent, record: post('swap'), swapRecord: FOREIGN_CID,
  })),
  send('putRecord: swapRecord invalid', 'com.atproto.repo.putRecord', (c) => ({
    repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey, record: post('swap'), swapRecord: 'nope',
  })),
  send('deleteRecord: missing one', 'com.atproto.repo.deleteRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: KEY.absent })),
  send('deleteRecord: missing one with swapRecord', 'com.atproto.repo.deleteRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: KEY.absent, swapRecord: FOREIGN_CID })),
  send('deleteRecord: stale swapRecord', 'com.atproto.repo.deleteRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey, swapRecord: FOREIGN_CID })),
  send('deleteRecord: stale swapCommit', 'com.atproto.repo.deleteRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey, swapCommit: FOREIGN_CID })),
  send("deleteRecord: another's", 'com.atproto.repo.deleteRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey }), 'bob'),
  send('deleteRecord: no token', 'com.atproto.repo.deleteRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: KEY.absent }), null),
  send('deleteRecord: no rkey', 'com.atproto.repo.deleteRecord', (c) => ({ repo: c.alice.did, collection: POST })),
  send('deleteRecord: invalid rkey', 'com.atproto.repo.deleteRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: 'a/b' })),
  get('getRecord', 'com.atproto.repo.getRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey })),
  get('getRecord by handle', 'com.atproto.repo.getRecord', (c) => ({ repo: c.alice.handle, collection: POST, rkey: c.alice.post.rkey })),
  get('getRecord: another version', 'com.atproto.repo.getRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey, cid: FOREIGN_CID })),
  get('getRecord: missing', 'com.atproto.repo.getRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: KEY.absent })),
  get('getRecord: bad cid', 'com.atproto.repo.getRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: c.alice.post.rkey, cid: 'nope' })),
  get('getRecord: no rkey', 'com.atproto.repo.getRecord', (c) => ({ repo: c.alice.did, collection: POST })),
  get('getRecord: bad rkey', 'com.atproto.repo.getRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: 'a/b' })),
  get('getRecord: bad collection', 'com.atproto.repo.getRecord', (c) => ({ repo: c.alice.did, collection: 'no', rkey: 'a' })),
  get('getRecord: bad repo', 'com.atproto.repo.getRecord', { repo: 'not a repo', collection: POST, rkey: 'a' }),
  get('listRecords', 'com.atproto.repo.listRecords', (c) => ({ repo: c.alice.did, collection: POST })),
  get('listRecords: empty collection', 'com.atproto.repo.listRecords', (c) => ({ repo: c.alice.did, collection: 'com.example.none' })),
  get('listRecords: no collection', 'com.atproto.repo.listRecords', (c) => ({ repo: c.alice.did })),
  get('listRecords: unknown repo', 'com.atproto.repo.listRecords', { repo: 'nobody.test', collection: POST }),
  get('listRecords: unknown did', 'com.atproto.repo.listRecords', { repo: NO_DID, collection: POST }),
  ...[0, 1, 100, 101, -1, 'ten', '1.5', ''].map((limit) =>
    get(`listRecords: limit ${JSON.stringify(limit)}`, 'com.atproto.repo.listRecords', (c) => ({ repo: c.alice.did, collection: POST, limit })),
  ),
  get('listRecords: reverse is a word', 'com.atproto.repo.listRecords', (c) => ({ repo: c.alice.did, collection: POST, reverse: 'maybe' })),
  get('listRecords: reverse', 'com.atproto.repo.listRecords', (c) => ({ repo: c.alice.did, collection: POST, reverse: 'true' })),
  get('listRecords: any cursor', 'com.atproto.repo.listRecords', (c) => ({ repo: c.alice.did, collection: POST, cursor: 'anything' })),
  get('describeRepo', 'com.atproto.repo.describeRepo', (c) => ({ repo: c.alice.did })),
  get('describeRepo: unknown handle', 'com.atproto.repo.describeRepo', { repo: 'nobody.test' }),
  get('describeRepo: unknown did', 'com.atproto.repo.describeRepo', { repo: NO_DID }),
  get('describeRepo: invalid', 'com.atproto.repo.describeRepo', { repo: '%%%' }),
  get('describeRepo: missing', 'com.atproto.repo.describeRepo', {}),
  get('listMissingBlobs', 'com.atproto.repo.listMissingBlobs', {}, (c) => ({ token: c.alice.token })),
  get('listMissingBlobs: no token', 'com.atproto.repo.listMissingBlobs', {}),
  get('listMissingBlobs: limit 0', 'com.atproto.repo.listMissingBlobs', { limit: 0 }, (c) => ({ token: c.alice.token })),
  get('listMissingBlobs: limit 1001', 'com.atproto.repo.listMissingBlobs', { limit: 1001 }, (c) => ({ token: c.alice.token })),
]

const op = (kind, fields) => ({ $type: `com.atproto.repo.applyWrites#${kind}`, collection: POST, ...fields })
const apply = (name, list, as = 'alice', more = {}) =>
  send(`applyWrites: ${name}`, 'com.atproto.repo.applyWrites', (c) => ({ repo: c.alice.did, writes: value(list, c), ...value(more, c) }), as)
const batches = [
  apply('empty', []),
  apply('no token', [op('create', { value: post() })], null),
  apply("another's repo", [op('create', { value: post() })], 'bob'),
  apply('201 operations', Array.from({ length: 201 }, () => op('create', { value: post() }))),
  apply('unknown kind', [op('upsert', { value: post() })]),
  apply('no kind', [{ collection: POST, value: post() }]),
  apply('writes is an object', {}),
  apply('no value', [op('create', {})]),
  apply('invalid record', [op('create', { value: { $type: POST, text: 1 } })]),
  apply('one of two is invalid', [op('create', { rkey: KEY.first, value: post() }), op('create', { value: { $type: POST } })]),
  get('applyWrites: nothing of a failed batch stays', 'com.atproto.repo.getRecord', (c) => ({ repo: c.alice.did, collection: POST, rkey: KEY.first })),
  apply('update of a missing one', [op('update', { rkey: KEY.absent, value: post() })]),
  apply('delete of a missing one', [op('delete', { rkey: KEY.absent })]),
  apply('create of an existing one', (c) => [op('create', { rkey: c.alice.post.rkey, value: post() })]),
  apply('the same key twice', [op('create', { rkey: KEY.twice, value: post() }), op('create', { rkey: KEY.twice, value: post('b') })]),
  apply('create and delete of one key', [op('create', { rkey: KEY.gone, value: post() }), op('delete', { rkey: KEY.gone })]),
  apply('update without rkey', [op('update', { value: post() })]),
  apply('bad rkey', [op('create', { rkey: 'a/b', value: post() })]),
  apply('bad collection', [{ ...op('create', { value: post() }), collection: 'no' }]),
  apply('stale swapCommit', [op('create', { value: post() })], 'alice', { swapCommit: FOREIGN_CID }),
  apply('bad swapCommit', [op('create', { value: post() })], 'alice', { swapCommit: 'nope' }),
  apply('current swapCommit twice', [op('create', { value: post() })], 'alice', (c) => ({ swapCommit: c.alice.firstCommit })),
]

const blobs = [
  ['uploadBlob: no token', 'POST', 'com.atproto.repo.uploadBlob', () => ({ raw: 'abc', type: 'text/plain' })],
  ['uploadBlob', 'POST', 'com.atproto.repo.uploadBlob', (c) => ({ raw: 'abc', type: 'text/plain', token: c.alice.token })],
  ['uploadBlob: no type', 'POST', 'com.atproto.repo.uploadBlob', (c) => ({ raw: new TextEncoder().encode('abc'), token: c.alice.token })],
  ['uploadBlob: empty', 'POST', 'com.atproto.repo.uploadBlob', (c) => ({ raw: '', type: 'text/plain', token: c.alice.token })],
  ['uploadBlob: over the limit', 'POST', 'com.atproto.repo.uploadBlob', (c) => ({
    raw: new Uint8Array(6 * 1024 * 1024), type: 'image/png', token: c.alice.token,
  })],
  get('getBlob: unknown', 'com.atproto.sync.getBlob', (c) => ({ did: c.alice.did, cid: RAW_CID })),
  get('getBlob: uploaded', 'com.atproto.sync.getBlob', (c) => ({ did: c.alice.did, cid: c.alice.blobUsed })),
  get("getBlob: another's", 'com.atproto.sync.getBlob', (c) => ({ did: c.bob.did, cid: c.alice.blobUsed })),
  get('getBlob: bad cid', 'com.atproto.sync.getBlob', (c) => ({ did: c.alice.did, cid: 'nope' })),
  get('getBlob: no did', 'com.atproto.sync.getBlob', { cid: RAW_CID }),
  get('getBlob: unknown did', 'com.atproto.sync.getBlob', { did: NO_DID, cid: RAW_CID }),
  get('listBlobs', 'com.atproto.sync.listBlobs', (c) => ({ did: c.alice.did })),
  get('listBlobs: unknown did', 'com.atproto.sync.listBlobs', { did: NO_DID }),
  get('listBlobs: bad did', 'com.atproto.sync.listBlobs', { did: 'nope' }),
  get('listBlobs: limit 0', 'com.atproto.sync.listBlobs', (c) => ({ did: c.alice.did, limit: 0 })),
  get('listBlobs: limit 1001', 'com.atproto.sync.listBlobs', (c) => ({ did: c.alice.did, limit: 1001 })),
  get('listBlobs: bad since', 'com.atproto.sync.listBlobs', (c) => ({ did: c.alice.did, since: 'not a tid' })),
]

const sync = [
  ...['getRepo', 'getLatestCommit', 'getRepoStatus'].flatMap((name) => [
    get(name, `com.atproto.sync.${name}`, (c) => ({ did: c.alice.did })),
    get(`${name}: unknown`, `com.atproto.sync.${name}`, { did: NO_DID }),
    get(`${name}: bad did`, `com.atproto.sync.${name}`, { did: 'nope' }),
    get(`${name}: handle`, `com.atproto.sync.${name}`, { did: 'alice.test' }),
    get(`${name}: missing`, `com.atproto.sync.${name}`, {}),
  ]),
  get('getRepo: bad since', 'com.atproto.sync.getRepo', (c) => ({ did: c.alice.did, since: 'nope' })),
  get('getRepo: since the future', 'com.atproto.sync.getRepo', (c) => ({ did: c.alice.did, since: '7zzzzzzzzzzzz' })),
  get('sync.getRecord', 'com.atproto.sync.getRecord', (c) => ({ did: c.alice.did, collection: POST, rkey: c.alice.post.rkey })),
  get('sync.getRecord: missing', 'com.atproto.sync.getRecord', (c) => ({ did: c.alice.did, collection: POST, rkey: KEY.absent })),
  get('sync.getRecord: unknown did', 'com.atproto.sync.getRecord', { did: NO_DID, collection: POST, rkey: KEY.absent }),
  get('sync.getRecord: bad rkey', 'com.atproto.sync.getRecord', (c) => ({ did: c.alice.did, collection: POST, rkey: 'a/b' })),
  get('sync.getRecord: no rkey', 'com.atproto.sync.getRecord', (c) => ({ did: c.alice.did, collection: POST })),
  get('getBlocks: unknown block', 'com.atproto.sync.getBlocks', (c) => ({ did: c.alice.did, cids: [FOREIGN_CID] })),
  get('getBlocks: bad cid', 'com.atproto.sync.getBlocks', (c) => ({ did: c.alice.did, cids: ['nope'] })),
  get('getBlocks: none', 'com.atproto.sync.getBlocks', (c) => ({ did: c.alice.did })),
  get('getBlocks: unknown did', 'com.atproto.sync.getBlocks', { did: NO_DID, cids: [FOREIGN_CID] }),
  get('getBlocks: head', 'com.atproto.sync.getBlocks', (c) => ({ did: c.bob.did, cids: [c.bob.head] })),
  get('listRepos', 'com.atproto.sync.listRepos', {}),
  get('listRepos: limit 0', 'com.atproto.sync.listRepos', { limit: 0 }),
  get('listRepos: limit 1001', 'com.atproto.sync.listRepos', { limit: 1001 }),
  get('listRepos: bad cursor', 'com.atproto.sync.listRepos', { cursor: 'nonsense' }),
  get('subscribeRepos without upgrade', 'com.atproto.sync.subscribeRepos', {}),
]

const imports = [
  ['importRepo: no token', 'POST', 'com.atproto.repo.importRepo', () => ({ raw: 'x', type: 'application/vnd.ipld.car' })],
  ['importRepo: rubbish', 'POST', 'com.atproto.repo.importRepo', (c) => ({ raw: 'rubbish', type: 'application/vnd.ipld.car', token: c.bob.token })],
  ['importRepo: wrong type', 'POST', 'com.atproto.repo.importRepo', (c) => ({ json: {}, token: c.bob.token })],
  ['importRepo: empty', 'POST', 'com.atproto.repo.importRepo', (c) => ({ raw: '', type: 'application/vnd.ipld.car', token: c.bob.token })],
  ['importRepo: truncated', 'POST', 'com.atproto.repo.importRepo', (c) => ({
    raw: c.bob.car.subarray(0, c.bob.car.length - 9), type: 'application/vnd.ipld.car', token: c.bob.token,
  })],
  ["importRepo: another's repository", 'POST', 'com.atproto.repo.importRepo', (c) => ({
    raw: c.alice.car, type: 'application/vnd.ipld.car', token: c.bob.token,
  })],
]

const transport = [
  get('unknown method', 'com.atproto.server.nothing', {}),
  get('unknown method with token', 'com.atproto.server.nothing', {}, (c) => ({ token: c.alice.token })),
  get('method that is no NSID', 'nonsense', {}),
  get('empty method', '/xrpc/', {}),
  get('method with a trailing slash', '/xrpc/com.atproto.server.describeServer/', {}),
  ['PUT', 'PUT', 'com.atproto.server.describeServer', () => ({})],
  ['DELETE', 'DELETE', 'com.atproto.server.describeServer', () => ({})],
  ['HEAD', 'HEAD', 'com.atproto.server.describeServer', () => ({})],
  ['OPTIONS', 'OPTIONS', 'com.atproto.server.describeServer', () => ({})],
  get('unknown parameter', 'com.atproto.server.describeServer', { whatever: 1 }),
  get('_health', '_health', {}),
  get('unknown page', '/no/such/page', {}),
  ['query with a body', 'POST', 'com.atproto.repo.getRecord', () => ({ json: {} })],
  ['procedure by GET', 'GET', 'com.atproto.repo.createRecord', () => ({})],
  ['body of a procedure too large', 'POST', 'com.atproto.repo.createRecord', (c) => ({
    raw: JSON.stringify({ repo: c.alice.did, collection: POST, record: post('x'.repeat(3 * 1024 * 1024)) }), type: 'application/json', token: c.alice.token,
  })],
]

/** Every row, in the order in which it must run (some rows leave a record behind for a later one). */
export const errorCases = [...server, ...identity, ...writes, ...records, ...batches, ...blobs, ...sync, ...imports, ...transport]

/** What the rows refer to: two accounts with the same handles on every server, a post, a blob, heads and CARs. */
export async function prepare(server, newAccount) {
  const context = {}
  for (const name of ['alice', 'bob']) {
    const account = await newAccount(server, { handle: `${name}.test` })
    const { agent, did } = account
    const blob = (await agent.uploadBlob(new TextEncoder().encode(`picture of ${name}`), { encoding: 'image/png' })).data.blob
    const written = await agent.com.atproto.repo.createRecord({
      repo: did,
      collection: POST,
      rkey: KEY.post,
      record: { ...post(), embed: { $type: 'app.bsky.embed.images', images: [{ alt: '', image: blob }] } },
    })
    const head = (await agent.com.atproto.sync.getLatestCommit({ did })).data
    context[name] = {
      did,
      handle: account.handle,
      email: `${name}@example.com`,
      password: account.password,
      token: agent.session.accessJwt,
      refresh: agent.session.refreshJwt,
      blob: JSON.parse(JSON.stringify(blob)),
      blobUsed: blob.ref.toString(),
      post: { rkey: KEY.post, cid: written.data.cid },
      firstCommit: head.cid,
      head: head.cid,
      car: (await agent.com.atproto.sync.getRepo({ did })).data,
    }
  }
  context.aliceRefresh = { token: context.alice.refresh }
  return context
}

const INVALID = { status: 400, error: 'InvalidRequest' }

/** Rows where our node may answer differently, with the answer and the reason. */
export const deviations = {
  // The specification's interoperability vectors name these values invalid; the official server stores them.
  'createRecord: broken link': INVALID,
  'createRecord: broken bytes': INVALID,
  'createRecord: link with a second key': INVALID,
  'putRecord: broken link': INVALID,
  'putRecord: broken bytes': INVALID,
  'putRecord: link with a second key': INVALID,
  // A name that leaks from the official server's web framework.
  'body of a procedure too large': { status: 413, error: 'PayloadTooLarge' },
  // An account without a password could never be entered again.
  'createAccount: no password': { status: 400, error: 'InvalidPassword' },
  'subscribeRepos without upgrade': { status: 426, error: 'InvalidRequest' },
  OPTIONS: { status: 200, error: undefined },
}
