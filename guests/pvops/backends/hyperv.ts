/**
 * Hyper-V: the reference TSC page, a synthetic timer in direct mode, EOIs left out by the VP assist page, interrupts and
 * flushes by hypercall, the idle MSR for locks (Hypervisor Top Level Functional Specification).
 */
import type { Builder } from '../builder.ts'
import { MAX_CPUS, Vector } from '../layout.ts'
import { type Backend, ownPart, probeBySignature, writeAddress } from './backend.ts'

const GUEST_OS_ID = 0x40000000
const HYPERCALL = 0x40000001
const TIME_REF_COUNT = 0x40000020
const REFERENCE_TSC = 0x40000021
const TSC_FREQUENCY = 0x40000022
const APIC_FREQUENCY = 0x40000023
const EOI = 0x40000070
const VP_ASSIST_PAGE = 0x40000073
const STIMER0_CONFIG = 0x400000b0
const STIMER0_COUNT = 0x400000b1
const GUEST_IDLE = 0x400000f0

const SEND_IPI_FAST = 0x1000b
const FLUSH_LIST_OF_ONE = '0x100000003'
const ALL_ADDRESS_SPACES = 2

/** Words of `hyperv.features`. */
const LOW = 0
const MISC = 1
const HINTS = 2
/** Enabled by a write of the count, in direct mode. */
const TIMER = 0x1008 | (Vector.TIMER << 4)

/** Control in RCX, input in RDX and R8; for 32-bit code EDX:EAX, EBX:ECX, EDI:ESI. */
function sendIpi({ long }: Builder): string {
  if (long)
    return `
hyperv.send_ipi:
  mov ecx, eax
  mov r8d, 1
  shl r8, cl
  mov ecx, ${SEND_IPI_FAST}
  call hyperv.page
  ret
`
  return `
hyperv.send_ipi:
  push ebx
  push esi
  push edi
  mov ecx, eax
  mov esi, 1
  shl esi, cl
  xor edi, edi
  mov ecx, edx
  xor ebx, ebx
  mov eax, ${SEND_IPI_FAST}
  xor edx, edx
  call hyperv.page
  pop edi
  pop esi
  pop ebx
  ret
`
}

function flushOthers({ long }: Builder): string {
  const calls = long
    ? `mov rcx, ${FLUSH_LIST_OF_ONE}\nmov rdx, hyperv.input\nxor r8d, r8d\ncall hyperv.page`
    : `push ebx\npush esi\npush edi
mov eax, 3\nmov edx, 1\nxor ebx, ebx\nmov ecx, hyperv.input\nxor esi, esi\nxor edi, edi\ncall hyperv.page
pop edi\npop esi\npop ebx`
  return `
hyperv.flush_tlb_others:                ; address space, flags, mask of CPUs, addresses
  mov ecx, eax
  mov eax, 1
  shl eax, cl
  mov [hyperv.input+16], eax
  mov dword ptr [hyperv.input+8], ${ALL_ADDRESS_SPACES}
  mov [hyperv.input+24], xdx
${calls}
  ret
`
}

/** Reference time: 100 ns = (TSC * scale >> 64) + offset. */
function readClock({ long }: Builder): string {
  if (long)
    return `
hyperv.reference_time:
.hyperv_again:
  mov r8d, [hyperv.tsc_page]
  test r8d, r8d
  je .hyperv_counter
  rdtsc
  shl rdx, 32
  or rax, rdx
  mul qword ptr [hyperv.tsc_page+8]
  mov rax, rdx
  add rax, [hyperv.tsc_page+16]
  cmp r8d, [hyperv.tsc_page]
  jne .hyperv_again
  ret
.hyperv_counter:
  mov ecx, ${TIME_REF_COUNT}
  rdmsr
  shl rdx, 32
  or rax, rdx
  ret

hyperv.sched_clock:
  call hyperv.reference_time
  imul rax, rax, 100
  ret
`
  return `
hyperv.reference_time:                  ; upper half of a product of two 64-bit numbers
  push ebx
  push esi
  push edi
  push ebp
.hyperv_again:
  mov ebp, [hyperv.tsc_page]
  test ebp, ebp
  je .hyperv_counter
  rdtsc
  mov ebx, eax
  mov ecx, edx
  mul dword ptr [hyperv.tsc_page+8]
  mov esi, edx
  mov eax, ecx
  mul dword ptr [hyperv.tsc_page+8]
  add esi, eax
  mov edi, edx
  adc edi, 0
  mov eax, ebx
  mul dword ptr [hyperv.tsc_page+12]
  add esi, eax
  adc edi, edx
  mov esi, 0
  adc esi, 0
  mov eax, ecx
  mul dword ptr [hyperv.tsc_page+12]
  add eax, edi
  adc edx, esi
  add eax, [hyperv.tsc_page+16]
  adc edx, [hyperv.tsc_page+20]
  cmp ebp, [hyperv.tsc_page]
  jne .hyperv_again
  jmp .hyperv_read
.hyperv_counter:
  mov ecx, ${TIME_REF_COUNT}
  rdmsr
.hyperv_read:
  pop ebp
  pop edi
  pop esi
  pop ebx
  ret

hyperv.sched_clock:
  call hyperv.reference_time
  push ebx
  mov ebx, edx
  mov ecx, 100
  mul ecx
  imul ebx, ebx, 100
  add edx, ebx
  pop ebx
  ret
`
}

