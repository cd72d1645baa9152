// The program that keeps a host's namespace: what comes in by a socket in the file system, which all namespaces share, goes to
// a port of the host's loopback. Ends with its standard input.
import net from 'node:net'
import { rmSync } from 'node:fs'

const [path] = process.argv.slice(2)
const server = net.createServer((outside) => {
  // The first line says which port.
  outside.once('readable', () => {
    const line = []
    for (let byte = outside.read(1); byte !== null && byte[0] !== 10; byte = outside.read(1)) line.push(byte)
    const inside = net.connect(Number(Buffer.concat(line).toString()), '127.0.0.1')
    for (const [from, to] of [[outside, inside], [inside, outside]]) {
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
      from.pipe(to)
    }
  })
})
server.listen(path, () => process.stdout.write('open\n'))
process.stdin.resume()
process.stdin.once('end', () => {
  rmSync(path, { force: true })
  process.exit(0)
})
