/**
 * The grant table (xen/grant_table.h) in use: which entries someone reaches the guest's memory by. What backends hold
 * is dom0's; the guest reaches its own by copies and, if it is PV, by mappings. Uses are counted as Xen counts them: of
 * four kinds, up to 128 of each; the first one fixes the frame.
 */
import { SnapshotError } from '../../../snapshot/error.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { DOM0, DOMU } from '../constants.ts'
import type { Context } from '../context.ts'
import { Errno } from '../errno.ts'
import type { SharedPage } from '../frames.ts'
import { type Entry, GrantEntries, Gtf } from './entries.ts'
import { Maptrack } from './maptrack.ts'
import { GntStatus } from './status.ts'

/** What may be reached by a grant. */
export interface Held {
  readonly ref: number
  /** The frame of memory, and which bytes of it: all of them unless the guest granted less (sub-page, v2). */
  readonly frame: number
  readonly offset: number
  readonly length: number
  /** Give it back: the last one clears the bits that the guest sees. */
  release(): void
}

/** GNTMAP_* */
export const MAP = { device: 1, host: 2, readonly: 4, application: 8, contains_pte: 16 } as const

/** Uses of an entry: by the processor and by devices, for writing and for reading. */
type Use = 'hostWrites' | 'hostReads' | 'deviceWrites' | 'deviceReads'
const MOST = 128

export type Active = {
  readonly domid: number
  readonly frame: number
  readonly offset: number
  readonly length: number
  /** Less than a page: it cannot be mapped. */
  readonly part: boolean
  readonly uses: { [kind in Use]: number }
}

const RESERVED = 8
/** The start of a sub-page grant is kept in 15 bits. */
const START = 0x7fff

const writes = ({ uses }: Active): boolean => uses.hostWrites + uses.deviceWrites > 0

function usesOf(flags: number): Use[] {
  const uses: Use[] = []
  if (flags & MAP.device) uses.push(flags & MAP.readonly ? 'deviceReads' : 'deviceWrites')
  if (flags & MAP.host) uses.push(flags & MAP.readonly ? 'hostReads' : 'hostWrites')
  return uses
}

export class GrantTable implements Stateful {
  readonly entries: GrantEntries
  readonly maptrack: Maptrack
  readonly #domain: Context
  readonly #active = new Map<number, Active>()

  constructor(domain: Context) {
    this.#domain = domain
    this.entries = new GrantEntries(domain)
    this.maptrack = new Maptrack(domain.vcpus.length)
  }

