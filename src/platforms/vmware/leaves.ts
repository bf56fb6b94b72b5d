/** VMware's CPUID leaves (VMware knowledge base 1009458; Linux, arch/x86/kernel/cpu/vmware.c). */
import { signatureWords } from '../../paravirt/dispatch.ts'
import type { Leaf } from '../../paravirt/requests.ts'
import type { Vmware } from './vmware.ts'

const INFO = 0x40000000
const FEATURES = 0x40000010
/** ECX: the instructions of the backdoor's other form. */
const VMMCALL = 1
const VMCALL = 2

const common = {
  kind: 'cpuid',
  args: [],
  errors: {},
  tier: 'call',
  source: 'VMware knowledge base 1009458',
} as const

export const leaves: readonly Leaf<Vmware>[] = [
  {
    ...common,
    number: INFO,
    name: 'CPUID_VMWARE_INFO_LEAF',
    summary: 'highest leaf and "VMwareVMware"',
    ops: ['machine.detect'],
    value: () => [FEATURES, ...signatureWords('VMwareVMware')],
  },
  {
    ...common,
    number: FEATURES,
    name: 'CPUID_VMWARE_FEATURES_LEAF',
    summary: 'kHz of the TSC in EAX, of the local APICs’ bus in EBX, hypercall instructions in ECX',
    ops: ['machine.detect', 'time.get_tsc_khz'],
    value: (vmware) => {
      const { tscHz, apicHz } = vmware.effects.time
      const instruction = vmware.instruction === 'vmcall' ? VMCALL : VMMCALL
      return [tscHz / 1000, apicHz / 1000, vmware.has('hypercall') ? instruction : 0, 0]
    },
  },
]
