/**
 * Where everything lies in a new PV domain (tools/libs/guest/xg_dom_core.c, `xc_dom_build_image`): kernel, initrd if
 * it is to be mapped, p2m list if it has no place of its own, start_info, the rings of xenstore and console, page
 * tables, boot stack; all mapped from the virtual base on. What needs no such mapping comes after it.
 */
import { BootError } from '../../../boot/error.ts'
import type { PvImage } from './image.ts'
import { type Mapping, planMapping } from './page-tables.ts'

const PAGE = 4096
const VIRTUAL = { 32: (1n << 32n) - 1n, 64: (1n << 48n) - 1n } as const
/** Pages that are mapped beyond what is used, and the boundary to which the mapping is extended. */
const PADDING = (512 * 1024) / PAGE
const BOUNDARY = (1n << 22n) - 1n

export interface Plan {
  /** Page numbers. */
  readonly startInfo: number
  readonly store: number
  readonly console: number
  readonly stack: number
  readonly initrd: { readonly page: number; readonly mapped: boolean }
  readonly p2m: { readonly page: number; readonly pages: number; readonly address: bigint }
  /** The kernel's mapping, then the p2m list's if it has its own. */
  readonly mappings: readonly Mapping[]
  /** Virtual address of a page that is mapped. */
  readonly address: (page: number) => bigint
}

export function planDomain(image: PvImage, pages: number, initrd: number): Plan {
  const address = (page: number) => BigInt.asUintN(image.bits, image.base + BigInt(page) * BigInt(PAGE))
  const end = { page: image.endPage }
  const take = (count: number): number => {
    const first = end.page
    end.page += count
    return first
  }
  const initrdPages = Math.ceil(initrd / PAGE)
  const listPages = Math.ceil((pages * (image.bits / 8)) / PAGE)
  const mapped = initrd > 0 && !image.unmappedInitrd
  let initrdPage = mapped ? take(initrdPages) : 0
  let list = image.p2m === undefined ? take(listPages) : 0
  const startInfo = take(1)
  const store = take(1)
  const console = take(1)
  const { mapping, last } = kernelMapping(image.base, end.page, image.bits)
  take(mapping.tablePages)
  const stack = take(1)
  end.page = Number((last + 1n - image.base) / BigInt(PAGE))
  if (initrd > 0 && !mapped) initrdPage = take(initrdPages)
  const mappings = [mapping]
  let p2mPages = listPages
  if (image.p2m !== undefined) {
    const from = image.p2m & VIRTUAL[image.bits]
    const to = from + BigInt(listPages * PAGE) - 1n
    const own = planMapping(mappings, from, to, end.page, end.page + listPages, image.bits)
    mappings.push(own)
    p2mPages += own.tablePages
    list = take(p2mPages)
  }
  if (end.page > pages) {
    const mib = (count: number) => Math.ceil((count * PAGE) / 2 ** 20)
    throw new BootError(
      `memory: ${mib(pages)} MiB is too little for this kernel; give at least ${mib(end.page) + 32} MiB`,
    )
  }
  return {
    startInfo,
    store,
    console,
    stack,
    initrd: { page: initrdPage, mapped },
    p2m: { page: list, pages: p2mPages, address: image.p2m ?? address(list) },
    mappings,
    address,
  }
}

/** From the virtual base to a boundary beyond all that is used, which the tables themselves are part of. */
function kernelMapping(base: bigint, firstTable: number, bits: 32 | 64): { mapping: Mapping; last: bigint } {
  const used = base + BigInt(firstTable * PAGE)
  for (let extra = 1 + PADDING; ; ) {
    const last = (used + BigInt(extra * PAGE)) | BOUNDARY
    const mapping = planMapping([], base & VIRTUAL[bits], last & VIRTUAL[bits], 0, firstTable, bits)
    extra = mapping.tablePages + 1 + PADDING
    if (used + BigInt(extra * PAGE) <= last + 1n) return { mapping, last }
  }
}
