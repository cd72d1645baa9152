// Files and folders as IPFS sees them: our CIDs are Kubo's, it reads our archives, and we read its.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ues } from '../lib/cli.mjs'
import { uesBinary } from '../lib/servers.mjs'

const BINARY = fileURLToPath(new URL('../../.peers/kubo/ipfs', import.meta.url))
const run = promisify(execFile)
const VERSIONS = [
  { version: 1, ours: ['--cid-version', '1'], kubo: ['--cid-version=1'] },
  { version: 0, ours: ['--cid-version', '0'], kubo: ['--cid-version=0'] },
  { version: '0 with raw leaves', ours: ['--cid-version', '0', '--raw-leaves'], kubo: ['--raw-leaves'] },
  { version: '1 without raw leaves', ours: ['--raw-leaves=false'], kubo: ['--cid-version=1', '--raw-leaves=false'] },
]

let home
before(async () => {
  home = await mkdtemp(join(tmpdir(), 'ues-kubo-'))
  await ipfs('init', '--empty-repo')
  // Nothing here leaves the machine: no command starts a daemon.
  await ipfs('bootstrap', 'rm', '--all')
})
after(() => rm(home, { recursive: true, force: true }))

const environment = () => ({ ...process.env, IPFS_PATH: join(home, 'ipfs'), IPFS_TELEMETRY: 'off' })

/** Runs Kubo without a daemon; returns what it printed. */
async function ipfs(...args) {
  const { stdout } = await run(BINARY, ['--offline', ...args], { env: environment(), maxBuffer: 1 << 26, cwd: home })
  return stdout.trim()
}

/** Runs `ues car`; fails the test when it fails. */
async function car(...args) {
  const done = await ues(join(home, 'unused'), ['car', ...args, '--json'], { cwd: home })
  assert.equal(done.code, 0, done.stderr)
  return done.stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}

/** Bytes that differ everywhere and are the same in each run. */
function pattern(length) {
  const bytes = Buffer.alloc(length)
  let state = 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

async function make(name, content) {
  const path = join(home, name)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content)
  return path
}

/** Everything below a path: names, kinds and contents. */
async function tree(path, name = '') {
  const info = await lstat(path)
  if (info.isSymbolicLink()) return [[name, 'link', await readlink(path)]]
  if (info.isFile()) return [[name, 'file', createHash('sha256').update(await readFile(path)).digest('hex')]]
  const found = [[name, 'folder', '']]
  for (const entry of (await readdir(path)).sort()) found.push(...(await tree(join(path, entry), `${name}/${entry}`)))
  return found
}

/** A folder with everything that a folder can hold. */
async function mixed(name) {
  await make(`${name}/a/deep/er/file.txt`, 'text')
  await make(`${name}/big.bin`, pattern(700_000))
  await make(`${name}/empty`, '')
  await make(`${name}/é 😀.txt`, 'names in UTF-8')
  await make(`${name}/same-1`, pattern(300_000))
  await make(`${name}/same-2`, pattern(300_000))
  await mkdir(join(home, name, 'nothing'))
  await symlink('a/deep/er/file.txt', join(home, name, 'link'))
  await symlink('../big.bin', join(home, name, 'a/up'))
  return name
}

/** A folder so large that it is divided. */
async function large(name, count) {
  await mkdir(join(home, name))
  for (let i = 0; i < count; i++) await writeFile(join(home, name, `entry-${i}`), String(i))
  return name
}

async function sameCid(path, { ours, kubo }) {
  const [made] = await car('add', path, '--only-hash', ...ours)
  assert.equal(made.cid, await ipfs('add', '-r', '-Q', '--only-hash', ...kubo, path))
  return made
}

describe('the CID is the one that Kubo gives', () => {
  for (const kind of VERSIONS) {
    it(`to files of every size, version ${kind.version}`, async () => {
      const sizes = [0, 1, 262_143, 262_144, 262_145, 524_288, 5_000_000]
      for (const size of sizes) await sameCid(await make(`size-${size}`, pattern(size)), kind)
    })

    it(`to folders, version ${kind.version}`, async () => {
      const name = await mixed(`mixed ${kind.version}`)
      const made = await sameCid(name, kind)
      const shown = JSON.parse(
        await ipfs('add', '-r', '-Q', ...kind.kubo, name).then((cid) => ipfs('files', 'stat', '--enc=json', `/ipfs/${cid}`)),
      )
      assert.equal(made.size, shown.CumulativeSize)
      await mkdir(join(home, `none ${kind.version}`))
      await sameCid(`none ${kind.version}`, kind)
    })
  }

  it('to files whose tree has more than one level above the leaves', async () => {
    const path = await make('deep', pattern(200_000))
    for (const { ours, kubo } of VERSIONS) {
      // 200,000 blocks of a byte are four levels of 174 links.
      await sameCid(path, { ours: [...ours, '--chunk-size', '1'], kubo: [...kubo, '--chunker=size-1'] })
    }
  })

  it('to folders on both sides of the size at which they are divided', async () => {
    const name = await large('many', 6200)
    for (const kind of VERSIONS.slice(0, 2)) {
      await sameCid(name, kind)
    }
    // 28 bytes of name and 36 of CID: 4096 entries are just 256 KiB.
    await mkdir(join(home, 'edge'))
    for (let i = 0; i < 4096; i++) await writeFile(join(home, 'edge', String(i).padStart(28, '0')), '')
    await sameCid('edge', VERSIONS[0])
    await writeFile(join(home, 'edge', 'x'), '')
    await sameCid('edge', VERSIONS[0])
  })

  it('to files whose names begin with a dot, when asked for', async () => {
    await make('dots/.hidden', 'x')
    await make('dots/seen', 'y')
    const [ours] = await car('add', 'dots', '-n')
    assert.equal(ours.cid, await ipfs('add', '-r', '-Q', '-n', '--cid-version=1', 'dots'))
    const [all] = await car('add', 'dots', '-n', '--hidden')
    assert.equal(all.cid, await ipfs('add', '-r', '-Q', '-n', '-H', '--cid-version=1', 'dots'))
    assert.notEqual(ours.cid, all.cid)
  })
})

