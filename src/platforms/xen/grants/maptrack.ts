/**
 * Handles of the grants that the domain has mapped (Xen's maptrack entries), numbered as Xen numbers them: each vCPU has
 * a queue of free ones, which grows by a page of them when only one is left.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'

const PER_PAGE = 256
/** xl's default, max_maptrack_frames. */
const MAX_PAGES = 1024

export type Mapping = {
  readonly ref: number
  /** GNTMAP_*; the host's and the device's mapping go one by one. */
  flags: number
}

export class Maptrack implements Stateful {
  readonly #free: number[][]
  /** Where the first free handle of each queue is. */
  readonly #heads: number[]
  /** Whose queue each handle is in when it is free. */
  readonly #owners: number[] = []
  readonly #mappings: (Mapping | undefined)[] = []

  constructor(vcpus: number) {
    this.#free = Array.from({ length: vcpus }, () => [])
    this.#heads = this.#free.map(() => 0)
  }

  transfer(state: Transfer): void {
    for (const [vcpu, queue] of this.#free.entries()) state.list(`free${vcpu}`, queue)
    state.list('heads', this.#heads)
    state.list('owners', this.#owners)
    state.list('mappings', this.#mappings)
  }

  /** As a new domain's: no handles. */
  restart(): void {
    for (const queue of this.#free) queue.length = 0
    this.#heads.fill(0)
    this.#owners.length = 0
    this.#mappings.length = 0
  }

  /** A handle without a mapping; -1: there are no more. */
  take(vcpu: number): number {
    const own = this.#shift(vcpu)
    if (own >= 0) return own
    const first = this.#owners.length
    if (first < MAX_PAGES * PER_PAGE) {
      for (let i = 0; i < PER_PAGE; i++) this.#owners.push(vcpu)
      const rest = (this.#free[vcpu] as number[]).slice(this.#heads[vcpu])
      this.#free[vcpu] = [...Array.from({ length: PER_PAGE - 1 }, (_, i) => first + 1 + i), ...rest]
      this.#heads[vcpu] = 0
      return first
    }
    // Xen begins with any vCPU.
    for (let other = 0; other < this.#free.length; other++) {
      const stolen = this.#shift(other)
      if (stolen < 0) continue
      this.#owners[stolen] = vcpu
      return stolen
    }
    return -1
  }

  /** The last free handle stays in its queue. */
  #shift(vcpu: number): number {
    const queue = this.#free[vcpu] as number[]
    const head = this.#heads[vcpu] as number
    if (queue.length - head < 2) return -1
    const first = queue[head] as number
    if (head < PER_PAGE) this.#heads[vcpu] = head + 1
    else {
      queue.splice(0, head + 1)
      this.#heads[vcpu] = 0
    }
    return first
  }

  put(handle: number): void {
    this.#mappings[handle] = undefined
    this.#free[this.#owners[handle] as number]?.push(handle)
  }

  set(handle: number, mapping: Mapping): void {
    this.#mappings[handle] = mapping
  }

  get(handle: number): Mapping | undefined {
    return this.#mappings[handle]
  }
}
