/** Instructions whose work the host does: CPUID, hypercalls, port I/O (SDM Vol. 2). */
import { EXC, RAX } from './layout'
import { UD } from './bits'
import { raiseNoError } from './faults'
import { hostCpuid, hostHypercall, hostPortIn, hostPortOut } from './host'
import { checkIo } from './io'

export function cpuid(p: u32): void {
  hostCpuid(p)
}

/**
 * VMCALL (`kind` 0), VMMCALL (1): #UD where the platform does not know it. It may fault where it reads or writes guest
 * memory, or end in the middle of a long operation; then it is done again.
 */
export function hypercall(p: u32, kind: i32): i32 {
  const answer = hostHypercall(p, kind)
  if (answer == 2) return 1
  if (answer != 0) return load<i32>(p, EXC) >= 0 ? 1 : 0
  raiseNoError(p, UD)
  return 1
}

/** IN of 1, 2 or 4 bytes to the accumulator. */
export function portIn(p: u32, port: i32, size: i32): i32 {
  if (checkIo(p, port, size)) return 1
  const value = <u32>hostPortIn(p, port, size)
  if (size == 1) store<u8>(p, <u8>value, RAX)
  else if (size == 2) store<u16>(p, <u16>value, RAX)
  else store<u64>(p, <u64>value, RAX)
  return 0
}

export function portOut(p: u32, port: i32, size: i32): i32 {
  if (checkIo(p, port, size)) return 1
  const value = load<u32>(p, RAX)
  hostPortOut(p, port, size, size == 1 ? value & 0xff : size == 2 ? value & 0xffff : value)
  return 0
}
