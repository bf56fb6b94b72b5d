/**
 * Hypercalls of the PV processor mode (Xen 4.17: arch/x86/pv/callback.c, descriptor-tables.c, misc-hypercalls.c). Those
 * of every context switch are done by the core; here they are for multicalls.
 */
import type { Declaration } from '../../../paravirt/requests.ts'
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import { command, commands, type Answer, type Hypercall, hypercall } from '../hypercalls/declare.ts'
import { struct } from '../struct.ts'
import { safeDescriptor } from '../mm/descriptors.ts'
import { mmOf } from '../mm/mm.ts'
import { Type, TYPE } from '../mm/frame-table.ts'
import { getType, putType } from '../mm/types.ts'
import { guestSelector, isCanonical } from './addresses.ts'
import { Callback, register, unregister } from './callbacks.ts'
import type { PvKind } from './kind.ts'
import { physdevOp } from './physdev.ts'

const word = (name: string) => ({ name, type: { kind: 'u64' } }) as const
const number = (name: string) => ({ name, type: { kind: 'u32' } }) as const
const pointer = (name: string) => ({ name, type: { kind: 'linear' } }) as const

const TRAP_BYTES = 16
const NARROW_TRAP_BYTES = 8
const VECTORS = 256
const NO_TRAP = { flags: 0, cs: 0, address: 0n }
/** Entries before others have their turn. */
const SLICE = 256
const DESCRIPTORS = 512
const MAX_GDT_ENTRIES = 7168

const pv = (call: Call) => call.domain.effects.pv
const kindOf = (call: Call) => call.domain.kind as unknown as PvKind

const trap = new Uint8Array(TRAP_BYTES)
const trapView = new DataView(trap.buffer)

function setTrapTable(call: Call): Answer {
  const effects = pv(call)
  if (call.isNull(0)) {
    for (let vector = 0; vector < VECTORS; vector++) effects.setTrap(call.vcpu, vector, NO_TRAP)
    return 0
  }
  const size = call.wide ? TRAP_BYTES : NARROW_TRAP_BYTES
  for (let i = 0; ; i++) {
    if (i === SLICE) {
      const low = call.arg(0) + i * size
      call.setArg(0, low >>> 0, (call.high(0) + Math.floor(low / 2 ** 32)) >>> 0)
      return 'continue'
    }
    if (!call.copyIn(0, trap, size, i * size)) return Errno.EFAULT
    const address = call.wide ? trapView.getBigUint64(8, true) : BigInt(trapView.getUint32(4, true))
    if (address === 0n) return 0
    if (!isCanonical(address)) return Errno.EINVAL
    const cs = guestSelector(trapView.getUint16(2, true), !call.wide)
    effects.setTrap(call.vcpu, trap[0] as number, { flags: trap[1] as number, cs, address })
  }
}

const list = new Uint8Array(16 * 8)
const listView = new DataView(list.buffer)

function setGdt(call: Call): Answer {
  const entries = call.arg(1)
  if (entries > MAX_GDT_ENTRIES) return Errno.EINVAL
  const count = Math.ceil(entries / DESCRIPTORS)
  const size = call.wide ? 8 : 4
  if (!call.copyIn(0, list, count * size)) return Errno.EFAULT
  const frames = Array.from({ length: count }, (_, i) =>
    call.wide && listView.getUint32(8 * i + 4, true) !== 0 ? Infinity : listView.getUint32(size * i, true),
  )
  return kindOf(call).setGdt(call.vcpu, frames, entries)
}

function updateDescriptor(call: Call): Answer {
  // 32-bit guests pass both in two words.
  const { wide } = call
  const address = wide ? call.whole(0) : call.arg(1) * 2 ** 32 + call.arg(0)
  const descriptor = wide
    ? safeDescriptor(call.arg(1), call.high(1))
    : safeDescriptor(call.arg(2) | 0, call.arg(3) | 0, true)
  if (address % 8 !== 0 || !descriptor) return Errno.EINVAL
  const { frames } = mmOf(call)
  const frame = Math.floor(address / 4096)
  if (!frames.get(frame)) return Errno.EINVAL
  const isTable = ((frames.types[frame] as number) & TYPE) === Type.SEG_DESC
  const answer = getType(frames, frame, isTable ? Type.SEG_DESC : Type.WRITABLE)
  if (answer === 0) {
    frames.ram.need(frame)
    frames.ram.put(address / 4, descriptor[0], descriptor[1])
    putType(frames, frame)
  }
  frames.put(frame)
  return answer === 0 ? 0 : Errno.EINVAL
}

