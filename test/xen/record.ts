/**
 * Compares guests/xen here with Debian's Xen, seed by seed: `node test/xen/record.ts [--record | SEED]`. With --record
 * the answers become what CI expects; with a seed, the first differences in what it did are shown.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildXenGuest } from '../guests/build.ts'
import { playHere, playOnXen } from './play.ts'

const SEEDS = 240
const [what] = process.argv.slice(2)
const seed = what === undefined || what === '--record' ? undefined : Number(what)
const guest = buildXenGuest()
// A seed goes on with the frames that those before it left.
const cmdline = seed === undefined ? `seeds=${SEEDS}` : `seeds=${seed} show=1`
const { lines: here } = await playHere(guest, cmdline)
const there = await playOnXen(guest, cmdline)
const different = there.flatMap((line, i) =>
  line === here[i] ? [] : [`line ${i + 1}\n  Xen:  ${line}\n  here: ${here[i]}`],
)
console.log(different.slice(0, 20).join('\n') || `all ${there.length} lines are the same`)
if (what === '--record') writeFileSync(join(import.meta.dirname, 'answers.txt'), `${there.join('\n')}\n`)
