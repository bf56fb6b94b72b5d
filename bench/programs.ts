/**
 * `npm run bench:programs -- [ROUNDS] [--only SET,NAME,...] [--peers tcg,native,v86] [--repeat N]`: the same static
 * programs here and elsewhere, in turn. For 64 bits the peers are QEMU's TCG and this machine itself, for 32 bits v86.
 * Each kind of work is timed from outside, by the arrival of its lines, so a guest's clock cannot flatter it.
 */
import { parseArgs } from 'node:util'
import type { Bits } from './guest.ts'
import { busybox, prepareGuest, programs } from './guest.ts'
import type { Line, Sample } from './measure.ts'
import { measureUntil, median, table, verdict } from './measure.ts'
import type { Peer } from './peers.ts'
import { native, paravirt, tcg, v86 } from './peers.ts'
import type { Figure, Work } from './work.ts'
import { bySet, figure, goals, LEAST_INTEGER, middle, PEAK_GOAL, V86_GOAL, work } from './work.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', default: '' },
    peers: { type: 'string', default: 'tcg,native,v86' },
    repeat: { type: 'string', default: '5' },
  },
})
const rounds = Number(positionals[0] ?? 1)
const task = [options.repeat, '100', ...options.only.split(',').filter((name) => name !== '')]
const wanted = new Set(options.peers.split(','))

interface Outcome {
  readonly peer: Peer
  readonly samples: readonly Sample[]
  readonly runs: readonly Map<string, Work>[]
}

/** All peers in turn, `rounds` times. */
async function run(bits: Bits): Promise<Outcome[]> {
  const guest = await prepareGuest({ bits, extra: 'quiet rdinit=/bench', work: task })
  const peers = [await paravirt(guest)]
  if (bits === 64 && wanted.has('tcg')) peers.push(tcg(guest))
  if (bits === 32 && wanted.has('v86')) peers.push(v86(guest))
  if (bits === 64 && wanted.has('native')) peers.push(native(programs(bits), await busybox(bits), task))
  const samples = peers.map((): Sample[] => [])
  for (let round = 0; round < rounds; round++)
    for (const [i, { command, args }] of peers.entries())
      samples[i]!.push(await measureUntil('bench: done', command, args))
  return peers.map((peer, i) => ({ peer, samples: samples[i]!, runs: samples[i]!.map(({ lines }) => work(lines)) }))
}

type Clock = 'wall' | 'cpu'
/** This machine's own processor is timed by the program itself, so that what else runs on it does not count. */
const measured = ({ peer, runs }: Outcome, name: string, clock: Clock): Figure =>
  middle(runs.map((kinds) => figure(kinds.get(name)![peer.name === 'native' ? 'own' : clock])))

const milliseconds = (seconds: number) => (seconds * 1000).toFixed(0)

