/** Guest memory by linear address, all or nothing. */
import type { Core } from '../cpu/core.ts'
import { bytesAt } from '../cpu/mapping.ts'

/** Bytes from a linear address, by the vCPU's page tables; undefined unless all of them are mapped RAM. */
export function readLinear(core: Core, vcpu: number, linear: bigint, length: number): Uint8Array | undefined {
  const bytes = bytesAt(core, core.vcpus[vcpu] as number, linear, length)
  return bytes.length === length ? bytes : undefined
}
