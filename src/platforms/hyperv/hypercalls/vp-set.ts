/** Sets of vCPUs: a mask of 64, and HV_VP_SET with banks of 64 (TLFS). vCPUs that do not exist are ignored. */
import type { Status } from '../status.ts'

const SPARSE = 0n
const ALL = 1n

export const everyone = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

export function fromMask(mask: bigint, count: number, first = 0): number[] {
  const members: number[] = []
  for (let i = 0; i < 64 && first + i < count; i++) if ((mask >> BigInt(i)) & 1n) members.push(first + i)
  return members
}

/** A set at `offset` of an input block whose variable header has `banks` banks; a status if it is none. */
export function readSet(view: DataView, offset: number, banks: number, count: number): number[] | Status {
  const format = view.getBigUint64(offset, true)
  if (format === ALL) return everyone(count)
  if (format !== SPARSE) return 'HV_STATUS_INVALID_PARAMETER'
  const valid = view.getBigUint64(offset + 8, true)
  const numbers = fromMask(valid, 64)
  if (numbers.length !== banks) return 'HV_STATUS_INVALID_HYPERCALL_INPUT'
  return numbers.flatMap((bank, i) => fromMask(view.getBigUint64(offset + 16 + 8 * i, true), count, 64 * bank))
}
