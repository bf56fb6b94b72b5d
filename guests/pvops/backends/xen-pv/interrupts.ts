/** The interrupt flag, which is a byte in memory; events, for what were interrupts. */
import type { Builder } from '../../builder.ts'
import { Vector } from '../../layout.ts'
import { call, places, UPCALL } from '../xen.ts'
import { Hypercall } from './abi.ts'

export function interrupts(k: Builder): string {
  const at = places(k)
  return `
xenpv.save_fl:
  call cpu_number
  shl eax, 6
  cmp byte ptr [xax+xen.shared+1], 0
  sete al
  movzx eax, al
  shl eax, 9
  ret

xenpv.restore_fl:
  test eax, 0x200
  jne xenpv.irq_enable

xenpv.irq_disable:
  push xax
  call cpu_number
  shl eax, 6
  mov byte ptr [xax+xen.shared+1], 1
  pop xax
  ret

xenpv.irq_enable:                       ; what waits comes with the next hypercall
  push xax
  call cpu_number
  shl eax, 6
  mov byte ptr [xax+xen.shared+1], 0
  cmp byte ptr [xax+xen.shared], 0
  je .xenpv_enabled
  push xdx
  ${call(k, Hypercall.XEN_VERSION, 0, 0)}
  pop xdx
.xenpv_enabled:
  pop xax
  ret

xenpv.safe_halt:                        ; SCHEDOP_block, which lets events in
  ${call(k, Hypercall.SCHED_OP, 1, 0)}
  ret

xenpv.apic_read:
  xor eax, eax
  ret

xenpv.setup_clock:                      ; and channels for interrupts of other CPUs
  call xen.setup_channels
  mov xax, xenpv.upcall
  mov [handlers+${UPCALL * k.word}], xax
  push xbx
  call cpu_number
  mov ebx, eax
  test ebx, ebx
  je .xenpv_boot_cpu
  call xenpv.use_user_tables
.xenpv_boot_cpu:
  mov [xen.bind], ebx
  ${call(k, Hypercall.EVENT_CHANNEL_OP, 7, 'xen.bind')}
  mov eax, [xen.bind+4]
  mov [xenpv.call_ports+xbx*4], eax
  mov [xen.bind], ebx
  ${call(k, Hypercall.EVENT_CHANNEL_OP, 7, 'xen.bind')}
  mov eax, [xen.bind+4]
  mov [xenpv.wake_ports+xbx*4], eax
  ; Each CPU begins with a periodic timer.
  ${call(k, Hypercall.VCPU_OP, 7, 'xbx', 0)}
  pop xbx
  ret

xenpv.upcall:
  call xen.upcall
  call cpu_number
  mov ecx, [xenpv.wake_ports+xax*4]
  lock btr dword ptr [xen.shared+${at.pending}], ecx
  mov ecx, [xenpv.call_ports+xax*4]
  lock btr dword ptr [xen.shared+${at.pending}], ecx
  jnc .xenpv_no_call
  lock inc dword ptr [calls_heard]
.xenpv_no_call:
  ret

xenpv.send_ipi:
  cmp edx, ${Vector.CALL}
  lea xax, [xax*4]
  mov xdx, xenpv.call_ports
  je .xenpv_send
  mov xdx, xenpv.wake_ports
.xenpv_send:
  add xax, xdx
  ${call(k, Hypercall.EVENT_CHANNEL_OP, 4, 'xax')}
  ret
`
}
