/** What XENMEM_add_to_physmap and its batch map, by space (xen/memory.h). */
import type { Domain } from '../domain.ts'
import { Errno } from '../errno.ts'
import type { PvhKind } from './kind.ts'

/** XENMAPSPACE_*: what is mapped. */
export const Space = { shared_info: 0, grant_table: 1, gmfn: 2, gmfn_range: 3, gmfn_foreign: 4, dev_mmio: 5 } as const
/** XENMAPIDX_grant_table_status */
const GRANT_STATUS = 2 ** 31

/** One page of a space to a frame number of the guest's. */
export function mapOne(domain: Domain, kind: PvhKind, which: number, index: number, gfn: number): number {
  switch (which) {
    case Space.shared_info:
      return index === 0 ? kind.physmap.map(domain.sharedInfo, gfn) : Errno.EINVAL
    case Space.grant_table: {
      const isStatus = index >= GRANT_STATUS
      const page = domain.grants.frameToMap(isStatus ? index - GRANT_STATUS : index, isStatus)
      return typeof page === 'number' ? page : kind.physmap.map(page, gfn)
    }
    case Space.gmfn:
    case Space.gmfn_range:
      return kind.physmap.move(index, gfn)
    default:
      return Errno.EINVAL
  }
}
