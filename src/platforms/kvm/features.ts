/** KVM's features by name, and their bits in CPUID leaf 0x40000001 (Linux, Documentation/virt/kvm/x86/cpuid.rst). */
import type { Feature } from '../../paravirt/platform.ts'

interface KvmFeature extends Feature {
  /** Bit of EAX. */
  readonly bit?: number
  /** Bit of EDX. */
  readonly hint?: number
}

export const features = {
  'old-kvmclock': { bit: 0, default: true, summary: 'clock pages by the MSRs 0x11 and 0x12' },
  'nop-io-delay': { bit: 1, default: true, summary: 'port I/O needs no delays' },
  kvmclock: { bit: 3, default: true, summary: 'clock pages by the MSRs 0x4b564d00 and 0x4b564d01' },
  'async-pf': { bit: 4, default: true, summary: 'asynchronous page faults; none ever happens here' },
  'steal-time': { bit: 5, default: true, summary: 'time in which a vCPU could have run but did not' },
  'pv-eoi': { bit: 6, default: true, summary: 'end of interrupt by clearing a bit in memory' },
  'pv-unhalt': { bit: 7, default: true, summary: 'a halted vCPU can be kicked: spinlocks that sleep' },
  'pv-tlb-flush': { bit: 9, default: true, summary: 'flushes of vCPUs that do not run wait until they do' },
  'pv-send-ipi': { bit: 11, default: true, summary: 'interrupts to many vCPUs by one hypercall' },
  'poll-control': { bit: 12, default: true, summary: 'the guest may poll before it halts' },
  'pv-sched-yield': { bit: 13, default: true, summary: 'give a turn away to another vCPU' },
  'async-pf-int': { bit: 14, default: true, summary: 'pages that are ready are told by an interrupt' },
  'msi-ext-dest-id': { bit: 15, default: true, summary: 'destinations of device interrupts have 15 bits' },
  'migration-control': { bit: 17, default: false, summary: 'the guest says whether it may be moved' },
  'stable-clock': { bit: 24, default: true, summary: 'clock pages agree between vCPUs' },
  realtime: { hint: 0, default: false, summary: 'hint: vCPUs always run, so locks may spin' },
  invtsc: { default: false, summary: 'the TSC is invariant, so that guests prefer it to the clock pages' },
} as const satisfies Readonly<Record<string, KvmFeature>>

export type FeatureName = keyof typeof features

/** EAX and EDX of the leaf. */
export function featureBits(on: ReadonlySet<string>): { bits: number; hints: number } {
  let bits = 0
  let hints = 0
  for (const [name, feature] of Object.entries<KvmFeature>(features)) {
    if (!on.has(name)) continue
    if (feature.bit !== undefined) bits |= 1 << feature.bit
    if (feature.hint !== undefined) hints |= 1 << feature.hint
  }
  return { bits, hints }
}
