/**
 * Xen 4.17, as a guest without privileges (domU) sees it. PVH and PV share all that is in this folder but `pvh`, and
 * `pv` and `mm`.
 */
import { BootError } from '../../boot/error.ts'
import { M } from '../../cpu/layout.ts'
import type { CpuidResult } from '../../cpu/models.ts'
import { Dispatch } from '../../paravirt/dispatch.ts'
import type {
  BuildOptions,
  GuestControl,
  HypercallInstruction,
  Platform,
  PlatformDefinition,
  PlatformOptions,
} from '../../paravirt/platform.ts'
import { SnapshotError } from '../../snapshot/error.ts'
import { NativePlatform } from '../native/index.ts'
import { pvRefusal } from './builder/image.ts'
import { Shutdown } from './constants.ts'
import { Domain } from './domain.ts'
import { Errno } from './errno.ts'
import { features } from './features.ts'
import { Hypercalls } from './hypercalls/dispatch.ts'
import { hypercalls, requestsOf } from './hypercalls/index.ts'
import { leaves } from './leaves.ts'
import { pvFrames } from './mm/create.ts'
import { XenPvPlatform } from './pv/index.ts'
import { msrs } from './msrs.ts'
import { PvhKind } from './pvh/kind.ts'

const DEBUG_PORT = 0xe9
const PAGE = 4096
/** What the guest can have beyond its memory, in frames: room for pages that it maps by number. */
const ROOM = 0x10000

export class XenPvhPlatform implements Platform {
  readonly domain: Domain
  #kind!: PvhKind
  readonly #dispatch: Dispatch<Domain>
  readonly #hypercalls: Hypercalls
  readonly #instruction: HypercallInstruction

  constructor(options: PlatformOptions) {
    this.domain = new Domain(options, (domain) => (this.#kind = new PvhKind(domain)))
    this.#dispatch = new Dispatch({
      ...options,
      abi: this.domain,
      msrs,
      leaves,
      beneath: new NativePlatform(options),
    })
    this.#hypercalls = new Hypercalls(this.domain, hypercalls, options.observer)
    this.#instruction = options.model.vendor === 'GenuineIntel' ? 'vmcall' : 'vmmcall'
  }

  get control(): GuestControl | undefined {
    return this.domain.dom0?.control
  }

  transfer(): void {
    throw new SnapshotError('a Xen domain cannot be saved: its parts do not hand over their state')
  }

  build(options: BuildOptions): void {
    this.domain.kind.build(options)
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

  hypercall(vcpu: number, instruction: HypercallInstruction): boolean | 'again' {
    if (instruction !== this.#instruction) return false
    const { cpu } = this.domain.effects
    if (cpu.protectedMode(vcpu) && cpu.privilege(vcpu) !== 0) {
      cpu.setNumber(vcpu, 'rax', Errno.EPERM, cpu.wide(vcpu))
      return true
    }
    return this.#hypercalls.enter(vcpu) === 'done' || 'again'
  }

  enter(vcpu: number): void {
    this.domain.enter(vcpu)
  }

  leave(vcpu: number, halted: boolean): void {
    const { domain } = this
    const { cpu } = domain.effects
    // HLT with interrupts off is a vCPU's end, and the last one's is the domain's (hvm_hlt).
    if (halted && !cpu.interruptFlag(vcpu) && !domain.pollers.polls(vcpu)) {
      domain.down(vcpu)
      if (!domain.vcpus.some(({ id }) => cpu.running(id))) domain.shutdown(Shutdown.POWEROFF)
    } else domain.leave(vcpu, halted)
  }

  init(vcpu: number): void {
    this.#kind.reset(vcpu)
  }

  /** Xen's debug console, a byte at a time; nothing else answers. */
  portOut(_vcpu: number, port: number, size: number, value: number): boolean {
    if (port !== DEBUG_PORT || size !== 1) return false
    this.domain.debugConsole(Uint8Array.of(value))
    return true
  }
}

export const xenPv: PlatformDefinition = {
  name: 'xen-pv',
  title: 'Xen, PV',
  features,
  requests: [...leaves, ...requestsOf('pv')],
  board: 'bare',
  console: 'hvc0',
  devices: ['disks', 'networks'],
  frames: pvFrames,
  refuses: pvRefusal,
  create: (options) => new XenPvPlatform(options),
}

export const xenPvh: PlatformDefinition = {
  name: 'xen-pvh',
  title: 'Xen, PVH',
  features,
  requests: [...leaves, ...msrs, ...requestsOf('pvh')],
  board: 'bare',
  console: 'hvc0',
  devices: ['disks', 'networks'],
  refuses: ({ entries }) => (entries.pvh === undefined ? 'it has no PVH entry (CONFIG_PVH)' : undefined),
  frames: (memory) => {
    const frames = Math.min(ROOM, (M.MAX_RAM - memory) / PAGE)
    if (frames < ROOM / 2)
      throw new BootError(
        `memory: ${memory / 2 ** 20} MiB; as a guest of Xen at most ${(M.MAX_RAM - (ROOM / 2) * PAGE) / 2 ** 20} MiB`,
      )
    return frames
  },
  create: (options) => new XenPvhPlatform(options),
}
