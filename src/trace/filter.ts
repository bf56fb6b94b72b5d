/** Which records of a trace are wanted. */
import { InputError } from '../errors.ts'
import { isErrorResult, type TraceRecord } from './records.ts'

export interface TraceFilter {
  /** A regular expression for names. */
  readonly name?: string
  readonly kind?: string
  readonly vcpu?: string
  /** Seconds of virtual time. */
  readonly from?: string
  readonly to?: string
  readonly errors?: true
}

/** Throws InputError. */
export function traceFilter(wanted: TraceFilter): (record: TraceRecord) => boolean {
  const name = wanted.name === undefined ? undefined : expression(wanted.name)
  const kinds = wanted.kind?.split(',').map((kind) => kind.trim())
  const vcpu = wanted.vcpu === undefined ? undefined : number('--vcpu', wanted.vcpu)
  const from = wanted.from === undefined ? -Infinity : number('--from', wanted.from) * 1e9
  const to = wanted.to === undefined ? Infinity : number('--to', wanted.to) * 1e9
  return (record) =>
    (name?.test(record.name) ?? true) &&
    (kinds?.includes(record.kind) ?? true) &&
    (vcpu === undefined || record.vcpu === vcpu) &&
    record.t >= from &&
    record.t <= to &&
    (!wanted.errors || isErrorResult(record))
}

function expression(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new InputError(`--name: ${(error as Error).message}`)
  }
}

function number(option: string, text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new InputError(`${option} '${text}' is not a number`)
  return Number(text)
}
