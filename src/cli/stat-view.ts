/** What `paravirt stat` shows of an interval, and of the whole. */

export interface Rates {
  /** Name, how many, and if known the host's milliseconds for all of them. */
  readonly rows: readonly (readonly [name: string, count: number, milliseconds?: number])[]
}

export interface StatView {
  readonly title: string
  readonly seconds: number
  readonly requests: Rates
  readonly exits: Rates
  /** Functions and how many samples found a vCPU there. */
  readonly functions: readonly (readonly [name: string, samples: number])[]
  readonly samples: number
}

const MOST_ROWS = 12

const rate = (count: number, seconds: number): string => {
  const value = count / Math.max(seconds, 1e-9)
  return (value >= 10 ? Math.round(value).toLocaleString('en-US') : value.toFixed(1)).padStart(11)
}

/** Most frequent first, the rest summed up. */
export function statLines({ title, seconds, requests, exits, functions, samples }: StatView): string[] {
  const section = (name: string, rates: Rates, cost: boolean) => {
    const rows = rates.rows.filter(([, count]) => count > 0).toSorted((a, b) => b[1] - a[1])
    const shown = rows.slice(0, MOST_ROWS).map(([what, count, milliseconds]) => {
      const mean = cost ? (milliseconds ? ((1000 * milliseconds) / count).toFixed(2) : '-').padStart(10) : ''
      return `${rate(count, seconds)}${mean}  ${what}`
    })
    const rest = rows.slice(MOST_ROWS).reduce((sum, [, count]) => sum + count, 0)
    const more =
      rest > 0 ? [`${rate(rest, seconds)}${cost ? ' '.repeat(10) : ''}  and ${rows.length - MOST_ROWS} more`] : []
    const head = `${'per second'.padStart(11)}${cost ? 'mean µs'.padStart(10) : ''}  ${name}`
    return [head, ...(shown.length > 0 ? shown : ['          -']), ...more]
  }
  const hot = functions
    .toSorted((a, b) => b[1] - a[1])
    .slice(0, MOST_ROWS)
    .map(([name, count]) => `${((100 * count) / Math.max(samples, 1)).toFixed(1).padStart(10)}%  ${name}`)
  return [
    title,
    '',
    ...section('request', requests, false),
    '',
    ...section('exit', exits, true),
    '',
    `${'samples'.padStart(11)}  function`,
    ...(hot.length > 0 ? hot : ['          -']),
  ]
}
