/** No hypervisor: the processor and its MSRs as they are. Hypervisors build on it. */
import type { HypercallInstruction, Platform, PlatformDefinition, PlatformOptions } from '../../paravirt/platform.ts'
import type { CpuidResult } from '../../cpu/models.ts'
import type { Transfer } from '../../snapshot/stateful.ts'
import { NativeMsrs } from './msrs.ts'

export class NativePlatform implements Platform {
  readonly #msrs: readonly NativeMsrs[]

  constructor({ effects, model }: PlatformOptions) {
    this.#msrs = Array.from({ length: effects.cpu.count }, () => new NativeMsrs(model))
  }

  transfer(state: Transfer): void {
    state.parts('msrs', this.#msrs)
  }

  cpuid(_vcpu: number, _leaf: number, _subleaf: number, own: CpuidResult): CpuidResult {
    return own
  }

  rdmsr(vcpu: number, index: number): bigint | undefined {
    return (this.#msrs[vcpu] as NativeMsrs).read(index)
  }

  wrmsr(vcpu: number, index: number, value: bigint): boolean {
    return (this.#msrs[vcpu] as NativeMsrs).write(index, value)
  }

  hypercall(_vcpu: number, _instruction: HypercallInstruction): boolean {
    return false
  }
}

export const native: PlatformDefinition = {
  name: 'native',
  title: 'bare hardware',
  features: {},
  requests: [],
  create: (options) => new NativePlatform(options),
}
