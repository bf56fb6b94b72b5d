/** Commands of memory_op that change the guest-physical map. */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import type { Domain } from '../domain.ts'
import { Errno } from '../errno.ts'
import { type Answer, command } from '../hypercalls/declare.ts'
import { above, COMMAND_BITS, isSelf, lateBits } from '../hypercalls/reservation.ts'
import { struct } from '../struct.ts'
import { PvhKind } from './kind.ts'
import { addToPhysmapBatch } from './physmap-batch.ts'
import { mapOne, Space } from './physmap-space.ts'

const source = 'xen/memory.h'
const domid = { c: 'u16', type: { kind: 'choice', values: { DOM0, DOMID_SELF: DOMID.SELF } } } as const
const space = { c: 'u32', type: { kind: 'choice', values: Space } } as const
/** Frames that are mapped before other vCPUs have their turn. */
const SLICE = 512
/** Both counts are u16. */
const MOST_EXTENTS = 0xffff
const INVALID_GFN = 0xffff_ffff_ffff_ffffn

const pvhOf = ({ kind }: Domain): PvhKind | undefined => (kind instanceof PvhKind ? kind : undefined)

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
    check: lateBits('EDOM', MOST_EXTENTS),
    run: (call, block, f): Answer => {
      const start = above(call)
      if (start > MOST_EXTENTS) return Errno.EDOM
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
    errors: { ...errors, EINVAL: 'bits above the command', ENOENT: 'nothing is there' },
    source,
    check: lateBits('EINVAL'),
    run: (call, block, f) => {
      if (above(call) !== 0) return Errno.EINVAL
      const dom = block.get(f.domid)
      if (dom !== DOMID.SELF && dom !== DOMU && dom !== DOM0) return Errno.ESRCH
      const kind = pvhOf(call.domain)
      if (!kind) return Errno.EACCES
      return dom === DOM0 ? Errno.EACCES : kind.physmap.remove(block.whole(f.gpfn))
    },
  }),
  addToPhysmapBatch,
]
