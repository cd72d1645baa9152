// A browser, and what people need to be able to read a page in it.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chromium } from '../clients/index.mjs'

/** A small screen. */
export const PHONE = { width: 360, height: 640 }

const executablePath = process.env.CHROMIUM ?? spawnSync('which', ['chromium'], { encoding: 'utf8' }).stdout?.trim()

/** Why tests with a browser cannot run here, if so. */
export const NO_BROWSER = !executablePath && 'chromium is not installed'

/** Starts Chromium without a window. */
export const startBrowser = () => chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })

/** Nothing is wider than the screen, and text stands out from what is behind it. */
export async function isReadable(page) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.ok(wide <= 0, `${wide} pixels too wide`)
  const poor = await page.evaluate(() => {
    const numbers = (colour) => colour.match(/[\d.]+/g).map(Number)
    const light = ([r, g, b]) => {
      const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
      return 0.2126 * x + 0.7152 * y + 0.0722 * z
    }
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = numbers(getComputedStyle(at).backgroundColor)
        if (colour[3] !== 0) return colour
      }
      return [255, 255, 255]
    }
    const texts = [...document.body.querySelectorAll('*')].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) && e.offsetParent)
    return texts
      .map((element) => {
        const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x)
        return [element.textContent.trim().slice(0, 40), (a + 0.05) / (b + 0.05)]
      })
      .filter(([, contrast]) => contrast < 4.5)
  })
  // WCAG 2.2, 1.4.3
  assert.deepEqual(poor, [], 'text with too little contrast')
}
