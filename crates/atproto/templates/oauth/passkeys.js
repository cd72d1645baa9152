// Passkeys on the pages of this server. A form with data-passkey is shown where the browser has passkeys; when it is
// sent, the authenticator is asked first, and its answer goes with the form.
(() => {
  'use strict'
  if (!window.PublicKeyCredential || !navigator.credentials) return

  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0))
  const text = (buffer) => {
    let all = ''
    for (const byte of new Uint8Array(buffer)) all += String.fromCharCode(byte)
    return btoa(all).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
  }
  const named = (list) => list?.map((one) => ({ ...one, id: bytes(one.id) }))

  /** What is asked, with bytes where the browser wants bytes. */
  const request = (options) => ({
    ...options,
    challenge: bytes(options.challenge),
    ...(options.user && { user: { ...options.user, id: bytes(options.user.id) } }),
    ...(options.excludeCredentials && { excludeCredentials: named(options.excludeCredentials) }),
    ...(options.allowCredentials && { allowCredentials: named(options.allowCredentials) }),
  })

  /** What the authenticator said, as JSON. */
  const answer = ({ id, rawId, type, response }) => {
    const parts = {}
    for (const name of ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
      if (response[name]) parts[name] = text(response[name])
    }
    return JSON.stringify({ id, rawId: text(rawId), type, extensions: {}, response: parts })
  }

  for (const form of document.querySelectorAll('form[data-passkey]')) {
    const says = form.querySelector('[role=alert]')
    const button = form.querySelector('button')
    const say = (why) => {
      says.textContent = why
      says.hidden = false
      button.disabled = false
    }
    form.hidden = false
    form.addEventListener('submit', async (event) => {
      event.preventDefault()
      button.disabled = true
      says.hidden = true
      try {
        const asked = await fetch('/account/passkeys', { method: 'POST', body: new URLSearchParams(new FormData(form)) })
        const options = await asked.json()
        if (!asked.ok) return say(options.message)
        const publicKey = request(options)
        const credential = options.user ? await navigator.credentials.create({ publicKey }) : await navigator.credentials.get({ publicKey })
        form.elements.credential.value = answer(credential)
        form.submit()
      } catch (error) {
        if (error.name === 'NotAllowedError') return say('Your device did not use a passkey.')
        if (error.name === 'InvalidStateError') return say('This device has a passkey of your account already.')
        say('This did not work. Try again.')
      }
    })
  }
})()
