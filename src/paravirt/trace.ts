/**
 * The trace of requests: a line for people, like strace's, and one of JSON for programs.
 *
 *      0.012345678  0  wrmsr MSR_KVM_SYSTEM_TIME_NEW(value=0x2a01001)
 *      0.250000120  1  KVM_HC_SEND_IPI(mask=0x2, ...) = 1
 *      0.300000002  -  XS_READ(tx_id=0, path="device/vbd/51712/state", answer="1") = 0
 */
import { formatArguments } from './format.ts'
import { type Event, NO_VCPU } from './observe.ts'

const verbs = { read: 'rdmsr ', write: 'wrmsr ', call: '' } as const

const resultText = (result: bigint | string): string =>
  typeof result === 'string' ? result : result < 4096n ? result.toString() : `0x${result.toString(16)}`

export function traceLine({ t, vcpu, request, access, args, result }: Event): string {
  const time = (t / 1e9).toFixed(9).padStart(15)
  const what = `${verbs[access]}${request.name}`
  // A read has no arguments, and of a write only a refusal is news.
  const told = access === 'read' ? '' : `(${formatArguments(request.args, args)})`
  const end = access === 'write' && result === 0n ? '' : ` = ${resultText(result)}`
  return `${time} ${(vcpu === NO_VCPU ? '-' : String(vcpu)).padStart(2)}  ${what}${told}${end}`
}

/** Numbers are hexadecimal strings, because 64 bits do not fit into JSON's; time is in nanoseconds. */
export function traceJson({ t, vcpu, request, access, args, result }: Event): string {
  const named: Record<string, string> = {}
  args.forEach((value, i) => {
    named[request.args[i]?.name ?? `arg${i}`] = typeof value === 'string' ? value : `0x${value.toString(16)}`
  })
  return JSON.stringify({
    t,
    vcpu,
    kind: request.kind,
    number: request.number,
    name: request.name,
    access,
    args: named,
    result: typeof result === 'string' ? result : `0x${result.toString(16)}`,
  })
}
