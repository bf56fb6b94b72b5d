/** A set of vCPUs in the guest's memory: as many words, of the guest's width, as its vCPUs need (`vcpumask_to_pcpumask`). */
import type { Call } from '../hypercalls/call.ts'

const bytes = new Uint8Array(8)
const view = new DataView(bytes.buffer)

/** Bits of the vCPUs that exist, of which there are at most 32; undefined where it cannot be read. */
export function readVcpuMask(call: Call, low: number, high: number): number | undefined {
  const { guest, vcpus } = call.domain
  if (!guest.copyIn(call.vcpu, low, high, bytes, call.wide ? 8 : 4)) return undefined
  return vcpus.length >= 32 ? view.getUint32(0, true) : view.getUint32(0, true) & ((1 << vcpus.length) - 1)
}
