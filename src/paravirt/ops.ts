/**
 * Linux's names for what a kernel asks of its hypervisor: the operations of pv_ops, and those that moved to x86_init,
 * x86_platform, static calls and apic drivers over time. The only place with Linux's names; a platform's requests say
 * which of them they serve.
 */
export const ops = {
  time: [
    'sched_clock',
    'get_wallclock',
    'set_wallclock',
    'get_tsc_khz',
    'steal_clock',
    'clocksource',
    'set_next_event',
  ],
  cpu: [
    'cpuid',
    'get_debugreg',
    'set_debugreg',
    'clts',
    'read_cr0',
    'write_cr0',
    'write_cr4',
    'load_tr_desc',
    'load_gdt',
    'load_idt',
    'store_tr',
    'set_ldt',
    'load_tls',
    'load_gs_index',
    'write_ldt_entry',
    'write_gdt_entry',
    'write_idt_entry',
    'load_sp0',
    'wbinvd',
    'io_delay',
    'read_msr',
    'write_msr',
    'read_tsc',
    'read_pmc',
    'iret',
    'swapgs',
    'halt_poll',
  ],
  irq: ['save_fl', 'irq_disable', 'irq_enable', 'safe_halt', 'halt'],
  apic: ['read', 'write', 'eoi', 'icr_read', 'icr_write', 'send_ipi', 'startup'],
  mmu: [
    'read_cr2',
    'write_cr2',
    'read_cr3',
    'write_cr3',
    'flush_tlb_user',
    'flush_tlb_kernel',
    'flush_tlb_one_user',
    'flush_tlb_multi',
    'set_pte',
    'set_pmd',
    'set_pud',
    'set_p4d',
    'set_pgd',
    'async_page_fault',
  ],
  lock: ['wait', 'kick', 'vcpu_is_preempted', 'yield'],
  machine: ['detect', 'restart', 'crash', 'message'],
} as const

type Groups = typeof ops
/** `mmu.write_cr3`, for instance. */
export type Op = { [Group in keyof Groups]: `${Group}.${Groups[Group][number]}` }[keyof Groups]
