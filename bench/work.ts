/** What the lines of the bench's program (bench/programs/main.c) say about each kind of work, and the goals. */
import { geometricMean, median, type Line } from './measure.ts'

/** Seconds of one kind of work, from outside. */
export interface Work {
  readonly set: string
  /** Of each round: by the clock on the wall, by the processors, and as the program itself counts (real machines). */
  readonly wall: readonly number[]
  readonly cpu: readonly number[]
  readonly own: readonly number[]
  readonly check: string
}

export interface Figure {
  /** A round once everything is warm: the median of all but the first. */
  readonly steady: number
  /** What the first round took beyond that, and its share of all rounds. */
  readonly warmUp: number
  readonly share: number
}

/** How many times as fast as TCG a set has to be (issue 3). */
export const goals: Readonly<Record<string, number>> = {
  integer: 1.3,
  sse: 4,
  x87: 1,
  copy: 4,
  string: 1.3,
  chase: 1,
  system: 1,
  code: 2,
}
/** And no single program of these sets less than this. */
export const LEAST_INTEGER = 0.7
/** How many times as fast as v86 all of it has to be, and the time from the kernel's banner to user space. */
export const V86_GOAL = 3
export const PEAK_GOAL = 500

export function work(lines: readonly Line[]): Map<string, Work> {
  const all = new Map<string, { -readonly [K in keyof Work]: K extends 'set' | 'check' ? string : number[] }>()
  let last: Line | undefined
  for (const line of lines) {
    const [word, name = '', third = '', microseconds = '', check = ''] = line.text.split(' ')
    if (word === 'begin') all.set(name, { set: third, wall: [], cpu: [], own: [], check: '' })
    if (word === 'round' && last) {
      const kind = all.get(name)!
      kind.wall.push(line.at - last.at)
      kind.cpu.push(line.cpu - last.cpu)
      kind.own.push(Number(microseconds) / 1e6)
      kind.check = `${kind.check} ${check}`
    }
    if (word === 'begin' || word === 'round') last = line
  }
  return all
}

export function figure(rounds: readonly number[]): Figure {
  const [first = NaN, ...rest] = rounds
  const steady = rest.length > 0 ? median(rest) : first
  const warmUp = first - steady
  return { steady, warmUp, share: warmUp / rounds.reduce((sum, seconds) => sum + seconds, 0) }
}

/** The medians of several runs' figures. */
export function middle(figures: readonly Figure[]): Figure {
  const of = (key: keyof Figure) => median(figures.map((one) => one[key]))
  return { steady: of('steady'), warmUp: of('warmUp'), share: of('share') }
}

/** Geometric means of `values`, by set and for `all`. */
export function bySet(values: ReadonlyMap<string, { set: string; value: number }>): Map<string, number> {
  const lists = new Map<string, number[]>()
  for (const { set, value } of values.values())
    for (const name of [set, 'all']) lists.set(name, [...(lists.get(name) ?? []), value])
  const all = lists.get('all')!
  lists.delete('all')
  return new Map([...lists, ['all', all] as const].map(([name, list]) => [name, geometricMean(list)]))
}
