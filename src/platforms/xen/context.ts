/** What the parts of a domain know of it: each other's small ends. `Domain` is all of it. */
import type { Effects } from '../../paravirt/effects.ts'
import type { Frames, SharedPage } from './frames.ts'
import type { GuestMemory } from './guest-memory.ts'
import type { Kind } from './kind.ts'

export interface VcpuEnd {
  readonly id: number
  /** Address in memory of its vcpu_info. */
  readonly info: number
  /** Some event waits: tell the vCPU, if it has not been told. */
  markPending(): void
}

export interface Context {
  readonly effects: Effects
  readonly features: ReadonlySet<string>
  readonly kind: Kind
  readonly frames: Frames
  /** How many frames the guest may have. */
  readonly maxPages: number
  readonly guest: GuestMemory
  readonly sharedInfo: SharedPage
  /** shared_info and what is in it have the 64-bit layout. */
  readonly wideInfo: boolean
  readonly vcpus: readonly VcpuEnd[]
  isUp(vcpu: number): boolean
  readonly pollers: { check(port: number): void }
  readonly events: { virq(vcpu: number, virq: number): void }
  /** The guest did what Xen does not forgive. The only way to crash a domain; answers what no one will see. */
  crash(reason: string): 0
  /** The end of the domain: `Shutdown`. */
  shutdown(reason: number): void
}
