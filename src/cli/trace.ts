/** `--trace` and `--count`: which requests to tell, where to, and the table of counts at the end. */
import { closeSync, openSync, writeSync } from 'node:fs'
import type { Census } from '../machine/census.ts'
import { InputError } from '../errors.ts'
import { fileProblem } from '../file-problem.ts'
import type { Event, Observer } from '../paravirt/observe.ts'
import type { RequestKind } from '../paravirt/requests.ts'
import { traceJson, traceLine } from '../paravirt/trace.ts'
import { parseName } from './options.ts'

/** As they are written on the command line. */
const kinds = {
  cpuid: 'cpuid',
  msr: 'msr',
  hypercalls: 'hypercall',
  commands: 'command',
  counters: 'counter',
  memory: 'memory',
  ports: 'port',
  rings: 'ring',
} as const
/** As they are called in a trace's records. */
export const requestKinds: readonly RequestKind[] = Object.values(kinds)
type KindName = keyof typeof kinds

/** Lines are written when so many bytes have gathered. */
const GATHERED = 1 << 16

/** `hypercalls,msr`, or `all`. */
export function parseTrace(text: string): ReadonlySet<RequestKind> {
  const names = Object.keys(kinds) as KindName[]
  const words: (KindName | 'all')[] = [...names, 'all']
  const chosen = text.split(',').map((word) => parseName('kind of request', word.trim(), words))
  return new Set(chosen.flatMap((name) => (name === 'all' ? Object.values(kinds) : [kinds[name]])))
}

export interface Trace {
  attach(requests: Observer): void
  /** Write what has gathered. */
  end(): void
}

/** Opens the file at once, so that one that cannot be written is refused before anything starts. */
export function openTrace(wanted: ReadonlySet<RequestKind>, file: string | undefined): Trace {
  let descriptor: number
  try {
    descriptor = file === undefined ? process.stderr.fd : openSync(file, 'w')
  } catch (error) {
    throw new InputError(`--trace-file ${file}: ${fileProblem(error, 'write')}`)
  }
  const line = file === undefined ? traceLine : traceJson
  let gathered = ''
  const flush = () => {
    writeSync(descriptor, gathered)
    gathered = ''
  }
  return {
    attach: (requests) =>
      void requests.listen((event: Event) => {
        if (!wanted.has(event.request.kind)) return
        gathered += `${line(event)}\n`
        if (file === undefined || gathered.length > GATHERED) flush()
      }),
    end: () => {
      flush()
      if (file !== undefined) closeSync(descriptor)
    },
  }
}

/** `--count` alone, or with `all`. */
export function parseCount(value: true | string): 'requests' | 'all' {
  return value === true ? 'requests' : parseName('thing to count', value, ['all'])
}

/**
 * How often each request was made, what the kernel did without asking (`unseen` where nobody counted that), and how
 * often each of Linux's operations was served, most often first.
 */
export function countLines({ counts }: Observer, census: Census | undefined): string[] {
  const ops = new Map<string, number>()
  const add = (op: string, count: number) => void ops.set(op, (ops.get(op) ?? 0) + count)
  for (const [request, count] of counts) for (const op of request.ops) add(op, count)
  const unasked = census?.list() ?? []
  for (const { op, count } of unasked) if (op) add(op, count)
  const lines = (entries: Iterable<readonly [string, number]>) =>
    [...entries].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${String(count).padStart(12)}  ${name}`)
  return [
    'requests:',
    ...lines([...counts].map(([{ kind, name }, count]) => [`${kind} ${name}`, count] as const)),
    'without asking:',
    ...(census ? lines(unasked.map(({ what, count }) => [what, count] as const)) : ['      unseen  (--count all)']),
    'operations:',
    ...lines(ops),
  ]
}
