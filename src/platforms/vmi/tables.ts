/**
 * The pages that the guest has announced as page tables. This host needs no such list to be right; it holds the
 * announcements against the rules, for those who come to see whether a kernel keeps them. A kernel may announce a page
 * again, say that a page is zeroed which is not, and release a page twice: Linux does.
 */
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import type { CallResult } from './frame.ts'

const LEVELS = 0xf
const CLONE = 0x20
const KNOWN = 0x7f
/** Entries of a table of 32-bit entries. */
const ENTRIES = 1024

export interface Clone {
  readonly pfn: number
  readonly first: number
  readonly count: number
}

export class PageTables implements Stateful {
  /** Level bits by page frame number. */
  readonly #pages = new Map<number, number>()
  readonly #end: number

  /** `pages`: of RAM. */
  constructor(pages: number) {
    this.#end = pages
  }

  transfer(state: Transfer): void {
    state.map('pages', this.#pages)
  }

  get size(): number {
    return this.#pages.size
  }

  allocate(pfn: number, flags: number, clone: Clone): CallResult {
    if (!wellFormed(flags)) return { error: 'bad flags' }
    const copied = (flags & CLONE) !== 0
    if (copied && clone.first + clone.count > ENTRIES) return { error: 'bad flags' }
    if (pfn >= this.#end || (copied && clone.pfn >= this.#end)) return { error: 'no page' }
    this.#pages.set(pfn, flags & LEVELS)
    return undefined
  }

  release(pfn: number, flags: number): CallResult {
    if (!wellFormed(flags)) return { error: 'bad flags' }
    return this.#pages.delete(pfn) ? undefined : { error: 'no table' }
  }
}

function wellFormed(flags: number): boolean {
  const level = flags & LEVELS
  return (flags & ~KNOWN) === 0 && level !== 0 && (level & (level - 1)) === 0
}
