/** What a call finds behind the linear addresses that it was given. */
import type { Effects } from '../../paravirt/effects.ts'

/** Bytes behind a linear address of the running vCPU's, which wraps at 4 GiB; undefined: its code could not read them. */
export function readLinear(
  memory: Effects['memory'],
  vcpu: number,
  linear: number,
  length: number,
): Uint8Array | undefined {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) {
    const address = memory.translate(vcpu, (linear + i) >>> 0, 0, false)
    if (address < 0) return undefined
    bytes[i] = memory.view.getUint8(address)
  }
  return bytes
}

/** A word in the same way. */
export function readWord(memory: Effects['memory'], vcpu: number, linear: number): number | undefined {
  const bytes = readLinear(memory, vcpu, linear, 4)
  return bytes && new DataView(bytes.buffer).getUint32(0, true)
}