const canonical = 'an address that is none'
const EFAULT = 'the structure cannot be read'

const traps: Hypercall[] = [
  hypercall({
    number: 0,
    name: 'set_trap_table',
    summary: 'handlers of exceptions and software interrupts; NULL: none at all',
    guest: 'pv',
    args: [pointer('traps')],
    errors: { EFAULT: 'an entry cannot be read', EINVAL: canonical },
    ops: ['cpu.load_idt', 'cpu.write_idt_entry'],
    run: setTrapTable,
  }),
  hypercall({
    number: 4,
    name: 'set_callbacks',
    summary: 'entry points for events, bad segments and system calls',
    guest: 'pv',
    args: [word('event_address'), word('failsafe_address'), word('syscall_address')],
    run: (call) => {
      const { vcpu, wide } = call
      if (wide) {
        register(pv(call), vcpu, Callback.event, 0, call.big(0), undefined)
        register(pv(call), vcpu, Callback.failsafe, 0, call.big(1), undefined)
        register(pv(call), vcpu, Callback.syscall, 0, call.big(2), undefined)
      } else {
        register(pv(call), vcpu, Callback.event, 0, call.big(1), call.arg(0))
        register(pv(call), vcpu, Callback.failsafe, 0, call.big(3), call.arg(2))
      }
      return 0
    },
  }),
  commands({
    number: 30,
    name: 'callback_op',
    summary: 'entry points of the guest’s kernel',
    guest: 'pv',
    source: 'xen/callback.h',
    unknown: ({ wide }) => (wide ? Errno.ENOSYS : Errno.EINVAL),
    commands: [
      command({
        command: 0,
        name: 'CALLBACKOP_register',
        summary: 'an entry point, and whether it masks events',
        source: 'xen/callback.h',
        struct: struct({
          type: { c: 'u16', type: { kind: 'choice', values: Callback } },
          flags: { c: 'u16', type: { kind: 'flags', bits: { CALLBACKF_mask_events: 0 } } },
          cs: 'narrow',
          address: 'long',
        }),
        errors: { EFAULT, EINVAL: canonical, ENOSYS: 'no such entry point' },
        run: (call, block, f) =>
          register(
            pv(call),
            call.vcpu,
            block.get(f.type),
            block.get(f.flags),
            block.big(f.address),
            call.wide ? undefined : block.get(f.cs),
          ),
      }),
      command({
        command: 1,
        name: 'CALLBACKOP_unregister',
        summary: 'take the one for NMIs away',
        source: 'xen/callback.h',
        struct: struct({ type: { c: 'u16', type: { kind: 'choice', values: Callback } }, unused: 'u16' }),
        errors: { EFAULT, EINVAL: 'any other one', ENOSYS: 'no such entry point' },
        run: (call, block, f) => unregister(pv(call), call.vcpu, block.get(f.type), !call.wide),
      }),
    ],
  }),
  commands({
    number: 28,
    name: 'nmi_op',
    summary: 'the entry point for NMIs',
    guest: 'pv',
    source: 'xen/nmi.h',
    commands: [
      command({
        command: 0,
        name: 'XENNMI_register_callback',
        summary: 'set it',
        source: 'xen/nmi.h',
        struct: struct({ handler_address: 'long', pad: 'long' }),
        errors: { EFAULT, EINVAL: canonical },
        run: (call, block, f) =>
          register(pv(call), call.vcpu, Callback.nmi, 0, block.big(f.handler_address), call.wide ? undefined : 0),
      }),
      command({
        command: 1,
        name: 'XENNMI_unregister_callback',
        summary: 'take it away',
        source: 'xen/nmi.h',
        run: (call) => unregister(pv(call), call.vcpu, Callback.nmi, !call.wide),
      }),
    ],
  }),
]

