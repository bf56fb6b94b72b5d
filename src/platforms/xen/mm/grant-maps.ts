/**
 * Grants that the domain has mapped: its own, since nobody else lends it any. Handles are Xen's maptrack entries
 * (xen/common/grant_table.c, `map_grant_ref`, `unmap_common`).
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { GntStatus } from '../grants/status.ts'
import { Type } from './frame-table.ts'
import { type GrantAddress, mapGrant, replaceGrant, unmapGrant } from './grant-mapping.ts'
import type { Mm } from './mm.ts'
import { getPageAndType, putPageAndType } from './types.ts'

const DEVICE = 1
const HOST = 2
const READONLY = 4

/** The use of a grant entry that a mapping is. */
interface Grant {
  readonly ref: number
  readonly frame: number
  release(): void
}

interface Mapping {
  readonly grant: Grant
  readonly readonly: boolean
  /** GNTMAP_*; DEVICE and HOST go as they are unmapped. */
  flags: number
}

export class GrantMaps implements Stateful {
  readonly #mm: Mm
  readonly #mappings: (Mapping | undefined)[] = []

  readonly #restore: (ref: number, writable: boolean) => Grant

  /** `restore`: a use of a grant, while a snapshot is loaded. */
  constructor(mm: Mm, restore: (ref: number, writable: boolean) => Grant) {
    this.#mm = mm
    this.#restore = restore
  }

  transfer(state: Transfer): void {
    const mappings = this.#mappings.map((mapping) => {
      if (!mapping) return undefined
      const { grant, readonly, flags } = mapping
      return { ref: grant.ref, readonly, flags }
    })
    state.list('mappings', mappings)
    if (!state.loading) return
    const made = mappings.map(
      (saved): Mapping | undefined =>
        saved && { grant: this.#restore(saved.ref, !saved.readonly), readonly: saved.readonly, flags: saved.flags },
    )
    this.#mappings.splice(0, Infinity, ...made)
  }

  /** A handle, or a GNTST_* error (below zero). `grant` is released if it is one. */
  map(vcpu: number, grant: Grant, address: GrantAddress, flags: number): number {
    const readonly = (flags & READONLY) !== 0
    const uses = [DEVICE, HOST].filter((use) => flags & use)
    let taken = 0
    while (taken < uses.length && this.#take(grant.frame, readonly)) taken++
    let answer: number = taken < uses.length ? GntStatus.GENERAL_ERROR : GntStatus.OKAY
    if (answer === GntStatus.OKAY && flags & HOST) answer = mapGrant(this.#mm, vcpu, address, grant.frame, flags)
    if (answer !== GntStatus.OKAY) {
      while (taken-- > 0) this.#drop(grant.frame, readonly)
      grant.release()
      return answer
    }
    const free = this.#mappings.indexOf(undefined)
    const handle = free < 0 ? this.#mappings.length : free
    this.#mappings[handle] = { grant, readonly, flags }
    return handle
  }

  /** Unmap what `host` and `device` (its machine address) name, if not null; `other`: see `replaceGrant`. GNTST_*. */
  unmap(
    vcpu: number,
    handle: number,
    host: GrantAddress | undefined,
    device: number | undefined,
    other?: GrantAddress,
  ): number {
    const mapping = this.#mappings[handle]
    if (!mapping) return GntStatus.BAD_HANDLE
    const { grant, flags } = mapping
    const fromDevice = device !== undefined && (flags & DEVICE) !== 0
    if (fromDevice && device !== grant.frame * 4096) return GntStatus.GENERAL_ERROR
    if (host && flags & HOST) {
      const answer = other
        ? replaceGrant(this.#mm, vcpu, host, grant.frame, flags, other)
        : unmapGrant(this.#mm, vcpu, host, grant.frame, flags)
      if (answer !== GntStatus.OKAY) return answer
      mapping.flags &= ~HOST
      this.#drop(grant.frame, mapping.readonly)
    }
    if (fromDevice) {
      mapping.flags &= ~DEVICE
      this.#drop(grant.frame, mapping.readonly)
    }
    if ((mapping.flags & (HOST | DEVICE)) === 0) {
      this.#mappings[handle] = undefined
      grant.release()
    }
    return GntStatus.OKAY
  }

  #take(frame: number, readonly: boolean): boolean {
    const { frames } = this.#mm
    return readonly ? frames.get(frame) : getPageAndType(frames, frame, Type.WRITABLE) === 0
  }

  #drop(frame: number, readonly: boolean): void {
    const { frames } = this.#mm
    if (readonly) frames.put(frame)
    else putPageAndType(frames, frame)
  }
}
