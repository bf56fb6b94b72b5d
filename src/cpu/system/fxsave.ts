/** FXSAVE and FXRSTOR (SDM Vol. 1 10.5.1): x87, MXCSR and XMM registers; bytes that hold nothing are not written. */
import { MODE, MODE_LONG, MXCSR, SCRATCH, VEC0 } from './layout'
import { GP, SS } from './bits'
import { isCanonical, loadBytes, storeBytes } from './access'
import { fault } from './segments'
import { fxLoadX87, fxStoreX87 } from './x87-image'
import { isStackOperand, refuseImage } from './x87-memory'

const XMM: u32 = 160
const MXCSR_MASK: u32 = 0xffff

/** Eight XMM registers outside 64-bit mode. */
function imageLength(p: u32): u32 {
  return (load<u32>(p + MODE) & MODE_LONG) != 0 ? XMM + 256 : XMM + 128
}

/** Alignment: to 4 bytes by #AC where that is checked, else to 16 by #GP(0); no address at all by #SS or #GP(0). */
function refuse(p: u32, linear: u64): i32 {
  if (refuseImage(p, linear, 4)) return 1
  if ((linear & 15) == 0) return 0
  return fault(p, isCanonical(linear) || !isStackOperand(p) ? GP : SS, 0)
}

/** `wide`: REX.W. */
export function fxsave(p: u32, linear: u64, wide: i32): i32 {
  if (refuse(p, linear)) return 1
  const image = p + SCRATCH
  const length = imageLength(p)
  memory.fill(image, 0, length)
  fxStoreX87(p, image, wide)
  store<u32>(image, load<u32>(p + MXCSR), 24)
  store<u32>(image, MXCSR_MASK, 28)
  memory.copy(image + XMM, p + VEC0, length - XMM)
  return storeBytes(p, linear, length, isStackOperand(p), image)
}

export function fxrstor(p: u32, linear: u64, wide: i32): i32 {
  if (refuse(p, linear)) return 1
  const image = p + SCRATCH
  const length = imageLength(p)
  if (loadBytes(p, linear, length, isStackOperand(p), image)) return 1
  const mxcsr = load<u32>(image, 24)
  if ((mxcsr & ~MXCSR_MASK) != 0) return fault(p, GP, 0)
  fxLoadX87(p, image, wide)
  store<u32>(p + MXCSR, mxcsr)
  memory.copy(p + VEC0, image + XMM, length - XMM)
  return 0
}