function report(bits: Bits, outcomes: readonly Outcome[]): void {
  const [ours, ...others] = outcomes as [Outcome, ...Outcome[]]
  console.log(`\n${bits}-bit programs, milliseconds a round, medians of ${rounds} x ${Number(options.repeat) - 1}`)
  for (const { peer } of outcomes) console.log(`${peer.name}: ${[peer.command, ...peer.args].join(' ')}`)
  const all = [...ours.runs[0]!]
  const ratio = (a: Outcome, b: Outcome, name: string, clock: Clock) =>
    measured(a, name, clock).steady / measured(b, name, clock).steady
  const same = (name: string) =>
    new Set(outcomes.flatMap(({ runs }) => runs.map((kinds) => kinds.get(name)?.check))).size === 1

  const rows = all.map(([name]) => {
    const { warmUp, share } = measured(ours, name, 'wall')
    return [
      name,
      ...outcomes.map((one) => milliseconds(measured(one, name, 'wall').steady)),
      ...others.flatMap((one) => [ratio(one, ours, name, 'wall').toFixed(2), ratio(one, ours, name, 'cpu').toFixed(2)]),
      milliseconds(warmUp),
      `${(share * 100).toFixed(0)} %`,
      same(name) ? 'same' : 'DIFFERENT',
    ]
  })
  const gains = others.flatMap(({ peer }) => [`${peer.name}/ours`, 'by CPU'])
  const heads = ['', ...outcomes.map(({ peer }) => peer.name), ...gains, 'warm-up', 'share', 'results']
  console.log(table([heads, ...rows]))
  if (rows.some((row) => row.at(-1) !== 'same')) process.exitCode = 1

  const means = (a: Outcome, b: Outcome, clock: Clock) =>
    bySet(new Map(all.map(([name, { set }]) => [name, { set, value: ratio(a, b, name, clock) }])))
  const columns: [string, Map<string, number>][] = []
  const host = others.find(({ peer }) => peer.name === 'native')
  for (const one of outcomes)
    if (host && one !== host) columns.push([`${one.peer.name}/native`, means(one, host, 'wall')])
  const rival = others.find((one) => one !== host)
  if (rival)
    for (const clock of ['wall', 'cpu'] as const)
      columns.push([`${rival.peer.name}/ours${clock === 'cpu' ? ' by CPU' : ''}`, means(rival, ours, clock)])
  if (columns.length === 0) return
  const sets = [...columns[0]![1].keys()]
  const goal = (set: string) => (bits === 64 ? goals[set] : set === 'all' ? V86_GOAL : undefined)
  const judged = (set: string) => {
    const least = goal(set)
    if (!rival || least === undefined) return ['', '']
    return [String(least), columns.at(-2)![1].get(set)! >= least ? 'met' : 'missed']
  }
  console.log(`\ngeometric means (${rival?.peer.name ?? 'peer'}/ours: how many times as fast we are)`)
  const lines = sets.map((set) => [set, ...columns.map(([, mean]) => mean.get(set)!.toFixed(2)), ...judged(set)])
  console.log(table([['set', ...columns.map(([head]) => head), 'goal', ''], ...lines]))

  if (bits === 64 && rival) {
    const slow = all.filter(([, { set }]) => set === 'integer')
    const worst = slow.map(([name]) => [name, ratio(rival, ours, name, 'wall')] as const).sort((a, b) => a[1] - b[1])[0]
    if (worst) verdict(`slowest integer program: ${worst[0]}, ${worst[1].toFixed(2)}`, worst[1] >= LEAST_INTEGER)
  }
}

/** Seconds from the kernel's first line to init's. */
function bannerToInit(lines: readonly Line[]): number {
  const at = (text: string) => lines.find((line) => line.text.includes(text))?.at ?? NaN
  return at('paravirt: user space') - at('Linux version')
}

/** v86 has no way to leave the kernel's decompressor out, so the time begins with the kernel's own first line. */
async function boots(): Promise<void> {
  const guest = await prepareGuest({ bits: 32, extra: 'rdinit=/bench' })
  const peers = [await paravirt(guest), v86(guest)]
  const times = peers.map((): number[] => [])
  for (let round = 0; round < Math.max(3, rounds); round++)
    for (const [i, { command, args }] of peers.entries())
      times[i]!.push(bannerToInit((await measureUntil('paravirt: user space', command, args)).lines))
  const [ours, theirs] = times.map(median) as [number, number]
  const text = `banner to user space: paravirt ${ours.toFixed(2)} s, v86 ${theirs.toFixed(2)} s, ratio ${(theirs / ours).toFixed(2)}`
  verdict(text, theirs / ours >= V86_GOAL)
}

function costs({ samples }: Outcome): void {
  const peak = Math.max(...samples.map((sample) => sample.peak))
  verdict(`peak memory: ${peak.toFixed(0)} MiB`, peak <= PEAK_GOAL)
  for (const { errors } of samples) console.log(`translator: ${errors.trim()}`)
}

if (wanted.has('tcg') || wanted.has('native')) {
  const outcomes = await run(64)
  report(64, outcomes)
  costs(outcomes[0]!)
}
if (wanted.has('v86')) {
  const outcomes = await run(32)
  report(32, outcomes)
  costs(outcomes[0]!)
  await boots()
}