describe('Kubo reads what we write', () => {
  for (const kind of VERSIONS.slice(0, 2)) {
    it(`a folder, version ${kind.version}`, async () => {
      const name = await mixed(`ours ${kind.version}`)
      const [{ cid }] = await car('add', name, '-o', `ours-${kind.version}.car`, ...kind.ours)
      await ipfs('dag', 'import', '--pin-roots=false', `ours-${kind.version}.car`)
      await ipfs('get', cid, '-o', `from-kubo-${kind.version}`)
      assert.deepEqual(await tree(join(home, `from-kubo-${kind.version}`)), await tree(join(home, name)))
    })
  }

  it('a divided folder, and a name in it', async () => {
    const name = await large('many of ours', 6300)
    const [{ cid }] = await car('add', name, '-o', 'many.car')
    await ipfs('dag', 'import', '--pin-roots=false', 'many.car')
    assert.equal(await ipfs('cat', `${cid}/entry-6299`), '6299')
    assert.equal((await ipfs('ls', '--size=false', cid)).split('\n').length, 6300)
  })

  it('an archive from standard output', async () => {
    await make('piped', pattern(400_000))
    const [{ cid }] = await car('add', 'piped', '-n')
    const pipe = `"${uesBinary()}" car add piped -o - | "${BINARY}" --offline dag import --pin-roots=false`
    await run('sh', ['-c', pipe], { env: environment(), cwd: home })
    await ipfs('get', cid, '-o', 'piped-again')
    assert.deepEqual(await readFile(join(home, 'piped-again')), pattern(400_000))
  })

  it('several roots of one archive', async () => {
    await make('one', pattern(10))
    await make('two', pattern(600_000))
    const made = await car('add', 'one', 'two', '-o', 'both.car')
    const roots = (await ipfs('dag', 'import', 'both.car')).match(/Qm\w+|baf\w+/g)
    assert.deepEqual(new Set(roots), new Set(made.map(({ cid }) => cid)))
  })
})

describe('we read what Kubo writes', () => {
  /** Exports from Kubo's own store. */
  async function exported(cid, name) {
    const file = createWriteStream(join(home, name))
    const child = spawn(BINARY, ['--offline', 'dag', 'export', '--progress=false', cid], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    child.stdout.pipe(file)
    const [code] = await once(child, 'exit')
    assert.equal(code, 0)
    if (!file.closed) await once(file, 'close')
  }

  for (const kind of VERSIONS.slice(0, 2)) {
    it(`a folder, version ${kind.version}`, async () => {
      const name = await mixed(`theirs ${kind.version}`)
      const cid = await ipfs('add', '-r', '-Q', ...kind.kubo, name)
      const archive = `theirs-${kind.version}.car`
      await exported(cid, archive)
      const [sound] = await car('verify', archive)
      assert.deepEqual([sound.roots, sound.missing, sound.unreached], [[cid], 0, 0])
      await car('get', archive, '-o', `from-ues-${kind.version}`)
      assert.deepEqual(await tree(join(home, `from-ues-${kind.version}`)), await tree(join(home, name)))
      const listed = (await car('ls', archive)).map((entry) => `${entry.kind} ${entry.name}`)
      const expected = ['folder a', 'file big.bin', 'file empty', 'link link', 'folder nothing']
      assert.deepEqual(listed, [...expected, 'file same-1', 'file same-2', 'file é 😀.txt'])
      await car('get', archive, 'a/deep/er/file.txt', '-o', `one-${kind.version}.txt`)
      assert.equal(await readFile(join(home, `one-${kind.version}.txt`), 'utf8'), 'text')
    })
  }

  it('a divided folder', async () => {
    const name = await large('many of theirs', 6400)
    const cid = await ipfs('add', '-r', '-Q', '--cid-version=1', name)
    await exported(cid, 'theirs-many.car')
    await car('get', 'theirs-many.car', '-o', 'many-again')
    assert.deepEqual(await tree(join(home, 'many-again')), await tree(join(home, name)))
  })

  it('but not what leads out of the folder, overwrites, or is damaged', async () => {
    await mkdir(join(home, 'outside'))
    await make('escape/file', 'x')
    await symlink('../../outside', join(home, 'escape/link'))
    const cid = await ipfs('add', '-r', '-Q', 'escape')
    await exported(cid, 'escape.car')
    const get = (...args) => ues(join(home, 'unused'), ['car', 'get', ...args], { cwd: home })
    const refused = await get('escape.car', '-o', 'escaped')
    assert.equal(refused.code, 4)
    assert.match(refused.stderr, /leads out of the folder/)
    await assert.rejects(stat(join(home, 'escaped')), { code: 'ENOENT' })
    const exists = await get('escape.car', '-o', 'outside')
    assert.equal(exists.code, 1)
    assert.match(exists.stderr, /exists already/)
    assert.equal((await get('escape.car', 'gone', '-o', 'gone')).code, 3)

    const bytes = await readFile(join(home, 'escape.car'))
    bytes[bytes.length - 1] ^= 1
    await make('damaged.car', bytes)
    const damaged = await ues(join(home, 'unused'), ['car', 'verify', 'damaged.car'], { cwd: home })
    assert.equal(damaged.code, 4)
    assert.match(damaged.stderr, /damaged/)
  })
})
