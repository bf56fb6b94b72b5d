/**
 * What a 64-bit guest may put into its GDT and LDT (Xen 4.17, `check_descriptor`): anything that is not present, code
 * and data made ring 3, and call gates that are disarmed. Halves of the descriptor go in, and come back as Xen stores
 * them; undefined: refused.
 */
const PRESENT = 1 << 15
const SEGMENT = 1 << 12
const DPL = 3 << 13
const TYPE = 0xf00
const CALL_GATE = 0xc00

/** The first entry of Xen's part of the GDT, and the kernel's code segment there. */
const FIRST_RESERVED_ENTRY = 7168
const FLAT_KERNEL_CS = 0xe033

export function safeDescriptor(low: number, high: number): readonly [low: number, high: number] | undefined {
  if ((high & PRESENT) === 0) return [low, high]
  if (high & SEGMENT) return [low, high | DPL]
  // The second half of a call gate.
  if ((high & TYPE) === 0) return [low, high]
  if ((high & TYPE) !== CALL_GATE || high & 0xff) return undefined
  const selector = low >>> 16
  if (selector >>> 3 >= FIRST_RESERVED_ENTRY && selector !== FLAT_KERNEL_CS && (selector & 4) === 0) return undefined
  // DPL 0 makes its use fault; the DPL that it had, 3, is kept in the selector.
  return [(low & 0xffff) | ((selector | 3) << 16), high & ~DPL]
}
