/** Runs a machine in a process of its own, watches its console, and measures until a line of it. Linux hosts only. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export interface Sample {
  /** Seconds from the process's start to the line. */
  readonly wall: number
  /** Seconds of processor time, all threads, user and system. */
  readonly cpu: number
  /** Peak resident memory in MiB. */
  readonly peak: number
  /** Each whole line of the console so far. */
  readonly lines: readonly Line[]
  /** What it printed on stderr by its end. */
  readonly errors: string
}

export interface Line {
  readonly text: string
  /** The second of its arrival. */
  readonly at: number
  /** Seconds of processor time of all threads until then, of lines that are timed. */
  readonly cpu: number
}

const ROUND_LIMIT = 3_600_000

/** Starts `command`, ends it after the first console line that holds `until`; lines like `timed` have their own times. */
export function measureUntil(
  until: string,
  command: string,
  args: readonly string[],
  timed = /^(begin|round) /,
): Promise<Sample> {
  return new Promise((resolve, reject) => {
    const start = performance.now()
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const lines: Line[] = []
    let partial = ''
    let errors = ''
    let sample: Omit<Sample, 'errors'> | undefined
    const limit = setTimeout(() => child.kill('SIGKILL'), ROUND_LIMIT)

    child.stdout.setEncoding('latin1').on('data', (piece: string) => {
      const at = (performance.now() - start) / 1000
      const whole = (partial + piece).split('\n')
      partial = whole.pop()!
      for (const text of whole) {
        lines.push({ text: text.trimEnd(), at, cpu: timed.test(text) ? threadTime(child.pid!) : 0 })
        if (sample || !text.includes(until)) continue
        sample = { wall: at, ...usage(child.pid!), lines }
        child.kill('SIGTERM')
      }
    })
    child.stderr.setEncoding('utf8').on('data', (piece: string) => (errors += piece))
    child.on('error', reject)
    child.on('close', () => {
      clearTimeout(limit)
      if (sample) resolve({ ...sample, errors })
      else reject(new Error(`${command}: ended without '${until}'\n${errors}${tail(lines)}`))
    })
  })
}

const tail = (lines: Sample['lines']): string =>
  lines
    .slice(-10)
    .map(({ text }) => text)
    .join('\n')

/** proc(5): fields 14 and 15 of stat are utime and stime in clock ticks, of which Linux counts 100 a second. */
function usage(pid: number): { cpu: number; peak: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, peak: peakMemory(pid) }
}

/** Peak resident memory in MiB. */
export function peakMemory(pid: number): number {
  const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
  return Number(peak![1]) / 1024
}

/** Seconds of processor time of a process's living threads: proc(5), task/[tid]/schedstat, in nanoseconds. */
export function threadTime(pid: number): number {
  let sum = 0
  for (const thread of readdirSync(`/proc/${pid}/task`))
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0])
    } catch {
      // A thread that has just ended.
    }
  return sum / 1e9
}

export const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const verdict = (text: string, met: boolean): void => console.log(`${text}: ${met ? 'met' : 'missed'}`)

/** Columns aligned, the first to the left. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (row: readonly string[]) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ')
  return rows.map(line).join('\n')
}
