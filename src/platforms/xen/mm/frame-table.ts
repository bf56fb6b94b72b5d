/**
 * The frame table: what Xen knows of each machine frame (its `struct page_info`), in flat arrays by frame number, and
 * the heap from which the domain's memory comes. A frame lives while its general count is above zero; one count is
 * the allocation itself. Types and their counts are `types.ts`'s business.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { PAGE, TABLE_SHIFT } from './entries.ts'
import type { Tlbs } from './tlbs.ts'

/** Whose a frame is. */
export const Owner = {
  /** In the heap. */
  FREE: 0,
  /** Xen's own: nobody can refer to it. */
  XEN: 1,
  /** The domain's. */
  DOMAIN: 2,
  /** DOMID_IO's: what is no memory to guests. */
  IO: 3,
  /** DOMID_XEN's: the machine-to-physical table, which privileged domains may read. */
  SHARED: 4,
} as const

/** A frame's uses that exclude one another (xen/include/asm-x86/mm.h: PGT_type_mask), in `types`. */
export const Type = { NONE: 0, L1: 1, L2: 2, L3: 3, L4: 4, SEG_DESC: 5, SHARED: 6, WRITABLE: 7 } as const
export const TYPE = 7
/** Flags beside it in `types`: the guest pinned it; its content was checked for the type. */
export const PINNED = 8
export const VALIDATED = 0x10
/** The reference that the allocation itself holds; a frame of Xen's heap that the domain shares. */
export const ALLOCATED = 0x20
export const HEAP = 0x40

/** RAM as the memory-management code sees it. */
export interface Ram {
  /** All machine frames as 32-bit words, to be read. */
  readonly words: Int32Array
  /** Store two words at a word index that is even. Decoded code is dropped where it changes. */
  put(at: number, low: number, high: number): void
  /** A frame that is no table, and not Xen's, is about to be read or written: a restored machine may not have it yet. */
  need(frame: number): void
}

/** An L2 table in slot 3 of a 32-bit guest's L3 table, part of which is Xen's (PGT_pae_xen_l2). */
export const PAE_XEN = 0x80

/** An entry of the machine-to-physical table for a frame that has no place in any domain. */
const INVALID = -1

/** L3 tables of Xen's, for its slots of L4 tables. */
export interface XenTables {
  readonly m2p: number
  readonly perDomain: number
  readonly xen: number
  readonly directMap: number
}

export interface FrameTableOptions {
  readonly ram: Ram
  readonly tlbs: Tlbs
  readonly frames: number
  /** First frame of the machine-to-physical table: 8 bytes a frame, of a 32-bit guest 4, on a 2 MiB boundary. */
  readonly m2p: number
  /** The guest has 32 bits: its page tables have three levels. */
  readonly narrow?: boolean
  readonly xen: XenTables
}

export class FrameTable implements Stateful {
  readonly count: number
  readonly ram: Ram
  readonly words: Int32Array
  readonly tlbs: Tlbs
  readonly m2p: number
  readonly narrow: boolean
  /** The level of tables on which vCPUs run. */
  readonly rootType: number
  readonly owner: Uint8Array
  readonly refs: Uint32Array
  readonly types: Uint8Array
  readonly typeRefs: Uint32Array
  /** Entries of this table that name tables of its own level (above zero), or such entries that name it (below). */
  readonly linear: Int16Array
  /** An L2 table whose validation failed: how many of its entries count. 0: it has not, or that was undone. */
  readonly partial: Uint16Array
  /** One of them that is still to be undone, -1: none (Xen's `old_guest_table`). */
  unfinished = -1
  /** References that nobody will drop; see `promote`. */
  readonly lost = new Map<number, number>()
  /** Time of `tlbs` at which it was last given up as what it was. */
  readonly stamps: Float64Array
  /** What Xen puts into its slots of L4 tables; whether the machine-to-physical table is there only while it must. */
  readonly xen: XenTables
  strictM2p = false
  /** Entries looked at since the start: the measure by which long operations are sliced. */
  work = 0
  /** Pages that the domain has, and may have. */
  pages = 0
  maximum = 0
  /** The heap: a doubly linked list through frame numbers, its head first; itself ends it. */
  readonly #next: Uint32Array
  readonly #previous: Uint32Array
  #head = -1
  free = 0

