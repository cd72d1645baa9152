// Child processes of the tests: free ports, start with a readiness check, logs kept for failures, stop.
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

// The system gives outgoing connections ports from here on. One of them could take the port of a server that is down for
// a moment to be started again.
const EPHEMERAL = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0])
const LOWEST = 10_000

/** Whether nobody listens on a port of the loopback. */
async function isFree(port) {
  const server = net.createServer()
  server.listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (e) {
    if (e.code === 'EADDRINUSE') return false
    throw e
  }
  server.close()
  await once(server, 'close')
  return true
}

/** A TCP port on the loopback that nobody listens on at the moment, and that no outgoing connection is given. */
export async function freePort() {
  for (;;) {
    const port = randomInt(LOWEST, Math.max(EPHEMERAL, LOWEST + 1000))
    if (await isFree(port)) return port
  }
}

const running = new Set()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** A started program. `log` holds the last part of what it printed. */
export class Program {
  constructor(name, command, args, env = {}, cwd = undefined) {
    this.name = name
    this.log = ''
    this.exited = false
    this.child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(this.child)
    const keep = (chunk) => {
      this.log = (this.log + chunk).slice(-64 * 1024)
    }
    this.child.stdout.on('data', keep)
    this.child.stderr.on('data', keep)
    this.done = new Promise((resolve) => {
      this.child.once('error', (err) => {
        keep(String(err))
        resolve({ code: null, signal: null })
      })
      this.child.once('exit', (code, signal) => resolve({ code, signal }))
    }).then((end) => {
      this.exited = true
      running.delete(this.child)
      return end
    })
  }

  /** Resolves when `url` answers 200; fails with the program's log when it ends first or stays silent. */
  async answers(url, seconds = 60) {
    const deadline = Date.now() + seconds * 1000
    while (Date.now() < deadline) {
      if (this.exited) throw new Error(`${this.name} ended before it answered ${url}\n${this.log}`)
      const ok = await fetch(url, { signal: AbortSignal.timeout(5000) }).then(
        async (res) => {
          await res.arrayBuffer()
          return res.ok
        },
        () => false,
      )
      if (ok) return
      await Promise.race([delay(25), this.done])
    }
    throw new Error(`${this.name} did not answer ${url} within ${seconds} s\n${this.log}`)
  }

  /** Asks the program to stop, waits, and returns how it ended. */
  async stop(seconds = 15) {
    if (!this.exited) this.child.kill('SIGTERM')
    const timer = new AbortController()
    const forced = delay(seconds * 1000, null, { signal: timer.signal, ref: false }).then(
      () => {
        this.child.kill('SIGKILL')
        return this.done.then((end) => ({ ...end, forced: true }))
      },
      () => this.done,
    )
    const end = await Promise.race([this.done, forced])
    timer.abort()
    return end
  }

  /** Ends the program at once, as a power failure of the process would. */
  async kill() {
    this.child.kill('SIGKILL')
    return this.done
  }
}
