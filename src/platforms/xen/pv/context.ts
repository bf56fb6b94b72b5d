/** vcpu_guest_context (xen/arch-x86/xen.h), the 64-bit one: the state in which VCPUOP_initialise lets a vCPU begin. */
import type { PvContext, TrapInfo } from '../../../paravirt/pv-effects.ts'
import { isCanonical, isGuestAddress } from './addresses.ts'

export const CONTEXT_BYTES = 5168

const VGCF = { I387_VALID: 1, IN_KERNEL: 4, ONLINE: 0x20 } as const
const FPU_BYTES = 512
const FLAGS = 0x200
const TRAPS = 0x2d0
const TRAP_BYTES = 16
const VECTORS = 256
const GDT_FRAMES = 0x12e0
const MAX_GDT_FRAMES = 16
const DESCRIPTORS = 512
const MAX_LDT = 8192
const PAGE = 4096n
const TS = 8n

/** Offsets of 64-bit fields. */
const at = {
  rbp: 0x228,
  rip: 0x288,
  cs: 0x290,
  rflags: 0x298,
  rsp: 0x2a0,
  ss: 0x2a8,
  es: 0x2b0,
  ds: 0x2b8,
  fs: 0x2c0,
  gs: 0x2c8,
  ldtBase: 0x12d0,
  ldtEnts: 0x12d8,
  gdtEnts: 0x1360,
  kernelSs: 0x1368,
  kernelSp: 0x1370,
  cr0: 0x1378,
  cr1: 0x1380,
  cr3: 0x1390,
  cr4: 0x1398,
  debug: 0x13b8,
  event: 0x13f8,
  failsafe: 0x1400,
  syscall: 0x1408,
  assist: 0x1410,
  fsBase: 0x1418,
  gsBaseKernel: 0x1420,
  gsBaseUser: 0x1428,
} as const
type Field = keyof typeof at
/** RAX to R15 in struct cpu_user_regs, by their numbers. */
const REGISTERS = [
  0x258, 0x260, 0x268, 0x230, 0x2a0, 0x228, 0x270, 0x278, 0x250, 0x248, 0x240, 0x238, 0x220, 0x218, 0x210, 0x208,
]
/** All that must be canonical. */
const addresses: readonly Field[] = [
  'rip',
  'rsp',
  'kernelSp',
  'fsBase',
  'gsBaseKernel',
  'gsBaseUser',
  'event',
  'syscall',
  'failsafe',
]

export interface PvVcpuContext {
  readonly context: PvContext
  readonly flags: number
  readonly kernel: boolean
  readonly online: boolean
  readonly iopl: number
  readonly traps: readonly TrapInfo[]
  readonly ldt: { readonly base: bigint; readonly entries: number }
  readonly gdt: { readonly frames: readonly number[]; readonly entries: number }
  readonly kernelSs: number
  readonly kernelSp: bigint
  readonly event: bigint
  readonly failsafe: bigint
  readonly syscall: bigint
  /** Of callbacks, in 32-bit guests. */
  readonly selectors?: { readonly event: number; readonly failsafe: number }
  readonly assist: bigint
  /** Frames of the page tables. */
  readonly roots: { readonly kernel: number; readonly user: number | undefined }
  readonly debug: readonly bigint[]
}

/** RPL 3 for selectors that would be more privileged. */
const guestSelector = (selector: bigint): number => Number(selector & 0xffffn) | 3

/** The number of a frame, or one that none has. */
const frameOf = (cr3: bigint): number => Number(cr3 / PAGE)

/** Undefined: what Xen answers with -EINVAL before it looks at page tables and descriptors. */
export function pvContext(bytes: Uint8Array): PvVcpuContext | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const get = (field: Field) => view.getBigUint64(at[field], true)
  const flags = view.getUint32(FLAGS, true)
  const traps = Array.from({ length: VECTORS }, (_, vector): TrapInfo => {
    const where = TRAPS + vector * TRAP_BYTES
    return {
      flags: bytes[where + 1] as number,
      cs: view.getUint16(where + 2, true) | 3,
      address: view.getBigUint64(where + 8, true),
    }
  })
  if (!addresses.every((field) => isCanonical(get(field))) || !traps.every(({ address }) => isCanonical(address)))
    return undefined
  const ldtBase = get('ldtBase')
  const ldtEnts = get('ldtEnts')
  if (!isGuestAddress(ldtBase) || ldtBase % PAGE !== 0n || ldtEnts > BigInt(MAX_LDT)) return undefined
  const entries = get('gdtEnts')
  const count = (entries + BigInt(DESCRIPTORS - 1)) / BigInt(DESCRIPTORS)
  if (count > BigInt(MAX_GDT_FRAMES)) return undefined
  const kernel = (flags & VGCF.IN_KERNEL) !== 0
  const user = get('cr1')
  if (!kernel && user === 0n) return undefined
  const rflags = Number(BigInt.asUintN(32, get('rflags')))
  return {
    flags,
    kernel,
    online: (flags & VGCF.ONLINE) !== 0,
    iopl: rflags & 0x3000,
    traps,
    ldt: { base: ldtBase, entries: Number(ldtEnts) },
    gdt: {
      entries: Number(entries),
      frames: Array.from({ length: Number(count) }, (_, i) => Number(view.getBigUint64(GDT_FRAMES + 8 * i, true))),
    },
    kernelSs: guestSelector(get('kernelSs')),
    kernelSp: get('kernelSp'),
    event: get('event'),
    failsafe: get('failsafe'),
    syscall: get('syscall'),
    assist: get('assist'),
    roots: { kernel: frameOf(get('cr3')), user: user === 0n ? undefined : frameOf(user) },
    debug: Array.from({ length: 8 }, (_, i) => view.getBigUint64(at.debug + 8 * i, true)),
    context: {
      registers: REGISTERS.map((offset) => view.getBigUint64(offset, true)),
      rip: get('rip'),
      rflags,
      cs: guestSelector(get('cs')),
      ss: guestSelector(get('ss')),
      ds: Number(get('ds') & 0xffffn),
      es: Number(get('es') & 0xffffn),
      fs: Number(get('fs') & 0xffffn),
      gs: Number(get('gs') & 0xffffn),
      fsBase: get('fsBase'),
      gsBaseKernel: get('gsBaseKernel'),
      gsBaseUser: get('gsBaseUser'),
      taskSwitched: (get('cr0') & TS) !== 0n,
      cr4: get('cr4'),
      fpu: flags & VGCF.I387_VALID ? bytes.slice(0, FPU_BYTES) : undefined,
    },
  }
}
