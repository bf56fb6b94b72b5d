/** The machine as those who run one see it: the command, the bench, the tests. */
import type { Devices } from '../paravirt/devices.ts'
import type { BootOptions } from '../boot/layout.ts'
import type { Core } from '../cpu/core.ts'
import type { Interpreter } from '../cpu/interpreter/build.ts'
import type { CpuModelName } from '../cpu/models.ts'
import type { Translate, Translator } from '../cpu/translator/translator.ts'
import type { ExitCounts } from './exits.ts'
import type { Hooks } from './hooks.ts'
import type { PlatformName } from '../platforms/index.ts'

export type SerialPort = 'com1' | 'com2' | 'com3' | 'com4'

/** What a serial port's bytes go to; `com1` is ttyS0. The array is the sink's. A port without a sink discards them. */
export type SerialSinks = { readonly [Port in SerialPort]?: (bytes: Uint8Array) => void }

/** What to boot; where the firmware's tables lie is the machine's own business. */
export type BootPlan = Pick<BootOptions, 'kernel' | 'initrd' | 'cmdline' | 'method'>

/** What is the same for a machine and for one that is restored from its snapshot. */
export interface Hardware {
  /** Bytes of RAM. */
  readonly memory: number
  readonly cpu: CpuModelName
  readonly platform: PlatformName
  /** Changes to the platform's features: `name` is on, `no-name` off. */
  readonly features?: readonly string[] | undefined
  /** vCPUs, which take turns; default 1. */
  readonly cpus?: number | undefined
  /** The devices by which test kernels written for QEMU talk to their harness. */
  readonly testDevices?: boolean | undefined
  /** Time passes with instructions executed, not with the host's clock. */
  readonly deterministic?: boolean | undefined
  /** Serial ports whose peer does not keep to their speed when it sends. */
  readonly fastSerial?: readonly SerialPort[] | undefined
  /** Unix time at power-on, in milliseconds; default: now, or where time is counted always the same. */
  readonly epoch?: number | undefined
}

/** What is the host's business. */
export interface HostOptions {
  /** Disks and network cards; only for platforms that offer such (`PlatformDefinition.devices`). */
  readonly devices?: Devices | undefined
  /** The guest's last words, where it can tell them to its hypervisor. */
  readonly onReport?: (lines: readonly string[]) => void
  readonly serial: SerialSinks
  /** Who hears of requests, and may answer them, before the machine does. */
  readonly hooks?: Hooks | undefined
  /** Look at a deterministic machine whenever it has executed another `every` instructions. */
  readonly observe?: { readonly every: number; readonly at: (core: Core, instructions: number) => void }
  /** Count what the guest does without asking its hypervisor; everything is interpreted then. */
  readonly census?: boolean
  /** Count why vCPUs leave the core, and what it costs. */
  readonly exits?: ExitCounts | undefined
  /** Translate hot code to WebAssembly; default true. */
  readonly translate?: Translate
  /** Translated code counts what it does: `core.translator.profile`. */
  readonly profile?: boolean
  /** Another build of the interpreter than the cache's (bench/handlers.ts). */
  readonly interpreter?: Interpreter
}

export interface MachineOptions extends Hardware, HostOptions {
  readonly boot: BootPlan
}

/** Why a machine stopped. */
export type ExitReason =
  /** The guest switched itself off (ACPI S5, or by its hypervisor). */
  | { readonly kind: 'power-off' }
  /** A test kernel's exit port. */
  | { readonly kind: 'exit'; readonly code: number }
  /** The guest reset itself: keyboard controller, port 0xCF9, the FADT's reset register, or by its hypervisor. */
  | { readonly kind: 'reset' }
  /** HLT with interrupts off, and nothing that could ever end it. */
  | { readonly kind: 'halted' }
  /** An exception during the delivery of a double fault. `detail` says where, in one line. */
  | { readonly kind: 'triple-fault'; readonly detail: string }
  /** The guest did, or asked for, what made its hypervisor stop it; in one line. */
  | { readonly kind: 'crash'; readonly detail: string }
  /** The caller's AbortSignal. */
  | { readonly kind: 'aborted' }

export interface MachineStats {
  /** Guest instructions executed. */
  readonly instructions: number
  /** Virtual time since power-on, in nanoseconds. */
  readonly virtualNanoseconds: number
  /** What the translator made, and how the vCPU waited for it; undefined: it is off. */
  readonly translation: Translator['stats'] | undefined
}
