/** `paravirt demo`: the project's own kernel on every platform, with nothing to fetch. */
import Table from 'cli-table3'
import { InputError } from '../errors.ts'
import { type Bits, pvopsImage } from '../demo/image.ts'
import type { Cost } from '../demo/report.ts'
import { demoPlatforms, type PvopsRun, runPvops } from '../demo/run.ts'
import { summary } from '../demo/summary.ts'
import { ExitCode } from './exit-codes.ts'
import { parseName, parseTimeout } from './options.ts'

export interface DemoOptions {
  readonly platforms?: string
  readonly bits: string
  readonly cpus: string
  readonly timeout: string
  readonly console?: true
  readonly json?: true
}

const MOST_CPUS = 8
/** A check of the kernel's failed somewhere, or it did not come to its end. */
const FAILED = 1
const plain = { style: { head: [], border: [] }, chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' } }

/** Returns the exit code. */
export async function demo(options: DemoOptions): Promise<number> {
  const bits = parseBits(options.bits)
  const cpus = parseCpus(options.cpus)
  const known = demoPlatforms(bits)
  const names = options.platforms?.split(',') ?? known
  const platforms = names.map((name) => parseName('platform', name.trim(), known))
  const limit = parseTimeout(options.timeout)
  const image = await pvopsImage(bits)
  const runs: { platform: string; run: PvopsRun }[] = []
  for (const platform of platforms) {
    const run = await runPvops({ image, bits, platform, cpus, signal: AbortSignal.timeout(limit) })
    runs.push({ platform, run })
    if (options.console) process.stdout.write(`--- ${platform}\n${run.console}`)
    else if (!options.json) process.stdout.write(`${summary(platform, run)}\n`)
  }
  if (options.json) process.stdout.write(`${JSON.stringify(runs.map(({ platform, run }) => asJson(platform, run)))}\n`)
  else if (!options.console) process.stdout.write(`\n${costTable(runs)}\n${legend}\n`)
  return runs.every(({ run }) => run.passed) ? ExitCode.OK : FAILED
}

function parseBits(text: string): Bits {
  if (text === '64') return 64
  if (text === '32') return 32
  throw new InputError(`--bits '${text}' is neither 64 nor 32`)
}

function parseCpus(text: string): number {
  const cpus = /^\d$/.test(text) ? Number(text) : 0
  if (cpus < 1 || cpus > MOST_CPUS) throw new InputError(`--cpus '${text}' is not a number from 1 to ${MOST_CPUS}`)
  return cpus
}

const marks = { table: '', nothing: '', inline: '', call: '>', jump: '>' } as const
const legend = `Nanoseconds of one operation where its call sites are patched, in brackets: called through the table.
> is a direct call, - no code at all, the others are instructions in place of the call. * is the platform's own way.`

/** What a call costs now, and what it cost through the table. */
function cell(cost: Cost | undefined): string {
  if (!cost || (cost.after === undefined && cost.how !== 'nothing')) return ''
  const number = (value: number | undefined) => (value === undefined ? '-' : value.toFixed(value < 100 ? 1 : 0))
  const now = cost.how === 'nothing' ? '-' : `${marks[cost.how]}${number(cost.after)}`
  return `${now}${cost.whose === 'native' ? '' : '*'}${cost.before === undefined ? '' : ` (${number(cost.before)})`}`
}

function costTable(runs: readonly { platform: string; run: PvopsRun }[]): string {
  const table = new Table({ head: ['operation', ...runs.map(({ platform }) => platform)], ...plain })
  const ops = new Set(runs.flatMap(({ run }) => run.costs.map(({ op }) => op)))
  for (const op of ops) table.push([op, ...runs.map(({ run }) => cell(run.costs.find((cost) => cost.op === op)))])
  return table.toString()
}

function asJson(platform: string, { title, sites, checks, costs, passed, trouble, seconds }: PvopsRun): unknown {
  return { platform, title, passed, trouble, seconds, sites, checks, costs }
}
