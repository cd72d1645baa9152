// A DNS server of the test's own: TXT records and IPv4 addresses by name, and nothing else.
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'

const A = 1
const TXT = 16

/** Starts it; `records` maps a name to its texts, `hosts` one to its address; both may change. */
export async function startDns(records = new Map(), hosts = new Map()) {
  const answer = (query) => {
    let at = 12
    const labels = []
    for (let length; (length = query[at]); at += length + 1) labels.push(query.toString('latin1', at + 1, at + 1 + length))
    const question = query.subarray(12, at + 5)
    const [kind, name] = [query.readUInt16BE(at + 1), labels.join('.').toLowerCase()]
    const record = (data) => Buffer.concat([Buffer.from([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1, 0, data.length]), data])
    const texts = kind === TXT ? (records.get(name) ?? []) : []
    const answers = texts.map((text) => record(Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])))
    if (kind === A && hosts.has(name)) answers.push(record(Buffer.from(hosts.get(name).split('.').map(Number))))
    const isKnown = answers.length > 0 || hosts.has(name)
    const header = Buffer.alloc(12)
    query.copy(header, 0, 0, 2)
    header.writeUInt16BE(isKnown ? 0x8180 : 0x8183, 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(answers.length, 6)
    return Buffer.concat([header, question, ...answers])
  }
  const socket = dgram.createSocket('udp4')
  socket.on('message', (query, from) => socket.send(answer(query), from.port, from.address))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  // The same by TCP, each message behind its length.
  const server = net.createServer((stream) => {
    let came = Buffer.alloc(0)
    stream.on('error', () => {})
    stream.on('data', (chunk) => {
      came = Buffer.concat([came, chunk])
      while (came.length >= 2 && came.length >= 2 + came.readUInt16BE(0)) {
        const end = 2 + came.readUInt16BE(0)
        const message = answer(came.subarray(2, end))
        stream.write(Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]))
        came = came.subarray(end)
      }
    })
  })
  server.listen(socket.address().port, '127.0.0.1')
  await once(server, 'listening')
  return { records, hosts, address: `127.0.0.1:${socket.address().port}`, close: () => [socket, server].forEach((one) => one.close()) }
}
