/**
 * KVM: clock pages instead of a calibrated TSC, steal time, EOIs by a bit in memory, interrupts and kicks by hypercall,
 * flushes that wait until a CPU runs again (Linux, Documentation/virt/kvm/x86).
 */
import { MAX_CPUS } from '../layout.ts'
import { readClock, tscFrequency } from './pvclock.ts'
import { type Backend, ownPart, probeBySignature, writeAddress } from './backend.ts'

const WALL_CLOCK = 0x4b564d00
const SYSTEM_TIME = 0x4b564d01
const STEAL_TIME = 0x4b564d03
const PV_EOI = 0x4b564d04
const KICK_CPU = 5
const SEND_IPI = 10

/** Bits of leaf 0x40000001 EAX. */
const Feature = { NOP_IO_DELAY: 1, CLOCK: 3, STEAL_TIME: 5, PV_EOI: 6, UNHALT: 7, TLB_FLUSH: 9, SEND_IPI: 11 } as const
const PREEMPTED = 16

export const kvm: Backend = {
  name: 'kvm',
  title: 'KVM',
  overrides: () => [
    { op: 'time.time_init', to: 'kvm.time_init', needs: [0, Feature.CLOCK] },
    { op: 'time.sched_clock', to: 'kvm.sched_clock', needs: [0, Feature.CLOCK] },
    { op: 'time.get_wallclock', to: 'kvm.get_wallclock', needs: [0, Feature.CLOCK] },
    { op: 'time.steal_clock', to: 'kvm.steal_clock', needs: [0, Feature.STEAL_TIME] },
    { op: 'cpu.io_delay', to: undefined, needs: [0, Feature.NOP_IO_DELAY] },
    { op: 'apic.eoi', to: 'kvm.eoi', needs: [0, Feature.PV_EOI] },
    { op: 'apic.send_ipi', to: 'kvm.send_ipi', needs: [0, Feature.SEND_IPI] },
    { op: 'apic.setup_boot_clock', to: 'kvm.setup_clock' },
    { op: 'apic.setup_secondary_clock', to: 'kvm.setup_clock' },
    { op: 'mmu.flush_tlb_others', to: 'kvm.flush_tlb_others', needs: [0, Feature.TLB_FLUSH] },
    { op: 'lock.wait', to: 'kvm.wait', needs: [0, Feature.UNHALT] },
    { op: 'lock.kick', to: 'kvm.kick', needs: [0, Feature.UNHALT] },
    { op: 'lock.vcpu_is_preempted', to: 'kvm.vcpu_is_preempted', needs: [0, Feature.STEAL_TIME] },
  ],
  code: (k) => `
${probeBySignature('kvm', 'KVMKVMKVM', '  mov eax, 0x40000001\n  cpuid\n  mov [kvm.features], eax')}

kvm.time_init:                          ; the clock page says how fast the TSC is
  call native.time_init
  call kvm.register_clock
${tscFrequency('kvm', 'kvm.clocks')}
  mov [tsc_khz], eax
  call set_tsc_scale
  ret

kvm.register_clock:
  ${ownPart('kvm.clocks', 64)}
  ${writeAddress(k, SYSTEM_TIME, 1)}
  ret

kvm.setup_clock:                        ; what each CPU registers for itself
  call native.setup_boot_clock
  bt dword ptr [kvm.features], ${Feature.CLOCK}
  jnc .kvm_no_clock
  call kvm.register_clock
.kvm_no_clock:
  bt dword ptr [kvm.features], ${Feature.STEAL_TIME}
  jnc .kvm_no_steal
  ${ownPart('kvm.steal', 64)}
  ${writeAddress(k, STEAL_TIME, 1)}
.kvm_no_steal:
  bt dword ptr [kvm.features], ${Feature.PV_EOI}
  jnc .kvm_no_eoi
  ${ownPart('kvm.no_eoi', 4)}
  ${writeAddress(k, PV_EOI, 1)}
.kvm_no_eoi:
  ret
${readClock(k, 'kvm', ownPart('kvm.clocks', 64))}
kvm.get_wallclock:                      ; what it was at time 0, and the time since
  mov xax, kvm.wall
  ${writeAddress(k, WALL_CLOCK)}
  ${k.op('time.sched_clock')}
  ${k.long ? 'mov rdx, rax\nshr rdx, 32' : ''}
  mov ecx, 1000000000
  div ecx
  add eax, [kvm.wall+4]
  ret

kvm.steal_clock:
  ${ownPart('kvm.steal', 64)}
  ${k.long ? 'mov rax, [rax]' : 'mov edx, [eax+4]\nmov eax, [eax]'}
  ret

kvm.eoi:                                ; the bit is there if nobody needs to see this one
  ${ownPart('kvm.no_eoi', 4)}
  btr dword ptr [xax], 0
  jc .kvm_eoi_done
  call native.eoi
.kvm_eoi_done:
  ret

kvm.send_ipi:                           ; RBX and RCX mask, RDX the CPU of bit 0, RSI interrupt command
  push xbx
  push xsi
  mov esi, edx
  mov edx, eax
  mov ebx, 1
  xor ecx, ecx
  mov eax, ${SEND_IPI}
  vmcall
  pop xsi
  pop xbx
  ret

kvm.flush_tlb_others:                   ; a CPU that does not run flushes when it does
  push xdi
  mov edi, eax
  shl edi, 6
  add xdi, kvm.steal
  push xax
  mov al, [xdi+${PREEMPTED}]
  test al, 1
  je .kvm_runs
  mov cl, al
  or cl, 2
  lock cmpxchg [xdi+${PREEMPTED}], cl
  jne .kvm_runs
  pop xax
  pop xdi
  ret
.kvm_runs:
  pop xax
  pop xdi
  jmp native.flush_tlb_others

kvm.wait:                               ; a kick ends HLT although interrupts are off, or the next one
  cmp [xax], dl
  jne .kvm_waited
  hlt
.kvm_waited:
  ret

kvm.kick:
  push xbx
  mov ecx, eax
  xor ebx, ebx
  mov eax, ${KICK_CPU}
  vmcall
  pop xbx
  ret

kvm.vcpu_is_preempted:
  shl eax, 6
  movzx eax, byte ptr [xax+kvm.steal+${PREEMPTED}]
  and eax, 1
  ret

kvm.features: dd 0
align 64
kvm.clocks: zero ${64 * MAX_CPUS}
kvm.steal: zero ${64 * MAX_CPUS}
kvm.no_eoi: zero ${4 * MAX_CPUS}
kvm.wall: zero 12
`,
}
