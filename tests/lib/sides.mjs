// The server under test and the official one, side by side, each with an account.
import { newAccount } from './accounts.mjs'
import { startPds, startTarget } from './servers.mjs'

/** Starts both; the server under test is the first. */
export async function startSides() {
  const servers = await Promise.all([startTarget(), startPds()])
  return Promise.all(servers.map(async (server) => ({ server, account: await newAccount(server) })))
}

/** Stops both, or what came up of them. */
export const stopSides = (sides) => Promise.all((sides ?? []).map(({ server }) => server.close()))
