/** Commands of memory_op that change the guest-physical map. */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import type { Domain } from '../domain.ts'
import { Errno } from '../errno.ts'
import { type Answer, command } from '../hypercalls/declare.ts'
import { COMMAND_BITS, isSelf } from '../hypercalls/reservation.ts'
import { struct } from '../struct.ts'
import { PvhKind } from './kind.ts'

const source = 'xen/memory.h'
const domid = { c: 'u16', type: { kind: 'choice', values: { DOM0, DOMID_SELF: DOMID.SELF } } } as const
/** XENMAPSPACE_*: what is mapped. */
const Space = { shared_info: 0, grant_table: 1, gmfn: 2, gmfn_range: 3, gmfn_foreign: 4, dev_mmio: 5 } as const
const space = { c: 'u32', type: { kind: 'choice', values: Space } } as const
/** Frames that are mapped before other vCPUs have their turn. */
const SLICE = 512
/** XENMAPIDX_grant_table_status */
const GRANT_STATUS = 2 ** 31
const INVALID_GFN = 0xffff_ffff_ffff_ffffn

const pvhOf = ({ kind }: Domain): PvhKind | undefined => (kind instanceof PvhKind ? kind : undefined)

/** One page of a space to a frame number of the guest's. */
function mapOne(domain: Domain, kind: PvhKind, which: number, index: number, gfn: number): number {
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

const errors = {
  EACCES: 'a PV guest, or memory of devices',
  EINVAL: 'nothing is there, or nothing can be',
  ESRCH: 'no such domain',
  EFAULT: 'the structure cannot be read',
} as const

export const physmapCommands = [
  command({
    command: 7,
    name: 'XENMEM_add_to_physmap',
    summary: 'one of Xen’s pages, or pages of the guest’s own, at a frame number of its choice',
    struct: struct({ domid, size: 'u16', space, idx: 'long', gpfn: 'long' }),
    errors: {
      ...errors,
      ENOSYS: 'a foreign page',
      EDOM: 'bits above the command',
      EILSEQ: 'it is to go on where it cannot be',
      EOVERFLOW: 'numbers wrap around',
    },
    source,
    run: (call, block, f): Answer => {
      const start = call.arg(0) >>> COMMAND_BITS
      if (start > 0xffff) return Errno.EDOM
      const which = block.get(f.space)
      if (which === Space.gmfn_foreign) return Errno.ENOSYS
      const dom = block.get(f.domid)
      if (!isSelf(dom)) return dom === DOM0 ? Errno.EACCES : Errno.ESRCH
      const kind = pvhOf(call.domain)
      if (!kind || which === Space.dev_mmio) return Errno.EACCES
      if (block.big(f.gpfn) === INVALID_GFN) return Errno.EINVAL
      const [index, gfn, size] = [block.whole(f.idx), block.whole(f.gpfn), block.get(f.size)]
      if (which !== Space.gmfn_range) return mapOne(call.domain, kind, which, index, gfn)
      if (size < start) return Errno.EILSEQ
      if (block.big(f.idx) + BigInt(size) > INVALID_GFN || block.big(f.gpfn) + BigInt(size) > INVALID_GFN)
        return Errno.EOVERFLOW
      const end = Math.min(size, start + SLICE)
      for (let i = start; i < end; i++) {
        const answer = mapOne(call.domain, kind, which, index + i, gfn + i)
        if (answer < 0) return answer
      }
      if (end === size) return 0
      call.setArg(0, ((end << COMMAND_BITS) | 7) >>> 0)
      return 'continue'
    },
  }),
  command({
    command: 15,
    name: 'XENMEM_remove_from_physmap',
    summary: 'nothing at a frame number any more',
    struct: struct({ domid, gpfn: 'long' }),
    errors: { ...errors, ENOENT: 'nothing is there' },
    source,
    run: (call, block, f) => {
      if (call.arg(0) >>> COMMAND_BITS !== 0) return Errno.EINVAL
      const dom = block.get(f.domid)
      if (dom !== DOMID.SELF && dom !== DOMU && dom !== DOM0) return Errno.ESRCH
      const kind = pvhOf(call.domain)
      if (!kind) return Errno.EACCES
      return dom === DOM0 ? Errno.EACCES : kind.physmap.remove(block.whole(f.gpfn))
    },
  }),
]
