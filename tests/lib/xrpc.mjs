// Plain XRPC calls, as bytes on the wire: nothing is checked or corrected on the client's side.

/** One call. Returns `{ status, error, message, body, headers }`; `body` is JSON or bytes by content type. */
export async function call(server, method, path, { params, token, json, raw, type, headers = {} } = {}) {
  const url = new URL(path.startsWith('/') ? path : `/xrpc/${path}`, server.url)
  for (const [name, value] of Object.entries(params ?? {})) {
    for (const one of [value].flat()) if (one !== undefined) url.searchParams.append(name, String(one))
  }
  const send = { ...headers }
  if (token !== undefined) send.authorization = token.includes(' ') ? token : `Bearer ${token}`
  let body
  if (json !== undefined) {
    send['content-type'] = type ?? 'application/json'
    body = JSON.stringify(json)
  } else if (raw !== undefined) {
    if (type) send['content-type'] = type
    body = raw
  }
  const res = await fetch(url, { method, headers: send, body, redirect: 'manual', signal: AbortSignal.timeout(120_000) })
  const bytes = new Uint8Array(await res.arrayBuffer())
  const isJson = (res.headers.get('content-type') ?? '').startsWith('application/json')
  let parsed = bytes
  if (isJson) {
    try {
      parsed = JSON.parse(Buffer.from(bytes).toString('utf8'))
    } catch {
      parsed = undefined
    }
  }
  return {
    status: res.status,
    error: isJson ? parsed?.error : undefined,
    message: isJson ? parsed?.message : undefined,
    body: parsed,
    headers: res.headers,
  }
}

/** A query. */
export const query = (server, nsid, params, options = {}) => call(server, 'GET', nsid, { params, ...options })

/** A procedure with a JSON body. */
export const procedure = (server, nsid, json, options = {}) => call(server, 'POST', nsid, { json, ...options })
