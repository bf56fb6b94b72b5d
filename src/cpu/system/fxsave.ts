/** FXSAVE and FXRSTOR (SDM Vol. 1 10.5.1): x87, MXCSR and XMM registers; bytes that hold nothing are not written. */
import { MODE, MODE_LONG, MXCSR, SCRATCH, VEC0 } from './layout'
import { GP } from './bits'
import { loadBytes, storeBytes } from './access'
import { fault } from './segments'
import { fxLoadX87, fxStoreX87 } from './x87-image'

const XMM: u32 = 160
const MXCSR_MASK: u32 = 0xffff

/** Eight XMM registers outside 64-bit mode. */
function imageLength(p: u32): u32 {
  return (load<u32>(p + MODE) & MODE_LONG) != 0 ? XMM + 256 : XMM + 128
}

/** `wide`: REX.W. */
export function fxsave(p: u32, linear: u64, wide: i32): i32 {
  if ((linear & 15) != 0) return fault(p, GP, 0)
  const image = p + SCRATCH
  const length = imageLength(p)
  memory.fill(image, 0, length)
  fxStoreX87(p, image, wide)
  store<u32>(image, load<u32>(p + MXCSR), 24)
  store<u32>(image, MXCSR_MASK, 28)
  memory.copy(image + XMM, p + VEC0, length - XMM)
  return storeBytes(p, linear, length, false, image)
}

export function fxrstor(p: u32, linear: u64, wide: i32): i32 {
  if ((linear & 15) != 0) return fault(p, GP, 0)
  const image = p + SCRATCH
  const length = imageLength(p)
  if (loadBytes(p, linear, length, false, image)) return 1
  const mxcsr = load<u32>(image, 24)
  if ((mxcsr & ~MXCSR_MASK) != 0) return fault(p, GP, 0)
  fxLoadX87(p, image, wide)
  store<u32>(p + MXCSR, mxcsr)
  memory.copy(p + VEC0, image + XMM, length - XMM)
  return 0
}
