/**
 * The guest-physical map of a PVH guest. A guest frame number is the number of the frame of memory behind it, so a page
 * that appears elsewhere is one whose content moves there.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Context } from '../context.ts'
import { Errno } from '../errno.ts'
import type { SharedPage } from '../frames.ts'
import type { Extents } from '../kind.ts'

const PAGE = 4096
const empty = new Uint8Array(PAGE)

export class Physmap implements Stateful {
  readonly #domain: Context
  /** Xen's pages, by the guest's frame that each lies at now. */
  readonly #shared = new Map<number, SharedPage>()
  #pages: number
  #highest: number

  constructor(domain: Context) {
    this.#domain = domain
    this.#pages = domain.effects.memory.pages
    this.#highest = domain.effects.memory.pages - 1
  }

  transfer(state: Transfer): void {
    this.#pages = state.field('pages', this.#pages)
    this.#highest = state.field('highest', this.#highest)
    if (!state.loading) return
    this.#shared.clear()
    for (const page of this.#domain.frames.mapped) this.#shared.set(page.frame, page)
  }

  /** As a new domain's: none of Xen's pages is mapped. */
  restart(): void {
    for (const [gfn, page] of this.#shared) this.#unhook(gfn, page)
  }

  /** Frames that belong to the domain, mapped or not. */
  get pages(): number {
    return this.#pages
  }

  get highest(): number {
    return this.#highest
  }

  /** The frame behind a number; -1: nothing is there. */
  frame(gfn: number): number {
    const { memory } = this.#domain.effects
    return gfn < memory.frames && memory.kind(gfn) === 'ram' ? gfn : -1
  }

  /** Where the guest can have something: below Xen's own. */
  #possible(gfn: number): boolean {
    return gfn < this.#domain.frames.lowest
  }

  /** XENMEM_add_to_physmap of one of Xen's pages. */
  map(page: SharedPage, gfn: number): number {
    if (!this.#possible(gfn)) return Errno.EINVAL
    if (page.frame === gfn) return 0
    this.#vacate(gfn)
    this.#shared.delete(page.frame)
    page.move(gfn)
    this.#shared.set(gfn, page)
    this.#highest = Math.max(this.#highest, gfn)
    return 0
  }

  /** XENMEM_add_to_physmap, XENMAPSPACE_gmfn: what is at `from` comes to `to`. */
  move(from: number, to: number): number {
    if (this.frame(from) < 0 || !this.#possible(to)) return Errno.EINVAL
    if (from === to) return 0
    const page = this.#shared.get(from)
    if (page) return this.map(page, to)
    const { memory } = this.#domain.effects
    this.#vacate(to)
    const content = memory.bytes(from * PAGE, PAGE).slice()
    memory.setKind(to, 'ram')
    memory.place(to * PAGE, content)
    memory.setKind(from, 'none')
    this.#highest = Math.max(this.#highest, to)
    return 0
  }

  /** XENMEM_remove_from_physmap: nothing is there any more; the page stays the domain's. */
  remove(gfn: number): number {
    if (this.frame(gfn) < 0) return Errno.ENOENT
    const page = this.#shared.get(gfn)
    if (page) this.#unhook(gfn, page)
    else this.#domain.effects.memory.setKind(gfn, 'none')
    return 0
  }

  changeExtent(what: 'increase' | 'decrease' | 'populate', { order, read }: Extents, index: number): boolean {
    const size = 2 ** order
    const { memory } = this.#domain.effects
    const gfn = what === 'increase' ? 0 : read(index)
    if (gfn < 0) return false
    if (what === 'decrease') {
      for (let i = 0; i < size; i++) if (!this.#free(gfn + i)) return false
      return true
    }
    if (this.#pages + size > this.#domain.maxPages) return false
    if (what === 'increase') {
      this.#pages += size
      return true
    }
    if (!this.#possible(gfn + size - 1)) return false
    for (let i = gfn; i < gfn + size; i++) {
      const page = this.#shared.get(i)
      if (page) this.#unhook(i, page)
      memory.setKind(i, 'ram')
      memory.place(i * PAGE, empty)
    }
    this.#pages += size
    this.#highest = Math.max(this.#highest, gfn + size - 1)
    return true
  }

  /** A frame for something that the toolstack puts there. */
  populate(gfn: number): void {
    this.#domain.effects.memory.setKind(gfn, 'ram')
    this.#pages++
    this.#highest = Math.max(this.#highest, gfn)
  }

  /** Give a frame back: it is the domain's no more. Xen's pages stay Xen's. */
  #free(gfn: number): boolean {
    if (this.frame(gfn) < 0) return false
    const page = this.#shared.get(gfn)
    if (page) this.#unhook(gfn, page)
    else {
      this.#domain.effects.memory.setKind(gfn, 'none')
      this.#pages--
    }
    return true
  }

  /** Something else comes to a place. */
  #vacate(gfn: number): void {
    if (this.frame(gfn) >= 0) this.#free(gfn)
  }

  #unhook(gfn: number, page: SharedPage): void {
    this.#shared.delete(gfn)
    page.move(page.home)
  }
}
