/**
 * The page tables of a new domain (tools/libs/guest/xg_dom_x86.c): for each range that is mapped linearly, tables of
 * all levels, the highest first, as far as an earlier range does not have them. Their pages lie one after another.
 * 32-bit domains have three levels, and an L2 table for the last GiB even if nothing is mapped there.
 */
import { ACCESSED, DIRTY, PRESENT, RW, USER } from '../mm/entries.ts'

const LEVELS = { 32: 3, 64: 4 } as const
const BITS = { 32: 32n, 64: 48n } as const
const UPPER = PRESENT | RW | ACCESSED | DIRTY | USER
const LOWEST = PRESENT | RW | ACCESSED
/** Where the last GiB of 4 begins. */
const LAST_GIB = 0xc0000000n

/** Tables of one level: they cover addresses from `from` to `to`, both included; their first page. */
interface Tables {
  readonly from: bigint
  readonly to: bigint
  readonly count: number
  readonly page: number
}

export interface Mapping {
  readonly from: bigint
  /** The last address. */
  readonly to: bigint
  /** The page that `from` maps. */
  readonly page: number
  /** Tables of level 1 to 4, at index 0 to 3. */
  readonly levels: readonly Tables[]
  /** Pages that the tables take, and the first of them. */
  readonly tablePages: number
  readonly firstTable: number
}

const NONE = { from: 0n, to: 0n, count: 0 }
const mask = (bits: bigint) => (1n << bits) - 1n
const shift = (level: number) => 12n + 9n * BigInt(level)

/**
 * How many tables it takes to map [from, to] besides those of `earlier` ranges. Addresses are without their sign
 * extension. The tables' pages start at `firstTable`.
 */
export function planMapping(
  earlier: readonly Mapping[],
  from: bigint,
  to: bigint,
  page: number,
  firstTable: number,
  bits: 32 | 64,
): Mapping {
  const levels: Tables[] = []
  let tablePages = 0
  const top = LEVELS[bits] - 1
  for (let level = top; level >= 0; level--) {
    let tables = { from: 0n, to: mask(BITS[bits]), count: 1 }
    if (level < top) tables = missing(earlier, level, from, to)
    else if (earlier.length > 0) tables = NONE
    levels.unshift({ ...tables, page: firstTable + tablePages })
    tablePages += tables.count
    // The kernel's linear mapping is one range, which ends before.
    if (bits === 32 && level === 1 && tables.to < LAST_GIB) tablePages++
  }
  return { from, to, page, levels, tablePages, firstTable }
}

function missing(earlier: readonly Mapping[], level: number, from: bigint, to: bigint): Omit<Tables, 'page'> {
  const bits = shift(level + 1)
  let low = from & ~mask(bits)
  let high = to | mask(bits)
  for (const { levels } of earlier) {
    const other = levels[level] as Tables
    if (other.count === 0) continue
    if (low >= other.from && high <= other.to) return NONE
    if (low >= other.from && low <= other.to) low = other.to + 1n
    if (high >= other.from && high <= other.to) high = other.from - 1n
  }
  return low < high ? { from: low, to: high, count: Number((high - low) >> bits) + 1 } : NONE
}

/** All entries: `put(page, slot, target, flags)` for each, of a table in `page`, that names page `target`. */
export function fillTables(
  mappings: readonly Mapping[],
  put: (page: number, slot: number, target: number, flags: number) => void,
): void {
  const top = (mappings[0] as Mapping).levels.length - 1
  const narrow = top === LEVELS[32] - 1
  const isTable = (page: number) =>
    mappings.some(({ firstTable, tablePages }) => page >= firstTable && page < firstTable + tablePages)
  for (let level = top; level >= 0; level--)
    for (const { levels } of mappings) {
      const tables = levels[level] as Tables
      if (tables.count === 0) continue
      for (const below of mappings) {
        const { from, to, page } = level === 0 ? below : (below.levels[level - 1] as Tables)
        if ((level > 0 && below.levels[level - 1]?.count === 0) || from > tables.to || to < tables.from) continue
        const start = from > tables.from ? from : tables.from
        const end = to < tables.to ? to : tables.to
        let target = page + Number((start - from) >> shift(level))
        const last = Number((end - tables.from) >> shift(level))
        for (let index = Number((start - tables.from) >> shift(level)); index <= last; index++, target++) {
          // What is a table is mapped for reading only.
          const upper = narrow && level === top ? PRESENT : UPPER
          const flags = level > 0 ? upper : isTable(target) ? LOWEST & ~RW : LOWEST
          put(tables.page + (index >>> 9), index & 511, target, flags)
        }
      }
    }
  const { levels } = mappings[0] as Mapping
  const directories = levels[1] as Tables
  if (narrow && directories.to < LAST_GIB)
    put((levels[top] as Tables).page, 3, directories.page + directories.count, PRESENT)
}
