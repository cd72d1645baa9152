// A DNS server of the test's own: TXT records and IPv4 addresses by name, and nothing else.
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'

const [A, TXT] = [1, 16]

/**
 * Starts it; `records` maps a name to its texts and may change. `addresses` maps one to what gives its address, or several, each
 * time that somebody asks, which nobody may keep. It listens on the loopback at a free port unless it is told where.
 */
export async function startDns(records = new Map(), addresses = new Map(), { host = '127.0.0.1', port = 0 } = {}) {
  const reply = (query) => {
    let at = 12
    const labels = []
    for (let length; (length = query[at]); at += length + 1) labels.push(query.toString('latin1', at + 1, at + 1 + length))
    const question = query.subarray(12, at + 5)
    const [name, type] = [labels.join('.').toLowerCase(), query.readUInt16BE(at + 1)]
    const answer = (type, ttl, data) => Buffer.concat([Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, ttl, 0, data.length]), data])
    const answers = []
    if (type === TXT) for (const text of records.get(name) ?? []) answers.push(answer(TXT, 0, Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])))
    if (type === A && addresses.has(name)) {
      for (const address of [addresses.get(name)()].flat()) answers.push(answer(A, 0, Buffer.from(address.split('.').map(Number))))
    }
    const header = Buffer.alloc(12)
    query.copy(header, 0, 0, 2)
    header.writeUInt16BE(answers.length || addresses.has(name) ? 0x8180 : 0x8183, 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(answers.length, 6)
    return Buffer.concat([header, question, ...answers])
  }
  const socket = dgram.createSocket('udp4')
  socket.on('message', (query, from) => socket.send(reply(query), from.port, from.address))
  socket.bind(port, host)
  await once(socket, 'listening')
  // The same by TCP, each message behind its length.
  const server = net.createServer((stream) => {
    let came = Buffer.alloc(0)
    stream.on('error', () => {})
    stream.on('data', (chunk) => {
      came = Buffer.concat([came, chunk])
      while (came.length >= 2 && came.length >= 2 + came.readUInt16BE(0)) {
        const end = 2 + came.readUInt16BE(0)
        const message = reply(came.subarray(2, end))
        stream.write(Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]))
        came = came.subarray(end)
      }
    })
  })
  server.listen(socket.address().port, host)
  await once(server, 'listening')
  const close = () => [socket, server].forEach((one) => one.close())
  return { records, addresses, address: `${host}:${socket.address().port}`, close }
}
