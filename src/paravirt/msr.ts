/** How platforms write their tables of MSRs: rows with one value each, and #GP as the only error. */
import type { Op } from './ops.ts'
import type { ArgumentType, Msr } from './requests.ts'

export interface MsrRow<Abi, FeatureName extends string> {
  readonly number: number
  readonly name: string
  readonly summary: string
  /** Default: 64 bits without a form. */
  readonly value?: ArgumentType
  /** When a write is #GP. */
  readonly refused?: string
  readonly feature?: FeatureName
  readonly ops?: readonly Op[]
  /** Section of the document. */
  readonly section?: string
  /** Left out: a read is #GP. */
  readonly read?: (abi: Abi, vcpu: number) => bigint
  /** False: #GP. Left out: any write is. */
  readonly write?: (abi: Abi, vcpu: number, value: bigint) => boolean | void
}

/** Rows of a platform whose MSRs are described in `document`. */
export const msrRow =
  <Abi, FeatureName extends string>(document: string) =>
  (row: MsrRow<Abi, FeatureName>): Msr<Abi> => {
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
      ...(refused ? { refused } : {}),
      ops: ops ?? [],
      tier: 'call',
      source: section ? `${document}, ${section}` : document,
      ...(read ? { read } : {}),
      ...(write ? { write: (abi, vcpu, written) => write(abi, vcpu, written) !== false } : {}),
    }
  }
