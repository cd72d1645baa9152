#!/usr/bin/env node
// Writes crates/repo/lexicons/official.jsonl from the npm package @atproto/api.
//
//   node scripts/lexicons.mjs            the newest version
//   node scripts/lexicons.mjs 0.21.0     that version
//   node scripts/lexicons.mjs --check    fails if the file differs from what its own version gives
//
// The first line names the package and its version, each further line is one document. Descriptions are
// left out: validation never reads them, and they are a third of the size. Keys are sorted and the id
// comes first, so that the crate finds a document without parsing the others.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const PACKAGE = '@atproto/api'
const NAMESPACES = ['app.bsky.', 'chat.bsky.', 'com.atproto.', 'tools.ozone.']
const TARGET = join(
  dirname(fileURLToPath(import.meta.url)),
  '../crates/repo/lexicons/official.jsonl',
)

/** The documents of a version of the package, and that version. */
async function download(wanted) {
  const dir = mkdtempSync(join(tmpdir(), 'lexicons-'))
  try {
    const name = execFileSync('npm', ['pack', '--silent', `${PACKAGE}@${wanted}`], {
      cwd: dir,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
    execFileSync('tar', ['-xzf', name], { cwd: dir })
    const { version } = JSON.parse(readFileSync(join(dir, 'package/package.json'), 'utf8'))
    // The generated module is one literal followed by code that needs the package's dependencies:
    // only the literal is taken, so nothing has to be installed.
    const module = readFileSync(join(dir, 'package/dist/client/lexicons.js'), 'utf8')
    const literal = module.match(/schemaDict = (\{[\s\S]*?\n\});?\n/)
    if (!literal) throw new Error(`${PACKAGE} ${version} has no schemaDict in dist/client/lexicons.js`)
    const path = join(dir, 'schemas.mjs')
    writeFileSync(path, `export default ${literal[1]}\n`)
    const { default: schemas } = await import(pathToFileURL(path))
    return { version, documents: Object.values(schemas) }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/**
 * The value with sorted keys, without descriptions (a field named so is an object, and stays), and with
 * references as the language writes them: the package has put `lex:` in front.
 */
function compact(value, key) {
  if (Array.isArray(value)) return value.map((inner) => compact(inner, key))
  if (typeof value === 'string' && (key === 'ref' || key === 'refs')) return value.replace(/^lex:/, '')
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => !(key === 'description' && typeof inner === 'string'))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, compact(inner, key)]),
  )
}

async function render(wanted) {
  const { version, documents } = await download(wanted)
  const lines = documents
    .filter((doc) => NAMESPACES.some((prefix) => doc.id.startsWith(prefix)))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map(({ id, ...rest }) => JSON.stringify({ id, ...compact(rest) }))
  const head = JSON.stringify({ package: PACKAGE, version, documents: lines.length })
  return { version, count: lines.length, text: `${[head, ...lines].join('\n')}\n` }
}

if (process.argv[2] === '--check') {
  const present = readFileSync(TARGET, 'utf8')
  const { version } = JSON.parse(present.slice(0, present.indexOf('\n')))
  const { text } = await render(version)
  if (text !== present) {
    console.error(`official.jsonl is not what ${PACKAGE} ${version} gives: run scripts/lexicons.mjs ${version}`)
    process.exit(1)
  }
} else {
  const { version, count, text } = await render(process.argv[2] ?? 'latest')
  writeFileSync(TARGET, text)
  console.log(`${count} documents of ${PACKAGE} ${version}, ${text.length} bytes`)
}
