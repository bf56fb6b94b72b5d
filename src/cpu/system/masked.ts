/** MASKMOVDQU, MASKMOVQ: bytes stored where their mask says so, a quadword at a time. */
import { PROBE_FAULT, probeWrite, slowStore } from './access'

/** Whether a quadword at `linear` cannot be stored: then the fault is raised. */
export function maskedProbe(p: u32, linear: u64): i32 {
  return probeWrite(p, linear, 8) == PROBE_FAULT ? 1 : 0
}

/** Store those of the 8 bytes at `source` whose byte at `mask` has its top bit set: 0, or 1 after a fault. */
export function maskedStore(p: u32, linear: u64, source: u32, mask: u32): i32 {
  for (let i: u32 = 0; i < 8; i++)
    if (load<i8>(mask + i) < 0 && slowStore(p, linear + i, 1, load<u8>(source + i))) return 1
  return 0
}