export const hyperv: Backend = {
  name: 'hyperv',
  title: 'Hyper-V',
  overrides: () => [
    { op: 'init.arch_setup', to: 'hyperv.arch_setup' },
    { op: 'time.time_init', to: 'hyperv.time_init', needs: [MISC, 8] },
    { op: 'time.sched_clock', to: 'hyperv.sched_clock', needs: [LOW, 9] },
    { op: 'time.set_next_event', to: 'hyperv.set_next_event', needs: [MISC, 19] },
    { op: 'apic.eoi', to: 'hyperv.eoi', needs: [HINTS, 3] },
    { op: 'apic.send_ipi', to: 'hyperv.send_ipi', needs: [HINTS, 10] },
    { op: 'apic.setup_boot_clock', to: 'hyperv.setup_clock' },
    { op: 'apic.setup_secondary_clock', to: 'hyperv.setup_clock' },
    { op: 'mmu.flush_tlb_others', to: 'hyperv.flush_tlb_others', needs: [HINTS, 2] },
    { op: 'lock.wait', to: 'hyperv.wait', needs: [LOW, 10] },
    { op: 'lock.kick', to: 'hyperv.kick', needs: [LOW, 10] },
  ],
  code: (k) => `
${probeBySignature(
  'hyperv',
  'Microsoft Hv',
  `  mov eax, 0x40000003
  cpuid
  mov [hyperv.features], eax
  mov [hyperv.features+4], edx
  mov eax, 0x40000004
  cpuid
  mov [hyperv.features+8], eax`,
)}

hyperv.arch_setup:                      ; who we are, and the page through which we call
  mov ecx, ${GUEST_OS_ID}
  mov edx, 0x81000000
  xor eax, eax
  wrmsr
  mov xax, hyperv.page
  ${writeAddress(k, HYPERCALL, 1)}
  bt dword ptr [hyperv.features], 9
  jnc .hyperv_no_page
  mov xax, hyperv.tsc_page
  ${writeAddress(k, REFERENCE_TSC, 1)}
.hyperv_no_page:
  ret

hyperv.time_init:
  mov ecx, ${TSC_FREQUENCY}
  rdmsr
  mov ecx, 1000
  div ecx
  mov [tsc_khz], eax
  mov ecx, ${APIC_FREQUENCY}
  rdmsr
  mov ecx, 1000
  div ecx
  mov [apic_khz], eax
  call set_tsc_scale
  ret

hyperv.setup_clock:
  call native.setup_boot_clock
  ${ownPart('hyperv.assist', 4096)}
  ${writeAddress(k, VP_ASSIST_PAGE, 1)}
  bt dword ptr [hyperv.features+4], 19
  jnc .hyperv_no_timer
  mov ecx, ${STIMER0_CONFIG}
  mov eax, ${TIMER}
  xor edx, edx
  wrmsr
.hyperv_no_timer:
  ret
${readClock(k)}
hyperv.set_next_event:                  ; a reference time
  xor edx, edx
  mov ecx, 100
  div ecx
  push xbx
  mov ebx, eax
  call hyperv.reference_time
  ${k.long ? 'add rax, rbx\nmov rdx, rax\nshr rdx, 32' : 'add eax, ebx\nadc edx, 0'}
  mov ecx, ${STIMER0_COUNT}
  wrmsr
  pop xbx
  ret

hyperv.eoi:                             ; bit 0 of the page: nobody needs to see this one
  ${ownPart('hyperv.assist', 4096)}
  xor ecx, ecx
  xchg [xax], ecx
  test ecx, 1
  jne .hyperv_eoi_done
  mov ecx, ${EOI}
  xor eax, eax
  xor edx, edx
  wrmsr
.hyperv_eoi_done:
  ret
${sendIpi(k)}${flushOthers(k)}
hyperv.wait:                            ; the idle MSR ends with an interrupt, whatever the flag says
  cmp [xax], dl
  jne .hyperv_waited
  mov ecx, ${GUEST_IDLE}
  rdmsr
.hyperv_waited:
  ret

hyperv.kick:
  mov edx, ${Vector.KICK}
  jmp hyperv.send_ipi

hyperv.features: dd 0, 0, 0
align 4096
hyperv.page: zero 4096
hyperv.tsc_page: zero 4096
hyperv.input: zero 4096
hyperv.assist: zero ${4096 * MAX_CPUS}
`,
}
