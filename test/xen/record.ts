/**
 * Compares guests/xen here with Debian's Xen: `node test/xen/record.ts [--record [FIRST] | SEED]`. With --record the
 * answers become what CI expects, from that seed on; with a seed, the first differences in what it did are shown.
 *
 * Xen is interrupted by its own timers, and a hypercall that goes on afterwards is not always as if it had not been: what
 * counts is what two runs agree on.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildXenGuest } from '../guests/build.ts'
import { type Batch, batches, batchLine, playHere, playOnXen } from './play.ts'

const ATTEMPTS = 5
const guest = buildXenGuest()

async function onXen(cmdline: string, vcpus: number): Promise<string[]> {
  const runs: string[] = []
  for (let i = 0; i < ATTEMPTS; i++) {
    const text = (await playOnXen(guest, cmdline, vcpus)).join('\n')
    if (runs.includes(text)) return text.split('\n')
    runs.push(text)
  }
  throw new Error(`${cmdline}: Xen never did the same twice`)
}

async function compare(batch: Batch, show = 0): Promise<string[]> {
  const cmdline = `${batchLine(batch)} show=${show}`
  const there = await onXen(cmdline, batch.vcpus)
  const { lines: here } = await playHere(guest, cmdline, batch.vcpus)
  const different = there.flatMap((line, i) =>
    line === here[i] ? [] : [`line ${i + 1}\n  Xen:  ${line}\n  here: ${here[i]}`],
  )
  console.log(different.slice(0, 20).join('\n') || `${cmdline}: all ${there.length} lines are the same`)
  return there
}

const [what, from = '1'] = process.argv.slice(2)
if (what !== undefined && what !== '--record') {
  const seed = Number(what)
  const batch = batches.find(({ first, seeds }) => seed >= first && seed < first + seeds)
  if (!batch) throw new Error(`no seed ${what}`)
  // A seed goes on with the frames that those before it left.
  await compare({ ...batch, seeds: seed - batch.first + 1 }, seed)
} else {
  const file = join(import.meta.dirname, 'answers.txt')
  const first = Number(from)
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, first - 1)
  for (const batch of batches.filter((each) => each.first >= first)) lines.push(...(await compare(batch)).slice(0, -1))
  if (what === '--record') writeFileSync(file, `${lines.join('\n')}\n`)
}
