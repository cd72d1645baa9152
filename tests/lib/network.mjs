// Hosts, local networks and routers that translate addresses, out of the kernel's namespaces. Only for files that
// `ownNetwork` runs.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const exec = promisify(execFile)
const DOOR = fileURLToPath(new URL('door.mjs', import.meta.url))
const ip = (...args) => exec('ip', args)
let count = 0

/** A machine with a network stack of its own. The tests reach its loopback through doors, by no network. */
export class Host {
  static async start(name) {
    const host = new Host()
    host.name = name
    host.socket = path.join(tmpdir(), `ues-door-${process.pid}-${count++}`)
    host.child = spawn('unshare', ['-n', process.execPath, DOOR, host.socket], { stdio: ['pipe', 'pipe', 'inherit'] })
    // The child must not outlive the tests, nor hold them up: it ends when its standard input does.
    await once(host.child.stdout, 'data')
    host.doors = []
    host.links = []
    await host.run('ip', 'link', 'set', 'lo', 'up')
    return host
  }

  /** What to put before a command so that it runs there. */
  get within() {
    return ['nsenter', '-t', String(this.child.pid), '-n']
  }

  /** Runs a command there. */
  async run(...command) {
    const [program, ...args] = [...this.within, ...command]
    return (await exec(program, args)).stdout
  }

  /** The port of its loopback is to be had at the same port of ours. */
  async open(port) {
    const server = net.createServer({ allowHalfOpen: true }, (ours) => {
      const theirs = net.connect({ path: this.socket, allowHalfOpen: true })
      theirs.write(`${port}\n`)
      for (const [from, to] of [[ours, theirs], [theirs, ours]]) {
        from.on('error', () => to.destroy())
        from.on('close', () => to.destroy())
        from.pipe(to)
      }
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    server.unref()
    this.doors.push(server)
  }

  /** Pulls the plug of a link, or puts it in again. Addresses and routes that it had are there again then. */
  async plug(link, on) {
    await ip('link', 'set', link.port, on ? 'up' : 'down')
  }

  stop() {
    for (const door of this.doors) door.close()
    this.child.stdin.end()
  }
}

/** A switch, and the addresses on it: `10.0.0` is the network 10.0.0.0/24. */
export class Lan {
  static async create(prefix) {
    const lan = new Lan()
    lan.prefix = prefix
    lan.bridge = `lan${count++}`
    await ip('link', 'add', lan.bridge, 'type', 'bridge')
    await ip('link', 'set', lan.bridge, 'up')
    return lan
  }

  /** Plugs a host in; its address ends with `number`. `gateway` is the number of the router, if it has one. */
  async join(host, number, { gateway } = {}) {
    const link = { port: `port${count++}`, name: `eth${host.links.length}`, address: `${this.prefix}.${number}` }
    await ip('link', 'add', link.port, 'type', 'veth', 'peer', 'name', link.name, 'netns', String(host.child.pid))
    await ip('link', 'set', link.port, 'master', this.bridge, 'up')
    await host.run('ip', 'address', 'add', `${link.address}/24`, 'dev', link.name)
    await host.run('ip', 'link', 'set', link.name, 'up')
    if (gateway) await host.run('ip', 'route', 'add', 'default', 'via', `${this.prefix}.${gateway}`)
    host.links.push(link)
    return link
  }
}

/**
 * A router between a local network, where it is number 1, and another: it puts its own address in place of those inside, keeps
 * the port where it is free, and lets in nothing but answers. No port leads inside by itself.
 */
export async function natRouter(name, inside, outside, number) {
  const router = await Host.start(name)
  const inner = await inside.join(router, 1)
  const outer = await outside.join(router, number)
  await router.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
  const rules = `
    table ip router {
      chain out { type nat hook postrouting priority srcnat; oifname ${outer.name} masquerade; }
      chain through {
        type filter hook forward priority filter; policy drop;
        iifname ${inner.name} accept
        ct state established,related accept
      }
      chain to { type filter hook input priority filter; policy drop; iifname != ${outer.name} accept; ct state established,related accept; }
    }`
  await router.run('nft', rules)
  return router
}
