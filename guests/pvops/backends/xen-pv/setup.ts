/** Where Xen starts the kernel, and what it finds there: machine frames, shared page, page tables that are only read. */
import type { Builder } from '../../builder.ts'
import { SPARE, WINDOW } from '../../layout.ts'
import { tscFrequency } from '../pvclock.ts'
import { call, places } from '../xen.ts'
import { Hypercall, Mmuext, mmuext } from './abi.ts'

/** The page at this label is only read from now on, as page tables and descriptor tables must be. */
const readOnly = (label: string) => `mov rax, ${label}\n  mov edx, 1\n  call xenpv.protect`

export function setup(k: Builder): string {
  const at = places(k)
  return `
; Where Xen starts a paravirtual guest: RSI start_info.
xenpv.start:
  mov [xenpv.start_info], rsi
  mov byte ptr [xenpv.present], 1
  lea eax, [rsi+128]
  mov [command_line], eax
  jmp main

xenpv.probe:
  mov al, [xenpv.present]
  ret

; RAX page frame; RAX the machine's.
xenpv.machine:
  push rdx
  mov rdx, [xenpv.start_info]
  mov rdx, [rdx+104]
  mov rax, [rdx+rax*8]
  pop rdx
  ret

; RAX a page-table entry with a page frame; with the machine's.
xenpv.entry:
  test al, 1
  je .xenpv_absent
  push rdx
  mov rdx, rax
  and edx, 0xfff
  shr rax, 12
  call xenpv.machine
  shl rax, 12
  or rax, rdx
  pop rdx
.xenpv_absent:
  ret

; The page at RAX is mapped where it is, with flags EDX.
xenpv.protect:
  push rbx
  mov rbx, rax
  or rax, rdx
  call xenpv.entry
  ${call(k, Hypercall.UPDATE_VA_MAPPING, 'rbx', 'rax', 2)}
  pop rbx
  ret

xenpv.arch_setup:
  push rbx
  push rsi
  push rdi
  mov rbx, [xenpv.start_info]
  mov rax, [rbx+40]                     ; shared page: a machine address
  or rax, 3
  ${call(k, Hypercall.UPDATE_VA_MAPPING, 'xen.shared', 'rax', 2)}
  mov eax, [rbx+80]
  mov [xen.console_port], eax
  mov rax, [rbx+72]                     ; the console's page: look for its machine frame
  mov rdx, [rbx+104]
  xor ecx, ecx
.xenpv_find:
  cmp [rdx+rcx*8], rax
  je .xenpv_found
  inc ecx
  jmp .xenpv_find
.xenpv_found:
  shl ecx, 12
  mov [xen.console], ecx
  ${call(k, Hypercall.SET_CALLBACKS, 'xenpv.event', 'xenpv.failsafe', 'xenpv.syscall')}

  ; Tables for the programme's pages and for spare memory, in the level 2 table that Xen made.
  mov rdi, spare_table
  mov esi, ${SPARE >> 12}
.xenpv_spare:
  mov rax, rsi
  shl rax, 12
  or rax, 7
  call xenpv.entry
  mov [rdi], rax
  add rdi, 8
  inc esi
  cmp esi, ${(SPARE >> 12) + 512}
  jne .xenpv_spare
  ${readOnly('spare_table')}
  ${readOnly('window_table')}
  mov rax, [rbx+88]                     ; level 4, 3, 2
  call xenpv.below
  call xenpv.below
  mov rdi, rax
  lea rax, [rdi+${(SPARE >> 21) * 8}]
  mov rdx, spare_table+7
  call xenpv.set_pte
  lea rax, [rdi+${(WINDOW >> 21) * 8}]
  mov rdx, window_table+7
  call xenpv.set_pte
  lea rax, [rdi+${((WINDOW >> 21) + 1) * 8}]
  mov [window_pde], rax

  ; User mode has page tables of its own, with the programme's pages only.
  mov rax, window_table+7
  call xenpv.entry
  mov [xenpv.user_l2+${(WINDOW >> 21) * 8}], rax
  mov rax, xenpv.user_l2+7
  call xenpv.entry
  mov [xenpv.user_l3], rax
  mov rax, xenpv.user_l3+7
  call xenpv.entry
  mov [xenpv.user_l4], rax
  ${readOnly('xenpv.user_l2')}
  ${readOnly('xenpv.user_l3')}
  ${readOnly('xenpv.user_l4')}
  call xenpv.use_user_tables
  pop rdi
  pop rsi
  pop rbx
  ret

xenpv.use_user_tables:
  mov eax, xenpv.user_l4
  shr eax, 12
  call xenpv.machine
  mov dword ptr [xenpv.mmuext], ${Mmuext.NEW_USER_BASEPTR}
  mov [xenpv.mmuext+8], rax
  ${mmuext(k)}
  ret

; RAX a table; RAX what its first entry leads to. Machine frame to page frame by Xen's own list.
xenpv.below:
  mov rax, [rax]
  mov rdx, 0xffffffffff000
  and rax, rdx
  shr rax, 12
  mov rdx, 0xffff800000000000
  mov rax, [rdx+rax*8]
  shl rax, 12
  ret

xenpv.time_init:
${tscFrequency('xenpv', `xen.shared+${at.time}`)}
  mov [tsc_khz], eax
  call set_tsc_scale
  ret
`
}
