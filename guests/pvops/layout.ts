/** Where things are: addresses, selectors, vectors. */

/** The kernel is loaded and runs here; everything below 1 GiB is mapped where it is. */
export const ORIGIN = 0x100000
export const MAX_CPUS = 8
/** Each CPU's stack, whose lowest bytes say which CPU it is. */
export const STACK = 8192
/** Real-mode code with which another CPU starts. */
export const TRAMPOLINE = 0x8000
/** 2 MiB of pages for the programme, empty at first. */
export const WINDOW = 0x800000
/** RAM that nobody else uses. */
export const SPARE = 0x600000

export const Selector = {
  KERNEL_CS: 0x08,
  KERNEL_DS: 0x10,
  USER_BASE: 0x18,
  USER_CS32: 0x1b,
  USER_DS: 0x23,
  USER_CS64: 0x2b,
  TSS: 0x30,
  BOOT_CS32: 0x40,
} as const

export const Vector = {
  SYSTEM_CALL: 0x80,
  TIMER: 0xec,
  CALL: 0xfb,
  FLUSH: 0xfd,
  KICK: 0xfc,
  SPURIOUS: 0xff,
} as const

export const TSS_BYTES = 128
/** RSP0, or ESP0. */
export const TSS_SP0 = 4
