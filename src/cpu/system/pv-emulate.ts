/** Xen PV: what guest kernels read and write with privileged instructions (Xen 4.17, arch/x86/pv/emul-priv-op.c). */
import {
  CR0, CR2, CR4, DR0, DR6, DR7, EXC, PV_CR4, PV_IOBMP, PV_IOBMP_LIMIT, PV_KERNEL_ROOT, TLBC_SUPERVISOR_AC,
} from './layout'
import {
  CR0_TS, CR4_DE, CR4_FSGSBASE, CR4_MCE, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_OSXSAVE, CR4_PAE, CR4_TSD, GP,
} from './bits'
import { hostPvRoot } from './host'
import { isCanonical } from './access'
import { updateTraps } from './control'
import { physRead } from './physical'
import { inKernel, ioplPermits, isPv32, isXenAddress, setGuestCr2, togglePageTable, XEN_END, XEN_START } from './pv'
import { fault } from './segments'
import { currentBank } from './tlb'
import { translateRead } from './translate'
import { WALK_FAULT } from './walk'

/** What the guest decides, and what it sees of the hypervisor's. */
const CR4_GUEST: u64 = CR4_TSD | CR4_DE | CR4_FSGSBASE | CR4_OSXSAVE
const CR4_VISIBLE: u64 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT

const DR6_ZERO: u64 = 0x1000
const DR6_ONE: u64 = 0xffff0ff0
const DR7_ZERO: u64 = 0xd800
const DR7_ONE: u64 = 0x400
const DR7_GD: u64 = 1 << 13
const DR7_ACTIVE: u64 = 0xff
const EPERM: i32 = 1
const ENODEV: i32 = 19
const EINVAL: i32 = 22

export function pvReadCr(p: u32, number: u32): u64 {
  switch (number) {
    case 0: return load<u64>(p, CR0)
    case 2: return load<u64>(p, CR2)
    case 3: return load<u64>(p, PV_KERNEL_ROOT)
  }
  return load<u64>(p, PV_CR4)
}

export function pvWriteCr(p: u32, number: u32, value: u64): i32 {
  switch (number) {
    case 0: {
      // Only TS may change.
      if ((value ^ load<u64>(p, CR0)) & ~CR0_TS) return fault(p, GP, 0)
      store<u64>(p, value, CR0)
      updateTraps(p)
      return 0
    }
    case 2: {
      store<u64>(p, value, CR2)
      setGuestCr2(p, value)
      return 0
    }
    case 3: return hostPvRoot(p, <f64>(value >>> 12)) != 0 ? 0 : fault(p, GP, 0)
  }
  pvSetCr4(p, value)
  return 0
}

/** CR4 as far as the guest may have it; the other bits stay as Xen wants them. */
export function pvSetCr4(p: u32, value: u64): void {
  store<u64>(p, (value & CR4_GUEST) | CR4_VISIBLE, PV_CR4)
  const own = load<u64>(p, CR4) & ~(CR4_TSD | CR4_FSGSBASE)
  store<u64>(p, own | (value & (CR4_TSD | CR4_FSGSBASE)), CR4)
}

/** Check an access to ports as the guest's IOPL and bitmap have it: 0, or 1 with #GP(0) raised. */
export function pvCheckIo(p: u32, port: i32, size: i32): i32 {
  if (ioplPermits(p)) return 0
  if (<u32>(port + size) > load<u32>(p, PV_IOBMP_LIMIT)) return fault(p, GP, 0)
  // The bitmap is the guest kernel's; bytes that are not there refuse.
  const user = !inKernel(p)
  const other = user && !isPv32(p)
  if (other) togglePageTable(p)
  const at = load<u64>(p, PV_IOBMP) + (<u32>port >>> 3)
  const bits = bitmapByte(p, at) | (bitmapByte(p, at + 1) << 8)
  if (other) togglePageTable(p)
  return ((bits >>> (port & 7)) & ((1 << size) - 1)) == 0 ? 0 : fault(p, GP, 0)
}

function bitmapByte(p: u32, linear: u64): u32 {
  if (!isCanonical(linear) || isXenAddress(p, linear)) return 0xff
  const cr2 = load<u64>(p, CR2)
  const frame = translateRead(p, linear, isPv32(p) ? TLBC_SUPERVISOR_AC : currentBank(p))
  if (frame != WALK_FAULT) return <u32>physRead(p, frame | (linear & 0xfff), 1)
  store<i32>(p, -1, EXC)
  store<u64>(p, cr2, CR2)
  return 0xff
}

/** Debug register 0 to 3, 6 or 7 as the guest sees it. */
export function pvGetDebug(p: u32, number: u32): u64 {
  return number < 4 ? load<u64>(p + (number << 3), DR0) : number == 6 ? load<u64>(p, DR6) : load<u64>(p, DR7)
}

/** 0, or an errno: breakpoints in the hypervisor's addresses, reserved bits, I/O breakpoints without CR4.DE. */
export function pvSetDebug(p: u32, number: u32, value: u64): i32 {
  if (number < 4) {
    if (!isCanonical(value) || value - XEN_START < XEN_END - XEN_START) return EPERM
    store<u64>(p + (number << 3), value, DR0)
    return 0
  }
  if (number > 7) return ENODEV
  if (number < 6) {
    if (load<u64>(p, PV_CR4) & CR4_DE) return ENODEV
    number += 2
  }
  if (value >>> 32) return EINVAL
  if (number == 6) {
    store<u64>(p, (value & ~DR6_ZERO) | DR6_ONE, DR6)
    return 0
  }
  value = (value & ~DR7_ZERO) | DR7_ONE
  if (value & DR7_GD) return EPERM
  if (value & DR7_ACTIVE) {
    for (let shift: u64 = 16; shift < 32; shift += 4)
      if (((value >>> shift) & 3) == 2 && (load<u64>(p, PV_CR4) & CR4_DE) == 0) return EPERM
  }
  store<u64>(p, value, DR7)
  return 0
}
