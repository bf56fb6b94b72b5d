/**
 * What the matrix found, as data: `--json` writes it, `--merge` reads it back, every other output is made from it.
 * The schemas are the types, so that a file of another version is refused instead of misread.
 */
import { z } from 'zod'
import { NO_VCPU } from '../paravirt/observe.ts'
import { opsReadingSchema } from '../pvops/reading.ts'

export const REPORT_VERSION = 1

/**
 * How a boot ended. `crash`: the hypervisor stopped the guest. `cannot-enter`: this kernel has no way in on this platform, which is nobody's fault. `host-error`:
 * paravirt failed, so that nothing is known of the kernel.
 */
export const outcomes = [
  'ok',
  'panic',
  'hang',
  'triple-fault',
  'crash',
  'halted',
  'reset',
  'power-off',
  'command-failed',
  'cannot-enter',
  'host-error',
] as const
export type OutcomeKind = (typeof outcomes)[number]

export const verdicts = ['good', 'bad', 'skip'] as const
export type Verdict = (typeof verdicts)[number]

/** Without expectations. */
export const verdictOf = (outcome: OutcomeKind): Verdict =>
  outcome === 'ok' ? 'good' : outcome === 'cannot-enter' || outcome === 'host-error' ? 'skip' : 'bad'

/** Columns of requests: the groups of operations, then what serves none of them. */
export const groups = ['time', 'cpu', 'irq', 'apic', 'mmu', 'lock', 'machine', 'other'] as const
export type Group = (typeof groups)[number]

const count = z.number().int().nonnegative()

const message = z.object({
  /** As syslog(3); absent: not known. */
  level: z.number().int().min(0).max(7).optional(),
  /** Nanoseconds of the kernel's clock. */
  t: z.number(),
  text: z.string(),
})

const told = z.object({
  /** Nanoseconds of virtual time. */
  t: z.number(),
  /** -1: a request on a ring, of which that is not known. */
  vcpu: z.number().int().min(NO_VCPU),
  name: z.string(),
  /** As the trace prints it. */
  text: z.string(),
})
export type ToldRequest = z.infer<typeof told>

const cell = z.object({
  kernel: z.string(),
  /** What the kernel calls itself. */
  version: z.string(),
  platform: z.string(),
  outcome: z.enum(outcomes),
  /** What that means; with expectations, what those say. `skip`: it tells nothing of the kernel. */
  verdict: z.enum(verdicts),
  /** Expectations that were not met, a line each. */
  unmet: z.array(z.string()).optional(),
  /** One line: the panic's message, where it hung. */
  detail: z.string().optional(),
  /** Where each vCPU was, and what its stack says, if that is of interest. */
  backtrace: z.array(z.string()).optional(),
  /** Virtual nanoseconds and instructions from power-on to user space; absent: it was not reached. */
  userSpace: z.object({ t: z.number(), instructions: count }).optional(),
  /** Of the whole run. */
  instructions: count,
  virtualNanoseconds: z.number(),
  /** Of the host. */
  seconds: z.number(),
  /** What the kernel takes the platform for. */
  detected: z.string().optional(),
  /** How often each request was made. */
  requests: z.array(z.object({ kind: z.string(), name: z.string(), count, groups: z.array(z.enum(groups)) })),
  /** The first request answered by an error that is not expected. */
  firstError: told.optional(),
  /** The last requests before the end, of each name only the last. */
  lastRequests: z.array(told),
  /** Requests over time: for each bin of `binNanoseconds`, how many. */
  activity: z.object({ binNanoseconds: z.number(), counts: z.array(count) }),
  /** The kernel's log, as far as it could be read. */
  messages: z.array(message),
  /** Lines of the console, with the virtual time at which each ended. */
  console: z.array(z.object({ t: z.number(), text: z.string() })),
  /** What the command wrote. */
  output: z.string(),
  /** The kernel's tables of operations, or why they could not be read; if they were asked for. */
  ops: opsReadingSchema.optional(),
  opsError: z.string().optional(),
})
export type Cell = z.infer<typeof cell>

export const reportSchema = z.object({
  paravirtMatrix: z.literal(REPORT_VERSION, {
    error: ({ input }) =>
      `a report of version ${String(input)}; this paravirt reads version ${REPORT_VERSION}: make it anew`,
  }),
  /** In the order of the table; the first is what the others are compared with. */
  platforms: z.array(z.string()),
  kernels: z.array(z.string()),
  /** What was asked for, for the reader. */
  settings: z.object({
    memory: z.number(),
    cpus: z.number(),
    append: z.string().optional(),
    exec: z.string().optional(),
    timeout: z.number(),
  }),
  /** Which part of the cells this is. */
  shard: z.object({ index: count, count }).optional(),
  cells: z.array(cell),
})
export type Report = z.infer<typeof reportSchema>

/** A cell of which nothing is known yet, or ever will be. */
export function blankCell({ kernel, platform }: { kernel: string; platform: string }): Cell {
  return {
    kernel,
    version: 'unknown',
    platform,
    outcome: 'host-error',
    verdict: 'skip',
    instructions: 0,
    virtualNanoseconds: 0,
    seconds: 0,
    requests: [],
    lastRequests: [],
    activity: { binNanoseconds: 1, counts: [] },
    messages: [],
    console: [],
    output: '',
  }
}

/** Requests of a cell by group; a request that serves several groups counts in each. */
export function byGroup({ requests }: Pick<Cell, 'requests'>): Record<Group, number> {
  const sums = Object.fromEntries(groups.map((group) => [group, 0])) as Record<Group, number>
  for (const request of requests) for (const group of request.groups) sums[group] += request.count
  return sums
}
