/** KVM's CPUID leaves (Linux, Documentation/virt/kvm/x86/cpuid.rst). */
import { signatureWords } from '../../paravirt/dispatch.ts'
import type { Leaf } from '../../paravirt/requests.ts'
import { featureBits } from './features.ts'
import type { Kvm } from './kvm.ts'

const SIGNATURE = 0x40000000
const FEATURES = 0x40000001
/** VMware's leaf of frequencies, which QEMU adds where the TSC's is fixed. */
const FREQUENCIES = 0x40000010

const source = 'Linux Documentation/virt/kvm/x86/cpuid.rst'

export const leaves: readonly Leaf<Kvm>[] = [
  {
    kind: 'cpuid',
    number: SIGNATURE,
    name: 'KVM_CPUID_SIGNATURE',
    summary: 'highest leaf and "KVMKVMKVM"',
    args: [],
    errors: {},
    ops: ['machine.detect'],
    tier: 'call',
    source,
    value: (kvm) => [kvm.has('invtsc') ? FREQUENCIES : FEATURES, ...signatureWords('KVMKVMKVM')],
  },
  {
    kind: 'cpuid',
    number: FEATURES,
    name: 'KVM_CPUID_FEATURES',
    summary: 'features in EAX, hints in EDX',
    args: [],
    errors: {},
    ops: ['machine.detect', 'cpu.io_delay'],
    tier: 'call',
    source,
    value: (kvm) => {
      const { bits, hints } = featureBits(kvm.features)
      return [bits, 0, 0, hints]
    },
  },
  {
    kind: 'cpuid',
    number: FREQUENCIES,
    name: 'CPUID_FREQUENCIES',
    summary: 'frequencies in kHz: of the TSC in EAX, of the local APICs’ bus in EBX',
    args: [],
    errors: {},
    feature: 'invtsc',
    ops: ['time.get_tsc_khz'],
    tier: 'call',
    source: 'QEMU, vmware-cpuid-freq',
    value: ({ effects: { time } }) => [time.tscHz / 1000, time.apicHz / 1000, 0, 0],
  },
]
