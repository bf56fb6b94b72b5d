/**
 * What a guest may put into its GDT and LDT (Xen 4.17, `check_descriptor`): anything that is not present, code and data
 * made ring 3 (of a 32-bit guest ring 1 at least), and call gates that are disarmed. Halves of the descriptor go in, and come back as Xen stores
 * them; undefined: refused.
 */
import { NARROW_END } from './entries.ts'

const PRESENT = 1 << 15
const SEGMENT = 1 << 12
const DPL = 3 << 13
const DPL_SHIFT = 13
const LONG = 1 << 21
const GRANULAR = 1 << 23
const TYPE = 0xf00
const CALL_GATE = 0xc00

/** The first entry of Xen's part of the GDT, and the kernel's code segment there. */
const FIRST_RESERVED_ENTRY = 7168
const FLAT_KERNEL_CS = 0xe033
const FLAT_COMPAT_KERNEL_CS = 0xe019

export function safeDescriptor(
  low: number,
  high: number,
  narrow = false,
): readonly [low: number, high: number] | undefined {
  if ((high & PRESENT) === 0) return [low, high]
  const level = narrow ? Math.max((high >>> DPL_SHIFT) & 3, 1) : 3
  const fixed = (high & ~DPL) | (level << DPL_SHIFT)
  if (high & SEGMENT) return narrow ? segment32(low, fixed) : [low, fixed]
  // The second half of a call gate.
  if ((high & TYPE) === 0) return [low, high]
  if ((high & TYPE) !== CALL_GATE || high & (narrow ? 0xe0 : 0xff)) return undefined
  const selector = low >>> 16
  if (
    selector >>> 3 >= FIRST_RESERVED_ENTRY &&
    selector !== (narrow ? FLAT_COMPAT_KERNEL_CS : FLAT_KERNEL_CS) &&
    (selector & 4) === 0
  )
    return undefined
  // DPL 0 makes its use fault; the DPL that it had is kept in the selector.
  return [(low & 0xffff) | (((selector & ~3) | level) << 16), high & ~DPL]
}

/** No 64-bit code. Flat segments of old kernels, which end where Xen began for them, reach the whole table of frames. */
function segment32(low: number, high: number): readonly [low: number, high: number] | undefined {
  if (high & LONG) return undefined
  const base = ((high & 0xff000000) | ((high & 0xff) << 16) | (low >>> 16)) >>> 0
  const limit = ((high & 0xf0000) | (low & 0xffff)) + 1
  const bytes = high & GRANULAR ? limit * 4096 : limit
  return base === 0 && bytes > NARROW_END ? [low | 0xffff, high | 0xf0000] : [low, high]
}
