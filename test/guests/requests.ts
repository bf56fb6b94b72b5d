/**
 * What of a platform's interface test kernels must ask: of each declared request every success and every error. From
 * the declarations come the answers that are wanted, from the observer those that came.
 */
import type { Event } from '../../src/paravirt/observe.ts'
import type { Declaration, Msr } from '../../src/paravirt/requests.ts'
import type { Hypercall } from '../../src/platforms/hyperv/hypercalls/declare.ts'

/** Errors of a call's form, which Hyper-V's declarations do not repeat. */
const form = ['HV_STATUS_INVALID_HYPERCALL_INPUT', 'HV_STATUS_INVALID_ALIGNMENT']

const isMsr = (request: Declaration): request is Msr<never> => request.kind === 'msr'
const isHyperv = (request: Declaration): request is Hypercall => request.kind === 'hypercall' && 'always' in request

/** An error has a name; a leaf's words are text, too. */
const failed = ({ request, result }: Event) =>
  typeof result === 'string' && result !== 'HV_STATUS_SUCCESS' && request.kind !== 'cpuid'

/** `NAME`, `NAME ERROR`; of an MSR `NAME read` and so on. `off`: no feature is on. */
export function answersIn(event: Event, off: boolean): string[] {
  const { request, access, result } = event
  const name = isMsr(request) ? `${request.name} ${access}` : request.name
  if (!failed(event)) return [name]
  const error = `${name} ${result}`
  // That a value is bad must be seen while the register exists.
  if (off) return [`${name} fails without features`, ...(isMsr(request) ? [] : [error])]
  return [error]
}

/** An error of a hypercall that its declaration does not know. */
export const isUndeclared = ({ request, result }: Event): boolean =>
  request.kind === 'hypercall' &&
  !isHyperv(request) &&
  typeof result === 'string' &&
  /^E[A-Z0-9]+$/.test(result) &&
  !(result in request.errors) &&
  request.name !== 'unknown'

/** Answers that must come. Without its feature a leaf is not there to be asked, and memory is not shared. */
export function wantedAnswers(declared: readonly Declaration[]): string[] {
  return declared.flatMap((request) => {
    const { name, feature, kind } = request
    const names = isMsr(request) ? [`${name} read`, `${name} write`] : [name]
    const absent = feature && kind !== 'cpuid' && kind !== 'memory'
    return [...answers(request), ...(absent ? names.map((each) => `${each} fails without features`) : [])]
  })
}

function answers(request: Declaration): string[] {
  const { name } = request
  // Of a request that is noted by its answer alone.
  const errors = Object.fromEntries(Object.entries(request.errors).filter(([, when]) => !when.startsWith('never')))
  if (isMsr(request)) {
    const { read, write, refused } = request
    const writes = [...(write ? [`${name} write`] : []), ...(!write || refused ? [`${name} write #GP`] : [])]
    return [read ? `${name} read` : `${name} read #GP`, ...writes]
  }
  const always = Object.values(errors).some((when) => when.startsWith('always'))
  const more = isHyperv(request) && !request.always ? form : []
  return [...(always ? [] : [name]), ...[...Object.keys(errors), ...more].map((error) => `${name} ${error}`)]
}
