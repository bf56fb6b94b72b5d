/** The partition: what the vCPUs share, and each one's own. Requests are carried out on it. */
import type { Effects } from '../../paravirt/effects.ts'
import type { PlatformOptions } from '../../paravirt/platform.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Crash } from './crash.ts'
import { HypercallPage } from './hypercall-page.ts'
import { Overlays } from './overlay.ts'
import { ReferenceClock } from './reference-clock.ts'
import { SyntheticTimer, TIMERS } from './stimer.ts'
import { Synic } from './synic.ts'
import { VpAssist } from './vp-assist.ts'

/** A virtual processor. */
export class Vp implements Stateful {
  readonly synic: Synic
  readonly timers: readonly SyntheticTimer[]
  readonly assist: VpAssist
  readonly #now: () => number
  /** Nanoseconds that it ran in earlier turns; since when it runs now. */
  #ran = 0
  #since: number | undefined

  constructor(vcpu: number, partition: Partition, overlays: Overlays) {
    const { effects, clock, features } = partition
    this.synic = new Synic(vcpu, effects.irq, overlays)
    this.timers = Array.from(
      { length: TIMERS },
      (_, index) =>
        new SyntheticTimer({ vcpu, index, effects, clock, synic: this.synic, direct: features.has('stimer-direct') }),
    )
    this.assist = new VpAssist(vcpu, effects, overlays, features.has('eoi-assist'))
    this.#now = effects.time.now
  }

  transfer(state: Transfer): void {
    state.parts('timers', this.timers)
    state.part('synic', this.synic)
    state.part('assist', this.assist)
    this.#ran = state.field('ran', this.#ran)
    this.#since = state.field('since', this.#since)
  }

  enter(): void {
    this.#since = this.#now()
  }

  leave(): void {
    this.#ran = this.runtime
    this.#since = undefined
  }

  /** Nanoseconds that it ran. */
  get runtime(): number {
    return this.#ran + (this.#since === undefined ? 0 : this.#now() - this.#since)
  }

  reset(): void {
    for (const timer of this.timers) timer.reset()
    this.synic.reset()
    this.assist.reset()
  }
}

export class Partition implements Stateful {
  readonly effects: Effects
  readonly features: ReadonlySet<string>
  readonly clock: ReferenceClock
  readonly page: HypercallPage
  readonly crash: Crash
  readonly vps: readonly Vp[]
  readonly #overlays: Overlays
  /** HV_X64_MSR_REENLIGHTENMENT_CONTROL and HV_X64_MSR_TSC_EMULATION_CONTROL: the TSC's frequency never changes. */
  reenlightenment = 0n
  tscEmulation = 0n
  /** The guest has asked for CPUID to show an invariant TSC. */
  invariantTsc = false

  constructor({ effects, features, model }: PlatformOptions) {
    this.effects = effects
    this.features = features
    const overlays = new Overlays(effects.memory)
    this.#overlays = overlays
    this.clock = new ReferenceClock(effects, overlays)
    this.page = new HypercallPage(overlays, model.vendor === 'GenuineIntel' ? 'vmcall' : 'vmmcall')
    this.crash = new Crash(effects)
    this.vps = Array.from({ length: effects.cpu.count }, (_, vcpu) => new Vp(vcpu, this, overlays))
  }

  transfer(state: Transfer): void {
    state.part('clock', this.clock)
    state.part('page', this.page)
    state.part('crash', this.crash)
    state.parts('vps', this.vps)
    state.part('overlays', this.#overlays)
    this.reenlightenment = state.field('reenlightenment', this.reenlightenment)
    this.tscEmulation = state.field('tscEmulation', this.tscEmulation)
    this.invariantTsc = state.field('invariantTsc', this.invariantTsc)
  }

  vp(vcpu: number): Vp {
    return this.vps[vcpu] as Vp
  }
}
