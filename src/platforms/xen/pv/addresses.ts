/** Linear addresses of a PV guest (xen/arch/x86/include/asm/config.h). */
import { NARROW_END } from '../mm/entries.ts'

const XEN_START = 0xffff_8000_0000_0000n
const XEN_END = 0xffff_8800_0000_0000n
const LOWER_END = 1n << 47n

export const isCanonical = (address: bigint): boolean => address < LOWER_END || address >= XEN_START

/** An address that the guest may use: canonical, and none of the hypervisor's. */
export const isGuestAddress = (address: bigint): boolean => address < LOWER_END || address >= XEN_END

/** The same from the high half of an address. */
export const isGuestHigh = (high: number): boolean => high < 0x8000 || high >= 0xffff8800
/** The same for a 32-bit guest. */
export const isNarrowGuest = (low: number): boolean => low >>> 0 < NARROW_END

/** A selector with at least the kernel's RPL: 3 or, of a 32-bit guest, 1 (`fixup_guest_stack_selector`). */
export const guestSelector = (selector: number, narrow: boolean): number =>
  narrow ? (selector & ~3) | Math.max(selector & 3, 1) : selector | 3
