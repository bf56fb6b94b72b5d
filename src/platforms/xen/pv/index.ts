/** Xen PV as a platform: identity, MSRs, ports, and what the core asks about its vCPUs. */
import type { CpuidResult } from '../../../cpu/models.ts'
import { PvCrash } from '../../../cpu/layout.ts'
import { Dispatch } from '../../../paravirt/dispatch.ts'
import type { Observer } from '../../../paravirt/observe.ts'
import type { BuildOptions, GuestControl, Platform, PlatformOptions, PvHooks } from '../../../paravirt/platform.ts'
import type { Transfer } from '../../../snapshot/stateful.ts'
import { NativePlatform } from '../../native/index.ts'
import { Domain } from '../domain.ts'
import { errorName } from '../errno.ts'
import { Hypercalls } from '../hypercalls/dispatch.ts'
import { hypercalls } from '../hypercalls/index.ts'
import { leaves } from '../leaves.ts'
import { emulateStore, isEmulated } from '../mm/write-emulation.ts'
import { pvCpuid } from './cpuid.ts'
import { hotHypercalls } from './hypercalls.ts'
import { PvKind } from './kind.ts'
import { lastWords } from './last-words.ts'
import { PvMsrs } from './msrs.ts'
import { PvPorts } from './ports.ts'

const GP = 13
const USER = 3
const CR4_OSXSAVE = 1n << 18n
const PAGE_SHIFT = 12

const reasons: Readonly<Record<number, string>> = {
  [PvCrash.BAD_STACK]: 'its kernel’s stack is in the hypervisor’s addresses',
  [PvCrash.FRAME_FAULT]: 'a fault while a frame was pushed on its kernel’s stack',
  [PvCrash.NO_HANDLER]: 'an exception, or an event, for which it has no handler',
  [PvCrash.IRET_FRAME]: 'a fault while iret’s frame was read from its stack',
  [PvCrash.NO_USER_TABLE]: 'iret to user mode without a page table for it',
  [PvCrash.IRET_RING]: 'iret to ring 0',
}

export class XenPvPlatform implements Platform {
  readonly domain: Domain
  readonly pv: PvHooks
  readonly #kind: PvKind
  readonly #dispatch: Dispatch<Domain>
  readonly #ports = new PvPorts()
  #crashed = false

  /** `narrow`: for a guest of 32 bits. */
  constructor(options: PlatformOptions, narrow = false) {
    const { effects, observer, model } = options
    this.domain = new Domain(options, (domain) => new PvKind(domain, narrow))
    this.#kind = this.domain.kind as PvKind
    const native = new NativePlatform(options)
    const msrs = new PvMsrs({
      model: options.model,
      native,
      tsc: (vcpu) => BigInt.asUintN(64, BigInt(effects.time.now()) + effects.time.tscOffset(vcpu)),
      handles: (vcpu) => effects.pv.trap(vcpu, GP).address !== 0n,
    })
    this.#dispatch = new Dispatch({
      ...options,
      abi: this.domain,
      msrs: [],
      leaves,
      beneath: {
        cpuid: (vcpu, leaf, subleaf, own) => {
          const kernel = narrow ? effects.cpu.privilege(vcpu) !== USER : effects.pv.word(vcpu, 'kernel') !== 0
          const osxsave = kernel || (effects.pv.cr4(vcpu) & CR4_OSXSAVE) !== 0n
          return pvCpuid(leaf, subleaf, { osxsave, narrow, amd: model.vendor === 'AuthenticAMD' }, own)
        },
        rdmsr: (vcpu, index) => msrs.rdmsr(vcpu, index),
        wrmsr: (vcpu, index, value) => msrs.wrmsr(vcpu, index, value),
        transfer: (state) => native.transfer(state),
      },
    })
    this.pv = this.#hooks(new Hypercalls(this.domain, hypercalls, observer), observer, narrow)
  }

  #hooks(calls: Hypercalls, observer: Observer, narrow: boolean): PvHooks {
    const { mm } = this.#kind
    const { pv, cpu } = this.domain.effects
    observer.also(() => {
      const counts = new Map([...hotHypercalls.values()].map((call) => [call, 0]))
      for (const { id } of this.domain.vcpus)
        for (const [number, count] of pv.counts(id)) {
          const call = hotHypercalls.get(number)
          if (call) counts.set(call, (counts.get(call) ?? 0) + count)
        }
      return counts
    })
    observer.onListen((listening) => pv.watch(listening))
    return {
      hypercall: (vcpu) => calls.enter(vcpu),
      crash: (vcpu, reason) => this.#crash(vcpu, reason),
      ldt: (vcpu, page) => (mm.loadLdtPage(vcpu, page << PAGE_SHIFT) ? pv.ldtFrame(vcpu, page) : 0),
      note: (vcpu, number, result) => {
        const call = hotHypercalls.get(number)
        if (!call) return
        const names = narrow ? (['rbx', 'rcx'] as const) : (['rdi', 'rsi'] as const)
        const args = () => call.args.map((_, i) => cpu.register(vcpu, names[i] ?? 'rax'))
        observer.tell(vcpu, call, 'call', args, errorName(result) ?? BigInt(result))
      },
      root: (vcpu, frame) => mm.setKernelRoot(vcpu, frame) === 0,
      store: (_vcpu, address, size, low, high) =>
        isEmulated(mm, address >>> PAGE_SHIFT) && emulateStore(mm, address, size, low, high),
    }
  }

  /** Xen's last words about a domain. */
  #crash(vcpu: number, reason: number): void {
    if (this.#crashed) return
    this.#crashed = true
    const { machine, pv } = this.domain.effects
    machine.report(lastWords(vcpu, pv.registers(vcpu), reason === PvCrash.NO_HANDLER))
    this.domain.crash(`vCPU ${vcpu}: ${reasons[reason] ?? 'it did what it must not'}`)
  }

  get control(): GuestControl | undefined {
    return this.domain.dom0?.control
  }

  get ownMemory(): number {
    return this.domain.ownMemory
  }

  needs(): Iterable<number> {
    return this.domain.needs()
  }

  transfer(state: Transfer): void {
    state.part('domain', this.domain)
    state.part('dispatch', this.#dispatch)
    state.part('ports', this.#ports)
    this.#crashed = state.field('crashed', this.#crashed)
  }

  build(options: BuildOptions): void {
    this.#kind.build(options)
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

  hypercall(): boolean {
    return false
  }

  portIn(_vcpu: number, port: number, size: number): number {
    return this.#ports.read(port, size)
  }

  portOut(_vcpu: number, port: number, size: number, value: number): boolean {
    this.#ports.write(port, size, value)
    return true
  }

  enter(vcpu: number): void {
    this.domain.enter(vcpu)
  }

  leave(vcpu: number, halted: boolean): void {
    this.domain.leave(vcpu, halted)
  }
}
