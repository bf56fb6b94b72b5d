/** What a page and its machine's worker say to each other. */
import type { Bits } from '../demo/image.ts'
import type { ExitReason, MachineStats } from '../machine/types.ts'

export interface Start {
  readonly kind: 'start'
  /** URLs of an ELF vmlinux and of an initrd. */
  readonly kernel: string
  readonly initrd: string
  readonly cmdline: string
  /** Bytes of RAM. */
  readonly memory: number
}

/** Run the project's own kernel on these platforms (default: all that it knows) in turn. */
export interface Demo {
  readonly kind: 'demo'
  /** URL of its ELF file of that width. */
  readonly image: string
  readonly bits: Bits
  readonly cpus: number
  readonly platforms?: readonly string[] | undefined
}

export type ToWorker =
  | Start
  | Demo
  /** Bytes for the first serial port. */
  | { readonly kind: 'input'; readonly bytes: Uint8Array }
  | { readonly kind: 'stop' }

export interface Ended {
  readonly kind: 'ended'
  readonly reason: ExitReason
  readonly stats: MachineStats
  /** What translating cost, as JSON. */
  readonly translator: string
}

export interface Demonstrated {
  readonly kind: 'demonstrated'
  /** Every check passed on every platform. */
  readonly passed: boolean
}

export type FromWorker =
  /** Bytes of the first serial port. */
  | { readonly kind: 'output'; readonly bytes: Uint8Array }
  | Ended
  | Demonstrated
  | { readonly kind: 'failed'; readonly message: string }
