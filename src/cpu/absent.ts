/**
 * Pages of RAM that are not in memory yet. A machine that was restored runs before all of its snapshot is unpacked: the
 * others' PAGE_ATTR has the bit ABSENT, and whoever is about to look at such a page or to change it has it brought
 * before. In the core that is `pageKind` (system/physical.ts); the TLB has no entry of an absent page. The host's own
 * accesses say so by `need`. A page that is there stays there.
 */
import { M, PageAttr } from './layout.ts'

/** Pages that come together. */
export interface Bundle {
  /** Numbers of guest-physical pages. */
  readonly pages: readonly number[]
  /** Their contents, one after the other. */
  unpack(): Uint8Array
}

export class AbsentPages {
  readonly #u8: Uint8Array
  readonly #bundles: Bundle[] = []
  /** By page: the number of its bundle, from 1; 0: it is there. Made for the first bundle. */
  #bundleOf = new Uint32Array()
  #count = 0

  constructor(memory: WebAssembly.Memory) {
    this.#u8 = new Uint8Array(memory.buffer)
  }

  get count(): number {
    return this.#count
  }

  /** These pages are not there from now on. */
  add(bundle: Bundle): void {
    if (this.#bundleOf.length === 0) this.#bundleOf = new Uint32Array((this.#u8.length - M.RAM) >>> 12)
    const number = this.#bundles.push(bundle)
    this.#count += bundle.pages.length
    for (const page of bundle.pages) {
      this.#bundleOf[page] = number
      this.#u8[M.PAGE_ATTR + page]! |= PageAttr.ABSENT
    }
  }

  /** Bring what is absent of the guest-physical bytes [address, address + length). */
  need(address: number, length: number): void {
    if (this.#count === 0) return
    for (let page = address >>> 12; page <= (address + length - 1) >>> 12; page++) this.bring(page)
  }

  /** Bring a page if it is absent: its PAGE_ATTR. */
  bring(page: number): number {
    const number = this.#bundleOf[page]
    if (number) this.#place(number)
    return this.#u8[M.PAGE_ATTR + page] as number
  }

  all(): void {
    // Those that came are holes.
    this.#bundles.forEach((_, i) => this.#place(i + 1))
  }

  #place(number: number): void {
    const { pages, unpack } = this.#bundles[number - 1] as Bundle
    const bytes = unpack()
    for (const [i, page] of pages.entries()) {
      this.#u8.set(bytes.subarray(4096 * i, 4096 * (i + 1)), M.RAM + 4096 * page)
      this.#u8[M.PAGE_ATTR + page]! &= ~PageAttr.ABSENT
      this.#bundleOf[page] = 0
    }
    this.#count -= pages.length
    // Its packed bytes are of no use any more.
    delete this.#bundles[number - 1]
  }
}
