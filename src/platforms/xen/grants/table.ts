/**
 * The grant table (xen/grant_table.h): entries in pages that the guest shares with Xen, by which it lets backends
 * reach its memory. This is the backends' side: dom0's maps and copies, with the checks and the reading and writing
 * bits that the guest sees.
 */
import type { Context } from '../context.ts'
import { Errno } from '../errno.ts'
import type { SharedPage } from '../frames.ts'

/** GNTST_*: what an operation on a grant answers. */
const GntStatus = {
  OKAY: 0,
  GENERAL_ERROR: -1,
  BAD_DOMAIN: -2,
  BAD_GNTREF: -3,
  BAD_HANDLE: -4,
  BAD_VIRT_ADDR: -5,
  BAD_DEV_ADDR: -6,
  NO_DEVICE_SPACE: -7,
  PERMISSION_DENIED: -8,
  BAD_PAGE: -9,
  BAD_COPY_ARG: -10,
  ADDRESS_TOO_BIG: -11,
  EAGAIN: -12,
  NO_SPACE: -13,
} as const

/** What a backend may reach by a grant. */
export interface Held {
  /** The frame of memory, and which bytes of it: all of them unless the guest granted less (sub-page, v2). */
  readonly frame: number
  readonly offset: number
  readonly length: number
  /** Give it back: the last one clears the bits that the guest sees. */
  release(): void
}

export class GrantTable {
  readonly #domain: Context

  constructor(domain: Context) {
    this.#domain = domain
  }

  /**
   * As dom0's GNTTABOP_map_grant_ref (whole pages only unless `part`, as copies take them): a GNTST_* error, or what may
   * be reached until it is released.
   */
  frameToMap(_index: number): SharedPage | number {
    return Errno.EINVAL
  }

  hold(_ref: number, _writable: boolean, _part = false): Held | number {
    void this.#domain
    return GntStatus.BAD_GNTREF
  }
}
