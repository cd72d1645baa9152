// A browser without script: keeps cookies, follows redirects to the same server, fills forms in.
import assert from 'node:assert/strict'

const unescape = (text) =>
  text.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(code)).replace(/&quot;/g, '"').replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&')

const attribute = (tag, name) => {
  const found = new RegExp(`\\b${name}="([^"]*)"`).exec(tag)
  return found ? unescape(found[1]) : undefined
}

/** The forms of a page: where they lead, and their fields with the values that they have. */
function formsOf(html) {
  return [...html.matchAll(/<form([^>]*)>([\s\S]*?)<\/form>/g)].map(([, head, inside]) => {
    const fields = {}
    for (const [tag] of inside.matchAll(/<input[^>]*>/g)) {
      const type = attribute(tag, 'type')
      if (type === 'radio' && !/ checked/.test(tag)) continue
      fields[attribute(tag, 'name')] = attribute(tag, 'value') ?? ''
    }
    const buttons = [...inside.matchAll(/<button([^>]*)>/g)].map(([tag]) => attribute(tag, 'value'))
    return { action: attribute(head, 'action'), fields, buttons }
  })
}

/** A page that was shown. `left` is the address on another server that the browser was sent to. */
class Page {
  constructor(fields) {
    Object.assign(this, fields)
  }

  get forms() {
    return formsOf(this.html)
  }

  /** The form that has a button, or a hidden field `do`, of this value. */
  form(what) {
    const form = this.forms.find((f) => f.buttons.includes(what) || f.fields.do === what)
    assert.ok(form, `a form to ${what} on ${this.url}:\n${this.html}`)
    return form
  }
}

export class Browser {
  cookies = new Map()

  constructor(origin) {
    this.origin = origin
  }

  async get(url) {
    return this.#go(new URL(url, this.origin), {})
  }

  /** Sends a form of a page, as a browser does that says where the form comes from. */
  async submit(page, what, values = {}, headers = {}) {
    const form = page.form(what)
    const body = new URLSearchParams({ ...form.fields, do: what, ...values })
    return this.#go(new URL(form.action, this.origin), {
      method: 'POST',
      body,
      headers: { origin: this.origin, 'sec-fetch-site': 'same-origin', ...headers },
    })
  }

  /** Posts values as a page's script does; gives the answer's status and JSON. */
  async ask(path, values, headers = {}) {
    const from = { origin: this.origin, 'sec-fetch-site': 'same-origin', ...headers }
    const page = await this.#go(new URL(path, this.origin), { method: 'POST', body: new URLSearchParams(values), headers: from })
    return { status: page.status, ...JSON.parse(page.html) }
  }

  async #go(url, init) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const res = await fetch(url, { ...init, redirect: 'manual', headers: { ...init.headers, ...(cookie && { cookie }) } })
    for (const set of res.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set)
      this.cookies.set(name, value)
    }
    const location = res.headers.get('location')
    if (location) {
      const to = new URL(location, url)
      if (to.origin !== this.origin) return new Page({ left: to, status: res.status, headers: res.headers, html: '', url })
      return this.#go(to, {})
    }
    return new Page({ url, status: res.status, headers: res.headers, html: await res.text() })
  }
}
