/**
 * The shared part of a grant table: pages of entries in version 1 or 2, and in version 2 pages of status words. All of
 * it is the guest's to write at any time; what is read here is read once.
 */
import type { Context } from '../context.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { Errno } from '../errno.ts'
import type { SharedPage } from '../frames.ts'

const PAGE = 4096
const ENTRY = { 1: 8, 2: 16 } as const
const STATUS_PER_PAGE = PAGE / 2
/** xl's default, max_grant_frames. */
const MAX_FRAMES = 64
/** Refs that the toolstack fills: they survive a change of version. */
const RESERVED = 8

/** GTF_* */
export const Gtf = {
  TYPE: 3,
  PERMIT_ACCESS: 1,
  ACCEPT_TRANSFER: 2,
  TRANSITIVE: 3,
  READONLY: 4,
  READING: 8,
  WRITING: 16,
  SUB_PAGE: 0x100,
  TRANSFER_COMMITTED: 4,
  TRANSFER_COMPLETED: 8,
} as const

export interface Entry {
  readonly flags: number
  readonly domid: number
  readonly frame: number
  readonly offset: number
  readonly length: number
  /** Less than a page (version 2). */
  readonly part: boolean
  /** Of a transitive grant (version 2). */
  readonly transitiveDomid: number
  readonly transitiveRef: number
}

const statusFrames = (frames: number): number => Math.ceil((frames * PAGE) / ENTRY[2] / STATUS_PER_PAGE)

export class GrantEntries implements Stateful {
  version: 1 | 2 = 1
  readonly maxFrames = MAX_FRAMES
  readonly #domain: Context
  readonly #frames: SharedPage[] = []
  readonly #status: SharedPage[] = []

  constructor(domain: Context) {
    this.#domain = domain
    this.grow(1)
  }

