// The command line of our program, run as a person runs it.
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { uesBinary } from './servers.mjs'

/** Runs `ues` on a data folder; returns exit code and what it printed. */
export async function ues(data, args, { env = {}, cwd } = {}) {
  const child = spawn(uesBinary(), ['--data', data, ...args], {
    env: { ...process.env, ...env },
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    }),
  ])
  return { code, stdout, stderr }
}

/** Runs `ues` and expects success; returns what it printed on stdout. */
export async function uesOk(data, args, options) {
  const { code, stdout, stderr } = await ues(data, args, options)
  if (code !== 0) throw new Error(`ues ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`)
  return stdout
}
