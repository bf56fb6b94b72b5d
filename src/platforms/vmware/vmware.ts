/** What VMware keeps for a machine and for each of its vCPUs. */
import type { Effects } from '../../paravirt/effects.ts'
import type { PlatformOptions } from '../../paravirt/platform.ts'
import type { HypercallInstruction } from '../../paravirt/platform.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import type { FeatureName } from './features.ts'
import { Messages } from './messages.ts'
import { StealClock } from './steal-clock.ts'

export class Vmware implements Stateful {
  readonly effects: Effects
  readonly features: ReadonlySet<string>
  /** The instruction that the processor has. */
  readonly instruction: HypercallInstruction
  readonly messages: Messages
  readonly #steal: readonly StealClock[]

  constructor({ effects, features, model }: Pick<PlatformOptions, 'effects' | 'features' | 'model'>) {
    this.effects = effects
    this.features = features
    this.instruction = model.vendor === 'GenuineIntel' ? 'vmcall' : 'vmmcall'
    this.messages = new Messages((lines) => effects.machine.report(lines))
    this.#steal = Array.from({ length: effects.cpu.count }, (_, vcpu) => new StealClock(effects, vcpu))
  }

  transfer(state: Transfer): void {
    state.part('messages', this.messages)
    state.parts('steal', this.#steal)
  }

  has(feature: FeatureName): boolean {
    return this.features.has(feature)
  }

  steal(vcpu: number): StealClock {
    return this.#steal[vcpu] as StealClock
  }
}
