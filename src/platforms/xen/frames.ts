/**
 * Xen's own frames of memory: the last ones that the machine has, above the guest's RAM. A guest sees none of them
 * until Xen maps it for it (PVH: XENMEM_add_to_physmap moves the content to the guest's frame) or lets it map it (PV:
 * they become memory that page tables may name).
 */
import type { MemoryEffects } from '../../paravirt/effects.ts'
import { SnapshotError } from '../../snapshot/error.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const PAGE = 4096
const empty = new Uint8Array(PAGE)

/** A page that Xen shares with its guest: shared_info, a grant or status frame, a ring. */
export class SharedPage implements Stateful {
  readonly #memory: MemoryEffects
  /** Where it is when it is nowhere in a PVH guest's memory. */
  readonly home: number
  #frame: number

  constructor(memory: MemoryEffects, home: number) {
    this.#memory = memory
    this.home = home
    this.#frame = home
  }

  transfer(state: Transfer): void {
    this.#frame = state.field('frame', this.#frame)
  }

  /** The frame where it is now. */
  get frame(): number {
    return this.#frame
  }

  get address(): number {
    return this.#frame * PAGE
  }

  /** Move to another frame, which becomes memory; where it was is nothing then. Moving `home` takes it from a guest. */
  move(frame: number): void {
    if (frame === this.#frame) return
    this.#memory.place(frame * PAGE, this.#memory.bytes(this.#frame * PAGE, PAGE).slice())
    this.#memory.setKind(frame, frame === this.home ? 'none' : 'ram')
    if (this.#frame !== this.home) this.#memory.setKind(this.#frame, 'none')
    this.#frame = frame
  }
}

export class Frames implements Stateful {
  readonly #memory: MemoryEffects
  /** The lowest frame that was ever taken; free ones above it. */
  #lowest: number
  readonly #free: number[] = []
  /** No frame below this one is Xen's. */
  #floor: number
  /** Pages that are shared, by their homes. */
  readonly #shared = new Map<number, SharedPage>()
  #onShare: ((frame: number) => void) | undefined

  constructor(memory: MemoryEffects) {
    this.#memory = memory
    this.#lowest = memory.frames
    this.#floor = memory.pages
  }

  transfer(state: Transfer): void {
    this.#lowest = state.field('lowest', this.#lowest)
    this.#floor = state.field('floor', this.#floor)
    state.list('free', this.#free)
    const homes = [...this.#shared.keys()]
    state.list('shared', homes)
    // Who has one of those that there are already keeps it.
    const pages = homes.map((home) => this.#shared.get(home) ?? new SharedPage(this.#memory, home))
    this.#shared.clear()
    for (const page of pages) this.#shared.set(page.home, page)
    state.parts('pages', pages)
  }

  /** Those that lie in the guest's memory. */
  get mapped(): SharedPage[] {
    return [...this.#shared.values()].filter(({ frame, home }) => frame !== home)
  }

  /** While a snapshot is loaded: the page whose home this is. */
  restore(home: number): SharedPage {
    const page = this.#shared.get(home)
    if (!page) throw new SnapshotError(`frame ${home} is no shared page`)
    return page
  }

  /** Xen takes at most `count` frames more: returns the end of what it never will. */
  reserve(count: number): number {
    this.#floor = this.#lowest - count
    return this.#floor
  }

  /** A zeroed frame; undefined: there are no more. */
  allocate(): number | undefined {
    const frame = this.#free.pop() ?? (this.#lowest > this.#floor ? --this.#lowest : undefined)
    if (frame !== undefined) this.#memory.place(frame * PAGE, empty)
    return frame
  }

  /** `count` zeroed frames one after another; returns the first. */
  allocateRun(count: number): number {
    this.#lowest -= count
    if (this.#lowest < this.#floor) throw new RangeError('Xen has no frames left')
    for (let i = 0; i < count; i++) this.#memory.place((this.#lowest + i) * PAGE, empty)
    return this.#lowest
  }

  /** A page that is shared no more, and lies at its home. */
  free({ home }: SharedPage): void {
    this.#shared.delete(home)
    this.#free.push(home)
  }

  /** The lowest frame that Xen uses: below it lies what a guest can have. */
  get lowest(): number {
    return this.#lowest
  }

  /** Be told of each page that is shared, those of before too: PV lets its guest map them. */
  onShare(listener: (frame: number) => void): void {
    this.#onShare = listener
    for (const home of this.#shared.keys()) listener(home)
  }

  sharedPage(): SharedPage {
    const home = this.allocate()
    if (home === undefined) throw new RangeError('Xen has no frames left')
    const page = new SharedPage(this.#memory, home)
    this.#shared.set(home, page)
    this.#onShare?.(home)
    return page
  }
}
