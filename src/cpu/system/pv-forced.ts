/** Xen PV: `ud2; .ascii "xen"; cpuid`, by which guests ask for the CPUID that Xen has for them. */
import { CR2, EXC, RIP } from './layout'
import { PF } from './bits'
import { hostCpuid } from './host'
import { raise } from './faults'
import { physRead } from './physical'
import { stepEmulated } from './pv-frame'
import { isCanonical } from './access'
import { currentBank } from './tlb'
import { translateRead } from './translate'
import { WALK_FAULT } from './walk'

const PREFIX: u64 = 0x6e65780b0f // ud2, "xen"
const CPUID: u64 = 0xa20f

/** The instruction bytes [at, at + count), or WALK_FAULT with #PF raised, error code 0, for the first that is not there. */
function bytesAt(p: u32, at: u64, count: u32): u64 {
  let value: u64 = 0
  const cr2 = load<u64>(p, CR2)
  for (let i: u32 = 0; i < count; i++) {
    const linear = at + i
    const frame = isCanonical(linear) ? translateRead(p, linear, currentBank(p)) : WALK_FAULT
    if (frame == WALK_FAULT) {
      store<u64>(p, cr2, CR2)
      store<u64>(p, linear, CR2)
      raise(p, PF, 0)
      return WALK_FAULT
    }
    value |= physRead(p, frame | (linear & 0xfff), 1) << (i << 3)
  }
  return value
}

/** Whether the UD2 at RIP was answered, with the instruction done or a fault raised. */
export function forcedEmulation(p: u32): bool {
  const rip = load<u64>(p, RIP)
  const prefix = bytesAt(p, rip, 5)
  if (prefix == WALK_FAULT) return true
  if (prefix != PREFIX) return false
  const opcode = bytesAt(p, rip + 5, 2)
  if (opcode == WALK_FAULT) return true
  if (opcode != CPUID) return false
  hostCpuid(p)
  store<u64>(p, rip + 7, RIP)
  store<i32>(p, -1, EXC)
  stepEmulated(p)
  return true
}
