/** Xen's numbers for a paravirtual guest (xen/xen.h, arch-x86/xen-x86_64.h, xen-x86_32.h), and what the pieces share. */
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
/**
 * What is different by the guest's width: flat code and data of Xen's own descriptor table (ring 3; of 32 bits ring 1),
 * members of start_info and vcpu_guest_context, bytes of a trap_info and where the address is in it, CR2 in vcpu_info,
 * the machine-to-physical table.
 */
const widths = {
  wide: {
    cs: 0xe033,
    ss: 0xe02b,
    start: { sharedInfo: 40, console: 72, port: 80, tables: 88, list: 104, commandLine: 128 },
    context: {
      traps: 720,
      ip: 648,
      cs: 656,
      sp: 672,
      ss: 680,
      gdtFrames: 4832,
      gdtEntries: 4960,
      kernelSs: 4968,
      kernelSp: 4976,
      cr3: 5008,
      event: 5112,
      failsafe: 5120,
      bytes: 5168,
    },
    trap: { bytes: 16, address: 8 },
    cr2: 16,
    m2p: '0xffff800000000000',
  },
  narrow: {
    cs: 0xe019,
    ss: 0xe021,
    start: { sharedInfo: 0x24, console: 0x34, port: 0x38, tables: 0x3c, list: 0x44, commandLine: 0x50 },
    context: {
      traps: 0x248,
      ip: 0x224,
      cs: 0x228,
      sp: 0x230,
      ss: 0x234,
      gdtFrames: 0xa50,
      gdtEntries: 0xa90,
      kernelSs: 0xa94,
      kernelSp: 0xa98,
      cr3: 0xaa8,
      event: 0xadc,
      failsafe: 0xae4,
      bytes: 2800,
    },
    trap: { bytes: 8, address: 4 },
    cr2: 8,
    m2p: '0xf5800000',
  },
} as const

export const abi = ({ long }: Builder) => widths[long ? 'wide' : 'narrow']

/** Descriptors of ours that Xen takes over: all but the task state. */
export const DESCRIPTORS = 9

/** Commands of mmuext_op. */
export const Mmuext = { PIN_L1: 0, UNPIN: 4, FLUSH: 6, INVLPG: 7, INVLPG_MULTI: 9, NEW_USER_BASEPTR: 15 } as const

/** The command that the code before has put into xenpv.mmuext. */
export const mmuext = (k: Builder): string => call(k, Hypercall.MMUEXT_OP, 'xenpv.mmuext', 1, 0, SELF)
