/** VMware: frequencies and a steal clock by the backdoor port (Linux, arch/x86/kernel/cpu/vmware.c). */
import { MAX_CPUS } from '../layout.ts'
import { type Backend, ownPart, probeBySignature } from './backend.ts'

const MAGIC = 0x564d5868
const PORT = 0x5658
const GETHZ = 45
const STEALCLOCK = 91

export const vmware: Backend = {
  name: 'vmware',
  title: 'VMware hypervisor',
  overrides: () => [
    { op: 'time.time_init', to: 'vmware.time_init' },
    { op: 'time.steal_clock', to: 'vmware.steal_clock' },
    { op: 'cpu.io_delay', to: undefined },
    { op: 'apic.setup_boot_clock', to: 'vmware.setup_clock' },
    { op: 'apic.setup_secondary_clock', to: 'vmware.setup_clock' },
  ],
  code: () => `
${probeBySignature('vmware', 'VMwareVMware', '')}

vmware.time_init:                       ; EBX:EAX Hz of the TSC, ECX of the timer
  push xbx
  mov eax, ${MAGIC}
  mov ebx, -1
  mov ecx, ${GETHZ}
  mov edx, ${PORT}
  in eax, dx
  push xcx
  mov edx, ebx
  mov ecx, 1000
  div ecx
  mov [tsc_khz], eax
  pop xax
  xor edx, edx
  div ecx
  mov [apic_khz], eax
  call set_tsc_scale
  pop xbx
  ret

vmware.setup_clock:                     ; a steal clock for each CPU, if there are any
  call native.setup_boot_clock
  push xbx
  push xsi
  push xdi
  ${ownPart('vmware.steal', 64)}
  mov edi, eax
  xor esi, esi
  xor ebx, ebx
  mov ecx, ${STEALCLOCK}
  mov edx, ${PORT}
  mov eax, ${MAGIC}
  in eax, dx
  pop xdi
  pop xsi
  pop xbx
  ret

vmware.steal_clock:                     ; it counts in ticks of the TSC
  ${ownPart('vmware.steal', 64)}
  mov edx, [xax+4]
  mov eax, [xax]
  jmp ticks_to_ns

vmware.features: dd 0
align 64
vmware.steal: zero ${64 * MAX_CPUS}
`,
}
