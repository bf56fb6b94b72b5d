/** A platform on a mock beside its reference model: what the sessions of `runner.ts` have in common. */
import { deepStrictEqual } from 'node:assert'
import { cpuModel } from '../../src/cpu/models.ts'
import { Mock, type MockVcpu } from '../../src/paravirt/mock.ts'
import { type Event, Observer } from '../../src/paravirt/observe.ts'
import type { PlatformOptions } from '../../src/paravirt/platform.ts'
import type { Session } from './runner.ts'
import type { World } from './values.ts'

export interface PairOptions<Platform> {
  readonly world: World
  readonly make: (options: PlatformOptions) => Platform
  readonly features: ReadonlySet<string>
  readonly listen: (event: Event) => void
}

/** Both must do the same effects in the same order. */
export abstract class Pair<Step, Platform, Model extends { readonly log: string[] }> implements Session<Step> {
  protected readonly mock: Mock
  protected readonly platform: Platform
  protected readonly model: Model

  constructor({ world, make, features, listen }: PairOptions<Platform>, model: Model) {
    this.mock = new Mock({ vcpus: world.vcpus, pages: world.memory / 4096 })
    this.model = model
    const { effects } = this.mock
    const observer = new Observer(() => effects.time.now())
    observer.listen(listen)
    this.platform = make({ effects, model: cpuModel('inorder'), features, observer })
  }

  /** Do it on both sides, and compare the answers. */
  protected abstract step(step: Step): void

  abstract finish(): void

  play(step: Step): void {
    this.step(step)
    deepStrictEqual(this.mock.log.splice(0).map(this.told), this.model.log.splice(0))
  }

  /** An effect of the platform as the model tells it. */
  protected told(line: string): string {
    return line
  }

  protected vcpu(index: number): MockVcpu {
    return this.mock.vcpus[index] as MockVcpu
  }
}

/** The model has memory of its own, which must stay the same. */
export abstract class PairWithMemory<
  Step,
  Platform,
  Model extends { readonly log: string[]; readonly ram: Uint8Array },
> extends Pair<Step, Platform, Model> {
  override play(step: Step): void {
    super.play(step)
    const { mock, model } = this
    if (Buffer.compare(mock.ram, model.ram) !== 0) deepStrictEqual(mock.ram, model.ram)
  }

  /** The guest writes. */
  protected poke(at: number, ...bytes: readonly number[]): void {
    this.mock.ram.set(bytes, at)
    this.model.ram.set(bytes, at)
  }
}
