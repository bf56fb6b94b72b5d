/** `paravirt trace FILE [OTHER]`: a recorded trace printed, filtered, summed up, or compared with another. */
import { InputError } from '../errors.ts'
import { definitions } from '../platforms/index.ts'
import { differences } from '../trace/compare.ts'
import { traceFilter, type TraceFilter } from '../trace/filter.ts'
import { readTrace, recordPrinter } from '../trace/records.ts'
import { summaryLines } from '../trace/summary.ts'
import { requestKinds } from './trace.ts'
import { parseName } from './options.ts'

export interface TraceFileOptions extends TraceFilter {
  readonly summary?: true
}

export interface Printed {
  readonly lines: string[]
  /** Two traces were compared, and differ. */
  readonly differ: boolean
}

/** Throws InputError. */
export function traceFile(path: string, other: string | undefined, options: TraceFileOptions): Printed {
  for (const kind of options.kind?.split(',') ?? []) parseName('kind of request', kind.trim(), requestKinds)
  const wanted = traceFilter(options)
  const read = (file: string) => readTrace(file).filter(wanted)
  const print = recordPrinter(Object.values(definitions))
  const records = read(path)
  if (other === undefined) return { lines: options.summary ? summaryLines(records) : records.map(print), differ: false }
  if (options.summary) throw new InputError('--summary is for one trace; leave out the other')
  const found = differences(records, read(other))
  if (!found)
    throw new InputError(`${path} and ${other} have too little in common; look at parts, with --name, --from and --to`)
  return {
    lines: found.map(({ side, record, times }) => `${side} ${print(record)}${times > 1 ? ` (${times} times)` : ''}`),
    differ: found.length > 0,
  }
}
