/** Rows of grant_table_op's commands: on one element, and on arrays whose elements have a status each. */
import type { Domain } from '../domain.ts'
import { Errno, type ErrorName } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import { type Answer, command } from '../hypercalls/declare.ts'
import { Block, type Struct } from '../struct.ts'

const header = 'xen/grant_table.h'
/** Elements that are done before other vCPUs have their turn. */
const SLICE = 256

const one = { EINVAL: 'not exactly one element', EFAULT: 'it cannot be read or written' } as const
const many = { EINVAL: 'a negative count', EFAULT: 'an element cannot be read or written' } as const

/** One element, which goes back whole. */
export const single = <Name extends string>(row: {
  readonly command: number
  readonly name: string
  readonly summary: string
  readonly struct: Struct<Name>
  readonly guest?: 'pv'
  readonly errors?: Readonly<Partial<Record<ErrorName, string>>>
  readonly run: (call: Call, block: Block, fields: Struct<Name>['fields']) => number
}) =>
  command({
    ...row,
    errors: { ...one, ...row.errors },
    source: header,
  })

const element = new Block(64)

/** What one call's elements have in common. */
interface Common {
  release(): void
}
const nothing = { release: () => {} }

/** Every element of an array; `each` fills in its outputs, or answers an error, which ends it. */
export const array = <Name extends string, Shared extends Common = Common>(row: {
  readonly command: number
  readonly name: string
  readonly summary: string
  readonly struct: Struct<Name>
  readonly guest?: 'pv'
  readonly errors?: Readonly<Partial<Record<ErrorName, string>>>
  readonly begin?: (domain: Domain) => Shared
  readonly each: (
    domain: Domain,
    block: Block,
    fields: Struct<Name>['fields'],
    vcpu: number,
    shared: Shared,
  ) => number | undefined
}) =>
  command({
    command: row.command,
    name: row.name,
    summary: row.summary,
    ...(row.guest ? { guest: row.guest } : {}),
    element: row.struct as Struct,
    args: [
      { name: 'list', type: { kind: 'linear' } },
      { name: 'count', type: { kind: 'u32' } },
    ],
    errors: { ...many, ...row.errors },
    source: header,
    run: (call): Answer => {
      if (!call.domain.kind.mayAccess(call.arg(1), call.high(1))) return Errno.EFAULT
      const shared = row.begin?.(call.domain) ?? (nothing as Shared)
      const answer = elements(call, row, shared)
      shared.release()
      return answer
    },
  })

function elements<Name extends string, Shared>(
  call: Call,
  row: {
    readonly struct: Struct<Name>
    readonly each: (
      domain: Domain,
      block: Block,
      fields: Struct<Name>['fields'],
      vcpu: number,
      shared: Shared,
    ) => number | undefined
  },
  shared: Shared,
): Answer {
  const { list, fields } = row.struct
  element.wide = call.wide
  const size = element.size(row.struct)
  const count = call.arg(2)
  for (let i = 0; i < count; i++) {
    if (i === SLICE) {
      const low = call.arg(1) + i * size
      call.setArg(1, low >>> 0, (call.high(1) + Math.floor(low / 2 ** 32)) >>> 0)
      call.setArg(2, count - i)
      return 'continue'
    }
    if (!call.copyIn(1, element.bytes, size, i * size)) return Errno.EFAULT
    const answer = row.each(call.domain, element, fields, call.vcpu, shared)
    if (typeof answer === 'number') return answer
    for (const field of list) {
      if (!field.out) continue
      const at = element.at(field)
      const bytes = element.bytes.subarray(at, at + element.bytesOf(field))
      if (!call.copyOut(1, bytes, bytes.length, i * size + at)) return Errno.EFAULT
    }
  }
  return 0
}
