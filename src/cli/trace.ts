/** `--trace` and `--count`: which requests to tell, where to, and the table of counts at the end. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { InputError } from '../errors.ts'
import type { Event, Observer } from '../paravirt/observe.ts'
import type { RequestKind } from '../paravirt/requests.ts'
import { traceJson, traceLine } from '../paravirt/trace.ts'
import { parseName } from './options.ts'

/** As they are written on the command line. */
const kinds = { cpuid: 'cpuid', msr: 'msr', hypercalls: 'hypercall', commands: 'command' } as const
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
    throw new InputError(`--trace-file ${file}: ${(error as Error).message}`)
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

/** How often each request was made and each of Linux's operations was served by one, most often first. */
export function countLines({ counts }: Observer): string[] {
  const ops = new Map<string, number>()
  for (const [request, count] of counts) for (const op of request.ops) ops.set(op, (ops.get(op) ?? 0) + count)
  const lines = (entries: Iterable<readonly [string, number]>) =>
    [...entries].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${String(count).padStart(12)}  ${name}`)
  return [
    'requests:',
    ...lines([...counts].map(([{ kind, name }, count]) => [`${kind} ${name}`, count] as const)),
    'operations:',
    ...lines(ops),
  ]
}
