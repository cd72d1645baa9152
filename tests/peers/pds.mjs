// The official PDS, configured as on a developer's machine: open registration, handles under .test,
// rate limits off, its own SQLite files and blobs in one folder.
// Usage: node pds.mjs PORT DATA_DIR PLC_URL — prints one line once it listens.
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { PDS } from '@atproto/pds'

const [port, dir, plc] = process.argv.slice(2)
for (const name of ['blobs', 'blobs-tmp']) mkdirSync(path.join(dir, name), { recursive: true })

const defaults = {
  PDS_MAX_REPO_IMPORT_SIZE: String(1 << 30),
  LOG_ENABLED: 'false',
  PDS_PORT: port,
  PDS_HOSTNAME: 'localhost',
  PDS_DATA_DIRECTORY: dir,
  PDS_BLOBSTORE_DISK_LOCATION: path.join(dir, 'blobs'),
  PDS_BLOBSTORE_DISK_TMP_LOCATION: path.join(dir, 'blobs-tmp'),
  PDS_DID_PLC_URL: plc,
  PDS_DEV_MODE: 'true',
  PDS_INVITE_REQUIRED: 'false',
  PDS_RATE_LIMITS_ENABLED: 'false',
  PDS_JWT_SECRET: 'a-secret-of-a-test-server-only',
  PDS_DPOP_SECRET: '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',
  PDS_ADMIN_PASSWORD: 'admin',
  PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX: '6a09e667f3bcc908b2fb1366ea957d3e3adec17512775099da2f590b0667322a',
}
for (const [name, value] of Object.entries(defaults)) process.env[name] ??= value

await PDS.run({ onStarted: () => console.log(`listening ${port}`) })
