/**
 * Xen 4.17, as a guest without privileges (domU) sees it. HVM, PVH and PV share all that is in this folder but `hvm`
 * and `pvh`, `pv` and `mm`.
 */
import { BootError } from '../../boot/error.ts'
import { M } from '../../cpu/layout.ts'
import type { CpuidResult } from '../../cpu/models.ts'
import type { PciSlot } from '../../devices/pci/host.ts'
import { Dispatch } from '../../paravirt/dispatch.ts'
import type {
  BuildOptions,
  GuestControl,
  HypercallInstruction,
  Platform,
  PlatformDefinition,
  PlatformOptions,
} from '../../paravirt/platform.ts'
import type { Transfer } from '../../snapshot/stateful.ts'
import { NativePlatform } from '../native/index.ts'
import { ringRequests } from './backends.ts'
import { pvRefusal } from './builder/image.ts'
import { Shutdown } from './constants.ts'
import { Domain } from './domain.ts'
import { Errno } from './errno.ts'
import { features } from './features.ts'
import { Hypercalls } from './hypercalls/dispatch.ts'
import { buildHvm, hvmRefusal } from './hvm/builder.ts'
import { EventLine, IOAPIC_PINS } from './hvm/event-line.ts'
import { PlatformDevice, WINDOW_BYTES } from './hvm/platform-device.ts'
import { ports } from './hvm/ports.ts'
import { hypercalls, requestsOf } from './hypercalls/index.ts'
import { leaves } from './leaves.ts'
import { pvFrames } from './mm/create.ts'
import { XenPvPlatform } from './pv/index.ts'
import { msrs } from './msrs.ts'
import { buildPvh } from './pvh/builder.ts'
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

  constructor(
    options: PlatformOptions,
    kind = (domain: Domain): PvhKind => new PvhKind(domain, (made, build) => buildPvh(domain, made, build)),
  ) {
    this.domain = new Domain(options, (domain) => (this.#kind = kind(domain)))
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

  transfer(state: Transfer): void {
    state.part('domain', this.domain)
    state.part('dispatch', this.#dispatch)
  }

  get ownMemory(): number {
    return this.domain.ownMemory
  }

  needs(): Iterable<number> {
    return this.domain.needs()
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

/** An HVM guest: the processor's side is PVH's, around it is a PC with the Xen platform device. */
export class XenHvmPlatform extends XenPvhPlatform {
  readonly ioapicPins = IOAPIC_PINS
  readonly device: PlatformDevice
  readonly pci: readonly PciSlot[]

  constructor(options: PlatformOptions) {
    const { effects, model, observer } = options
    const window = Math.ceil((effects.memory.pages * PAGE) / WINDOW_BYTES) * WINDOW_BYTES
    super(options, (domain) => {
      const line = new EventLine(effects.irq, () => domain.vcpus[0]?.pending ?? false)
      return new PvhKind(domain, (kind, build) => buildHvm(domain, kind, window, model, build), line)
    })
    this.device = new PlatformDevice(effects, observer, window)
    this.pci = [this.device.slot]
  }

  override transfer(state: Transfer): void {
    super.transfer(state)
    state.part('device', this.device)
  }

  portIn(vcpu: number, port: number, size: number): number | undefined {
    return this.device.in(vcpu, port, size)
  }

  override portOut(vcpu: number, port: number, size: number, value: number): boolean {
    return this.device.out(vcpu, port, size, value) || super.portOut(vcpu, port, size, value)
  }
}

export const xenPv: PlatformDefinition = {
  name: 'xen-pv',
  title: 'Xen, PV',
  features,
  requests: [...leaves, ...requestsOf('pv'), ...ringRequests],
  board: 'bare',
  console: 'hvc0',
  devices: ['disks', 'networks'],
  frames: pvFrames,
  refuses: pvRefusal,
  create: (options) => new XenPvPlatform(options),
}

/** Room above the guest's memory; throws BootError if there is too little. */
function room(memory: number): number {
  const frames = Math.min(ROOM, (M.MAX_RAM - memory) / PAGE)
  if (frames < ROOM / 2)
    throw new BootError(
      `memory: ${memory / 2 ** 20} MiB; as a guest of Xen at most ${(M.MAX_RAM - (ROOM / 2) * PAGE) / 2 ** 20} MiB`,
    )
  return frames
}

export const xenPv32: PlatformDefinition = {
  name: 'xen-pv32',
  title: 'Xen, PV of 32 bits',
  features,
  requests: [...leaves, ...requestsOf('pv'), ...ringRequests],
  board: 'bare',
  console: 'hvc0',
  devices: ['disks', 'networks'],
  frames: pvFrames,
  refuses: (kernel) => pvRefusal(kernel, 32),
  create: (options) => new XenPvPlatform(options, true),
}

export const xenHvm: PlatformDefinition = {
  name: 'xen-hvm',
  title: 'Xen, HVM',
  features,
  requests: [...leaves, ...msrs, ...ports, ...requestsOf('pvh'), ...ringRequests],
  devices: ['disks', 'networks'],
  frames: room,
  refuses: hvmRefusal,
  create: (options) => new XenHvmPlatform(options),
}

export const xenPvh: PlatformDefinition = {
  name: 'xen-pvh',
  title: 'Xen, PVH',
  features,
  requests: [...leaves, ...msrs, ...requestsOf('pvh'), ...ringRequests],
  board: 'bare',
  console: 'hvc0',
  devices: ['disks', 'networks'],
  refuses: ({ entries }) => (entries.pvh === undefined ? 'it has no PVH entry (CONFIG_PVH)' : undefined),
  frames: room,
  create: (options) => new XenPvhPlatform(options),
}
