/**
 * Our lines against TCG's. Those that TCG gets wrong are listed in GUEST.txt beside this file: what a processor does,
 * each under its reason (`##`), with the SDM's section.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Lines by what is before the colon; a name that comes again gets a number. */
export function byName(lines: readonly string[]): Map<string, string> {
  const result = new Map<string, string>()
  for (const line of lines) {
    const name = line.split(': ')[0]!
    let key = name
    for (let i = 2; result.has(key); i++) key = `${name} #${i}`
    result.set(key, line)
  }
  return result
}

/** The lines in which TCG is known to differ. */
export function tcgErrors(guest: string): string[] {
  const path = join(import.meta.dirname, `${guest}.txt`)
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines.filter((line) => line !== '' && !line.startsWith('## '))
}
