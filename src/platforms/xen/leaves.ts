/** Xen's CPUID leaves (xen/arch-x86/cpuid.h). */
import { signatureWords } from '../../paravirt/dispatch.ts'
import type { Leaf } from '../../paravirt/requests.ts'
import type { Domain } from './domain.ts'

export const leaves: readonly Leaf<Domain>[] = [
  {
    kind: 'cpuid',
    number: 0x40000000,
    name: 'XEN_CPUID_LEAF(0)',
    summary: 'highest leaf and "XenVMMXenVMM"',
    args: [],
    errors: {},
    ops: ['machine.detect'],
    tier: 'call',
    source: 'xen/arch-x86/cpuid.h',
    value: () => [0x40000005, ...signatureWords('XenVMMXenVMM')],
  },
]
