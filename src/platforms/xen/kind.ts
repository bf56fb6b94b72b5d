/**
 * What a PVH guest and a PV guest differ in, as the rest of Xen sees it. `pvh/kind.ts` and `pv/kind.ts` are the two.
 */
import type { SharedPage } from './frames.ts'
import type { BuildOptions } from '../../paravirt/platform.ts'
import type { Stateful } from '../../snapshot/stateful.ts'

/** A ring's frame of memory, as the guest numbers it too, and the guest's port for it. */
type Ring = {
  readonly frame: number
  readonly port: number
}

/** The two rings that the toolstack makes. */
export type Rings = {
  readonly console: Ring
  readonly store: Ring
}

/** Numbers of frames in the guest's memory, as commands of memory_op name them. */
export interface Extents {
  /** log2 of the frames of each extent. */
  readonly order: number
  /** There is no list. */
  readonly none: boolean
  /** Entry `index` of the list; -1: it cannot be read. */
  read(index: number): number
  /** Whether it could be written. */
  write(index: number, frame: number): boolean
}

/** A linear or machine address as two halves. */
interface Address {
  readonly low: number
  readonly high: number
}

/** Grants in page tables of the guest's, and frames that go from hand to hand: see `mm/grants.ts`. */
interface GrantPaging {
  /** Map a frame; takes what each mapping that `flags` (GNTMAP_*) names needs. GNTST_*. */
  map(vcpu: number, address: Address, frame: number, flags: number): number
  /** Take the mapping away, or put what `other` maps there; `drop` is to follow. GNTST_*. */
  replace(vcpu: number, address: Address, frame: number, flags: number, other: Address | undefined): number
  /** Drop what `map` took. */
  drop(frame: number, flags: number): void
  /** Take a frame away that nothing refers to; false: it is not one. */
  steal(mfn: number): boolean
  /** A stolen frame to the heap. */
  free(mfn: number): void
  /** The domain may have another frame. */
  mayReceive(): boolean
  /** A stolen frame to the domain, as its page `pfn`. */
  receive(mfn: number, pfn: number): void
}

export interface Kind extends Stateful {
  readonly name: 'pvh' | 'pv'
  /** Frames that it looks at without asking for them: see `Platform.needs`. */
  needs?(): Iterable<number>
  /** A PV guest of 32 bits. */
  readonly narrow?: boolean
  /**
   * The frame of memory (`effects.memory`) behind a frame number of the guest's: PVH's gfn, where something is mapped;
   * PV's mfn, if the domain owns that frame. -1: none, for numbers of any size.
   */
  frame(number: number): number
  /**
   * Like `frame`, for pages that Xen goes on using (vcpu_info, event array, grants): PV takes a reference and, unless
   * it is only to be read, of the type writable; -1 if the frame cannot have it. Until `release` with the same.
   */
  hold(number: number, writable?: boolean): number
  release(frame: number, writable?: boolean): void
  /** Take pages of Xen's back from the guest; false: it has mapped one, and they stay (PV). */
  withdraw(pages: readonly SharedPage[]): boolean
  /** The number by which the guest knows one of Xen's pages; -1: by none yet. */
  numberOf(page: SharedPage): number
  /** Hypercalls may follow a pointer to this address; PV refuses the hypervisor's range before any page table does. */
  mayAccess(low: number, high: number): boolean
  /**
   * An event waits for a vCPU: `evtchn_upcall_pending` of its vcpu_info is set, and was not before. Delivers it now or
   * when the vCPU can take it; wakes the vCPU if it is blocked and could. Masks are this function's business.
   */
  upcall(vcpu: number): void
  /** The vCPU would be interrupted by an event now: nothing masks it. */
  eventWaits(vcpu: number): boolean
  /** VCPUOP_send_nmi. */
  nmi(vcpu: number): void
  /** SCHEDOP_block: let events in, then halt unless one waits. */
  block(vcpu: number): void
  /** VCPUOP_initialise with its argument, for a vCPU that is not initialised; 0 or a negative error. */
  initialise(vcpu: number, low: number, high: number, caller: number): number
  /** It has a state in which to begin: VCPUOP_initialise's, the domain builder's, or by a start-up message. */
  initialised(vcpu: number): boolean
  /** It counts as up, but nothing lets it run before it has been down. */
  asleep(vcpu: number): boolean
  /** VCPUOP_up of an initialised vCPU that is down, VCPUOP_down of one that is up: after `running` of cpu effects. */
  up(vcpu: number): void
  down(vcpu: number): void
  /** Frames that the domain has, and the highest number that means one. */
  readonly pages: number
  readonly maximumGpfn: number
  /** One extent of XENMEM_increase_reservation, decrease_reservation or populate_physmap; false: it failed. */
  changeExtent(what: 'increase' | 'decrease' | 'populate', extents: Extents, index: number): boolean
  /** The guest can map and transfer grants. */
  readonly grants?: GrantPaging
  /** VCPUOP_register_vcpu_info moved vcpu_info of a vCPU to this address of memory. */
  movedInfo(vcpu: number, address: number): void
  /** vm_assist has changed what is on: numbers of VMASST_TYPE_*. */
  assisted(assists: ReadonlySet<number>): void
  /**
   * The domain was saved and restored: what the guest had from Xen by its kind is gone, and it is told the new ports of
   * its rings. `argument` is what it gave with SCHEDOP_shutdown. Where the rings are now; undefined: it cannot be restored.
   */
  restore(
    argument: number,
    ports: { readonly store: number; readonly console: number },
    rings: Rings,
  ): Rings | undefined
  /** Domain builder: everything in memory, and vCPU 0 as it begins. */
  build(options: BuildOptions): void
}
