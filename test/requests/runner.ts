/**
 * Property tests of a platform's interface: sequences of requests, drawn from the declarations, are played on a mock
 * vCPU and compared with a reference model. A failure tells its last steps, and the seed that plays it again.
 */
import * as fc from 'fast-check'
import type { Event } from '../../src/paravirt/observe.ts'
import type { Declaration } from '../../src/paravirt/requests.ts'

/** A platform and its model, side by side. Both throw for what must not be. */
export interface Session<Step> {
  play(step: Step): void
  /** What must hold at the end. */
  finish(): void
}

export interface Scenario<Setting, Step> {
  readonly requests: readonly Declaration[]
  /** How a sequence begins, such as which features are on. */
  readonly setting: fc.Arbitrary<Setting>
  readonly step: fc.Arbitrary<Step>
  /** `listen` is told of every request. */
  readonly start: (setting: Setting, listen: (event: Event) => void) => Session<Step>
  /** A step in one line. */
  readonly describe: (step: Step) => string
}

export interface Report {
  readonly sequences: number
  readonly requests: number
  readonly succeeded: number
  /** `NAME` for a success, `NAME ERROR` for each error that came. */
  readonly reached: ReadonlySet<string>
}

/** Requests of a sequence, and a few steps between them that are none. */
const LENGTH = { minLength: 110, maxLength: 130 }

/** How many steps before a failure are told. */
const CONTEXT = 6

/** Play at least this many requests. */
export function playRequests<Setting, Step>(scenario: Scenario<Setting, Step>, wanted: number, seed: number): Report {
  const reached = new Set<string>()
  let sequences = 0
  let requests = 0
  let succeeded = 0
  const listen = ({ request, result }: Event) => {
    requests++
    const failed =
      typeof result === 'string' && (result.startsWith('#') || result in request.errors || common.has(result))
    if (!failed) succeeded++
    reached.add(failed ? `${request.name} ${result}` : request.name)
  }
  const play = (setting: Setting, steps: readonly Step[]) => {
    sequences++
    const session = scenario.start(setting, listen)
    for (const [i, step] of steps.entries()) {
      try {
        session.play(step)
      } catch (error) {
        const last = steps.slice(Math.max(0, i - CONTEXT), i + 1).map((each) => scenario.describe(each))
        throw new Error(`step ${i}: ${(error as Error).message}\n${last.join('\n')}`, { cause: error })
      }
    }
    session.finish()
  }
  const sequence = fc.property(scenario.setting, fc.array(scenario.step, LENGTH), play)
  for (let round = seed; ; round++) {
    const { failed, errorInstance } = fc.check(sequence, { seed: round, numRuns: 50, endOnFailure: true })
    if (failed) throw new Error(`seed ${round}: ${(errorInstance as Error).message}`, { cause: errorInstance })
    if (requests >= wanted) break
  }
  return { sequences, requests, succeeded, reached }
}

/** Errors of a request's form, which no declaration repeats. */
const common = new Set(['HV_STATUS_INVALID_HYPERCALL_INPUT', 'HV_STATUS_INVALID_ALIGNMENT'])

/** What was declared and did not come: requests, and their errors. */
export function unreached(declared: readonly Declaration[], { reached }: Report): string[] {
  return declared.flatMap(({ name, errors }) => {
    const wanted = Object.keys(errors).map((error) => `${name} ${error}`)
    const always = Object.values(errors).some((when) => when.startsWith('always'))
    return [...(always ? [] : [name]), ...wanted].filter((key) => !reached.has(key))
  })
}
