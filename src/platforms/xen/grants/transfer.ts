/** GNTTABOP_transfer: a frame is given away, for good. Only the domain itself could accept it; else it is lost. */
import { DOM0, DOMU } from '../constants.ts'
import type { Domain } from '../domain.ts'
import { GntStatus } from './status.ts'
import { Gtf } from './entries.ts'

/** GNTST_* */
export function transfer({ grants, kind }: Domain, mfn: number, domid: number, ref: number): number {
  const mapper = kind.grants
  if (!mapper?.steal(mfn)) return GntStatus.BAD_PAGE
  if (domid !== DOMU || !mapper.mayReceive() || !grants.commitTransfer(ref)) {
    mapper.free(mfn)
    return domid === DOMU || domid === DOM0 ? GntStatus.GENERAL_ERROR : GntStatus.BAD_DOMAIN
  }
  const { entries } = grants
  mapper.receive(mfn, entries.get(ref).frame)
  entries.setFrame(ref, mfn)
  entries.setFlags(ref, entries.get(ref).flags | Gtf.TRANSFER_COMPLETED)
  return GntStatus.OKAY
}
