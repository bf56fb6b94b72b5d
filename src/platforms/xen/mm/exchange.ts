/** XENMEM_exchange (xen/memory.h): frames for others, such as 2^n in a row for as many anywhere. */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import type { Answer } from '../hypercalls/declare.ts'
import { Extents, frameLimit, MOST_ORDER } from './extents.ts'
import type { FrameTable } from './frame-table.ts'
import type { Mm } from './mm.ts'
import { numberFrames, reservation } from './reservation.ts'

const { EFAULT, EINVAL, ENOMEM, EPERM, ESRCH } = Errno

const SLICE = 1 << 14
/** struct xen_memory_exchange: two reservations and how many extents of the first are done. */
const BYTES = 72

const bytes = new Uint8Array(BYTES)
const view = new DataView(bytes.buffer)
const { fields } = reservation

const whole = (at: number, wide: boolean) =>
  (wide ? view.getUint32(at + 4, true) * 2 ** 32 : 0) + view.getUint32(at, true)

export function exchange(call: Call, { frames }: Mm): Answer {
  if (call.arg(0) >= 64 || call.high(0) !== 0) return EINVAL
  const { wide } = call
  const layout = wide ? 'wide' : 'narrow'
  const OUT = reservation[layout]
  const DONE = 2 * OUT
  if (!call.copyIn(1, bytes, DONE + (wide ? 8 : 4))) return EFAULT
  const inOrder = view.getUint32(fields.extent_order[layout], true)
  const outOrder = view.getUint32(OUT + fields.extent_order[layout], true)
  const inCount = whole(fields.nr_extents[layout], wide)
  const outCount = whole(OUT + fields.nr_extents[layout], wide)
  const domid = view.getUint16(fields.domid[layout], true)
  const done = whole(DONE, wide)
  const list = (at: number) => new Extents(call, view.getUint32(at, true), wide ? view.getUint32(at + 4, true) : 0)
  const input = list(0)
  const output = list(OUT)
  const end = (answer: number, progress: number): number => {
    view.setUint32(DONE, progress >>> 0, true)
    if (wide) view.setUint32(DONE + 4, Math.floor(progress / 2 ** 32), true)
    return call.copyOut(1, bytes.subarray(DONE), wide ? 8 : 4, DONE) ? answer : EFAULT
  }
  if (Math.max(inOrder, outOrder) > MOST_ORDER) return end(EPERM, done)
  const pages = inCount * 2 ** inOrder
  if (done > inCount || domid !== view.getUint16(OUT + fields.domid[layout], true)) return end(EINVAL, done)
  if (pages >= 2 ** 64 || outCount * 2 ** outOrder !== pages) return end(EINVAL, done)
  if (done === inCount) return 0
  const inChunk = 2 ** Math.max(0, outOrder - inOrder)
  const outChunk = 2 ** Math.max(0, inOrder - outOrder)
  const first = Math.floor(done / inChunk)
  if (!input.allowed(done) || !output.allowed(first * outChunk)) return end(EFAULT, done)
  const limit = frameLimit(view.getUint32(OUT + fields.mem_flags[layout], true), frames.count)
  if (limit === undefined) return end(EINVAL, done)
  if (domid !== DOMID.SELF && domid !== DOMU) return end(domid === DOM0 ? EPERM : ESRCH, done)

  const chunks = Math.floor(inCount / inChunk)
  for (let i = first; i < chunks; i++) {
    if (i !== first && (i - first) * (inChunk << inOrder) >= SLICE) {
      return end(0, i * inChunk) === 0 ? 'continue' : EFAULT
    }
    const answer = exchangeChunk(frames, input, output, { i, inOrder, outOrder, inChunk, outChunk, limit })
    if (answer < 0) return end(answer, i * inChunk)
  }
  return end(0, inCount)
}

interface Chunk {
  readonly i: number
  readonly inOrder: number
  readonly outOrder: number
  /** Extents that go, and that come for them. */
  readonly inChunk: number
  readonly outChunk: number
  readonly limit: number
}

/** As many extents as have one in common on the other side: all of them or, after an error, none. */
function exchangeChunk(frames: FrameTable, input: Extents, output: Extents, chunk: Chunk): number {
  const { i, inOrder, outOrder, inChunk, outChunk, limit } = chunk
  const given: number[] = []
  const taken: number[] = []
  const fail = (answer: number): number => {
    for (const frame of given) frames.assign(frame, 0, true)
    for (const frame of taken) for (let k = 0; k < 1 << outOrder; k++) frames.addToHeap(frame + k)
    return answer
  }
  for (let j = 0; j < inChunk; j++) {
    if (!input.read(i * inChunk + j)) return fail(EFAULT)
    for (let k = 0; k < 1 << inOrder; k++) {
      const frame = input.frame + k
      if (!frames.steal(frame)) return fail(EINVAL)
      given.push(frame)
    }
  }
  for (let j = 0; j < outChunk; j++) {
    const frame = frames.take(outOrder, limit)
    if (frame < 0) return fail(ENOMEM)
    taken.push(frame)
  }
  for (const frame of given) frames.addToHeap(frame)
  let answer = 0
  for (const [j, frame] of taken.entries()) {
    frames.assign(frame, outOrder, true)
    const at = i * outChunk + j
    if (output.read(at)) {
      numberFrames(frames, frame, 1 << outOrder, output)
      if (output.write(at, frame)) continue
    }
    answer = EFAULT
  }
  return answer
}
