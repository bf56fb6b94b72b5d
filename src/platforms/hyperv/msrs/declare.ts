/** How this platform's MSRs are declared: one value, and #GP as the only error. */
import type { Op } from '../../../paravirt/ops.ts'
import type { ArgumentType, Msr } from '../../../paravirt/requests.ts'
import type { FeatureName } from '../features.ts'
import type { Partition } from '../partition.ts'

export interface MsrRow {
  readonly number: number
  readonly name: string
  readonly summary: string
  readonly value?: ArgumentType
  /** When a write is #GP. */
  readonly refused?: string
  readonly feature?: FeatureName
  readonly ops?: readonly Op[]
  /** Section of the TLFS. */
  readonly section: string
  readonly read?: (partition: Partition, vcpu: number) => bigint
  readonly write?: (partition: Partition, vcpu: number, value: bigint) => boolean | void
}

export function msr(row: MsrRow): Msr<Partition> {
  const { number, name, summary, value, refused, feature, ops, section, read, write } = row
  const when = [
    ...(refused ? [refused] : []),
    ...(write ? [] : ['any write']),
    ...(read ? [] : ['any read']),
    ...(feature ? [`without ${feature}`] : []),
  ]
  return {
    kind: 'msr',
    number,
    name,
    summary,
    args: [{ name: 'value', type: value ?? { kind: 'u64' } }],
    errors: when.length > 0 ? { '#GP': when.join('; ') } : {},
    ...(feature ? { feature } : {}),
    ops: ops ?? [],
    tier: 'call',
    source: `TLFS, ${section}`,
    ...(read ? { read } : {}),
    ...(write ? { write: (partition, vcpu, written) => write(partition, vcpu, written) !== false } : {}),
  }
}

/** A page's number with an enable bit. */
export const pageRegister: ArgumentType = {
  kind: 'fields',
  fields: [
    ['enable', 0, 1],
    ['page', 12, 52],
  ],
}
