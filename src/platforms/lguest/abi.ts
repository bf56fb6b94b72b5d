/** Numbers of lguest's interface as Linux 2.6.36 has it (include/linux/lguest.h, asm/lguest_hcall.h, asm/lguest.h). */

export const LHCALL = {
  FLUSH_ASYNC: 0,
  LGUEST_INIT: 1,
  SHUTDOWN: 2,
  NEW_PGTABLE: 4,
  FLUSH_TLB: 5,
  LOAD_IDT_ENTRY: 6,
  SET_STACK: 7,
  TS: 8,
  SET_CLOCKEVENT: 9,
  HALT: 10,
  SET_PMD: 13,
  SET_PTE: 14,
  SET_PGD: 15,
  LOAD_TLS: 16,
  NOTIFY: 17,
  LOAD_GDT_ENTRY: 18,
  SEND_INTERRUPTS: 19,
} as const

export const Shutdown = { POWEROFF: 1, RESTART: 2 } as const

/** LGUEST_TRAP_ENTRY: INT 0x1F is a hypercall. */
export const TRAP_ENTRY = 0x1f
/** GUEST_PL: the ring of the guest's kernel. */
export const GUEST_PL = 1
/** Interrupts of a guest. */
export const IRQS = 32
/** Interrupt 0 comes by this vector. */
export const FIRST_VECTOR = 32
export const SYSCALL_VECTOR = 0x80
export const EFLAGS_IF = 0x200

/** Selectors, without their RPL. */
export const KERNEL_CS = 0x60
export const KERNEL_DS = 0x68
export const LGUEST_CS = 0x50
export const LGUEST_DS = 0x58
export const TSS_SELECTOR = 0x80
export const GDT_ENTRIES = 32
export const IDT_ENTRIES = 256
/** TLS descriptors, and descriptors that are the host's. */
export const TLS = { first: 6, count: 3 } as const
export const HOST_ENTRIES: readonly number[] = [TSS_SELECTOR >> 3, LGUEST_CS >> 3, LGUEST_DS >> 3, 31]

/** Slots of the ring of asynchronous hypercalls; five words each. */
export const RING = 64
export const RING_FREE = 0xff

/** struct lguest_data. */
export const Data = {
  IRQ_ENABLED: 0,
  BLOCKED_INTERRUPTS: 4,
  CR2: 8,
  TIME: 12,
  IRQ_PENDING: 20,
  HCALL_STATUS: 24,
  HCALLS: 24 + RING,
  RESERVE_MEM: 24 + RING + 20 * RING,
  TSC_KHZ: 28 + RING + 20 * RING,
  PGDIR: 32 + RING + 20 * RING,
  NOIRQ_START: 36 + RING + 20 * RING,
  NOIRQ_END: 40 + RING + 20 * RING,
  KERNEL_ADDRESS: 44 + RING + 20 * RING,
  SYSCALL_VEC: 48 + RING + 20 * RING,
  SIZE: 52 + RING + 20 * RING,
} as const

/** struct lguest_regs: what the switcher leaves on its stack. */
export const Reg = {
  EAX: 0,
  EBX: 4,
  ECX: 8,
  EDX: 12,
  ESI: 16,
  EDI: 20,
  EBP: 24,
  GS: 28,
  FS: 32,
  DS: 36,
  ES: 40,
  TRAPNUM: 44,
  ERRCODE: 48,
  EIP: 52,
  CS: 56,
  EFLAGS: 60,
  ESP: 64,
  SS: 68,
} as const
export const REGS_BYTES = 72
/** What a register's name is here. */
export type RegOffset = (typeof Reg)[keyof typeof Reg]
