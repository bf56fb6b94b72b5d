/** What KVM keeps for a machine and for each of its vCPUs. */
import type { Effects } from '../../paravirt/effects.ts'
import type { PlatformOptions } from '../../paravirt/platform.ts'
import type { Declaration } from '../../paravirt/requests.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { AsyncPageFaults } from './async-page-faults.ts'
import { KvmClock } from './clock.ts'
import type { FeatureName } from './features.ts'
import { PvEoi } from './pv-eoi.ts'
import { StealTime } from './steal-time.ts'

export interface KvmVcpu {
  readonly steal: StealTime
  readonly eoi: PvEoi
  readonly faults: AsyncPageFaults
  /** MSR_KVM_POLL_CONTROL. */
  poll: bigint
}

export class Kvm implements Stateful {
  readonly effects: Effects
  readonly features: ReadonlySet<string>
  readonly clock: KvmClock
  readonly vcpus: readonly KvmVcpu[]
  /** MSR_KVM_MIGRATION_CONTROL: memory is not encrypted, so moving the guest is no problem of its own. */
  migration = 1n

  constructor({ effects, features, observer }: Pick<PlatformOptions, 'effects' | 'features' | 'observer'>) {
    this.effects = effects
    this.features = features
    this.clock = new KvmClock(effects)
    const noteFor = (vcpu: number, request: Declaration) => () => observer.note(vcpu, request, 'call', () => [], 0n)
    this.vcpus = Array.from({ length: effects.cpu.count }, (_, vcpu) => ({
      steal: new StealTime({
        effects,
        vcpu,
        onFlush: this.has('pv-tlb-flush') ? noteFor(vcpu, sharedMemory.flush) : undefined,
      }),
      eoi: new PvEoi(effects, vcpu, noteFor(vcpu, sharedMemory.eoi)),
      faults: new AsyncPageFaults(effects, vcpu, this.has('async-pf-int')),
      poll: 1n,
    }))
  }

  transfer(state: Transfer): void {
    state.part('clock', this.clock)
    this.migration = state.field('migration', this.migration)
    state.parts(
      'steal',
      this.vcpus.map(({ steal }) => steal),
    )
    state.parts(
      'eoi',
      this.vcpus.map(({ eoi }) => eoi),
    )
    state.parts(
      'faults',
      this.vcpus.map(({ faults }) => faults),
    )
    const polls = this.vcpus.map(({ poll }) => poll)
    state.list('polls', polls)
    for (const [i, vcpu] of this.vcpus.entries()) vcpu.poll = polls[i] as bigint
  }

  has(feature: FeatureName): boolean {
    return this.features.has(feature)
  }

  vcpu(vcpu: number): KvmVcpu {
    return this.vcpus[vcpu] as KvmVcpu
  }
}

/** What guests ask for without leaving their own code. */
export const sharedMemory = {
  flush: {
    kind: 'memory',
    number: 2,
    name: 'KVM_VCPU_FLUSH_TLB',
    summary: 'flush the TLB of a vCPU that does not run before it runs again: bit 1 of its steal time’s preempted byte',
    args: [],
    errors: {},
    feature: 'pv-tlb-flush',
    ops: ['mmu.flush_tlb_multi'],
    tier: 'call',
    source: 'Linux arch/x86/include/uapi/asm/kvm_para.h',
  },
  eoi: {
    kind: 'memory',
    number: 1,
    name: 'KVM_PV_EOI_ENABLED',
    summary: 'end of interrupt, by clearing the bit that was set when the interrupt was delivered',
    args: [],
    errors: {},
    feature: 'pv-eoi',
    ops: ['apic.eoi'],
    tier: 'call',
    source: 'Linux Documentation/virt/kvm/x86/msr.rst, MSR_KVM_EOI_EN',
  },
} as const satisfies Record<string, Declaration>
