/**
 * What a platform is to the machine: an identity, requests, and a few moments of a vCPU's life that it wants to know
 * of. One folder in `platforms/` for each hypervisor's ABI.
 */
import type { BootOptions } from '../boot/layout.ts'
import type { CpuModel, CpuidResult } from '../cpu/models.ts'
import type { PciSlot } from '../devices/pci/host.ts'
import type { Stateful } from '../snapshot/stateful.ts'
import type { DeviceKind, Devices } from './devices.ts'
import type { Effects } from './effects.ts'
import type { Observer } from './observe.ts'
import type { Declaration } from './requests.ts'

/** A part of a platform that can be left out, or added, by name. */
export interface Feature {
  readonly summary: string
  readonly default: boolean
}

export interface PlatformOptions {
  readonly effects: Effects
  readonly model: CpuModel
  /** Names of the features that are on. */
  readonly features: ReadonlySet<string>
  readonly observer: Observer
  readonly devices?: Devices | undefined
}

/** What a platform that builds its guest itself is given: all that `layoutBoot` is, but the firmware's tables. */
export type BuildOptions = Pick<BootOptions, 'kernel' | 'initrd' | 'cmdline' | 'memory' | 'method'>

/** A platform as users choose it. */
export interface PlatformDefinition {
  /** For `--on`. */
  readonly name: string
  readonly title: string
  readonly features: Readonly<Record<string, Feature>>
  readonly requests: readonly Declaration[]
  /** What is around the processors: a PC (default), or local APICs only, where nothing else answers. */
  readonly board?: 'pc' | 'bare'
  /** The most vCPUs that a guest can have; default: as many as the machine. */
  readonly cpus?: number
  /** Linux's name of the console that the user sees; default ttyS0,115200. */
  readonly console?: string
  /** Devices that it can offer; default none. */
  readonly devices?: readonly DeviceKind[]
  /** What Linux calls its disks, without the letter; default xvd. */
  readonly diskName?: string
  /** Why a kernel cannot make anything of the platform, if it cannot; default: it only needs an entry of a PC's. */
  readonly refuses?: (kernel: BuildOptions['kernel']) => string | undefined
  /** How many frames there are for the platform's own use above `memory` bytes of RAM; default none. */
  readonly frames?: (memory: number, cpus: number) => number
  readonly create: (options: PlatformOptions) => Platform
}

export type HypercallInstruction = 'vmcall' | 'vmmcall'

/** What the core asks about vCPUs of a Xen PV domain. */
export interface PvHooks {
  /** SYSCALL in kernel mode, for what the core does not do itself; `again`: it is executed once more. */
  hypercall(vcpu: number): 'done' | 'again'
  /** A vCPU did what crashes the domain: a `PvCrash` of the core's layout. */
  crash(vcpu: number, reason: number): void
  /** The frame of a page of the vCPU's LDT, 0 if it cannot hold descriptors. */
  ldt(vcpu: number, page: number): number
  /** The core carries out hypercall `number` itself, which answers `result`; its arguments are in their registers. */
  note(vcpu: number, number: number, result: number): void
  /** The kernel loads CR3 with a frame: false for #GP(0). */
  root(vcpu: number, frame: number): boolean
  /** The kernel stores 1, 2, 4 or 8 aligned bytes into a page that it may only read: false, the fault is the guest's. */
  store(vcpu: number, address: number, size: number, low: number, high: number): boolean
}

/**
 * How a guest can be asked to stop. `suspend` and `checkpoint` come back by themselves: from `suspend` as on another host,
 * where all that it has from its hypervisor is new; from `checkpoint` it learns that nothing has changed.
 */
export const shutdownRequests = ['poweroff', 'reboot', 'halt', 'suspend', 'checkpoint'] as const
export type ShutdownRequest = (typeof shutdownRequests)[number]

/** What a host asks of a guest that listens to its hypervisor. */
export interface GuestControl {
  /** False: the guest has not said that it can, or has not taken the last request yet. */
  shutdown(request: ShutdownRequest): boolean
  /** A magic SysRq key, a character. */
  sysrq(key: string): void
  /** How much memory it shall use, in KiB; at most what it was given. */
  setMemory(kibibytes: number): void
}

/** A platform under a machine. It is loaded before local APICs, timers, registers and memory are. */
export interface Platform extends Stateful {
  /**
   * Puts the kernel into memory and the first vCPU (the others wait) into the state in which it begins. Absent: the
   * machine does as firmware would. Throws BootError for what cannot be booted.
   */
  build?(options: BuildOptions): void
  /**
   * Frames at which the platform looks without asking for them: a snapshot has them where they are there at once. Asked
   * between slices, and when the platform has been loaded.
   */
  needs?(): Iterable<number>
  /** The lowest address behind the guest's memory where it has written, in bytes; absent: the end of that memory. */
  readonly ownMemory?: number
  /** CPUID as the guest sees it; `own` is the bare processor's. */
  cpuid(vcpu: number, leaf: number, subleaf: number, own: CpuidResult): CpuidResult
  /** MSRs that neither the core nor the local APIC has; undefined: #GP(0). */
  rdmsr(vcpu: number, index: number): bigint | undefined
  /** False: #GP(0). */
  wrmsr(vcpu: number, index: number, value: bigint): boolean
  /** False: #UD; `again`: not done yet, the instruction is executed once more. */
  hypercall(vcpu: number, instruction: HypercallInstruction): boolean | 'again'
  readonly pv?: PvHooks
  /** Once the guest runs; absent: there is no such way. */
  readonly control?: GuestControl | undefined
  /** Ports of the platform's own, which code of any privilege may use while EAX is `key`. */
  readonly openPorts?: { readonly first: number; readonly count: number; readonly key: number }
  /** Destinations of the I/O APIC's interrupts have 15 bits. */
  readonly extendedIds?: boolean
  /** Of the I/O APIC; default 24. */
  readonly ioapicPins?: number
  /** On the PCI bus, beside the host bridge. */
  readonly pci?: readonly PciSlot[]
  /** Undefined: not a port of the platform's. */
  portIn?(vcpu: number, port: number, size: number): number | undefined
  /** False: not a port of the platform's. */
  portOut?(vcpu: number, port: number, size: number, value: number): boolean
  /** RDPMC of a counter that only the platform has; undefined: #GP(0). */
  rdpmc?(vcpu: number, index: number): bigint | undefined
  /** A vCPU's turn begins. */
  enter?(vcpu: number): void
  /** A vCPU's turn has ended; `halted`: it waits for an interrupt. */
  leave?(vcpu: number, halted: boolean): void
  /** A start-up message has come; true: the platform has entered the vCPU where it shall begin. */
  start?(vcpu: number): boolean
  /** INIT has put a vCPU into its reset state. */
  init?(vcpu: number): void
}

/** The features that are on: the defaults, changed by `name` and `no-name`. Throws RangeError for one it has not. */
export function chosenFeatures(definition: PlatformDefinition, changes: readonly string[]): ReadonlySet<string> {
  const on = new Set(Object.entries(definition.features).flatMap(([name, f]) => (f.default ? [name] : [])))
  for (const change of changes) {
    const name = change.replace(/^no-/, '')
    if (!Object.hasOwn(definition.features, name)) throw new RangeError(`${definition.name} has no feature '${name}'`)
    if (name === change) on.add(name)
    else on.delete(name)
  }
  return on
}
