/**
 * The grant table (xen/grant_table.h) in use: which entries someone reaches the guest's memory by. What backends hold
 * is dom0's; the guest reaches its own by copies.
 */
import { SnapshotError } from '../../../snapshot/error.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { DOM0 } from '../constants.ts'
import type { Context } from '../context.ts'
import { Errno } from '../errno.ts'
import type { SharedPage } from '../frames.ts'
import { GrantEntries, Gtf } from './entries.ts'
import { GntStatus } from './status.ts'

/** What may be reached by a grant, or by a copy. */
export interface Reach {
  /** The frame of memory, and which bytes of it: all of them unless the guest granted less (sub-page, v2). */
  readonly frame: number
  readonly offset: number
  readonly length: number
  /** Give it back: the last one clears the bits that the guest sees. */
  release(): void
}

export interface Held extends Reach {
  readonly ref: number
}

type Active = {
  readonly domid: number
  readonly frame: number
  readonly offset: number
  readonly length: number
  readonly part: boolean
  readers: number
  writers: number
}

/** Uses of one entry: Xen counts them in a byte. */
const MOST = 255
const RESERVED = 8

export class GrantTable implements Stateful {
  readonly entries: GrantEntries
  readonly #domain: Context
  readonly #active = new Map<number, Active>()

  constructor(domain: Context) {
    this.#domain = domain
    this.entries = new GrantEntries(domain)
  }

  /** Whoever held a grant holds it again by `restore`. */
  transfer(state: Transfer): void {
    state.part('entries', this.entries)
    state.map('active', this.#active)
  }

  /** That are in use. */
  *frames(): Generator<number> {
    for (const { frame } of this.#active.values()) yield frame
  }

  /** While a snapshot is loaded: a use that was counted when it was taken. */
  restore(ref: number, writable: boolean): Held {
    const active = this.#active.get(ref)
    if (!active || (writable ? active.writers : active.readers) === 0)
      throw new SnapshotError(`nobody uses the grant ${ref}`)
    return this.#held(ref, active, writable)
  }

  /** The page at an index of XENMAPSPACE_grant_table, or a negative error. */
  frameToMap(index: number, status: boolean): SharedPage | number {
    if (status && this.entries.version !== 2) return Errno.EINVAL
    return this.entries.page(index, status)
  }

  /** Grant a frame to dom0 by one of the first refs, as the toolstack does for console and xenstore. */
  reserve(ref: number, frame: number): void {
    this.entries.put(ref, DOM0, frame)
  }

  /**
   * As dom0's GNTTABOP_map_grant_ref (whole pages only unless `part`, as copies take them): a GNTST_* error, or what may
   * be reached until it is released.
   */
  hold(ref: number, writable: boolean, part = false): Held | number {
    return this.acquire(DOM0, ref, writable, part)
  }

  acquire(domid: number, ref: number, writable: boolean, part: boolean): Held | number {
    const { entries } = this
    if (ref >= entries.count) return GntStatus.BAD_GNTREF
    let active = this.#active.get(ref)
    if (active && (active.domid !== domid || active.readers + active.writers >= MOST || (active.part && !part)))
      return GntStatus.GENERAL_ERROR
    if (!active || (writable && active.writers === 0)) {
      const entry = entries.get(ref)
      const mask = part ? Gtf.TYPE : Gtf.TYPE | Gtf.SUB_PAGE
      // Transitive grants lead to dom0's, which gives out none.
      if (!active && ((entry.flags & mask) !== Gtf.PERMIT_ACCESS || entry.domid !== domid))
        return GntStatus.GENERAL_ERROR
      if (writable && entry.flags & Gtf.READONLY) return GntStatus.GENERAL_ERROR
      if (!active) {
        const frame = this.#domain.kind.frame(entry.frame)
        if (frame < 0) return GntStatus.BAD_PAGE
        const { offset, length } = entry
        active = { domid, frame, offset, length, part: (entry.flags & Gtf.SUB_PAGE) !== 0, readers: 0, writers: 0 }
      }
      // A writer needs the page to be nothing but memory.
      if (writable && this.#domain.kind.hold(entry.frame) < 0) return GntStatus.GENERAL_ERROR
      this.#active.set(ref, active)
      entries.mark(ref, writable ? Gtf.READING | Gtf.WRITING : Gtf.READING, 0)
    }
    if (writable) active.writers++
    else active.readers++
    return this.#held(ref, active, writable)
  }

  #held(ref: number, active: Active, writable: boolean): Held {
    const { frame, offset, length } = active
    let held = true
    const release = () => {
      if (!held) return
      held = false
      if (writable) active.writers--
      else active.readers--
      if (writable && active.writers === 0) this.#domain.kind.release(frame)
      if (active.writers + active.readers > 0) {
        if (active.writers === 0) this.entries.mark(ref, 0, Gtf.WRITING)
        return
      }
      this.#active.delete(ref)
      this.entries.mark(ref, 0, Gtf.READING | Gtf.WRITING)
    }
    return { ref, frame, offset, length, release }
  }

  /** GNTTABOP_swap_grant_ref: GNTST_*. */
  swap(a: number, b: number): number {
    if (a >= this.entries.count || b >= this.entries.count) return GntStatus.BAD_GNTREF
    if (a === b) return GntStatus.OKAY
    if (this.#active.has(a) || this.#active.has(b)) return GntStatus.EAGAIN
    this.entries.swap(a, b)
    return GntStatus.OKAY
  }

  /** GNTTABOP_set_version: 0 or a negative error. */
  setVersion(version: number): number {
    if (version !== 1 && version !== 2) return Errno.EINVAL
    if (version === this.entries.version) return 0
    for (const ref of this.#active.keys()) if (ref >= RESERVED) return Errno.EBUSY
    return this.entries.setVersion(version)
  }
}
