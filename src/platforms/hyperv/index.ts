/** Hyper-V: what a Linux guest sees of Microsoft's hypervisor (Hypervisor Top Level Functional Specification, TLFS). */
import type { CpuidResult } from '../../cpu/models.ts'
import { Dispatch } from '../../paravirt/dispatch.ts'
import type { HypercallInstruction, Platform, PlatformDefinition, PlatformOptions } from '../../paravirt/platform.ts'
import type { Transfer } from '../../snapshot/stateful.ts'
import { NativePlatform } from '../native/index.ts'
import { features } from './features.ts'
import { Hypercalls, hypercalls } from './hypercalls/dispatch.ts'
import { FIRST_LEAF, leaves, RESERVED_LEAVES } from './leaves.ts'
import { msrs } from './msrs/index.ts'
import { Partition } from './partition.ts'

/** CPUID: advanced power management, EDX. */
const POWER_LEAF = 0x80000007
const INVARIANT_TSC = 1 << 8

export class HypervPlatform implements Platform {
  readonly #partition: Partition
  readonly #dispatch: Dispatch<Partition>
  readonly #hypercalls: Hypercalls

  constructor(options: PlatformOptions) {
    this.#partition = new Partition(options)
    const beneath = new NativePlatform(options)
    this.#dispatch = new Dispatch({ ...options, abi: this.#partition, msrs, leaves, beneath })
    this.#hypercalls = new Hypercalls(this.#partition, options.observer)
  }

  transfer(state: Transfer): void {
    state.part('partition', this.#partition)
    state.part('dispatch', this.#dispatch)
  }

  /** The TSC is shown as invariant when the guest has asked for that. */
  cpuid(vcpu: number, leaf: number, subleaf: number, own: CpuidResult): CpuidResult {
    if (leaf > FIRST_LEAF && leaf <= RESERVED_LEAVES) own = [0, 0, 0, 0]
    const [eax, ebx, ecx, edx] = this.#dispatch.cpuid(vcpu, leaf, subleaf, own)
    const hidden = leaf === POWER_LEAF && !this.#partition.invariantTsc ? INVARIANT_TSC : 0
    return [eax, ebx, ecx, edx & ~hidden]
  }

  rdmsr(vcpu: number, index: number): bigint | undefined {
    return this.#dispatch.rdmsr(vcpu, index)
  }

  wrmsr(vcpu: number, index: number, value: bigint): boolean {
    return this.#dispatch.wrmsr(vcpu, index, value)
  }

  hypercall(vcpu: number, instruction: HypercallInstruction): boolean {
    return this.#hypercalls.call(vcpu, instruction)
  }

  enter(vcpu: number): void {
    this.#partition.vp(vcpu).enter()
  }

  leave(vcpu: number): void {
    this.#partition.vp(vcpu).leave()
  }

  init(vcpu: number): void {
    this.#partition.vp(vcpu).reset()
  }
}

export const hyperv: PlatformDefinition = {
  name: 'hyperv',
  title: 'Microsoft Hyper-V',
  features,
  requests: [...leaves, ...msrs, ...hypercalls],
  create: (options) => new HypervPlatform(options),
}
