/**
 * The PV domain builder: memory for the domain, everything in its place, page tables pinned, and what the first vCPU
 * begins with. The toolstack's rest (event channels, grants, xenstore) is its callers'.
 */
import type { MemoryEffects } from '../../../paravirt/effects.ts'
import { PAGE, TABLE_SHIFT } from '../mm/entries.ts'
import { PINNED } from '../mm/frame-table.ts'
import type { Mm } from '../mm/mm.ts'
import { getPageAndType } from '../mm/types.ts'
import { hypercallPage } from './hypercall-page.ts'
import type { PvImage } from './image.ts'
import { fillTables } from './page-tables.ts'
import { planDomain, type Plan } from './plan.ts'
import { SIF, startInfo } from './start-info.ts'

/** Frames of the extents in which memory is taken: 2 MiB. */
const SUPERPAGE_ORDER = 9
/** Pages that a domain may have beyond its memory (LIBXL_MAXMEM_CONSTANT). */
const SLACK = 256

export interface PvBuild {
  readonly image: PvImage
  readonly initrd: Uint8Array | undefined
  readonly cmdline: string
  /** Pages of memory. */
  readonly pages: number
  /** Frame of shared_info. */
  readonly sharedInfo: number
  readonly ports: { readonly store: number; readonly console: number }
}

/** The new domain: where its rings are, and how vCPU 0 begins. */
export interface PvDomain {
  readonly store: number
  readonly console: number
  readonly entry: bigint
  readonly stack: bigint
  readonly startInfo: bigint
  /** Frame of the L4 table (32 bits: L3), pinned, in no vCPU's use yet. */
  readonly root: number
}

export function buildPv(memory: MemoryEffects, mm: Mm, build: PvBuild): PvDomain {
  const { image, initrd } = build
  const plan = planDomain(image, build.pages, initrd?.length ?? 0)
  const frames = populate(mm, build.pages)
  const place = (page: number, bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; at += PAGE)
      memory.place(frames[page + at / PAGE] * PAGE, bytes.subarray(at, at + PAGE))
  }
  for (const { address, bytes } of image.segments) {
    // Up to the page's end, then whole pages.
    const head = Math.min(bytes.length, -address & (PAGE - 1))
    if (head > 0) memory.place(frames[address >>> 12] * PAGE + (address & (PAGE - 1)), bytes.subarray(0, head))
    place(Math.ceil(address / PAGE), bytes.subarray(head))
  }
  if (initrd) place(plan.initrd.page, initrd)
  if (image.hypercallPage !== undefined)
    place(Number((image.hypercallPage - image.base) / BigInt(PAGE)), hypercallPage(image.bits))
  const list = image.bits === 64 ? BigUint64Array.from(frames, BigInt) : frames
  place(plan.p2m.page, new Uint8Array(list.buffer))
  place(plan.startInfo, startInfoOf(build, plan, frames))
  const { ram } = mm.frames
  fillTables(plan.mappings, (table, slot, target, flags) =>
    ram.put((frames[table] << TABLE_SHIFT) + 2 * slot, (frames[target] << 12) | flags, 0),
  )
  const root = frames[plan.mappings[0].firstTable]
  if (getPageAndType(mm.frames, root, mm.frames.rootType) < 0)
    throw new Error("the domain builder's page tables are not valid")
  mm.frames.types[root] |= PINNED
  return {
    store: frames[plan.store],
    console: frames[plan.console],
    entry: image.entry,
    stack: plan.address(plan.stack + 1),
    startInfo: plan.address(plan.startInfo),
    root,
  }
}

/** Memory, in extents as large as can be: the frame of each page. */
function populate({ frames }: Mm, pages: number): Uint32Array {
  const list = new Uint32Array(pages)
  frames.maximum = pages + SLACK
  for (let page = 0; page < pages; ) {
    const order = pages - page >= 1 << SUPERPAGE_ORDER ? SUPERPAGE_ORDER : 0
    const first = frames.allocate(order)
    if (first < 0) throw new RangeError('this machine has too few frames for its domain')
    for (let k = 0; k < 1 << order; k++, page++) {
      list[page] = first + k
      frames.setPfn(first + k, page, 0)
    }
  }
  return list
}

function startInfoOf(build: PvBuild, plan: Plan, frames: Uint32Array): Uint8Array {
  const { image, initrd } = build
  const tables = plan.mappings[0]
  const { page, mapped } = plan.initrd
  const length = initrd?.length ?? 0
  return startInfo(image.bits, {
    pages: build.pages,
    sharedInfo: build.sharedInfo * PAGE,
    flags: SIF.VIRT_P2M_4TOOLS | (length > 0 && !mapped ? SIF.MOD_START_PFN : 0),
    store: { frame: frames[plan.store], port: build.ports.store },
    console: { frame: frames[plan.console], port: build.ports.console },
    tables: { address: plan.address(tables.firstTable), count: tables.tablePages },
    p2m: plan.p2m.address,
    // What is not mapped is told in whole pages.
    module:
      length === 0
        ? { start: 0n, length: 0 }
        : mapped
          ? { start: plan.address(page), length }
          : { start: BigInt(page), length: Math.ceil(length / PAGE) * PAGE },
    cmdline: new TextEncoder().encode(build.cmdline),
    p2mPages: image.p2m === undefined ? { first: 0, count: 0 } : { first: plan.p2m.page, count: plan.p2m.pages },
  })
}
