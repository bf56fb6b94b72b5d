/**
 * Who may use an I/O port: IOPL and the TSS's permission bitmap (SDM Vol. 1 18.5), and what a hypervisor leaves open to
 * all.
 */
import {
  ATTR_NULL, CPL, CR0, EXC, OPEN_KEY, OPEN_PORTS, RAX, SEG_ATTR, SEG_LIMIT, SYSFLAGS, TR_BASE,
} from './layout'
import { sysLoad } from './access'
import { CR0_PE, FLAG_IOPL, FLAG_VM, GP, SEG_TR } from './bits'
import { raise } from './faults'
import { isPv } from './pv'
import { pvCheckIo } from './pv-emulate'

/** In a 32- or 64-bit TSS, offset of the bitmap's offset. */
const MAP_BASE: u64 = 0x66

/** Check an access of 1, 2 or 4 bytes to `port`: 0, or 1 with #GP(0) or the fault of reading the TSS raised. */
export function checkIo(p: u32, port: i32, size: i32): i32 {
  if ((load<u64>(p, CR0) & CR0_PE) == 0) return 0
  if (isPv(p)) return pvCheckIo(p, port, size)
  const flags = load<u32>(p, SYSFLAGS)
  if ((flags & FLAG_VM) == 0 && load<u32>(p, CPL) <= (flags & FLAG_IOPL) >>> 12) return 0
  const open = load<u32>(p, OPEN_PORTS)
  if (<u32>port - (open & 0xffff) < open >>> 16 && load<u32>(p, RAX) == load<u32>(p, OPEN_KEY)) return 0
  const attr = load<u32>(p + (SEG_TR << 2), SEG_ATTR)
  const limit = load<u32>(p + (SEG_TR << 2), SEG_LIMIT)
  // Type bit 3: not a 16-bit TSS, which has no bitmap.
  if ((attr & ATTR_NULL) == 0 && (attr & 8) != 0 && limit >= <u32>MAP_BASE + 1) {
    const base = load<u64>(p, TR_BASE)
    const offset = <u32>sysLoad(p, base + MAP_BASE, 2) + (<u32>port >>> 3)
    if (load<i32>(p, EXC) >= 0) return 1
    // Two bytes are read whatever the access, so the bitmap ends with a byte of ones.
    if (offset + 1 <= limit) {
      const bits = <u32>sysLoad(p, base + offset, 2) >>> (port & 7)
      if (load<i32>(p, EXC) >= 0) return 1
      if ((bits & ((1 << size) - 1)) == 0) return 0
    }
  }
  raise(p, GP, 0)
  return 1
}
