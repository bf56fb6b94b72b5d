/** Parts of Xen that can be left out, by name. */
import type { Feature } from '../../paravirt/platform.ts'

export const features = {
  'upcall-vector': { default: true, summary: 'PVH: events as interrupts of each vCPU’s local APIC' },
  'verbose-debug': { default: false, summary: 'Xen’s own console takes text, as in builds for developers' },
} as const satisfies Readonly<Record<string, Feature>>