  /** The pages themselves are the domain's. */
  transfer(state: Transfer): void {
    this.version = state.field('version', this.version)
    for (const [name, pages] of [
      ['frames', this.#frames],
      ['status', this.#status],
    ] as const) {
      const homes = pages.map(({ home }) => home)
      state.list(name, homes)
      if (state.loading) pages.splice(0, Infinity, ...homes.map((home) => this.#domain.frames.restore(home)))
    }
  }

  /** As a new domain's: one page of entries, all empty, of version 1; mapped nowhere. */
  restart(): void {
    this.version = 1
    const { frames, kind } = this.#domain
    // What a PV guest has mapped stays where it is, but is of no use to it.
    for (const page of [...this.#status.splice(0), ...this.#frames.splice(1)])
      if (kind.withdraw([page])) frames.free(page)
    const [first] = this.#frames as [SharedPage]
    first.move(first.home)
    this.#domain.effects.memory.place(first.address, new Uint8Array(PAGE))
  }

  get frames(): readonly SharedPage[] {
    return this.#frames
  }

  get status(): readonly SharedPage[] {
    return this.#status
  }

  /** How many refs there are. */
  get count(): number {
    return (this.#frames.length * PAGE) / ENTRY[this.version]
  }

  /** At least `frames` pages of entries; false: there cannot be so many. */
  grow(frames: number): boolean {
    if (frames > MAX_FRAMES) return false
    while (this.#frames.length < frames) this.#frames.push(this.#domain.frames.sharedPage())
    if (this.version === 2) this.#growStatus()
    return true
  }

  #growStatus(): void {
    while (this.#status.length < statusFrames(this.#frames.length)) this.#status.push(this.#domain.frames.sharedPage())
  }

  /** The page at an index of XENMAPSPACE_grant_table, or a negative error. */
  page(index: number, status: boolean): SharedPage | number {
    if (status) {
      if (index >= this.#status.length && index < statusFrames(MAX_FRAMES)) this.grow((index + 1) * 8)
      return this.#status[index] ?? Errno.EINVAL
    }
    if (index < MAX_FRAMES) this.grow(index + 1)
    return this.#frames[index] ?? Errno.EINVAL
  }

  /** Where an entry is in memory. */
  #address(ref: number): number {
    const size = ENTRY[this.version]
    const page = this.#frames[Math.floor((ref * size) / PAGE)] as SharedPage
    return page.address + ((ref * size) % PAGE)
  }

  #statusAddress(ref: number): number {
    if (this.version === 1) return this.#address(ref)
    const page = this.#status[Math.floor(ref / STATUS_PER_PAGE)] as SharedPage
    return page.address + 2 * (ref % STATUS_PER_PAGE)
  }

  get(ref: number): Entry {
    const { view } = this.#domain.effects.memory
    const at = this.#address(ref)
    const flags = view.getUint16(at, true)
    const domid = view.getUint16(at + 2, true)
    const second = view.getUint32(at + 4, true)
    const whole = { flags, domid, offset: 0, length: PAGE, part: false, transitiveDomid: 0, transitiveRef: 0 }
    if (this.version === 1) return { ...whole, frame: second }
    const third = view.getUint32(at + 8, true)
    const frame = view.getUint32(at + 12, true) * 2 ** 32 + third
    const transitive = { transitiveDomid: second & 0xffff, transitiveRef: third }
    if (!(flags & Gtf.SUB_PAGE)) return { ...whole, ...transitive, frame }
    return { ...whole, ...transitive, frame, offset: second & 0xffff, length: second >>> 16, part: true }
  }

  /** Fill an entry, as the toolstack does. */
  put(ref: number, domid: number, frame: number): void {
    const { memory } = this.#domain.effects
    const at = this.#address(ref)
    memory.store16(at + 2, domid)
    memory.store32(at + (this.version === 1 ? 4 : 8), frame)
    memory.store16(at, Gtf.PERMIT_ACCESS)
  }

  setFlags(ref: number, flags: number): void {
    this.#domain.effects.memory.store16(this.#address(ref), flags)
  }

  /** The frame of an entry for a whole page. */
  setFrame(ref: number, frame: number): void {
    const { memory } = this.#domain.effects
    const at = this.#address(ref) + (this.version === 1 ? 4 : 8)
    memory.store32(at, frame)
    if (this.version === 2) memory.store32(at + 4, 0)
  }

  /** Set and clear the bits that tell the guest of a use. */
  mark(ref: number, set: number, clear: number): void {
    const { memory } = this.#domain.effects
    const at = this.#statusAddress(ref)
    memory.store16(at, (memory.view.getUint16(at, true) | set) & ~clear)
  }

  swap(a: number, b: number): void {
    const { memory } = this.#domain.effects
    const exchange = (first: number, second: number, length: number) => {
      const bytes = (at: number) => memory.bytes(at, length).slice()
      const [one, other] = [bytes(first), bytes(second)]
      memory.place(first, other)
      memory.place(second, one)
    }
    exchange(this.#address(a), this.#address(b), ENTRY[this.version])
    if (this.version === 2) exchange(this.#statusAddress(a), this.#statusAddress(b), 2)
  }

  /** Everything but the reserved entries is cleared. A negative error, or 0. */
  setVersion(version: 1 | 2): number {
    const { memory } = this.#domain.effects
    const { view } = memory
    const kept: (Pick<Entry, 'flags' | 'domid' | 'frame'> & { readonly used: number })[] = []
    for (let ref = 0; ref < RESERVED; ref++) {
      const entry = this.get(ref)
      const type = entry.flags & Gtf.TYPE
      if (this.version === 2 && (type === Gtf.TRANSITIVE || (type === Gtf.PERMIT_ACCESS && entry.frame >= 2 ** 32)))
        return Errno.ERANGE
      const used = view.getUint16(this.#statusAddress(ref), true) & (Gtf.READING | Gtf.WRITING)
      const permits = this.version === 1 || type === Gtf.PERMIT_ACCESS
      kept.push(permits ? { ...entry, used } : { flags: 0, domid: 0, frame: 0, used: 0 })
    }
    if (version === 1) {
      const { frames, kind } = this.#domain
      if (!kind.withdraw(this.#status)) return Errno.EBUSY
      for (const page of this.#status.splice(0)) frames.free(page)
    }
    for (const page of this.#frames) memory.place(page.address, new Uint8Array(PAGE))
    this.version = version
    if (version === 2) this.#growStatus()
    for (const [ref, { flags, domid, frame, used }] of kept.entries()) {
      const at = this.#address(ref)
      memory.store16(at, version === 1 ? flags | used : flags & ~(Gtf.READING | Gtf.WRITING))
      memory.store16(at + 2, domid)
      memory.store32(at + (version === 1 ? 4 : 8), frame)
      if (version === 2) memory.store16(this.#statusAddress(ref), used)
    }
    return 0
  }
}
