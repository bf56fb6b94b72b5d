/**
 * GNTTABOP_copy: bytes within a page, each end by a grant or by a frame of the guest's own. An end that the next element
 * names again stays claimed, so that an entry which a copy has overwritten is still what it was for that one.
 */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import type { Domain } from '../domain.ts'
import { ofDom0 } from './mappings.ts'
import { GntStatus } from './status.ts'
import { MAP } from './table.ts'

const PAGE = 4096

export interface CopyEnd {
  readonly domid: number
  readonly byRef: boolean
  readonly ref: number
  /** The frame's number, when it is not by ref. */
  readonly frame: number
  readonly offset: number
}

/** An end that was claimed. */
interface Claim {
  readonly frame: number
  readonly offset: number
  readonly length: number
  readonly byRef: boolean
  readonly number: number
  release(): void
}

/** Whom an end may name. */
function refusal({ domid, byRef }: CopyEnd): number {
  if (domid !== DOMID.SELF && !byRef) return GntStatus.PERMISSION_DENIED
  return domid === DOMID.SELF || domid === DOMU || domid === DOM0 ? GntStatus.OKAY : GntStatus.BAD_DOMAIN
}

/** The ends of a list of copies. */
export class Copies {
  readonly #domain: Domain
  #domids: readonly [number, number] | undefined
  #source: Claim | undefined
  #target: Claim | undefined

  constructor(domain: Domain) {
    this.#domain = domain
  }

  /** GNTST_* */
  copy(source: CopyEnd, target: CopyEnd, length: number): number {
    const status = this.#copy(source, target, length)
    if (status !== GntStatus.OKAY) this.release()
    return status
  }

  release(): void {
    this.#source?.release()
    this.#target?.release()
    this.#source = undefined
    this.#target = undefined
  }

  #copy(source: CopyEnd, target: CopyEnd, length: number): number {
    if (this.#domids?.[0] !== source.domid || this.#domids[1] !== target.domid) {
      this.release()
      this.#domids = undefined
      const refused = refusal(source) || refusal(target)
      if (refused !== GntStatus.OKAY) return refused
      this.#domids = [source.domid, target.domid]
    }
    if (!claims(this.#source, source)) {
      this.#source?.release()
      this.#source = undefined
      const claim = this.#claim(source, false)
      if (typeof claim === 'number') return claim
      this.#source = claim
    }
    if (!claims(this.#target, target)) {
      this.#target?.release()
      this.#target = undefined
      const claim = this.#claim(target, true)
      if (typeof claim === 'number') return claim
      this.#target = claim
    }
    return this.#move(source.offset, this.#source as Claim, target.offset, this.#target as Claim, length)
  }

  #claim({ domid, byRef, ref, frame: number }: CopyEnd, writable: boolean): Claim | number {
    const { grants, kind } = this.#domain
    if (byRef) {
      if (domid === DOM0) return ofDom0(ref)
      const active = grants.pinForCopy(DOMU, ref, !writable)
      if (typeof active === 'number') return active
      const { frame, offset, length } = active
      const unpin = () => grants.unpin(ref, writable ? MAP.host : MAP.host | MAP.readonly)
      if (kind.hold(frame, writable) < 0) {
        unpin()
        return GntStatus.GENERAL_ERROR
      }
      const release = () => {
        unpin()
        kind.release(frame, writable)
      }
      return { frame, offset, length, byRef, number: ref, release }
    }
    if (kind.frame(number) < 0) return GntStatus.BAD_PAGE
    const frame = kind.hold(number, writable)
    if (frame < 0) return GntStatus.GENERAL_ERROR
    return { frame, offset: 0, length: PAGE, byRef, number, release: () => kind.release(frame, writable) }
  }

  #move(start: number, from: Claim, dest: number, to: Claim, length: number): number {
    if (start + length > PAGE || dest + length > PAGE) return GntStatus.BAD_COPY_ARG
    const within = (at: number, { offset, length: most }: Claim) => at >= offset && at + length <= offset + most
    if (!within(start, from) || !within(dest, to)) return GntStatus.GENERAL_ERROR
    if (length === 0) return GntStatus.OKAY
    const { memory } = this.#domain.effects
    memory.place(to.frame * PAGE + dest, memory.bytes(from.frame * PAGE + start, length).slice())
    return GntStatus.OKAY
  }
}

/** It is what an end names. (Xen compares the number alone unless the end is by ref.) */
const claims = (claim: Claim | undefined, { byRef, ref, frame }: CopyEnd): boolean =>
  claim !== undefined && (byRef ? claim.byRef && claim.number === ref : claim.number === frame)
