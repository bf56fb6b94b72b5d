/**
 * mmu_update (xen/xen.h): a batch of {ptr, val}, 16 bytes each; the low bits of `ptr` say what is updated. It stops at
 * the first that is refused, and says how many were done.
 */
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import type { Answer } from '../hypercalls/declare.ts'
import { PRESENT, TABLE_SHIFT } from './entries.ts'
import { type FrameTable, Owner, TYPE, Type, VALIDATED } from './frame-table.ts'
import type { Mm } from './mm.ts'
import { PageOwner, pageOwner, tableOwner } from './page-owner.ts'
import { getType, putType } from './types.ts'
import { updateL1, updateTable } from './update.ts'

const { EINVAL, ENOSYS, EPERM } = Errno

const KIND = 7
const MACHPHYS = 1
const PRESERVE_AD = 2
const NO_TRANSLATE = 3
const REQUEST = 16

export function mmuUpdate(call: Call, mm: Mm): Answer {
  const batch = mm.batch.begin(call, REQUEST)
  if (typeof batch === 'number') return batch
  const { frames } = mm
  const { words } = batch
  const foreign = call.arg(3)
  const tables = foreign >>> 16 === 0 ? PageOwner.SELF : tableOwner((foreign >>> 16) - 1)
  if (tables < 0) return tables
  const pages = pageOwner(foreign & 0xffff)
  if (pages < 0) return batch.end(pages)
  let flush = false
  let answer = 0
  for (; batch.more(); batch.next()) {
    if (!batch.read()) {
      answer = Errno.EFAULT
      break
    }
    const low = words[0]
    const high = words[1]
    const toLow = words[2]
    const toHigh = words[3]
    const kind = low & KIND
    if (kind === MACHPHYS) answer = machphys(frames, low, high, toLow, toHigh, tables, pages)
    else if (kind > NO_TRANSLATE) answer = ENOSYS
    else if (tables === PageOwner.OTHER || pages === PageOwner.OTHER) answer = EPERM
    else {
      answer = EINVAL
      const frame = low >>> 12
      if (high === 0 && frames.get(frame)) {
        const at = (low & ~KIND) >>> 2
        const type = frames.typeRefs[frame] !== 0 ? frames.types[frame] & (TYPE | VALIDATED) : -1
        if (type === (Type.L1 | VALIDATED))
          answer = updateL1(frames, at, toLow, toHigh, kind === PRESERVE_AD, pages === PageOwner.IO)
        else if (type >= (Type.L2 | VALIDATED) && type <= (Type.L4 | VALIDATED)) {
          if (pages === PageOwner.SELF) {
            // What was not there before is in no TLB.
            const changes = (frames.words[at] & PRESENT) !== 0
            answer = updateTable(frames, type & TYPE, at, toLow, toHigh, kind === PRESERVE_AD)
            if (answer === 0 && changes) flush = true
          }
        } else if (type === (Type.WRITABLE | VALIDATED)) answer = plainStore(frames, at, toLow, toHigh)
        else if (type === -1 && getType(frames, frame, Type.WRITABLE) === 0) {
          answer = plainStore(frames, at, toLow, toHigh)
          putType(frames, frame)
        }
        frames.put(frame)
      }
    }
    if (answer < 0) break
  }
  // Entries of upper levels: what was known through the old ones is known no more on any vCPU.
  if (flush) mm.tlbs.flushAll()
  return batch.end(answer)
}

function plainStore(frames: FrameTable, at: number, low: number, high: number): number {
  frames.ram.need(at >>> TABLE_SHIFT)
  frames.ram.put(at, low, high)
  return 0
}

/** The machine-to-physical table's entry of a frame, which is to be the domain's (or DOMID_IO's). */
function machphys(
  frames: FrameTable,
  low: number,
  high: number,
  pfnLow: number,
  pfnHigh: number,
  tables: number,
  pages: number,
): number {
  if (tables !== PageOwner.SELF || pages === PageOwner.OTHER) return EPERM
  const frame = low >>> 12
  if (high !== 0 || frame >= frames.count) return EINVAL
  if (pages === PageOwner.IO ? frames.owner[frame] !== Owner.IO : !frames.isOwn(frame)) return EINVAL
  frames.setPfn(frame, pfnLow, pfnHigh)
  return 0
}
