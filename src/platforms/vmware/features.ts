/** Parts of VMware's interface that can be left out. */
import type { Feature } from '../../paravirt/platform.ts'

export const features = {
  hypercall: { default: true, summary: 'the backdoor by VMCALL or VMMCALL, too' },
  'steal-clock': { default: true, summary: 'time in which a vCPU could have run but did not' },
  'vcpu-info': { default: true, summary: 'what guests may rely on, x2APIC among it' },
  'pseudo-counters': { default: true, summary: 'time by RDPMC' },
  messages: { default: true, summary: 'channels for requests in text' },
} as const satisfies Readonly<Record<string, Feature>>

export type FeatureName = keyof typeof features
