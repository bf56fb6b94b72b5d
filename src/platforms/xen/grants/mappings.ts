/**
 * GNTTABOP_map_grant_ref, unmap_grant_ref and unmap_and_replace. Dom0 gives out no grants, so that the guest can map its
 * own ones only, if it is PV. Answers are GNTST_*.
 */
import { DOM0, DOMU } from '../constants.ts'
import type { Domain } from '../domain.ts'
import { GntStatus } from './status.ts'
import { DOM0_REFS, MAP } from './table.ts'

const PAGE = 4096

/** A linear or machine address as two halves. */
interface Address {
  readonly low: number
  readonly high: number
}

export interface MapRequest {
  readonly address: Address
  readonly flags: number
  readonly ref: number
  readonly domid: number
}

/** Map it: a status, or the handle and the frame. */
export function map(domain: Domain, vcpu: number, request: MapRequest): number | { handle: number; frame: number } {
  const { flags, ref, domid } = request
  const { grants, kind } = domain
  if (!(flags & (MAP.device | MAP.host))) return GntStatus.BAD_GNTREF
  if (kind.name === 'pvh' && flags & (MAP.device | MAP.application | MAP.contains_pte)) return GntStatus.GENERAL_ERROR
  if (domid !== DOM0 && domid !== DOMU) return GntStatus.BAD_DOMAIN
  const handle = grants.maptrack.take(vcpu)
  if (handle < 0) return GntStatus.NO_SPACE
  const done = domid === DOMU ? mapOwn(domain, vcpu, request) : ofDom0(ref)
  if (done < 0) {
    grants.maptrack.put(handle)
    return done
  }
  grants.maptrack.set(handle, { ref, flags })
  return { handle, frame: done }
}

/** The status for a grant of dom0's: there is none. */
export const ofDom0 = (ref: number): number => (ref < DOM0_REFS ? GntStatus.GENERAL_ERROR : GntStatus.BAD_GNTREF)

/** The frame, or a status. */
function mapOwn({ grants, kind }: Domain, vcpu: number, { address, flags, ref }: MapRequest): number {
  const active = grants.pinForMap(DOMU, ref, flags)
  if (typeof active === 'number') return active
  const status = kind.grants?.map(vcpu, address, active.frame, flags) ?? GntStatus.GENERAL_ERROR
  if (status === GntStatus.OKAY) return active.frame
  grants.unpin(ref, flags)
  return status
}

export interface UnmapRequest {
  readonly handle: number
  /** The host's and the device's address of the mapping that goes; undefined: it stays. */
  readonly host: Address | undefined
  readonly device: Address | undefined
  /** Linear address of what comes there instead. */
  readonly other?: Address | undefined
}

export function unmap({ grants, kind }: Domain, vcpu: number, request: UnmapRequest): number {
  const mapping = grants.maptrack.get(request.handle)
  const mapper = kind.grants
  if (!mapping || !mapper) return GntStatus.BAD_HANDLE
  const { flags, ref } = mapping
  const frame = grants.frameOf(ref)
  const readonly = flags & MAP.readonly
  const device = flags & MAP.device ? request.device : undefined
  if (device && (device.high * 2 ** 32 + device.low) / PAGE !== frame) return GntStatus.BAD_DEV_ADDR
  let done = 0
  if (request.host && flags & MAP.host) {
    const status = mapper.replace(vcpu, request.host, frame, flags, request.other)
    if (status !== GntStatus.OKAY) return status
    done |= MAP.host
  }
  if (device) done |= MAP.device
  mapping.flags &= ~done
  if ((mapping.flags & (MAP.host | MAP.device)) === 0) grants.maptrack.put(request.handle)
  if (done !== 0) {
    mapper.drop(frame, done | readonly)
    grants.unpin(ref, done | readonly)
  }
  return GntStatus.OKAY
}
