/**
 * Hypercalls as data: the layout of the input block, whether it repeats, what it needs, and how it is carried out.
 * `dispatch.ts` checks all that can be checked from this before a call is carried out.
 */
import type { ArgumentType, Declaration } from '../../../paravirt/requests.ts'
import type { FeatureName } from '../features.ts'
import type { Partition } from '../partition.ts'
import type { Status } from '../status.ts'

/** A field of the fixed part of the input block. */
export interface Field {
  readonly name: string
  readonly type: ArgumentType
  readonly offset: number
  readonly size: 1 | 2 | 4 | 8
}

/** A call whose form is right. */
export interface Call {
  readonly partition: Partition
  readonly vcpu: number
  /** The whole input block: fixed part, variable header, elements. */
  readonly input: DataView
  /** Units of 8 bytes in the variable header. */
  readonly header: number
  /** Repetitions: of how many, from which. */
  readonly count: number
  readonly start: number
  /** The output block: fixed part, elements. */
  readonly output: DataView
  /** How many repetitions are done, counted from the first of all. */
  done: number
}

export interface Hypercall extends Declaration {
  readonly kind: 'hypercall'
  readonly args: readonly Field[]
  /** Bytes of the fixed part of the input block, and of the output block. */
  readonly input: number
  readonly output: number
  /** A variable header follows the fixed part. */
  readonly variable: boolean
  /** It repeats: bytes of an input and of an output element. */
  readonly rep: { readonly input: number; readonly output: number } | undefined
  /** The answer without the feature. */
  readonly without: Status
  /** The answer whatever its form is. */
  readonly always: Status | undefined
  readonly run: (call: Call) => Status
}

type Given = Exclude<keyof Declaration, 'kind' | 'args' | 'feature' | 'tier' | 'source'>

type Row = Pick<Declaration, Given> & {
  /** In their order, each at its natural boundary. */
  readonly fields: readonly (readonly [name: string, size: Field['size'], type?: ArgumentType])[]
  /** If there is more than the fields. */
  readonly input?: number
  readonly output?: number
  readonly variable?: boolean
  readonly rep?: { readonly input: number; readonly output: number }
  readonly without?: Status
  readonly feature?: FeatureName
  readonly section: string
} & (
    | { readonly always: Status; readonly run?: undefined }
    | { readonly always?: undefined; readonly run: (call: Call) => Status }
  )

const bySize = { 1: 'u8', 2: 'u16', 4: 'u32', 8: 'u64' } as const

export function hypercall(row: Row): Hypercall {
  const { fields, section, always, ...rest } = row
  let end = 0
  const args = fields.map(([name, size, type]): Field => {
    const offset = Math.ceil(end / size) * size
    end = offset + size
    return { name, size, offset, type: type ?? { kind: bySize[size] } }
  })
  return {
    ...rest,
    kind: 'hypercall',
    args,
    input: row.input ?? Math.ceil(end / 8) * 8,
    output: row.output ?? 0,
    variable: row.variable ?? false,
    rep: row.rep,
    without: row.without ?? 'HV_STATUS_INVALID_HYPERCALL_CODE',
    always,
    run: row.run ?? (() => row.always),
    tier: 'call',
    source: `TLFS, ${section}`,
  }
}

export function readField(view: DataView, { offset, size }: Field): bigint {
  if (size === 8) return view.getBigUint64(offset, true)
  if (size === 4) return BigInt(view.getUint32(offset, true))
  return BigInt(size === 2 ? view.getUint16(offset, true) : view.getUint8(offset))
}
