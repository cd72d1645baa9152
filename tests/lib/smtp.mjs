// A mail server that keeps what it is given, for tests that read the codes in letters.
import { once } from 'node:events'
import net from 'node:net'

const TOKEN = /\b[A-Z2-7]{5}-[A-Z2-7]{5}\b/

/** Undoes quoted-printable where a letter has it. */
const decode = (text) => text.replace(/=\r?\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)))

/** A mail server on a free port of the loopback. `mails` grows as letters arrive: `{ to, text }`. */
export class MailServer {
  static async start() {
    const mail = new MailServer()
    mail.mails = []
    mail.waiting = new Set()
    mail.server = net.createServer((socket) => mail.serve(socket))
    mail.server.listen(0, '127.0.0.1')
    await once(mail.server, 'listening')
    mail.url = `smtp://127.0.0.1:${mail.server.address().port}`
    return mail
  }

  serve(socket) {
    let buffered = ''
    let letter
    let to = []
    const say = (line) => socket.write(`${line}\r\n`)
    socket.on('error', () => {})
    socket.setEncoding('utf8')
    say('220 test')
    socket.on('data', (chunk) => {
      buffered += chunk
      for (let end; (end = buffered.indexOf('\r\n')) >= 0; ) {
        const line = buffered.slice(0, end)
        buffered = buffered.slice(end + 2)
        if (letter) {
          if (line !== '.') letter.push(line)
          else {
            this.mails.push({ to, text: decode(letter.join('\r\n')) })
            ;[letter, to] = [undefined, []]
            say('250 kept')
            for (const check of this.waiting) check()
          }
          continue
        }
        const verb = line.slice(0, 4).toUpperCase()
        if (verb === 'RCPT') to.push(/<(.*)>/.exec(line)?.[1])
        if (verb === 'DATA') {
          letter = []
          say('354 go on')
        } else if (verb === 'QUIT') {
          say('221 bye')
          socket.end()
        } else say('250 ok')
      }
    })
  }

  /** The next letter to an address that was not read yet. */
  next(to, seconds = 30) {
    return new Promise((resolve, reject) => {
      const take = () => {
        const index = this.mails.findIndex((mail) => mail.to.includes(to))
        if (index < 0) return
        clearTimeout(timer)
        this.waiting.delete(take)
        resolve(this.mails.splice(index, 1)[0])
      }
      const timer = setTimeout(() => {
        this.waiting.delete(take)
        reject(new Error(`no letter to ${to} within ${seconds} s`))
      }, seconds * 1000)
      this.waiting.add(take)
      take()
    })
  }

  /** The code in the next letter to an address. */
  async token(to) {
    const { text } = await this.next(to)
    const found = TOKEN.exec(text)
    if (!found) throw new Error(`no code in ${text}`)
    return found[0]
  }

  close() {
    this.server.close()
  }
}
