/** State images between guest memory and SCRATCH: what of addressing is peculiar to FNSTENV, FNSAVE, FXSAVE and kin. */
import { MODE, MODE_LONG, RBP, RECORD, RSP, R_BASE, SCRATCH } from './layout'
import { isCanonical, loadBytes, storeBytes } from './access'
import { AC } from './bits'
import { raise } from './faults'
import { alignmentChecked } from './tlb'

/** Whether the record's memory operand is one of 64-bit mode that faults by #SS. */
export function isStackOperand(p: u32): bool {
  if ((load<u32>(p + MODE) & MODE_LONG) == 0) return false
  const base = <u32>load<u8>(load<u32>(p + RECORD) + R_BASE), segment = base & 7
  return ((base & 0xf8) == RSP || (base & 0xf8) == RBP) && segment != 4 && segment != 5
}

/** #AC(0) where an image of `unit`-byte fields is not so aligned and alignment is checked. */
export function refuseImage(p: u32, linear: u64, unit: u32): bool {
  if ((<u32>linear & (unit - 1)) == 0 || !alignmentChecked(p) || !isCanonical(linear)) return false
  raise(p, AC, 0)
  return true
}

/** Brings `length` bytes to SCRATCH: 0, or 1 after a fault. `unit` is 2 for 16-bit images, else 4. */
export function x87LoadImage(p: u32, linear: u64, length: u32, unit: u32): i32 {
  if (refuseImage(p, linear, unit)) return 1
  return loadBytes(p, linear, length, isStackOperand(p), p + SCRATCH)
}

/** Writes `length` bytes of SCRATCH: 0, or 1 after a fault. */
export function x87StoreImage(p: u32, linear: u64, length: u32, unit: u32): i32 {
  if (refuseImage(p, linear, unit)) return 1
  return storeBytes(p, linear, length, isStackOperand(p), p + SCRATCH)
}
