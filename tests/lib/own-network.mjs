// Tests that need a network of their own: the file runs once more in a network namespace that no other process shares.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'

/** Set for the run inside. */
const INSIDE = 'TEST_OWN_NETWORK'

/** How a namespace is had here, and why not: unprivileged where the kernel lets everybody, else as root. */
function namespaces(needs) {
  for (const program of ['ip', 'unshare', 'nsenter', ...needs]) {
    if (spawnSync(program, ['--version']).error && spawnSync(program, ['-V']).error) return { reason: `${program} is not installed` }
  }
  const tries = [['-rn'], ['-n']]
  for (const flags of tries) {
    const made = trial(flags, needs)
    if (made.status === 0) return { flags }
    if (flags === tries.at(-1)) return { reason: `no network can be made here: ${made.stderr.trim().split('\n')[0]}` }
  }
}

/** Makes what the tests make, once: a bridge, a namespace below it, and a translation of addresses. */
function trial(flags, needs) {
  const nat = 'add table ip t; add chain ip t c { type nat hook postrouting priority srcnat; }; add rule ip t c masquerade'
  const steps = ['ip link add br0 type bridge', 'ip link add v0 type veth peer name v1', 'unshare -n true']
  if (needs.includes('nft')) steps.push(`nft '${nat}'`)
  return spawnSync('unshare', [...flags, 'sh', '-ec', steps.join('\n')], { encoding: 'utf8' })
}

/**
 * True inside of a network of its own, where the file is to declare its tests. Outside it declares the one test that runs the
 * file there, and that is skipped, saying why, where no network can be made. `needs` are programs beyond `ip`.
 */
export function ownNetwork(url, { needs = [] } = {}) {
  if (process.env[INSIDE]) {
    execFileSync('ip', ['link', 'set', 'lo', 'up'])
    return true
  }
  const file = fileURLToPath(url)
  const { flags, reason } = namespaces(needs)
  it('in a network of its own', { skip: reason ?? false }, async (t) => {
    const env = { ...process.env, [INSIDE]: '1' }
    // The runner's own channel is not for the run inside.
    delete env.NODE_TEST_CONTEXT
    const args = [...flags, process.execPath, '--test-force-exit', '--test-reporter=spec', file]
    const child = spawn('unshare', args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (out += chunk))
    const code = await new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    if (code !== 0) throw new Error(`the tests inside ended with ${code}:\n${out}`)
    for (const line of out.trim().split('\n')) t.diagnostic(line)
  })
  return false
}
