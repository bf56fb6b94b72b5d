/**
 * Where two boots part: their requests in order, without times, and without the values that differ from boot to boot
 * (addresses, times). Repetitions of one request are one, however many: ticks of a timer are no difference.
 */
import { diffArrays } from 'diff'
import type { TraceRecord } from './records.ts'

export interface Difference {
  /** `-`: only in the first trace, `+`: only in the second. */
  readonly side: '-' | '+'
  readonly record: TraceRecord
  /** So many of the same, one after another. */
  readonly times: number
}

interface Step {
  readonly key: string
  readonly record: TraceRecord
  times: number
}

/** A difference of more steps than this is told only as far as it was followed. */
const MOST_EDITS = 5000

/** Undefined: they have too little in common to be compared. */
export function differences(a: readonly TraceRecord[], b: readonly TraceRecord[]): Difference[] | undefined {
  const parts = diffArrays(steps(a), steps(b), {
    comparator: (left, right) => left.key === right.key,
    maxEditLength: MOST_EDITS,
  })
  return parts?.flatMap(({ added, removed, value }) =>
    added || removed ? value.map(({ record, times }) => ({ side: added ? '+' : '-', record, times }) as const) : [],
  )
}

function steps(records: readonly TraceRecord[]): Step[] {
  const found: Step[] = []
  for (const record of records) {
    const key = keyOf(record)
    const last = found.at(-1)
    if (last?.key === key) last.times++
    else found.push({ key, record, times: 1 })
  }
  return found
}

/** Small numbers are commands, vectors and flags; large ones are addresses and times. */
const SMALL = 0x10000n

function keyOf({ kind, name, access, args, result }: TraceRecord): string {
  const plain = (text: string) => (/^0x[\da-f]+$/.test(text) && BigInt(text) >= SMALL ? '#' : text)
  const values = Object.entries(args).map(([arg, value]) => `${arg}=${plain(value)}`)
  return [kind, name, access, ...values, plain(result)].join(' ')
}
