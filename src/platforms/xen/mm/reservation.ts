/**
 * Memory in and out of a PV domain: XENMEM_increase_reservation, XENMEM_decrease_reservation, XENMEM_populate_physmap
 * (xen/memory.h). They answer how many extents are done, whatever stopped them. Long ones are sliced; their position is
 * above the command's number.
 */
import { DOMID, DOMU } from '../constants.ts'
import type { Call } from '../hypercalls/call.ts'
import type { Answer } from '../hypercalls/declare.ts'
import { struct } from '../struct.ts'
import { Extents, frameLimit, MOST_ORDER } from './extents.ts'
import type { FrameTable } from './frame-table.ts'
import type { Mm } from './mm.ts'

export const reservation = struct({
  extent_start: 'pointer',
  nr_extents: 'long',
  extent_order: 'u32',
  mem_flags: 'u32',
  domid: 'u16',
})

export const Reservation = { INCREASE: 0, DECREASE: 1, POPULATE: 6 } as const

/** Values of the command's bits; above them is the position. */
const COMMANDS = 64
const MOST_EXTENTS = 2 ** 32 / COMMANDS - 1
/** Pages of a slice. */
const SLICE = 1 << 14
const POPULATE_ON_DEMAND = 1 << 16

export function changeReservation(call: Call, { frames }: Mm, command: number): Answer {
  const start = Math.floor(call.whole(0) / COMMANDS)
  const { block } = call
  const { fields } = reservation
  if (!call.copyIn(1, block.bytes, block.size(reservation))) return start
  const count = block.whole(fields.nr_extents)
  const order = block.get(fields.extent_order)
  const flags = block.get(fields.mem_flags)
  const domid = block.get(fields.domid)
  if (count > MOST_EXTENTS || start >= count || (domid !== DOMID.SELF && domid !== DOMU)) return start
  const limit = frameLimit(flags, frames.count)
  if (limit === undefined || order > MOST_ORDER) return start
  if (command === Reservation.POPULATE && flags & POPULATE_ON_DEMAND) return start
  const list = new Extents(call, block.get(fields.extent_start), block.high(fields.extent_start))
  const silent = command === Reservation.INCREASE && list.isNull
  if (!silent && !list.allowed(start)) return start
  for (let i = start; i < count; i++) {
    if (i !== start && (i - start) << order >= SLICE) {
      call.setArg(0, (i * COMMANDS + command) >>> 0, 0)
      return 'continue'
    }
    if (command === Reservation.DECREASE) {
      if (!list.read(i) || !giveBack(frames, list.frame, 1 << order)) return i
      continue
    }
    if (command === Reservation.POPULATE && !list.read(i)) return i
    const first = frames.allocate(order, limit)
    if (first < 0) return i
    if (command === Reservation.POPULATE) numberFrames(frames, first, 1 << order, list)
    if (!silent && !list.write(i, first)) return i
  }
  return count
}

/** Drop the domain's hold on frames; they go when nothing uses them any more. False at the first that is not its. */
function giveBack(frames: FrameTable, first: number, count: number): boolean {
  for (let frame = first; frame < first + count; frame++) {
    if (!frames.get(frame)) return false
    frames.putAllocation(frame)
    frames.put(frame)
  }
  return true
}

/** Frames are the guest's pages from the number on that `list` has read. */
export function numberFrames(frames: FrameTable, first: number, count: number, list: Extents): void {
  for (let k = 0; k < count; k++) {
    const low = list.low + k
    frames.setPfn(first + k, low | 0, (list.high + (low > 0xffffffff ? 1 : 0)) | 0)
  }
}
