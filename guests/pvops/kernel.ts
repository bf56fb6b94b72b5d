/**
 * The kernel: assembled from its pieces into an ELF image with a PVH entry. One source, 32 and 64 bits.
 *
 *     entry → main: probe, arch_setup, tables, time → patch → programme → costs → power_off
 */
import { assemble } from '../../src/cpu/assemble/assembler.ts'
import { writeElf } from '../../src/boot/elf.ts'
import { NoteType, type XenNote } from '../../src/boot/xen-notes.ts'
import type { Backend } from './backends/backend.ts'
import { hyperv } from './backends/hyperv.ts'
import { kvm } from './backends/kvm.ts'
import { lguest } from './backends/lguest.ts'
import { functions } from './backends/native.ts'
import { vmi } from './backends/vmi.ts'
import { vmware } from './backends/vmware.ts'
import { xen } from './backends/xen.ts'
import { xenPv } from './backends/xen-pv/index.ts'
import { Builder } from './builder.ts'
import { console } from './console.ts'
import { costs } from './costs.ts'
import { entry, memory } from './entry.ts'
import { ORIGIN, STACK } from './layout.ts'
import { patcher, probe, siteList, tables } from './patch.ts'
import { programme, programmeCode } from './programme/index.ts'
import { traps } from './traps.ts'

const all: readonly Backend[] = [xenPv, lguest, kvm, hyperv, vmware, xen, vmi]

const main = (k: Builder) => `
main:
  mov xsp, stacks+${STACK}
  call probe
  ${k.op('init.arch_setup')}
  ${k.print(`pvops: a ${k.bits}-bit kernel\nBooting paravirtualized kernel on `)}
  mov xax, [pv_name]
  call print
  ${k.print('\n')}
  call count_cpus
  call make_idt
  call load_tables
  ${k.op('irq.init_IRQ')}
  ${k.op('time.time_init')}
  ${k.op('apic.setup_boot_clock')}
  mov xbx, costs_before
  call measure
  call apply_paravirt
  ${k.print('patched sites: ')}
  mov eax, [patched_inline]
  call print_decimal
  ${k.print(' instructions, ')}
  mov eax, [patched_nothing]
  call print_decimal
  ${k.print(' nothing, ')}
  mov eax, [patched_call]
  call print_decimal
  ${k.print(' direct calls\n')}
${programme(k)}
  mov xbx, costs_after
  call measure
  call print_costs
  ${k.print('waits for the lock: ')}
  mov eax, [lock_waits]
  call print_decimal
  ${k.print('\nchecks passed: ')}
  mov eax, [checks_passed]
  call print_decimal
  ${k.print(' of ')}
  mov eax, [checks]
  call print_decimal
  ${k.print('\n')}
  ${k.op('init.power_off')}
`

/** Assembly of the whole kernel. */
export function source(bits: 32 | 64): string {
  const k = new Builder(bits)
  const backends = all.filter((backend) => (backend.bits ?? bits) === bits)
  const code = [
    entry(k),
    main(k),
    probe(k, backends),
    patcher(k),
    functions(k),
    ...backends.map((backend) => backend.code(k)),
    traps(k),
    console(k),
    programmeCode(k),
    costs(k),
    tables(k, backends),
  ]
  // What the pieces asked for on the way.
  return [...code, siteList(k), k.strings(), memory(k)].join('\n')
}

function word(type: number, value: number, bits: 32 | 64): XenNote {
  const desc = new Uint8Array(bits / 8)
  new DataView(desc.buffer).setUint32(0, value, true)
  return { type, desc }
}

const text = (type: number, value: string): XenNote => ({ type, desc: new TextEncoder().encode(`${value}\0`) })

/** What Xen's builder of paravirtual domains wants to know: addresses are physical ones. */
const pvNotes = (labels: ReadonlyMap<string, number>, bits: 32 | 64): XenNote[] => [
  text(NoteType.XEN_VERSION, 'xen-3.0'),
  text(NoteType.GUEST_OS, 'pvops'),
  text(NoteType.LOADER, 'generic'),
  ...(bits === 32 ? [text(NoteType.PAE_MODE, 'yes')] : []),
  word(NoteType.VIRT_BASE, 0, bits),
  word(NoteType.PADDR_OFFSET, 0, bits),
  word(NoteType.ENTRY, labels.get('xenpv.start') as number, bits),
  word(NoteType.HYPERCALL_PAGE, labels.get('xen.page') as number, bits),
]

/** The kernel as an ELF file. */
export function pvopsKernel(bits: 32 | 64): Uint8Array {
  const { bytes, labels } = assemble(source(bits), { origin: ORIGIN, bits })
  const start = labels.get('start') as number
  const notes = [word(NoteType.PHYS32_ENTRY, start, bits), ...pvNotes(labels, bits)]
  return writeElf({
    bits,
    segments: [{ address: ORIGIN, bytes, size: bytes.length }],
    entry: start,
    headerEntry: BigInt(start),
    pvh: start,
    notes,
  })
}
