// Clients of the AT Protocol whose libraries differ in version from those of the other tests, and a browser to drive.
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

export * as atcute from '@atcute/client'
export * as car from '@atcute/car'
export { PasswordSession } from '@atcute/password-session'
export { Bot } from '@skyware/bot'
export { chromium } from 'playwright-core'

/** A program for the browser, as one script. */
export async function bundle(entry) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(entry)],
    absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
    bundle: true,
    write: false,
    format: 'iife',
    target: 'es2022',
    logLevel: 'error',
  })
  return outputFiles[0].text
}
