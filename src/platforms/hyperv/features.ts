/**
 * What of Hyper-V can be switched, and how the guest learns of it: bits of leaves 0x40000003 (privileges in EAX and
 * EBX, features in EDX) and 0x40000004 (recommendations in EAX). TLFS, "Feature and Interface Discovery" and
 * HV_PARTITION_PRIVILEGE_MASK.
 */
import type { Feature } from '../../paravirt/platform.ts'

interface Bits {
  /** Leaf 0x40000003: EAX, EBX, EDX. */
  readonly low?: number
  readonly high?: number
  readonly misc?: number
  /** Leaf 0x40000004 EAX. */
  readonly hints?: number
}

interface HypervFeature extends Feature, Bits {}

const bit = (...numbers: number[]) => numbers.reduce((mask, n) => (mask | (1 << n)) >>> 0, 0)

const rows = {
  'vp-runtime': { summary: 'how long a vCPU has run', default: true, low: bit(0) },
  'time-ref': { summary: 'the reference counter', default: true, low: bit(1) },
  synic: {
    summary: 'synthetic interrupt controller with message and event pages',
    default: true,
    low: bit(2),
    misc: bit(17),
  },
  stimer: { summary: 'four synthetic timers for each vCPU', default: true, low: bit(3) },
  'stimer-direct': { summary: 'synthetic timers that interrupt without a message', default: true, misc: bit(19) },
  'apic-msrs': { summary: 'EOI, ICR and TPR as MSRs', default: true, low: bit(4), hints: bit(3) },
  'eoi-assist': { summary: 'EOIs left out, by the VP assist page', default: true },
  reset: { summary: 'reset by an MSR', default: true, low: bit(7) },
  'reference-tsc': { summary: 'the reference TSC page', default: true, low: bit(9) },
  'guest-idle': { summary: 'a halt that ends even with interrupts off', default: true, low: bit(10), misc: bit(5) },
  frequencies: { summary: 'frequencies of TSC and APIC timer', default: true, low: bit(11), misc: bit(8) },
  reenlightenment: { summary: 'notice of a changed TSC frequency', default: true, low: bit(13) },
  invtsc: { summary: 'invariant TSC, once the guest asks for it', default: false, low: bit(15) },
  messages: { summary: 'privileges PostMessages and SignalEvents', default: true, high: bit(4, 5) },
  'vp-registers': { summary: 'registers of vCPUs by hypercall', default: true, high: bit(17) },
  'extended-hypercalls': { summary: 'calls from 0x8001', default: true, high: bit(20) },
  'xmm-input': { summary: 'hypercall input in XMM registers', default: true, misc: bit(4) },
  crash: { summary: "the guest's last words", default: true, misc: bit(10) },
  'tlb-flush': { summary: 'TLBs of other vCPUs flushed by hypercall', default: true, hints: bit(2) },
  ipi: { summary: 'interprocessor interrupts by hypercall', default: true, hints: bit(10) },
  'ex-masks': { summary: 'hypercalls for sets of more than 64 vCPUs', default: true, hints: bit(11) },
} as const satisfies Readonly<Record<string, HypervFeature>>

export type FeatureName = keyof typeof rows
export const features: Readonly<Record<FeatureName, HypervFeature>> = rows

/**
 * Always there. EAX: hypercalls and VP index, without which Linux does not take it for Hyper-V. EDX: the hypercall
 * MSR's lock. Hints: relaxed timing, for time passes unevenly here; no automatic EOI, which a guest that leaves out
 * EOIs does not need.
 */
const always = { low: bit(5, 6), high: 0, misc: bit(18), hints: bit(5, 9) }

/** What the guest is told. */
export function featureBits(on: ReadonlySet<string>): Required<Bits> {
  const bits = { ...always }
  for (const [name, feature] of Object.entries(features)) {
    if (!on.has(name)) continue
    for (const part of ['low', 'high', 'misc', 'hints'] as const) bits[part] = (bits[part] | (feature[part] ?? 0)) >>> 0
  }
  return bits
}