  constructor({ ram, tlbs, frames, m2p, xen, narrow = false }: FrameTableOptions) {
    this.count = frames
    this.ram = ram
    this.words = ram.words
    this.tlbs = tlbs
    this.m2p = m2p
    this.narrow = narrow
    this.rootType = narrow ? Type.L3 : Type.L4
    this.xen = xen
    this.owner = new Uint8Array(frames).fill(Owner.XEN)
    this.refs = new Uint32Array(frames)
    this.types = new Uint8Array(frames)
    this.typeRefs = new Uint32Array(frames)
    this.linear = new Int16Array(frames)
    this.partial = new Uint16Array(frames)
    this.stamps = new Float64Array(frames)
    this.#next = new Uint32Array(frames)
    this.#previous = new Uint32Array(frames)
    for (let frame = 0; frame < frames; frame++) this.setPfn(frame, INVALID, INVALID)
  }

  transfer(state: Transfer): void {
    state.array('owner', this.owner)
    state.array('refs', this.refs)
    state.array('types', this.types)
    state.array('typeRefs', this.typeRefs)
    state.array('linear', this.linear)
    state.array('partial', this.partial)
    this.unfinished = state.field('unfinished', this.unfinished)
    state.map('lost', this.lost)
    state.array('stamps', this.stamps)
    this.strictM2p = state.field('strictM2p', this.strictM2p)
    this.work = state.field('work', this.work)
    this.pages = state.field('pages', this.pages)
    this.maximum = state.field('maximum', this.maximum)
    state.array('next', this.#next)
    state.array('previous', this.#previous)
    this.#head = state.field('head', this.#head)
    this.free = state.field('free', this.free)
  }

  /** What is read without asking for it: tables, whether in use or not, and Xen's own frames from `own` on. */
  *needs(own: number): Generator<number> {
    const { types } = this
    for (let frame = 0; frame < own; frame++) {
      const type = (types[frame] as number) & TYPE
      if (type >= Type.L1 && type <= Type.SEG_DESC) yield frame
    }
    for (let frame = own; frame < this.count; frame++) yield frame
  }

  /** A frame number that the domain can have a reference to: its own, alive. */
  isOwn(frame: number): boolean {
    return frame < this.count && this.owner[frame] === Owner.DOMAIN && this.refs[frame] !== 0
  }

  /** Take a reference; false if it is not the domain's (Xen's `get_page`). */
  get(frame: number): boolean {
    if (!this.isOwn(frame)) return false
    this.refs[frame]++
    return true
  }

  /** Drop a reference; the last one gives the frame back. */
  put(frame: number): void {
    if (--this.refs[frame] !== 0) return
    this.stamps[frame] = this.tlbs.now
    // What Xen shares from its own heap goes back to it, not to the domains'.
    if (this.types[frame] & HEAP) return
    this.pages--
    this.#release(frame)
  }

  /** Drop the reference that the allocation holds, if it still does: the frame goes with its last user. */
  putAllocation(frame: number): void {
    if ((this.types[frame] & ALLOCATED) === 0) return
    this.types[frame] &= ~ALLOCATED
    this.put(frame)
  }

  /** Into the machine-to-physical table. */
  setPfn(frame: number, low: number, high: number): void {
    const start = this.m2p << TABLE_SHIFT
    if (!this.narrow) return this.ram.put(start + 2 * frame, low, high)
    const at = start + (frame & ~1)
    if (frame & 1) this.ram.put(at, this.words[at], low)
    else this.ram.put(at, low, this.words[at + 1])
  }

  /** The domain's number for a frame, -1 if it has none below 2^32. */
  pfnOf(frame: number): number {
    if (this.narrow) {
      const pfn = this.words[(this.m2p << TABLE_SHIFT) + frame]
      return pfn === INVALID ? -1 : pfn >>> 0
    }
    const at = (this.m2p << TABLE_SHIFT) + 2 * frame
    return this.words[at + 1] === 0 ? this.words[at] >>> 0 : -1
  }

  /** The domain's frame with this number; -1 if none has it. */
  frameOf(pfn: number): number {
    for (let frame = 0; frame < this.count; frame++) if (this.isOwn(frame) && this.pfnOf(frame) === pfn) return frame
    return -1
  }

  /** Give a frame of Xen's to the heap. */
  addToHeap(frame: number): void {
    this.#release(frame)
  }

  /** Take 2^order frames below `limit`, aligned, out of the heap, without an owner: the first, or -1. */
  take(order: number, limit = this.count): number {
    const first = order === 0 && limit >= this.count ? this.#head : this.#findRun(1 << order, limit)
    if (first < 0) return -1
    for (let frame = first; frame < first + (1 << order); frame++) {
      this.#unlink(frame)
      this.owner[frame] = Owner.XEN
      // Whoever had it may still know it.
      this.tlbs.flushSince(this.stamps[frame])
    }
    return first
  }

  /** Give 2^order frames that nobody owns to the domain; `counted`: they are in `pages` already. */
  assign(first: number, order: number, counted = false): void {
    for (let frame = first; frame < first + (1 << order); frame++) {
      this.owner[frame] = Owner.DOMAIN
      this.refs[frame] = 1
      this.types[frame] = ALLOCATED
      this.typeRefs[frame] = 0
    }
    if (!counted) this.pages += 1 << order
  }

  /** 2^order new frames for the domain; -1 if it may not have more, or there are none (`alloc_domheap_pages`). */
  allocate(order: number, limit?: number): number {
    if (this.pages + (1 << order) > this.maximum) return -1
    const first = this.take(order, limit)
    if (first >= 0) this.assign(first, order)
    return first
  }

  /** The domain may map a frame of Xen's own, for reading only or writing too (`share_xen_page_with_guest`). */
  share(frame: number, writable: boolean): void {
    this.owner[frame] = Owner.DOMAIN
    this.refs[frame] = 1
    this.types[frame] = (writable ? Type.WRITABLE : Type.NONE) | VALIDATED | ALLOCATED | HEAP
    this.typeRefs[frame] = 1
    this.setPfn(frame, INVALID, INVALID)
  }

  /** Not any more; nothing but the sharing refers to it. */
  unshare(frame: number): void {
    this.owner[frame] = Owner.XEN
    this.refs[frame] = 0
    this.types[frame] = 0
    this.typeRefs[frame] = 0
    this.stamps[frame] = this.tlbs.now
  }

  /** Take a frame away from the domain though nothing but its allocation refers to it: false if something does. */
  steal(frame: number): boolean {
    if (!this.isOwn(frame) || this.types[frame] & HEAP) return false
    if (this.refs[frame] !== 1 || (this.types[frame] & ALLOCATED) === 0) return false
    this.refs[frame] = 0
    this.types[frame] = 0
    this.owner[frame] = Owner.XEN
    this.stamps[frame] = this.tlbs.now
    return true
  }

  #release(frame: number): void {
    this.owner[frame] = Owner.FREE
    this.types[frame] = 0
    this.setPfn(frame, INVALID, INVALID)
    if (this.#head >= 0) this.#previous[this.#head] = frame
    this.#next[frame] = this.#head >= 0 ? this.#head : frame
    this.#previous[frame] = frame
    this.#head = frame
    this.free++
  }

  #unlink(frame: number): void {
    const next = this.#next[frame]
    const previous = this.#previous[frame]
    const last = next === frame
    if (previous === frame) this.#head = last ? -1 : next
    else this.#next[previous] = last ? previous : next
    if (!last) this.#previous[next] = previous === frame ? next : previous
    this.free--
  }

  #findRun(length: number, limit: number): number {
    for (let first = (Math.min(limit, this.count) & -length) - length; first >= 0; first -= length) {
      let frame = first
      while (frame < first + length && this.owner[frame] === Owner.FREE) frame++
      if (frame === first + length) return first
    }
    return -1
  }
}

/** Frames that the machine-to-physical table of `frames` frames takes: whole 2 MiB pages. */
export function m2pFrames(frames: number): number {
  return Math.ceil((frames * 8) / (512 * PAGE)) * 512
}
