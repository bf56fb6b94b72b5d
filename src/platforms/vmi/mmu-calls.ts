/**
 * VMI's calls about page tables. This host finds what it needs in the tables themselves, as a bare processor does, so
 * entries are written at once and lazy modes have nothing to end.
 */
import type { Argument } from '../../paravirt/requests.ts'
import type { Call } from './call.ts'
import { pieces, label, to } from './code.ts'

const common = {
  kind: 'hypercall',
  tier: 'inline',
  answer: 'stub',
  args: [],
  errors: {},
  ops: [],
  source: 'VMware, Paravirtualization API 2.0, MMU calls',
} as const

const RET = 0xc3

const word = (name: string): Argument => ({ name, type: { kind: 'u32' } })
const address = (name: string): Argument => ({ name, type: { kind: 'linear' } })
const levels = { VMI_PAGE_PT: 0, VMI_PAGE_PD: 1, VMI_PAGE_PDP: 2, VMI_PAGE_PML4: 3 }
const entryFlags: Argument = {
  name: 'flags',
  type: { kind: 'flags', bits: { ...levels, VMI_PAGE_CURRENT_AS: 4, VMI_PAGE_DEFER: 5 } },
}
const pageFlags: Argument = {
  name: 'flags',
  type: { kind: 'flags', bits: { L1: 0, L2: 1, L3: 2, L4: 3, PAE: 4, CLONE: 5, ZEROED: 6 } },
}
const setOps = ['mmu.set_pte', 'mmu.set_pmd', 'mmu.set_pud'] as const

/** A load of CR3 forgets all translations but the global ones, a change of CR4.PGE those, too. */
const flushTlb = pieces(
  [0x0f, 0x20, 0xd9, 0x0f, 0x22, 0xd9], // mov ecx, cr3; mov cr3, ecx
  [0xa8, 0x02, 0x75, to('global'), RET], // test al, 2; jnz global
  [label('global')],
  [0x0f, 0x20, 0xe1, 0x81, 0xf1, 0x80, 0, 0, 0, 0x0f, 0x22, 0xe1], // mov ecx, cr4; xor ecx, 0x80; mov cr4, ecx
  [0x81, 0xf1, 0x80, 0, 0, 0, 0x0f, 0x22, 0xe1, RET], // xor ecx, 0x80; mov cr4, ecx
)

export const mmuCalls: readonly Call[] = [
  {
    ...common,
    number: 38,
    name: 'VMI_CALL_SetPxE',
    summary: 'store a 32-bit entry',
    args: [word('value'), address('entry'), entryFlags],
    ops: setOps,
    code: [0x89, 0x02, RET], // mov [edx], eax
  },
  {
    ...common,
    number: 39,
    name: 'VMI_CALL_SetPxELong',
    summary: 'store a 64-bit entry, which is never present half written',
    args: [word('low'), word('high'), address('entry'), entryFlags],
    ops: setOps,
    // mov dword [ecx], 0; mov [ecx+4], edx; mov [ecx], eax
    code: [0xc7, 0x01, 0, 0, 0, 0, 0x89, 0x51, 0x04, 0x89, 0x01, RET],
  },
  {
    ...common,
    number: 40,
    name: 'VMI_CALL_UpdatePxE',
    summary: 'a 32-bit entry was changed',
    answer: 'nop',
    args: [address('entry'), entryFlags],
    ops: setOps,
  },
  {
    ...common,
    number: 41,
    name: 'VMI_CALL_UpdatePxELong',
    summary: 'a 64-bit entry was changed',
    answer: 'nop',
    args: [address('entry'), entryFlags],
    ops: setOps,
  },
  {
    ...common,
    number: 42,
    name: 'VMI_CALL_MachineToPhysical',
    summary: 'page numbers are the same',
    args: [word('page')],
    code: [RET],
  },
  {
    ...common,
    number: 43,
    name: 'VMI_CALL_PhysicalToMachine',
    summary: 'page numbers are the same',
    args: [word('page')],
    code: [RET],
  },
  {
    ...common,
    number: 44,
    name: 'VMI_CALL_AllocatePage',
    summary: 'a page becomes a page table',
    tier: 'call',
    answer: 'trap',
    args: [word('pfn'), pageFlags, word('clone_pfn'), word('first'), word('count')],
    ops: setOps,
    errors: { 'bad flags': 'not one level, or bits that do not exist', 'no page': 'beyond the end of memory' },
    run: ({ tables }, _vcpu, { eax, edx, ecx, stack: [first, count] }) =>
      tables.allocate(eax, edx, { pfn: ecx, first, count }),
  },
  {
    ...common,
    number: 45,
    name: 'VMI_CALL_ReleasePage',
    summary: 'a page is no page table any more',
    tier: 'call',
    answer: 'trap',
    args: [word('pfn'), pageFlags],
    ops: setOps,
    errors: { 'bad flags': 'not one level, or bits that do not exist', 'no table': 'it was not announced' },
    run: ({ tables }, _vcpu, { eax, edx }) => tables.release(eax, edx),
  },
  {
    ...common,
    number: 46,
    name: 'VMI_CALL_InvalPage',
    summary: 'INVLPG',
    args: [address('address')],
    ops: ['mmu.flush_tlb_one_user'],
    code: [0x0f, 0x01, 0x38, RET],
  },
  {
    ...common,
    number: 47,
    name: 'VMI_CALL_FlushTLB',
    summary: 'forget translations: 1 all but global ones, 3 all',
    args: [{ name: 'flags', type: { kind: 'flags', bits: { VMI_FLUSH_TLB: 0, VMI_FLUSH_GLOBAL: 1 } } }],
    ops: ['mmu.flush_tlb_user', 'mmu.flush_tlb_kernel'],
    code: flushTlb,
  },
  {
    ...common,
    number: 48,
    name: 'VMI_CALL_SetLinearMapping',
    summary: 'where the kernel maps physical pages: a hint to who must find its tables by linear addresses',
    answer: 'nop',
    args: [word('slot'), address('address'), word('pages'), word('pfn')],
  },
]
