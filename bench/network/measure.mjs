// What the parts share: tables, and the memory of a process.
import { readFile } from 'node:fs/promises'

/** Resident memory of a program now and at its highest, in megabytes. */
export async function memory(program) {
  const status = await readFile(`/proc/${program.child.pid}/status`, 'utf8')
  const field = (name) => (Number(status.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))[1]) * 1024) / 1e6
  return { now: field('VmRSS'), peak: field('VmHWM') }
}

/** The value below which the given part of the values lies. */
export function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]
}

/** Prints a table in Markdown; what stands in the first column is text, all others are numbers. */
export function table(title, head, rows) {
  console.log(`\n**${title}**\n`)
  console.log(`| ${head.join(' | ')} |`)
  console.log(`|---|${head.slice(1).map(() => '---:|').join('')}`)
  for (const row of rows) console.log(`| ${row.join(' | ')} |`)
}

/** A number for people: three digits that say something. */
export const figure = (value) => (value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3))
