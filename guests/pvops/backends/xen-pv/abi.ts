/** Xen's numbers for a paravirtual guest (xen/xen.h, arch-x86/xen-x86_64.h), and what the pieces have in common. */
import type { Builder } from '../../builder.ts'
import { call } from '../xen.ts'

export const Hypercall = {
  SET_TRAP_TABLE: 0,
  MMU_UPDATE: 1,
  SET_GDT: 2,
  STACK_SWITCH: 3,
  SET_CALLBACKS: 4,
  UPDATE_VA_MAPPING: 14,
  XEN_VERSION: 17,
  IRET: 23,
  VCPU_OP: 24,
  MMUEXT_OP: 26,
  SCHED_OP: 29,
  CALLBACK_OP: 30,
  EVENT_CHANNEL_OP: 32,
} as const

export const SELF = 0x7ff0
/** Selectors of Xen's own table: flat code and data of ring 3. */
export const KERNEL_CS = 0xe033
export const KERNEL_SS = 0xe02b
/** The same of ring 1. */
export const KERNEL_CS32 = 0xe019
export const KERNEL_SS32 = 0xe021
/** Descriptors of ours that Xen takes over: all but the task state. */
export const DESCRIPTORS = 9

/** Commands of mmuext_op. */
export const Mmuext = { PIN_L1: 0, UNPIN: 4, FLUSH: 6, INVLPG: 7, INVLPG_MULTI: 9, NEW_USER_BASEPTR: 15 } as const

/** The command that the code before has put into xenpv.mmuext. */
export const mmuext = (k: Builder): string => call(k, Hypercall.MMUEXT_OP, 'xenpv.mmuext', 1, 0, SELF)