  /** Whoever of dom0 held a grant holds it again by `restore`. */
  transfer(state: Transfer): void {
    state.part('entries', this.entries)
    state.part('maptrack', this.maptrack)
    state.map('active', this.#active)
  }

  /** As a new domain's; nobody holds anything any more. */
  restart(): void {
    this.maptrack.restart()
    this.#active.clear()
    this.entries.restart()
  }

  /** That are in use. */
  *frames(): Generator<number> {
    for (const { frame } of this.#active.values()) yield frame
  }

  /** While a snapshot is loaded: a use that was counted when it was taken. */
  restore(ref: number, writable: boolean): Held {
    const active = this.#active.get(ref)
    if (!active || active.uses[writable ? 'hostWrites' : 'hostReads'] === 0)
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
   * As dom0's GNTTABOP_map_grant_ref or, if `part`, as its GNTTABOP_copy: a GNTST_* error, or what may be reached until
   * it is released.
   */
  hold(ref: number, writable: boolean, part = false): Held | number {
    const flags = writable ? MAP.host : MAP.host | MAP.readonly
    const active = part ? this.pinForCopy(DOM0, ref, !writable) : this.pinForMap(DOM0, ref, flags)
    if (typeof active === 'number') return active
    if (this.#domain.kind.hold(active.frame, writable) >= 0) return this.#held(ref, active, writable)
    this.unpin(ref, flags)
    return GntStatus.GENERAL_ERROR
  }

  #held(ref: number, { frame, offset, length }: Active, writable: boolean): Held {
    let held = true
    const release = () => {
      if (!held) return
      held = false
      this.#domain.kind.release(frame, writable)
      this.unpin(ref, writable ? MAP.host : MAP.host | MAP.readonly)
    }
    return { ref, frame, offset, length, release }
  }

  /** A use of an entry, as `map_grant_ref` begins: GNTST_*, or what it is until `unpin` with the same flags. */
  pinForMap(domid: number, ref: number, flags: number): Active | number {
    const { entries } = this
    if (ref >= entries.count) return GntStatus.BAD_GNTREF
    let active = this.#active.get(ref)
    const uses = usesOf(flags)
    if (active && (active.domid !== domid || active.part || uses.some((use) => this.#full(ref, use))))
      return GntStatus.GENERAL_ERROR
    const readonly = (flags & MAP.readonly) !== 0
    if (!active || (!readonly && !writes(active))) {
      const entry = entries.get(ref)
      if (!this.#mark(ref, entry, active, domid, readonly, Gtf.TYPE | Gtf.SUB_PAGE)) return GntStatus.GENERAL_ERROR
      if (!active) {
        const frame = this.#domain.kind.frame(entry.frame)
        if (frame < 0) return this.#refuse(ref, active, readonly, GntStatus.BAD_PAGE)
        active = this.#activate(ref, { domid, frame, offset: 0, length: entry.length, part: false })
      }
    }
    for (const use of uses) active.uses[use]++
    return active
  }

  /** The same as `acquire_grant_for_copy` begins. */
  pinForCopy(domid: number, ref: number, readonly: boolean): Active | number {
    const { entries } = this
    if (ref >= entries.count) return GntStatus.BAD_GNTREF
    let active = this.#active.get(ref)
    const use = readonly ? 'hostReads' : 'hostWrites'
    if (active && (active.domid !== domid || this.#full(ref, use))) return GntStatus.GENERAL_ERROR
    const entry = entries.get(ref)
    const first = !active || (!readonly && !writes(active))
    if (entries.version === 2 && (entry.flags & Gtf.TYPE) === Gtf.TRANSITIVE) {
      if (first && !this.#mark(ref, entry, active, domid, readonly, Gtf.TYPE)) return GntStatus.GENERAL_ERROR
      // It would lead to the domain itself, to dom0, which gives out no grants, or to nobody.
      const beyond = entry.transitiveDomid === DOM0 && entry.transitiveRef >= DOM0_REFS
      return this.#refuse(ref, active, readonly, beyond ? GntStatus.BAD_GNTREF : GntStatus.GENERAL_ERROR)
    }
    if (first) {
      if (!this.#mark(ref, entry, active, domid, readonly, Gtf.TYPE)) return GntStatus.GENERAL_ERROR
      const frame = this.#domain.kind.frame(entry.frame)
      if (frame < 0) return this.#refuse(ref, active, readonly, GntStatus.BAD_PAGE)
      const { offset, length } = entry
      const part = entry.part
      if (!active) active = this.#activate(ref, { domid, frame, offset: offset & START, length, part })
      else {
        const same = !active.part || (part && active.offset === offset && active.length === length)
        if (active.frame !== frame || !same) return this.#refuse(ref, active, readonly, GntStatus.GENERAL_ERROR)
      }
    }
    const pinned = active as Active
    // The mapping that it was used by may be gone, and the frame with it.
    if (!first && this.#domain.kind.frame(pinned.frame) < 0)
      return this.#refuse(ref, pinned, readonly, GntStatus.BAD_DOMAIN)
    pinned.uses[use]++
    return pinned
  }

  unpin(ref: number, flags: number): void {
    const active = this.#active.get(ref) as Active
    for (const use of usesOf(flags)) active.uses[use]--
    const { hostWrites, hostReads, deviceWrites, deviceReads } = active.uses
    const used = hostWrites + hostReads + deviceWrites + deviceReads > 0
    if (!used) this.#active.delete(ref)
    this.#reduce(ref, used ? active : undefined, (flags & MAP.readonly) !== 0)
  }

  /** The frame that an entry in use means. */
  frameOf(ref: number): number {
    return (this.#active.get(ref) as Active).frame
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

  /** An entry that accepts a frame from the domain itself, which is committed to it now. */
  commitTransfer(ref: number): boolean {
    if (ref >= this.entries.count) return false
    const { flags, domid } = this.entries.get(ref)
    if (flags !== Gtf.ACCEPT_TRANSFER || domid !== DOMU) return false
    this.entries.setFlags(ref, flags | Gtf.TRANSFER_COMMITTED)
    return true
  }

  #full(ref: number, use: Use): boolean {
    return (this.#active.get(ref)?.uses[use] ?? 0) >= MOST
  }

  #activate(ref: number, fields: Omit<Active, 'uses'>): Active {
    const active = { ...fields, uses: { hostWrites: 0, hostReads: 0, deviceWrites: 0, deviceReads: 0 } }
    this.#active.set(ref, active)
    return active
  }

  /** Tell the guest that its entry is used, if it allows that; `mask`: bits that say what kind of entry it is. */
  #mark(
    ref: number,
    { flags, domid: to }: Entry,
    active: Active | undefined,
    domid: number,
    readonly: boolean,
    mask: number,
  ): boolean {
    const { version } = this.entries
    const transitive = version === 2 && mask === Gtf.TYPE && (flags & mask) === Gtf.TRANSITIVE
    if (!active && (((flags & mask) !== Gtf.PERMIT_ACCESS && !transitive) || to !== domid)) return false
    if (!readonly && flags & Gtf.READONLY) return false
    this.entries.mark(ref, readonly ? Gtf.READING : Gtf.READING | Gtf.WRITING, 0)
    return true
  }

  /** What was marked is not so after all. */
  #refuse(ref: number, active: Active | undefined, readonly: boolean, status: number): number {
    this.#reduce(ref, active, readonly)
    return status
  }

  #reduce(ref: number, active: Active | undefined, readonly: boolean): void {
    const reading = active ? 0 : Gtf.READING
    const writing = readonly || (active && writes(active)) ? 0 : Gtf.WRITING
    if (reading | writing) this.entries.mark(ref, 0, reading | writing)
  }
}

/** Refs that dom0 has: a page of them, all unused. */
export const DOM0_REFS = 512
