/** vcpu_guest_context of a 32-bit guest (xen/arch-x86/xen.h): as `context.ts`, with what Xen makes of it. */
import type { TrapInfo } from '../../../paravirt/pv-effects.ts'
import { guestSelector } from './addresses.ts'
import type { PvVcpuContext } from './context.ts'

export const NARROW_CONTEXT_BYTES = 2800

const VGCF = { I387_VALID: 1, ONLINE: 0x20 } as const
const FPU_BYTES = 512
const FLAGS = 0x200
const TRAPS = 0x248
const TRAP_BYTES = 8
const VECTORS = 256
const GDT_FRAMES = 0xa50
const MAX_GDT_FRAMES = 16
const DESCRIPTORS = 512
const MAX_LDT = 8192
const PAGE = 4096
const TS = 8

const at = {
  eip: 0x224,
  cs: 0x228,
  eflags: 0x22c,
  ss: 0x234,
  es: 0x238,
  ds: 0x23c,
  fs: 0x240,
  gs: 0x244,
  ldtBase: 0xa48,
  ldtEnts: 0xa4c,
  gdtEnts: 0xa90,
  kernelSs: 0xa94,
  kernelSp: 0xa98,
  cr0: 0xa9c,
  cr3: 0xaa8,
  cr4: 0xaac,
  debug: 0xabc,
  eventCs: 0xadc,
  event: 0xae0,
  failsafeCs: 0xae4,
  failsafe: 0xae8,
  assist: 0xaec,
} as const

/** EAX to EDI in struct cpu_user_regs, by their numbers. */
const REGISTERS = [0x21c, 0x208, 0x20c, 0x204, 0x230, 0x218, 0x210, 0x214]

/** The frame that CR3 names: frames above 4 GiB have their upper bits in the lower ones (XEN_CR3_PAE_EXTENDED). */
const frameOfCr3 = (cr3: number): number => (cr3 >>> 12) + (cr3 & 0xfff) * 2 ** 20

/** Undefined: what Xen answers with -EINVAL before it looks at page tables and descriptors. */
export function pvContext32(bytes: Uint8Array): PvVcpuContext | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const word = (field: keyof typeof at) => view.getUint32(at[field], true)
  const half = (field: keyof typeof at) => view.getUint16(at[field], true)
  const flags = view.getUint32(FLAGS, true)
  const ldtBase = word('ldtBase')
  const ldtEnts = word('ldtEnts')
  // In Xen's own addresses it is not refused: none of its pages will be found.
  if (ldtBase % PAGE !== 0 || ldtEnts > MAX_LDT) return undefined
  const entries = word('gdtEnts')
  const count = Math.ceil(entries / DESCRIPTORS)
  if (count > MAX_GDT_FRAMES) return undefined
  const eflags = word('eflags')
  return {
    flags,
    kernel: true,
    online: (flags & VGCF.ONLINE) !== 0,
    iopl: eflags & 0x3000,
    traps: Array.from({ length: VECTORS }, (_, vector): TrapInfo => {
      const where = TRAPS + vector * TRAP_BYTES
      return {
        flags: bytes[where + 1] as number,
        cs: guestSelector(view.getUint16(where + 2, true), true),
        address: BigInt(view.getUint32(where + 4, true)),
      }
    }),
    ldt: { base: BigInt(ldtBase), entries: ldtEnts },
    gdt: {
      entries,
      frames: Array.from({ length: count }, (_, i) => view.getUint32(GDT_FRAMES + 4 * i, true)),
    },
    kernelSs: guestSelector(half('kernelSs'), true),
    kernelSp: BigInt(word('kernelSp')),
    event: BigInt(word('event')),
    failsafe: BigInt(word('failsafe')),
    syscall: 0n,
    selectors: { event: guestSelector(half('eventCs'), true), failsafe: guestSelector(half('failsafeCs'), true) },
    assist: BigInt(word('assist')),
    roots: { kernel: frameOfCr3(word('cr3')), user: undefined },
    debug: Array.from({ length: 8 }, (_, i) => BigInt(view.getUint32(at.debug + 4 * i, true))),
    context: {
      registers: Array.from({ length: 16 }, (_, i) => {
        const offset = REGISTERS[i]
        return offset === undefined ? 0n : BigInt(view.getUint32(offset, true))
      }),
      rip: BigInt(word('eip')),
      rflags: eflags,
      cs: guestSelector(half('cs'), true),
      ss: guestSelector(half('ss'), true),
      ds: half('ds'),
      es: half('es'),
      fs: half('fs'),
      gs: half('gs'),
      fsBase: 0n,
      gsBaseKernel: 0n,
      gsBaseUser: 0n,
      taskSwitched: (word('cr0') & TS) !== 0,
      cr4: BigInt(word('cr4')),
      fpu: flags & VGCF.I387_VALID ? bytes.slice(0, FPU_BYTES) : undefined,
      narrow: true,
    },
  }
}
