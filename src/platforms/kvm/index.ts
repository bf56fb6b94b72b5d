/** KVM: the hypervisor that stock kernels know best (Linux, Documentation/virt/kvm/x86). */
import type { CpuidResult } from '../../cpu/models.ts'
import { Dispatch } from '../../paravirt/dispatch.ts'
import type { Observer } from '../../paravirt/observe.ts'
import type { HypercallInstruction, Platform, PlatformDefinition, PlatformOptions } from '../../paravirt/platform.ts'
import type { Transfer } from '../../snapshot/stateful.ts'
import { NativePlatform } from '../native/index.ts'
import { features } from './features.ts'
import { argumentRegisters, hypercalls, hypercallsByNumber, KvmError } from './hypercalls.ts'
import { Kvm, sharedMemory } from './kvm.ts'
import { leaves } from './leaves.ts'
import { msrs } from './msrs.ts'

/** CPUID: advanced power management, EDX. */
const POWER_LEAF = 0x80000007
const INVARIANT_TSC = 1 << 8

const errorNames = new Map(Object.entries(KvmError).map(([name, number]) => [number as bigint, `KVM_${name}`]))

export class KvmPlatform implements Platform {
  readonly kvm: Kvm
  readonly extendedIds: boolean
  readonly #dispatch: Dispatch<Kvm>
  readonly #observer: Observer

  constructor(options: PlatformOptions) {
    this.kvm = new Kvm(options)
    this.extendedIds = this.kvm.has('msi-ext-dest-id')
    this.#observer = options.observer
    this.#dispatch = new Dispatch({ ...options, abi: this.kvm, msrs, leaves, beneath: new NativePlatform(options) })
  }

  transfer(state: Transfer): void {
    state.part('kvm', this.kvm)
    state.part('dispatch', this.#dispatch)
  }

  cpuid(vcpu: number, leaf: number, subleaf: number, own: CpuidResult): CpuidResult {
    const words = this.#dispatch.cpuid(vcpu, leaf, subleaf, own)
    if (leaf !== POWER_LEAF || this.kvm.has('invtsc')) return words
    const [eax, ebx, ecx, edx] = words
    return [eax, ebx, ecx, edx & ~INVARIANT_TSC]
  }

  rdmsr(vcpu: number, index: number): bigint | undefined {
    return this.#dispatch.rdmsr(vcpu, index)
  }

  wrmsr(vcpu: number, index: number, value: bigint): boolean {
    return this.#dispatch.wrmsr(vcpu, index, value)
  }

  /** Either instruction: a host patches the one that its processor has not. */
  hypercall(vcpu: number, _instruction: HypercallInstruction): boolean {
    const { cpu } = this.kvm.effects
    const wide = cpu.wide(vcpu)
    const width = wide ? 64 : 32
    const value = (name: (typeof argumentRegisters)[number] | 'rax') => BigInt.asUintN(width, cpu.register(vcpu, name))
    const number = value('rax')
    const request = number < 0x100n ? hypercallsByNumber.get(Number(number)) : undefined
    const values = request ? request.args.map((_, i) => value(argumentRegisters[i] as 'rbx')) : []
    let result: bigint
    if (cpu.privilege(vcpu) !== 0) result = KvmError.EPERM
    else if (!request || !this.#dispatch.has(request)) result = KvmError.ENOSYS
    else result = request.call(this.kvm, vcpu, values, wide)
    cpu.setRegister(vcpu, 'rax', BigInt.asUintN(width, result))
    if (request) this.#observer.note(vcpu, request, 'call', () => values, errorNames.get(result) ?? result)
    return true
  }

  enter(vcpu: number): void {
    const { steal, faults } = this.kvm.vcpu(vcpu)
    this.kvm.clock.enter(vcpu)
    steal.enter()
    faults.deliver()
  }

  leave(vcpu: number): void {
    this.kvm.vcpu(vcpu).steal.leave()
  }

  /** INIT takes registrations away; the poll control stays. */
  init(vcpu: number): void {
    const { steal, eoi, faults } = this.kvm.vcpu(vcpu)
    this.kvm.clock.reset(vcpu)
    steal.reset()
    eoi.reset()
    faults.reset()
  }
}

export const kvm: PlatformDefinition = {
  name: 'kvm',
  title: 'KVM',
  features,
  requests: [...leaves, ...msrs, ...hypercalls, ...Object.values(sharedMemory)],
  create: (options) => new KvmPlatform(options),
}
