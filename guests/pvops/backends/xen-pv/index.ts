/**
 * Xen, as a paravirtual guest: the kernel runs in ring 3 (32 bits: in ring 1), and everything privileged is asked for. Page tables
 * hold machine frames and are changed by hypercall; the interrupt flag is a byte in memory; exceptions, system calls and
 * events come to addresses that Xen was told. What is not the processor's is as in `xen.ts`.
 */
import { MAX_CPUS } from '../../layout.ts'
import type { Backend } from '../backend.ts'
import { xen } from '../xen.ts'
import type { Builder } from '../../builder.ts'
import { abi } from './abi.ts'
import { interrupts } from './interrupts.ts'
import { mmu } from './mmu.ts'
import { processor } from './processor.ts'
import { setup } from './setup.ts'
import { startup } from './startup.ts'

const both: Readonly<Record<string, string | undefined>> = {
  'init.arch_setup': 'xenpv.arch_setup',
  'time.time_init': 'xenpv.time_init',
  'cpu.load_gdt': 'xenpv.load_gdt',
  'cpu.load_idt': undefined,
  'cpu.load_tr_desc': undefined,
  'cpu.write_gdt_entry': undefined,
  'cpu.write_idt_entry': 'xenpv.write_idt_entry',
  'cpu.load_sp0': 'xenpv.load_sp0',
  'cpu.write_msr': 'xenpv.write_msr',
  'cpu.iret': 'xenpv.iret',
  'irq.save_fl': 'xenpv.save_fl',
  'irq.restore_fl': 'xenpv.restore_fl',
  'irq.irq_disable': 'xenpv.irq_disable',
  'irq.irq_enable': 'xenpv.irq_enable',
  'irq.safe_halt': 'xenpv.safe_halt',
  'irq.halt': 'xenpv.safe_halt',
  'apic.apic_read': 'xenpv.apic_read',
  'apic.apic_write': undefined,
  'apic.eoi': undefined,
  'apic.send_ipi': 'xenpv.send_ipi',
  'apic.setup_boot_clock': 'xenpv.setup_clock',
  'apic.setup_secondary_clock': 'xenpv.setup_clock',
  'apic.startup_ipi': 'xenpv.startup_ipi',
  'mmu.read_cr2': 'xenpv.read_cr2',
  'mmu.set_pte': 'xenpv.set_pte',
  'mmu.set_pmd': 'xenpv.set_pte',
  'mmu.alloc_pte': 'xenpv.alloc_pte',
  'mmu.release_pte': 'xenpv.release_pte',
  'mmu.flush_tlb_user': 'xenpv.flush_tlb',
  'mmu.flush_tlb_kernel': 'xenpv.flush_tlb',
  'mmu.flush_tlb_single': 'xenpv.flush_tlb_single',
  'mmu.flush_tlb_others': 'xenpv.flush_tlb_others',
}

/** Operations that only one width has. */
const own: Readonly<Record<32 | 64, Readonly<Record<string, string | undefined>>>> = {
  32: { 'cpu.irq_enable_sysexit': 'xenpv.sysexit' },
  64: { 'cpu.swapgs': undefined, 'cpu.usergs_sysret64': 'xenpv.sysret' },
}

const data = (k: Builder) => `
xenpv.present: db 0
align 8
xenpv.features: dd 0
align 8
xenpv.start_info: dq 0
xenpv.gdt_frame: dq 0
xenpv.cpus: dq 0
xenpv.update: dq 0, 0
xenpv.mmuext: dq 0, 0, 0
xenpv.trap: db 0, 0
  dw ${abi(k).cs}
  dd 0
  dq 0, 0, 0
${k.long ? '' : `xenpv.sysenter_callback: dw 5, 0\n  dd ${abi(k).cs}, xenpv.sysenter`}
xenpv.call_ports: zero ${4 * MAX_CPUS}
xenpv.wake_ports: zero ${4 * MAX_CPUS}
align 16
xenpv.context: zero ${abi(k).context.bytes}
align 4096
xenpv.gdt: zero 4096
${k.long ? 'xenpv.user_l4: zero 4096\nxenpv.user_l3: zero 4096\nxenpv.user_l2: zero 4096' : ''}
spare_table: zero 4096
`

export const xenPv: Backend = {
  name: 'xenpv',
  title: 'Xen',
  overrides: (k) => {
    const ops = { ...both, ...own[k.bits] }
    return [
      ...xen.overrides(k).filter(({ op }) => !(op in ops)),
      ...Object.entries(ops).map(([op, to]) => ({ op, to })),
    ]
  },
  code: (k) => [setup, processor, interrupts, startup, mmu, data].map((piece) => piece(k)).join(''),
}
