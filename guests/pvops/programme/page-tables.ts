/** Mapping, remapping, protection, a page table at two places, page faults. */
import type { Builder } from '../builder.ts'
import { AD, faulting, frame, map, P, page, saw, W } from './common.ts'

export function pageTables(k: Builder): string {
  const [first, second] = [frame(0), frame(1)]
  return `
  mov dword ptr [${first}], 0x11111111
  mov dword ptr [${second}], 0x22222222
  mov xax, ${frame(7)}
  ${k.op('mmu.alloc_pte')}
  mov xax, ${frame(7)}
  ${k.op('mmu.release_pte')}
  ${map(k, 0, first)}
  mov dword ptr [${page(0) + 4}], 0x33333333
  cmp dword ptr [${first + 4}], 0x33333333
  ${k.check('set_pte: a page is where it was mapped', 'e')}
  ${map(k, 0, second)}
  cmp dword ptr [${page(0)}], 0x22222222
  ${k.check('set_pte, flush_tlb_single: and now elsewhere', 'e')}
  mov xax, ${first | P | W}
  ${k.op('mmu.make_pte')}
  ${k.op('mmu.pte_val')}
  cmp eax, ${first | P | W}
  ${k.check('make_pte, pte_val: there and back', 'e')}
  ${map(k, 0, undefined)}
  ${faulting(k, `mov eax, [${page(0) + 8}]`)}
  ${saw(k, 14, 0)}
  ${k.check('trap: a page that is not there', 'e')}
  mov eax, [seen_cr2]
  cmp eax, ${page(0) + 8}
  ${k.check('read_cr2: its address', 'e')}
  ${map(k, 0, first, P | AD)}
  mov eax, [${page(0)}]                 ; a host that maps as it goes knows the page then
  ${faulting(k, `mov dword ptr [${page(0)}], 0`)}
  ${saw(k, 14, 3)}
  ${k.check('trap: a store to a page that is only read', 'e')}
  ${k.op('mmu.enter_lazy_mode')}
  ${map(k, 0, first)}
  ${map(k, 1, second)}
  ${k.op('mmu.leave_lazy_mode')}
  mov eax, [${page(0)}]
  cmp eax, 0x11111111
  jne .lazy
  cmp dword ptr [${page(1)}], 0x22222222
.lazy:
  ${k.check('lazy mode: done when it is left', 'e')}
  mov xdx, [window_pde]                 ; what maps the next 2 MiB
  mov eax, [xdx]
  mov [old_pde], eax
  mov eax, [xdx+4]
  mov [old_pde+4], eax
  mov xax, xdx
  mov xdx, window_table+${P | W | AD}
  xor ecx, ecx
  ${k.op('mmu.set_pmd')}
  ${k.op('mmu.flush_tlb_kernel')}
  mov ebx, [${page(513)}]
  mov xax, [window_pde]
  mov xdx, [old_pde]
  mov ecx, [old_pde+4]
  ${k.op('mmu.set_pmd')}
  ${k.op('mmu.flush_tlb_kernel')}
  cmp ebx, 0x22222222
  ${k.check('set_pmd: a page table at two places', 'e')}
  ${k.op('mmu.read_cr3')}
  mov xbx, xax
  ${k.op('mmu.write_cr3')}
  ${k.op('mmu.flush_tlb_user')}
  ${k.op('mmu.read_cr3')}
  cmp xax, xbx
  ${k.check('write_cr3, read_cr3: the same page tables', 'e')}
`
}
