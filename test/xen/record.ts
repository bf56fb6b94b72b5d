/**
 * Compares guests/xen here with Debian's Xen: `node test/xen/record.ts [--record | SEED]`. With --record the answers
 * become what CI expects; with a seed, the first differences in what it did are shown.
 *
 * Xen is interrupted by its own timers, and a hypercall that goes on afterwards is not always as if it had not been: what
 * counts is what two runs agree on.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildXenGuest } from '../guests/build.ts'
import { BATCH, batches, batchLine, playHere, playOnXen } from './play.ts'

const ATTEMPTS = 5
const guest = buildXenGuest()

async function onXen(cmdline: string): Promise<string[]> {
  const runs: string[] = []
  for (let i = 0; i < ATTEMPTS; i++) {
    const text = (await playOnXen(guest, cmdline)).join('\n')
    if (runs.includes(text)) return text.split('\n')
    runs.push(text)
  }
  throw new Error(`${cmdline}: Xen never did the same twice`)
}

async function compare(cmdline: string): Promise<string[]> {
  const there = await onXen(cmdline)
  const { lines: here } = await playHere(guest, cmdline)
  const different = there.flatMap((line, i) =>
    line === here[i] ? [] : [`line ${i + 1}\n  Xen:  ${line}\n  here: ${here[i]}`],
  )
  console.log(different.slice(0, 20).join('\n') || `${cmdline}: all ${there.length} lines are the same`)
  return there
}

const [what] = process.argv.slice(2)
if (what !== undefined && what !== '--record') {
  // A seed goes on with the frames that those before it left.
  const seed = Number(what)
  const first = seed - ((seed - 1) % BATCH)
  await compare(`${batchLine(first).replace(/seeds=\d+/, `seeds=${seed - first + 1}`)} show=${seed}`)
} else {
  const lines: string[] = []
  for (const first of batches) lines.push(...(await compare(batchLine(first))).slice(0, -1))
  if (what === '--record') writeFileSync(join(import.meta.dirname, 'answers.txt'), `${lines.join('\n')}\n`)
}
