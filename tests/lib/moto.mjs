// An S3 server that others wrote: moto, which keeps everything in memory. In front of it a line that can be cut.
import { once } from 'node:events'
import net from 'node:net'
import { fileURLToPath } from 'node:url'
import { Program, freePort } from './process.mjs'

const BINARY = fileURLToPath(new URL('../../.peers/moto/bin/moto_server', import.meta.url))

/** An S3 server with one bucket. `endpoint` is where the node reaches it, by the line. */
export class Moto {
  bucket = 'blobs'

  /** Starts one. */
  static async start() {
    const moto = new Moto()
    const port = await freePort()
    moto.direct = `http://127.0.0.1:${port}`
    moto.program = new Program('moto', BINARY, ['-H', '127.0.0.1', '-p', String(port)])
    await moto.program.answers(`${moto.direct}/moto-api/data.json`)
    moto.port = port
    moto.linePort = await freePort()
    moto.endpoint = `http://127.0.0.1:${moto.linePort}`
    await moto.mend()
    const made = await fetch(`${moto.direct}/${moto.bucket}`, { method: 'PUT' })
    if (!made.ok) throw new Error(`no bucket: ${made.status} ${await made.text()}`)
    return moto
  }

  /** What a node needs to use it. */
  env(prefix = '') {
    return {
      UES_BLOBS_BACKEND: 's3',
      UES_BLOBS_S3_BUCKET: this.bucket,
      UES_BLOBS_S3_ENDPOINT: this.endpoint,
      UES_BLOBS_S3_ACCESS_KEY: 'a-key',
      UES_BLOBS_S3_SECRET_KEY: 'a-secret',
      UES_BLOBS_S3_PATH_STYLE: 'true',
      UES_BLOBS_S3_PREFIX: prefix,
    }
  }

  /** Nobody gets through any more. */
  async cut() {
    for (const socket of this.sockets) socket.destroy()
    this.line.close()
    await once(this.line, 'close')
  }

  /** Everybody gets through again. */
  async mend() {
    this.sockets = new Set()
    this.line = net.createServer((caller) => {
      const called = net.connect(this.port, '127.0.0.1')
      for (const [from, to] of [[caller, called], [called, caller]]) {
        this.sockets.add(from)
        from.on('error', () => {})
        from.on('close', () => {
          this.sockets.delete(from)
          to.destroy()
        })
        from.pipe(to)
      }
    })
    this.line.listen(this.linePort, '127.0.0.1')
    await once(this.line, 'listening')
  }

  /** Names and sizes of the objects in the bucket. */
  async objects() {
    const text = await (await fetch(`${this.direct}/${this.bucket}?list-type=2&max-keys=1000`)).text()
    const found = text.matchAll(/<Contents>.*?<Key>(.*?)<\/Key>.*?<Size>(\d+)<\/Size>.*?<\/Contents>/gs)
    return [...found].map(([, key, size]) => ({ key, size: Number(size) }))
  }

  /** Uploads in parts that are under way. */
  async uploads() {
    const text = await (await fetch(`${this.direct}/${this.bucket}?uploads`)).text()
    return [...text.matchAll(/<UploadId>(.*?)<\/UploadId>/g)].map(([, id]) => id)
  }

  /** Puts something into a bucket. */
  async put(place, { headers, body } = {}) {
    // It wants to be asked by somebody, and does not check by whom.
    const authorization = 'AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any'
    const res = await fetch(`${this.direct}/${place}`, { method: 'PUT', body, headers: { authorization, ...headers } })
    if (!res.ok) throw new Error(`PUT ${place}: ${res.status} ${await res.text()}`)
  }

  /** Puts other bytes in an object's place. */
  replace(key, bytes) {
    return this.put(`${this.bucket}/${key}`, { body: bytes })
  }

  /** Copies the bucket to a new one. */
  async copy(name) {
    await this.put(name)
    for (const { key } of await this.objects()) {
      await this.put(`${name}/${key}`, { headers: { 'x-amz-copy-source': `/${this.bucket}/${encodeURIComponent(key)}` } })
    }
  }

  /** Ends it. */
  async close() {
    await this.cut()
    await this.program.stop()
  }
}
