/**
 * What grants need of a domain with direct paging: mappings with the references that they stand for
 * (xen/common/grant_table.c, `map_grant_ref`, `unmap_common_complete`), and frames that are transferred.
 */
import { MAP } from '../grants/table.ts'
import { GntStatus } from '../grants/status.ts'
import { Type } from './frame-table.ts'
import { type GrantAddress, mapGrant, replaceGrant } from './grant-mapping.ts'
import type { Mm } from './mm.ts'
import { getPageAndType, putPageAndType } from './types.ts'

export class PvGrants {
  readonly #mm: Mm

  constructor(mm: Mm) {
    this.#mm = mm
  }

  map(vcpu: number, address: GrantAddress, frame: number, flags: number): number {
    const uses = [MAP.device, MAP.host].filter((use) => flags & use)
    let taken = 0
    while (taken < uses.length && this.#take(frame, flags)) taken++
    let status: number = taken < uses.length ? GntStatus.GENERAL_ERROR : GntStatus.OKAY
    if (status === GntStatus.OKAY && flags & MAP.host) status = mapGrant(this.#mm, vcpu, address, frame, flags)
    if (status !== GntStatus.OKAY) while (taken-- > 0) this.#drop(frame, flags)
    return status
  }

  replace(vcpu: number, address: GrantAddress, frame: number, flags: number, other: GrantAddress | undefined): number {
    return replaceGrant(this.#mm, vcpu, address, frame, flags, other)
  }

  drop(frame: number, flags: number): void {
    for (const use of [MAP.device, MAP.host]) if (flags & use) this.#drop(frame, flags)
  }

  steal(mfn: number): boolean {
    const { frames } = this.#mm
    if (!frames.steal(mfn)) return false
    frames.pages--
    return true
  }

  free(mfn: number): void {
    this.#mm.frames.addToHeap(mfn)
  }

  mayReceive(): boolean {
    const { frames } = this.#mm
    return frames.pages < frames.maximum
  }

  receive(mfn: number, pfn: number): void {
    const { frames } = this.#mm
    frames.assign(mfn, 0)
    frames.setPfn(mfn, pfn | 0, Math.floor(pfn / 2 ** 32) | 0)
  }

  #take(frame: number, flags: number): boolean {
    const { frames } = this.#mm
    return flags & MAP.readonly ? frames.get(frame) : getPageAndType(frames, frame, Type.WRITABLE) === 0
  }

  #drop(frame: number, flags: number): void {
    const { frames } = this.#mm
    if (flags & MAP.readonly) frames.put(frame)
    else putPageAndType(frames, frame)
  }
}
