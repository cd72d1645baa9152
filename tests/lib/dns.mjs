// A DNS server of the test's own: TXT records by name, and nothing else.
import dgram from 'node:dgram'
import { once } from 'node:events'

const TXT = 16

/** Starts it; `records` maps a name to its texts and may change. */
export async function startDns(records = new Map()) {
  const socket = dgram.createSocket('udp4')
  socket.on('message', (query, from) => {
    let at = 12
    const labels = []
    for (let length; (length = query[at]); at += length + 1) labels.push(query.toString('latin1', at + 1, at + 1 + length))
    const question = query.subarray(12, at + 5)
    const texts = query.readUInt16BE(at + 1) === TXT ? (records.get(labels.join('.').toLowerCase()) ?? []) : []
    const answers = texts.map((text) => {
      const head = Buffer.from([0xc0, 12, 0, TXT, 0, 1, 0, 0, 0, 1, 0, text.length + 1, text.length])
      return Buffer.concat([head, Buffer.from(text)])
    })
    const header = Buffer.alloc(12)
    query.copy(header, 0, 0, 2)
    header.writeUInt16BE(texts.length ? 0x8180 : 0x8183, 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(answers.length, 6)
    socket.send(Buffer.concat([header, question, ...answers]), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return { records, address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() }
}
