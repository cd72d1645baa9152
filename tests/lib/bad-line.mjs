// A bad line: passes on what comes to a port, late, and not all of it.
//   node bad-line.mjs udp HOST PORT TO PORT DELAY LOSS SEED   each packet DELAY ms late, LOSS of all lost, each way
//   node bad-line.mjs tcp HOST PORT TO PORT DELAY BREAK SEED  all bytes DELAY ms late, a connection ends after about BREAK ms
// Prints a line once it listens, and one for each loss or cut.
import dgram from 'node:dgram'
import net from 'node:net'
import { Random } from './random.mjs'

const [kind, host, port, to, toPort, delay, amount, seed] = process.argv.slice(2)
const random = new Random(Number(seed))
const late = (what) => setTimeout(what, Number(delay))
const listening = () => process.stdout.write('listening\n')

function udp() {
  const lost = () => {
    const lost = random.next() < Number(amount)
    if (lost) process.stdout.write('lost\n')
    return lost
  }
  /** By who called: the socket that speaks for it on the other side. */
  const callers = new Map()
  const line = dgram.createSocket('udp4')
  const speaker = (caller) => {
    const socket = dgram.createSocket('udp4')
    socket.on('message', (packet) => lost() || late(() => line.send(packet, caller.port, caller.address)))
    socket.on('error', () => {})
    return socket
  }
  line.on('message', (packet, caller) => {
    const name = `${caller.address} ${caller.port}`
    if (!callers.has(name)) callers.set(name, speaker(caller))
    if (!lost()) late(() => callers.get(name).send(packet, Number(toPort), to))
  })
  line.bind(Number(port), host, listening)
}

function tcp() {
  const server = net.createServer((caller) => {
    const called = net.connect(Number(toPort), to)
    const both = [caller, called]
    const end = () => {
      process.stdout.write('cut\n')
      for (const socket of both) socket.resetAndDestroy()
    }
    const timer = setTimeout(end, Number(amount) * (0.5 + random.next()))
    for (const [from, into] of [both, [...both].reverse()]) {
      // What is on the way is bounded, as it is on a line.
      let onTheWay = 0
      from.on('data', (chunk) => {
        onTheWay += chunk.length
        if (onTheWay > 1 << 20) from.pause()
        late(() => {
          onTheWay -= chunk.length
          if (!into.destroyed) into.write(chunk)
          from.resume()
        })
      })
      from.on('end', () => late(() => into.end()))
      from.on('error', () => {})
      from.on('close', () => {
        clearTimeout(timer)
        late(() => into.destroy())
      })
    }
  })
  server.listen(Number(port), host, listening)
}

kind === 'udp' ? udp() : tcp()
