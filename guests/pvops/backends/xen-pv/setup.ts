/** Where Xen starts the kernel, and what it finds there: machine frames, shared page, page tables that are only read. */
import type { Builder } from '../../builder.ts'
import { SPARE, WINDOW } from '../../layout.ts'
import { tscFrequency } from '../pvclock.ts'
import { call, places } from '../xen.ts'
import { abi, Hypercall, Mmuext, mmuext } from './abi.ts'

/** The page at this label is only read from now on, as page tables and descriptor tables must be. */
const readOnly = (label: string) => `mov xax, ${label}\n  mov edx, 1\n  call xenpv.protect`

/** Page at linear address `at`, entry in xAX. */
const map = (k: Builder, at: string) =>
  k.long ? call(k, Hypercall.UPDATE_VA_MAPPING, at, 'rax', 2) : call(k, Hypercall.UPDATE_VA_MAPPING, at, 'eax', 0, 2)

const callbacks = (k: Builder) =>
  k.long
    ? call(k, Hypercall.SET_CALLBACKS, 'xenpv.event', 'xenpv.failsafe', 'xenpv.syscall')
    : [
        call(k, Hypercall.SET_CALLBACKS, abi(k).cs, 'xenpv.event', abi(k).cs, 'xenpv.failsafe'),
        call(k, Hypercall.CALLBACK_OP, 0, 'xenpv.sysenter_callback'),
      ].join('\n  ')

/** User mode of 64 bits has page tables of its own, with the programme's pages only. */
const userTables = `mov rax, window_table+7
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
  call xenpv.use_user_tables`

const useUserTables = (k: Builder) => `mov eax, xenpv.user_l4
  shr eax, 12
  call xenpv.machine
  mov dword ptr [xenpv.mmuext], ${Mmuext.NEW_USER_BASEPTR}
  mov [xenpv.mmuext+8], rax
  ${mmuext(k)}
  ret`

export function setup(k: Builder): string {
  const { start, m2p } = abi(k)
  return `
; Where Xen starts a paravirtual guest: xSI start_info.
xenpv.start:
  mov [xenpv.start_info], xsi
  mov byte ptr [xenpv.present], 1
  lea eax, [xsi+${start.commandLine}]
  mov [command_line], eax
  jmp main

xenpv.probe:
  mov al, [xenpv.present]
  ret

; xAX page frame; xAX the machine's.
xenpv.machine:
  push xdx
  mov xdx, [xenpv.start_info]
  mov xdx, [xdx+${start.list}]
  mov xax, [xdx+xax*${k.word}]
  pop xdx
  ret

; xAX a page-table entry with a page frame; with the machine's.
xenpv.entry:
  test al, 1
  je .xenpv_absent
  push xdx
  mov xdx, xax
  and edx, 0xfff
  shr xax, 12
  call xenpv.machine
  shl xax, 12
  or xax, xdx
  pop xdx
.xenpv_absent:
  ret

; The page at xAX is mapped where it is, with flags EDX.
xenpv.protect:
  push xbx
  mov xbx, xax
  or xax, xdx
  call xenpv.entry
  ${map(k, 'xbx')}
  pop xbx
  ret

xenpv.arch_setup:
  push xbx
  push xsi
  push xdi
  mov xbx, [xenpv.start_info]
  mov xax, [xbx+${start.sharedInfo}]      ; shared page: a machine address
  or xax, 3
  ${map(k, 'xen.shared')}
  mov eax, [xbx+${start.port}]
  mov [xen.console_port], eax
  mov xax, [xbx+${start.console}]         ; the console's page: look for its machine frame
  mov xdx, [xbx+${start.list}]
  xor ecx, ecx
.xenpv_find:
  cmp [xdx+xcx*${k.word}], xax
  je .xenpv_found
  inc ecx
  jmp .xenpv_find
.xenpv_found:
  shl ecx, 12
  mov [xen.console], ecx
  ${callbacks(k)}

  ; Tables for the programme's pages and for spare memory, in the level 2 table that Xen made.
  mov xdi, spare_table
  mov esi, ${SPARE >> 12}
.xenpv_spare:
  mov xax, xsi
  shl xax, 12
  or xax, ${k.long ? 7 : 3}
  call xenpv.entry
  mov [xdi], xax
  add xdi, 8
  inc esi
  cmp esi, ${(SPARE >> 12) + 512}
  jne .xenpv_spare
  ${readOnly('spare_table')}
  ${readOnly('window_table')}
  mov xax, [xbx+${start.tables}]          ; from the root to level 2
  call xenpv.below
  ${k.long ? 'call xenpv.below' : ''}
  mov xdi, xax
  lea xax, [xdi+${(SPARE >> 21) * 8}]
  mov xdx, spare_table+7
  call xenpv.set_pte
  lea xax, [xdi+${(WINDOW >> 21) * 8}]
  mov xdx, window_table+7
  call xenpv.set_pte
  lea xax, [xdi+${((WINDOW >> 21) + 1) * 8}]
  mov [window_pde], xax

  ${k.long ? userTables : ''}
  pop xdi
  pop xsi
  pop xbx
  ret

xenpv.use_user_tables:                  ; of 32 bits they are the kernel's
  ${k.long ? useUserTables(k) : 'ret'}

; xAX a table; xAX what its first entry leads to. Machine frame to page frame by Xen's own list.
xenpv.below:
  mov xax, [xax]
  ${k.long ? 'mov rdx, 0xffffffffff000\n  and rax, rdx' : ''}
  shr xax, 12
  mov xdx, ${m2p}
  mov xax, [xdx+xax*${k.word}]
  shl xax, 12
  ret

xenpv.time_init:
${tscFrequency('xenpv', `xen.shared+${places(k).time}`)}
  mov [tsc_khz], eax
  call set_tsc_scale
  ret
`
}
