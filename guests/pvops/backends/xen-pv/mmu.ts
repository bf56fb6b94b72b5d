/** Page tables, changed by hypercall with machine frames, and the TLB. */
import type { Builder } from '../../builder.ts'
import { call } from '../xen.ts'
import { abi, Hypercall, Mmuext, mmuext, SELF } from './abi.ts'

export const mmu = (k: Builder): string => `
xenpv.read_cr2:
  call cpu_number
  shl eax, 6
  mov xax, [xax+xen.shared+${abi(k).cr2}]
  ret

xenpv.set_pte:                          ; xAX where, xDX what: with page frames, all below 4 GiB
  push xbx
  push xax
  shr xax, 12
  call xenpv.machine
  shl xax, 12
  pop xbx
  and ebx, 0xfff
  or xax, xbx
  mov [xenpv.update], xax
  mov xax, xdx
  call xenpv.entry
  mov [xenpv.update+8], xax
  ${call(k, Hypercall.MMU_UPDATE, 'xenpv.update', 1, 0, SELF)}
  pop xbx
  ret

xenpv.alloc_pte:                        ; only read, and known as a page table
  push xax
  mov edx, 1
  call xenpv.protect
  pop xax
  mov dword ptr [xenpv.mmuext], ${Mmuext.PIN_L1}
  jmp xenpv.pin

xenpv.release_pte:
  push xax
  mov dword ptr [xenpv.mmuext], ${Mmuext.UNPIN}
  call xenpv.pin
  pop xax
  mov edx, 3
  jmp xenpv.protect

xenpv.pin:
  shr xax, 12
  call xenpv.machine
  mov [xenpv.mmuext+${k.word}], xax
  ${mmuext(k)}
  ret

xenpv.flush_tlb:
  mov dword ptr [xenpv.mmuext], ${Mmuext.FLUSH}
  ${mmuext(k)}
  ret

xenpv.flush_tlb_single:
  mov dword ptr [xenpv.mmuext], ${Mmuext.INVLPG}
  mov [xenpv.mmuext+${k.word}], xax
  ${mmuext(k)}
  ret

xenpv.flush_tlb_others:
  mov ecx, eax
  mov eax, 1
  shl xax, cl
  mov [xenpv.cpus], xax
  mov dword ptr [xenpv.mmuext], ${Mmuext.INVLPG_MULTI}
  mov [xenpv.mmuext+${k.word}], xdx
  mov xax, xenpv.cpus
  mov [xenpv.mmuext+${2 * k.word}], xax
  ${mmuext(k)}
  ret
`
