/** Page tables, changed by hypercall with machine frames, and the TLB. */
import type { Builder } from '../../builder.ts'
import { call } from '../xen.ts'
import { Hypercall, Mmuext, mmuext, SELF } from './abi.ts'

export const mmu = (k: Builder): string => `
xenpv.read_cr2:
  call cpu_number
  shl eax, 6
  mov rax, [rax+xen.shared+16]
  ret

xenpv.set_pte:                          ; RAX where, RDX what: both with the machine's frames
  push rbx
  push rax
  shr rax, 12
  call xenpv.machine
  shl rax, 12
  pop rbx
  and ebx, 0xfff
  or rax, rbx
  mov [xenpv.update], rax
  mov rax, rdx
  call xenpv.entry
  mov [xenpv.update+8], rax
  ${call(k, Hypercall.MMU_UPDATE, 'xenpv.update', 1, 0, SELF)}
  pop rbx
  ret

xenpv.alloc_pte:                        ; only read, and known as a page table
  push rax
  mov edx, 1
  call xenpv.protect
  pop rax
  mov dword ptr [xenpv.mmuext], ${Mmuext.PIN_L1}
  jmp xenpv.pin

xenpv.release_pte:
  push rax
  mov dword ptr [xenpv.mmuext], ${Mmuext.UNPIN}
  call xenpv.pin
  pop rax
  mov edx, 3
  jmp xenpv.protect

xenpv.pin:
  shr rax, 12
  call xenpv.machine
  mov [xenpv.mmuext+8], rax
  ${mmuext(k)}
  ret

xenpv.flush_tlb:
  mov dword ptr [xenpv.mmuext], ${Mmuext.FLUSH}
  ${mmuext(k)}
  ret

xenpv.flush_tlb_single:
  mov dword ptr [xenpv.mmuext], ${Mmuext.INVLPG}
  mov [xenpv.mmuext+8], rax
  ${mmuext(k)}
  ret

xenpv.flush_tlb_others:
  mov ecx, eax
  mov eax, 1
  shl rax, cl
  mov [xenpv.cpus], rax
  mov dword ptr [xenpv.mmuext], ${Mmuext.INVLPG_MULTI}
  mov [xenpv.mmuext+8], rdx
  mov rax, xenpv.cpus
  mov [xenpv.mmuext+16], rax
  ${mmuext(k)}
  ret
`
