/** VMware: its CPUID leaves, the backdoor, pseudo performance counters. */
import type { CpuidResult } from '../../cpu/models.ts'
import { Dispatch } from '../../paravirt/dispatch.ts'
import type { Observer } from '../../paravirt/observe.ts'
import type { HypercallInstruction, Platform, PlatformDefinition, PlatformOptions } from '../../paravirt/platform.ts'
import type { Transfer } from '../../snapshot/stateful.ts'
import { NativePlatform } from '../native/index.ts'
import { Backdoor, HIGH_PORT, PORT } from './backdoor.ts'
import { MAGIC } from './command.ts'
import { commands } from './commands.ts'
import { counters, countersByNumber } from './counters.ts'
import { features } from './features.ts'
import { highBandwidth } from './high-bandwidth.ts'
import { leaves } from './leaves.ts'
import { Vmware } from './vmware.ts'

export class VmwarePlatform implements Platform {
  readonly openPorts = { first: PORT, count: 2, key: MAGIC }
  readonly #vmware: Vmware
  readonly #dispatch: Dispatch<Vmware>
  readonly #backdoor: Backdoor
  readonly #observer: Observer

  constructor(options: PlatformOptions) {
    this.#vmware = new Vmware(options)
    this.#observer = options.observer
    this.#backdoor = new Backdoor(this.#vmware, options.observer)
    const beneath = new NativePlatform(options)
    this.#dispatch = new Dispatch({ ...options, abi: this.#vmware, msrs: [], leaves, beneath })
  }

  transfer(state: Transfer): void {
    state.part('vmware', this.#vmware)
    state.part('dispatch', this.#dispatch)
  }

  cpuid(vcpu: number, leaf: number, subleaf: number, own: CpuidResult): CpuidResult {
    return this.#dispatch.cpuid(vcpu, leaf, subleaf, own)
  }

  rdmsr(vcpu: number, index: number): bigint | undefined {
    return this.#dispatch.rdmsr(vcpu, index)
  }

  wrmsr(vcpu: number, index: number, value: bigint): boolean {
    return this.#dispatch.wrmsr(vcpu, index, value)
  }

  hypercall(vcpu: number, instruction: HypercallInstruction): boolean {
    const { has, instruction: own } = { has: this.#vmware.has('hypercall'), instruction: this.#vmware.instruction }
    return has && instruction === own && this.#backdoor.hypercall(vcpu)
  }

  /** Without the magic number they are ports like all others: there is nothing. */
  portIn(vcpu: number, port: number, size: number): number | undefined {
    if ((port !== PORT && port !== HIGH_PORT) || !this.#called(vcpu)) return undefined
    if (port === PORT) return this.#backdoor.command(vcpu)
    return size === 1 ? this.#backdoor.byteIn(vcpu) : undefined
  }

  /** A write does what a read does. */
  portOut(vcpu: number, port: number, size: number, value: number): boolean {
    if ((port !== PORT && port !== HIGH_PORT) || !this.#called(vcpu)) return false
    if (port === PORT) this.#vmware.effects.cpu.setRegister(vcpu, 'rax', BigInt(this.#backdoor.command(vcpu)))
    else if (size === 1) this.#backdoor.byteOut(vcpu, value)
    return true
  }

  #called(vcpu: number): boolean {
    return this.#vmware.effects.cpu.low(vcpu, 'rax') === MAGIC
  }

  rdpmc(vcpu: number, index: number): bigint | undefined {
    const counter = countersByNumber.get(index)
    if (!counter) return undefined
    const value = this.#vmware.has('pseudo-counters') ? counter.value(this.#vmware.effects) : undefined
    this.#observer.note(vcpu, counter, 'call', () => [], value ?? '#GP')
    return value
  }

  enter(vcpu: number): void {
    this.#vmware.steal(vcpu).update()
  }

  init(vcpu: number): void {
    this.#vmware.steal(vcpu).disable()
  }
}

export const vmware: PlatformDefinition = {
  name: 'vmware',
  title: 'VMware',
  features,
  requests: [...leaves, ...commands, highBandwidth, ...counters],
  create: (options) => new VmwarePlatform(options),
}
