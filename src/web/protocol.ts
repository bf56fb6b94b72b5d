/** What a page and its machine's worker say to each other. */
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

export type ToWorker =
  | Start
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

export type FromWorker =
  /** Bytes of the first serial port. */
  | { readonly kind: 'output'; readonly bytes: Uint8Array }
  | Ended
  | { readonly kind: 'failed'; readonly message: string }
