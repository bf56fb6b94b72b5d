/** A trace in short: for each request how often, how often in vain, when first and last. */
import { isErrorResult, type TraceRecord } from './records.ts'

interface RequestSummary {
  readonly kind: string
  readonly name: string
  count: number
  errors: number
  /** Virtual nanoseconds. */
  first: number
  last: number
}

/** Most often first. */
function summarise(records: readonly TraceRecord[]): RequestSummary[] {
  const found = new Map<string, RequestSummary>()
  for (const record of records) {
    const { kind, name, t } = record
    const key = `${kind} ${name}`
    const summary = found.get(key) ?? { kind, name, count: 0, errors: 0, first: t, last: t }
    summary.count++
    if (isErrorResult(record)) summary.errors++
    summary.first = Math.min(summary.first, t)
    summary.last = Math.max(summary.last, t)
    found.set(key, summary)
  }
  return [...found.values()].sort((a, b) => b.count - a.count)
}

export function summaryLines(records: readonly TraceRecord[]): string[] {
  const seconds = (t: number) => (t / 1e9).toFixed(6).padStart(13)
  const lines = summarise(records).map(
    ({ kind, name, count, errors, first, last }) =>
      `${String(count).padStart(10)}${String(errors || '').padStart(8)}${seconds(first)}${seconds(last)}  ${kind} ${name}`,
  )
  return [`${'requests'.padStart(10)}${'errors'.padStart(8)}${'first'.padStart(13)}${'last'.padStart(13)}`, ...lines]
}