const descriptors: Hypercall[] = [
  hypercall({
    number: 2,
    name: 'set_gdt',
    summary: 'frames of the global descriptor table',
    guest: 'pv',
    args: [pointer('frame_list'), number('entries')],
    errors: {
      EINVAL: 'too many entries, or a frame that cannot be a descriptor table',
      EFAULT: 'the list cannot be read',
    },
    ops: ['cpu.load_gdt'],
    run: setGdt,
  }),
  hypercall({
    number: 10,
    name: 'update_descriptor',
    summary: 'write a descriptor at a machine address',
    guest: 'pv',
    args: [word('ma'), word('desc')],
    errors: { EINVAL: 'misaligned, no frame of its own, or a page table; a descriptor that is refused' },
    ops: ['cpu.write_gdt_entry', 'cpu.write_ldt_entry', 'cpu.load_tls'],
    run: updateDescriptor,
  }),
]

const registers: Hypercall[] = [
  hypercall({
    number: 3,
    name: 'stack_switch',
    summary: 'the kernel’s stack for entries from user mode',
    guest: 'pv',
    args: [word('ss'), word('esp')],
    ops: ['cpu.load_sp0'],
    tier: 'helper',
    run: (call) => {
      pv(call).stackSwitch(call.vcpu, call.arg(0), call.big(1))
      return 0
    },
  }),
  hypercall({
    number: 5,
    name: 'fpu_taskswitch',
    summary: 'CR0.TS',
    guest: 'pv',
    args: [number('set')],
    ops: ['cpu.write_cr0', 'cpu.clts'],
    tier: 'helper',
    run: (call) => {
      pv(call).setTaskSwitched(call.vcpu, call.arg(0) !== 0)
      return 0
    },
  }),
  hypercall({
    number: 8,
    name: 'set_debugreg',
    summary: 'write a debug register',
    guest: 'pv',
    args: [number('reg'), word('value')],
    errors: {
      EPERM: 'an address of the hypervisor’s; general detect; an I/O breakpoint without CR4.DE',
      EINVAL: 'bits above 31 of DR6 or DR7',
      ENODEV: 'no such register',
    },
    ops: ['cpu.set_debugreg'],
    run: (call) => {
      const error = pv(call).setDebugRegister(call.vcpu, call.arg(0), call.big(1))
      return error === 0 ? 0 : -error
    },
  }),
  hypercall({
    number: 9,
    name: 'get_debugreg',
    summary: 'read a debug register',
    guest: 'pv',
    args: [number('reg')],
    errors: { ENODEV: 'no such register' },
    ops: ['cpu.get_debugreg'],
    run: (call) => {
      const index = call.arg(0)
      const aliases = (pv(call).cr4(call.vcpu) & 8n) === 0n
      if (index > 7 || ((index === 4 || index === 5) && !aliases)) return Errno.ENODEV
      const real = index === 4 || index === 5 ? index + 2 : index
      return Number(BigInt.asIntN(64, pv(call).debugRegister(call.vcpu, real)))
    },
  }),
  hypercall({
    number: 23,
    name: 'iret',
    summary: 'return, to user mode or within the kernel, by the frame on the stack',
    guest: 'pv',
    ops: ['cpu.iret', 'cpu.usergs_sysret64'],
    tier: 'helper',
    run: (call) => {
      pv(call).iret(call.vcpu)
      return 'done'
    },
  }),
  hypercall({
    number: 25,
    name: 'set_segment_base',
    summary: 'base of FS, of the user’s or the kernel’s GS, or the user’s GS by selector',
    guest: 'pv',
    args: [
      {
        name: 'which',
        type: {
          kind: 'choice',
          values: { SEGBASE_FS: 0, SEGBASE_GS_USER: 1, SEGBASE_GS_KERNEL: 2, SEGBASE_GS_USER_SEL: 3 },
        },
      },
      word('base'),
    ],
    errors: { EINVAL: 'no such segment, or an address that is none', ENOSYS: 'a 32-bit guest' },
    ops: ['cpu.write_msr', 'cpu.load_gs_index'],
    tier: 'helper',
    run: (call) => (call.wide ? pv(call).setSegmentBase(call.vcpu, call.arg(0), call.big(1)) : Errno.ENOSYS),
  }),
]

export const pvHypercalls: readonly Hypercall[] = [...traps, ...descriptors, ...registers, physdevOp]

/** What the core does by itself, by number. */
export const hotHypercalls: ReadonlyMap<number, Declaration> = new Map(
  registers.filter(({ tier }) => tier === 'helper').map((call) => [call.number, call]),
)
