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
  /** By page; empty: all are there. */
  readonly #bundles = new Map<number, Bundle>()

  constructor(memory: WebAssembly.Memory) {
    this.#u8 = new Uint8Array(memory.buffer)
  }

  get count(): number {
    return this.#bundles.size
  }

  /** These pages are not there from now on. */
  add(bundle: Bundle): void {
    for (const page of bundle.pages) {
      this.#bundles.set(page, bundle)
      this.#u8[M.PAGE_ATTR + page]! |= PageAttr.ABSENT
    }
  }

  /** Bring what is absent of the guest-physical bytes [address, address + length). */
  need(address: number, length: number): void {
    if (this.#bundles.size === 0) return
    for (let page = address >>> 12; page <= (address + length - 1) >>> 12; page++) this.bring(page)
  }

  /** Bring a page if it is absent: its PAGE_ATTR. */
  bring(page: number): number {
    const bundle = this.#bundles.get(page)
    if (bundle) this.#place(bundle)
    return this.#u8[M.PAGE_ATTR + page] as number
  }

  all(): void {
    for (const bundle of new Set(this.#bundles.values())) this.#place(bundle)
  }

  #place({ pages, unpack }: Bundle): void {
    const bytes = unpack()
    for (const [i, page] of pages.entries()) {
      this.#u8.set(bytes.subarray(4096 * i, 4096 * (i + 1)), M.RAM + 4096 * page)
      this.#u8[M.PAGE_ATTR + page]! &= ~PageAttr.ABSENT
      this.#bundles.delete(page)
    }
  }
}
