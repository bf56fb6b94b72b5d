/** XENMEM_add_to_physmap_batch (xen/memory.h): single pages of a space at frame numbers, each with an answer of its own. */
import { DOM0, DOMID } from '../constants.ts'
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import { type Answer, command } from '../hypercalls/declare.ts'
import { above, COMMAND_BITS, isSelf, lateBits } from '../hypercalls/reservation.ts'
import { type Block, struct } from '../struct.ts'
import { mapOne, Space } from './physmap-space.ts'
import { PvhKind } from './kind.ts'

const NUMBER = 23
/** `size` is a u16. */
const MOST_EXTENTS = 0xffff
/** Pages that are mapped before other vCPUs have their turn. */
const SLICE = 512

const batch = struct({
  domid: { c: 'u16', type: { kind: 'choice', values: { DOM0, DOMID_SELF: DOMID.SELF } } },
  space: { c: 'u16', type: { kind: 'choice', values: Space } },
  size: 'u16',
  foreign_domid: 'u16',
  idxs: 'pointer',
  gpfns: 'pointer',
  errs: 'pointer',
})
const { fields } = batch
/** Entries that Xen translates at once for a 32-bit guest: what fits into two pages after the structure. */
const TRANSLATED = (2 * 4096 - batch.wide) / 16

const bytes = new Uint8Array(8)
const view = new DataView(bytes.buffer)

/** Element `at` of a list of `size` bytes each. */
function element(
  call: Call,
  block: Block,
  list: typeof fields.idxs,
  at: number,
  size: number,
  write?: number,
): boolean {
  const { guest } = call.domain
  const low = block.get(list) + at * size
  const high = (block.high(list) + Math.floor(low / 2 ** 32)) >>> 0
  view.setBigUint64(0, 0n, true)
  if (write === undefined) return guest.copyIn(call.vcpu, low >>> 0, high, bytes, size)
  view.setInt32(0, write, true)
  return guest.copyOut(call.vcpu, low >>> 0, high, bytes, size)
}

/** What Xen does to a 32-bit guest's lists before all else; 0, or EFAULT. */
function translate(call: Call, block: Block, start: number): number {
  for (const list of [fields.idxs, fields.gpfns, fields.errs])
    if (!call.domain.kind.mayAccess(block.get(list), 0)) return Errno.EFAULT
  const end = Math.min(block.get(fields.size), start + TRANSLATED)
  for (let i = start; i < end; i++)
    for (const list of [fields.idxs, fields.gpfns]) if (!element(call, block, list, i, 4)) return Errno.EFAULT
  return 0
}

export const addToPhysmapBatch = command({
  command: NUMBER,
  name: 'XENMEM_add_to_physmap_batch',
  summary: 'single pages of a space at frame numbers of the guest’s choice; each has its answer',
  struct: batch,
  errors: {
    EACCES: 'a PV guest, or memory of devices',
    EDOM: 'bits above the command',
    EFAULT: 'the structure or a list cannot be read or written',
    EILSEQ: 'it is to go on where it cannot be',
    EINVAL: 'the frame number that stands for none',
    EOPNOTSUPP: 'a range',
    ESRCH: 'no such domain',
  },
  source: 'xen/memory.h',
  check: lateBits('EDOM', MOST_EXTENTS),
  run: (call, block, f): Answer => {
    const start = above(call)
    const word = call.wide ? 8 : 4
    if (!call.wide && translate(call, block, start) < 0) return Errno.EFAULT
    if (start > MOST_EXTENTS) return Errno.EDOM
    const space = block.get(f.space)
    if (space === Space.gmfn_range) return Errno.EOPNOTSUPP
    const dom = block.get(f.domid)
    if (!isSelf(dom)) return dom === DOM0 ? Errno.EACCES : Errno.ESRCH
    const { kind } = call.domain
    if (!(kind instanceof PvhKind) || space === Space.dev_mmio) return Errno.EACCES
    const size = block.get(f.size)
    if (size < start || (size === start && start !== 0)) return Errno.EILSEQ
    const end = Math.min(size, start + SLICE)
    for (let i = start; i < end; i++) {
      if (!element(call, block, f.idxs, i, word)) return Errno.EFAULT
      const index = Number(view.getBigUint64(0, true))
      if (!element(call, block, f.gpfns, i, word)) return Errno.EFAULT
      const gfn = view.getBigUint64(0, true)
      if (gfn === 0xffff_ffff_ffff_ffffn) return Errno.EINVAL
      const answer = space === Space.gmfn_foreign ? Errno.EPERM : mapOne(call.domain, kind, space, index, Number(gfn))
      if (!element(call, block, f.errs, i, 4, answer)) return Errno.EFAULT
    }
    if (end === size) return 0
    call.setArg(0, ((end << COMMAND_BITS) | NUMBER) >>> 0)
    return 'continue'
  },
})
