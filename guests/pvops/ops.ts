/**
 * The operations of the pv_ops table, in the groups of Linux 2.6.24 (init, time, cpu, irq, apic, mmu, lock). The order
 * is that of the table in memory.
 *
 * Calling convention, the same in 32 and 64 bits: arguments in xAX, xDX, xCX, result in xAX (64-bit results of 32-bit
 * code in EDX:EAX). An operation may change xAX, xDX, xCX and R8 to R11; one that is `kept` changes nothing but its
 * result. A `jump` does not return: it is jumped to, with stack and registers as the instruction wants them.
 */
export interface Op {
  /** `irq.irq_disable` */
  readonly name: string
  /** What it takes and gives. */
  readonly summary: string
  readonly kept?: true
  readonly jump?: true
  /** It exists in this code only. */
  readonly bits?: 32 | 64
}

const rows: readonly (readonly [name: string, summary: string, more?: Omit<Op, 'name' | 'summary'>])[] = [
  ['init.arch_setup', 'make friends with the hypervisor, once'],
  ['init.console_write', 'xAX text, xDX bytes'],
  ['init.power_off', 'the end'],

  ['time.time_init', 'know the frequencies of the TSC and of the timer'],
  ['time.get_wallclock', 'seconds since 1970 in EAX'],
  ['time.sched_clock', 'nanoseconds, 64 bits'],
  ['time.steal_clock', 'nanoseconds in which this CPU could have run but did not, 64 bits'],
  ['time.set_next_event', 'interrupt this CPU in EAX nanoseconds'],

  ['cpu.load_gdt', 'xAX limit and base'],
  ['cpu.load_idt', 'xAX limit and base'],
  ['cpu.load_tr_desc', 'the task register'],
  ['cpu.write_gdt_entry', 'xAX table, EDX selector, xCX the 8 bytes'],
  ['cpu.write_idt_entry', 'xAX table, EDX vector, xCX the gate'],
  ['cpu.load_sp0', 'xAX task state, xDX stack for traps from user mode'],
  ['cpu.read_cr0', 'CR0 in xAX', { kept: true }],
  ['cpu.write_cr0', 'xAX to CR0'],
  ['cpu.clts', 'CR0.TS is 0'],
  ['cpu.read_cr4', 'CR4 in xAX', { kept: true }],
  ['cpu.cpuid', 'EAX leaf, EDX where its four words go'],
  ['cpu.read_msr', 'EAX number; 64 bits'],
  ['cpu.write_msr', 'EAX number, EDX low, ECX high half'],
  ['cpu.read_tsc', '64 bits'],
  ['cpu.io_delay', 'wait for an old device'],
  ['cpu.wbinvd', 'write caches back'],
  ['cpu.iret', 'back to where the frame on the stack says', { jump: true }],
  ['cpu.swapgs', 'the other GS base', { kept: true, bits: 64 }],
  ['cpu.usergs_sysret64', 'back to user mode by SYSRET, with its GS base', { jump: true, bits: 64 }],
  ['cpu.irq_enable_sysexit', 'back to user mode by SYSEXIT', { jump: true, bits: 32 }],

  ['irq.init_IRQ', 'no interrupts but those that are asked for'],
  ['irq.save_fl', 'interrupt flag in bit 9 of xAX', { kept: true }],
  ['irq.restore_fl', 'xAX as save_fl gave it', { kept: true }],
  ['irq.irq_disable', 'no interrupts', { kept: true }],
  ['irq.irq_enable', 'interrupts', { kept: true }],
  ['irq.safe_halt', 'interrupts, and wait for one'],
  ['irq.halt', 'wait for an interrupt; for good if they are off'],

  ['apic.apic_read', 'EAX register; its value in EAX'],
  ['apic.apic_write', 'EAX register, EDX value'],
  ['apic.eoi', 'end of interrupt'],
  ['apic.send_ipi', 'EAX CPU, EDX vector'],
  ['apic.setup_boot_clock', 'the timer of the first CPU, and what is its own'],
  ['apic.setup_secondary_clock', 'the same on another'],
  ['apic.startup_ipi', 'EAX CPU, EDX page of its first code'],

  ['mmu.read_cr2', 'address of the page fault', { kept: true }],
  ['mmu.read_cr3', 'page tables in xAX', { kept: true }],
  ['mmu.write_cr3', 'xAX to CR3'],
  ['mmu.flush_tlb_user', 'forget what is not global'],
  ['mmu.flush_tlb_kernel', 'forget all'],
  ['mmu.flush_tlb_single', 'forget the page at xAX'],
  ['mmu.flush_tlb_others', 'EAX CPU forgets the page at xDX'],
  ['mmu.set_pte', 'xAX entry, its value in RDX, or EDX low and ECX high half'],
  ['mmu.set_pmd', 'the same, for a page directory'],
  ['mmu.pte_val', 'from an entry in xAX to what the hardware knows', { kept: true }],
  ['mmu.make_pte', 'and back', { kept: true }],
  ['mmu.alloc_pte', 'the page at physical address xAX becomes a page table'],
  ['mmu.release_pte', 'it is none any more'],
  ['mmu.enter_lazy_mode', 'changes to page tables may wait'],
  ['mmu.leave_lazy_mode', 'now they must have happened'],

  ['lock.wait', 'sleep while the byte at xAX is DL, interrupts off; may end early'],
  ['lock.kick', 'CPU EAX goes on'],
  ['lock.vcpu_is_preempted', 'whether CPU EAX does not run just now, in EAX'],
]

const all: readonly Op[] = rows.map(([name, summary, more]) => ({ name, summary, ...more }))

export const opsOf = (bits: 32 | 64): readonly Op[] => all.filter((op) => op.bits === undefined || op.bits === bits)
