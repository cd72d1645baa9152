// The official did:plc directory with its in-memory database.
// Usage: node plc.mjs PORT — prints one line once it listens.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { PlcServer, Database } = require('@did-plc/server')

const port = Number(process.argv[2])
const server = PlcServer.create({ db: Database.mock(), port })
await server.start()
console.log(`listening ${port}`)
process.on('SIGTERM', () => server.destroy().then(() => process.exit(0)))
