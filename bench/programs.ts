/**
 * `npm run bench:programs [ROUNDS]`: the same static program here, in QEMU's TCG and natively, in turn. Each kind of
 * work is timed from outside, by the arrival of its lines, so a guest's clock cannot flatter it.
 */
import { paravirt, prepareGuest, programs, tcg } from './guest.ts'
import type { Sample } from './measure.ts'
import { measureUntil, median, table } from './measure.ts'

const rounds = Number(process.argv[2] ?? 1)

interface Work {
  readonly seconds: number
  readonly check: string
}

/** Seconds and check value of each kind of work, by name. */
function work({ lines }: Sample): Map<string, Work> {
  const begun = new Map<string, number>()
  const done = new Map<string, Work>()
  for (const { text, at } of lines) {
    const [word, name, , , check] = text.split(' ')
    if (word === 'begin') begun.set(name!, at)
    else if (word === 'end') done.set(name!, { seconds: at - begun.get(name!)!, check: check! })
  }
  return done
}

const guest = await prepareGuest('quiet rdinit=/bench')
const native = { name: 'native', command: 'sh', args: ['-c', `${programs()}; echo bench: done; sleep 5`] }
const peers = [paravirt(guest), tcg(guest), native]
const results = peers.map(() => [] as Map<string, Work>[])
for (let round = 0; round < rounds; round++)
  for (const [i, { command, args }] of peers.entries())
    results[i]!.push(work(await measureUntil('bench: done', command, args)))

console.log(`\nprograms, milliseconds, medians of ${rounds}`)
for (const { name, command, args } of peers) console.log(`${name}: ${[command, ...args].join(' ')}`)
const names = [...results[0]![0]!.keys()]
const rows = names.map((name) => {
  const times = results.map((runs) => median(runs.map((run) => run.get(name)!.seconds)))
  const checks = new Set(results.flat().map((run) => run.get(name)!.check))
  const [ours, theirs, host] = times as [number, number, number]
  return [
    name,
    ...times.map((seconds) => (seconds * 1000).toFixed(0)),
    (ours / theirs).toFixed(2),
    (ours / host).toFixed(1),
    checks.size === 1 ? 'same' : 'DIFFERENT',
  ]
})
console.log(table([['', ...peers.map(({ name }) => name), 'to tcg', 'to native', 'result'], ...rows]))
if (rows.some((row) => row.at(-1) !== 'same')) process.exitCode = 1
