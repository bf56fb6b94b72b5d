/** Whose frames a request is about, from the domain id that it names. */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'

export const PageOwner = {
  SELF: 0,
  /** DOMID_IO. */
  IO: 1,
  /** Somebody over whom this domain has no rights: -EPERM. */
  OTHER: 2,
} as const

/** A `PageOwner`, or -ESRCH (xen/common/page_alloc.c, `get_pg_owner`). A domain may not call itself by its number. */
export function pageOwner(domid: number): number {
  switch (domid) {
    case DOMID.SELF:
      return PageOwner.SELF
    case DOMID.IO:
      return PageOwner.IO
    case DOMID.XEN:
    case DOM0:
      return PageOwner.OTHER
    default:
      return Errno.ESRCH
  }
}

/** The owner of page tables that mmu_update changes (the upper half of its `foreigndom`): there its number is right. */
export function tableOwner(domid: number): number {
  return domid === DOMU ? PageOwner.SELF : domid === DOM0 ? PageOwner.OTHER : Errno.ESRCH
}
