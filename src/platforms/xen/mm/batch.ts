/**
 * What mmu_update and mmuext_op have in common: (array*, count, done*, foreigndom). Long batches are sliced: the rest
 * is a new call, marked in the count, and `done` goes on from what memory says (xen/arch/x86/mm.c).
 */
import { Errno } from '../errno.ts'
import type { Call } from '../hypercalls/call.ts'
import type { Answer } from '../hypercalls/declare.ts'
import type { FrameTable } from './frame-table.ts'
import type { GuestArray } from './guest-array.ts'

/** In the count: the rest of a call that was sliced. */
const PREEMPTED = 0x80000000
/** Entries that a slice may look at, and what each request counts for besides. */
const SLICE = 1 << 20
const REQUEST = 64

export class Batch {
  readonly #frames: FrameTable
  readonly #array: GuestArray
  readonly #word = new Uint8Array(4)
  readonly #view = new DataView(this.#word.buffer)
  #call: Call | undefined
  #count = 0
  #index = 0
  #before = 0
  #limit = 0
  #sliced = false

  constructor(frames: FrameTable, array: GuestArray) {
    this.#frames = frames
    this.#array = array
  }

  /** The batch of a call, or the call's answer. */
  begin(call: Call, size: number): Batch | number {
    const count = call.arg(1)
    // How Xen gets back to a call whose answer it has.
    if (count === PREEMPTED && call.isNull(0)) return call.arg(3) | 0
    this.#call = call
    this.#count = count & ~PREEMPTED
    this.#index = 0
    this.#before = 0
    this.#sliced = false
    this.#limit = this.#frames.work + SLICE
    if (count & PREEMPTED && !call.isNull(2) && call.copyIn(2, this.#word, 4))
      this.#before = this.#view.getUint32(0, true)
    if (!call.domain.kind.mayAccess(call.arg(0), call.high(0))) return Errno.EFAULT
    this.#array.start(call.vcpu, call.arg(0), call.high(0), size)
    return this
  }

  get words(): Int32Array {
    return this.#array.words
  }

  /** Another request, in this slice. */
  more(): boolean {
    if (this.#index === this.#count) return false
    this.#frames.work += REQUEST
    this.#sliced = this.#index > 0 && this.#frames.work > this.#limit
    return !this.#sliced
  }

  read(): boolean {
    return this.#array.read()
  }

  next(): void {
    this.#array.next()
    this.#index++
  }

  /** Page tables may have changed so that the array is elsewhere. */
  refresh(): void {
    this.#array.refresh()
  }

  /** The call's answer, after `done` was told how far it came. */
  end(answer: number): Answer {
    const call = this.#call as Call
    if (!call.isNull(2)) {
      this.#view.setUint32(0, this.#before + this.#index, true)
      call.copyOut(2, this.#word)
    }
    if (!this.#sliced) return answer
    call.setArg(0, this.#array.low, this.#array.high)
    call.setArg(1, (this.#count - this.#index) | PREEMPTED)
    return 'continue'
  }
}
