/** MASKMOVDQU, MASKMOVQ: bytes stored where their mask says so. */
import { probeWrite, slowStore } from './access'

const PROBE_FAULT: u32 = 0xffffffff

/** Store the bytes at `source` whose byte at `mask` has its top bit set to `linear`: all of them, or 1 after a fault. */
export function maskedStore(p: u32, linear: u64, source: u32, mask: u32, length: u32): i32 {
  for (let i: u32 = 0; i < length; i++)
    if (load<i8>(mask + i) < 0 && probeWrite(p, linear + i, 1) == PROBE_FAULT) return 1
  for (let i: u32 = 0; i < length; i++)
    if (load<i8>(mask + i) < 0 && slowStore(p, linear + i, 1, load<u8>(source + i))) return 1
  return 0
}
