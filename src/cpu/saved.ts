/**
 * What of the core's memory is the machine's state: the vCPUs' blocks with their TLBs, the marks of decoded code, what
 * backs each page, and RAM. Decoded and translated code is made again when it is needed.
 *
 * TLBs and marks are kept so that a machine that goes on from a snapshot walks page tables exactly when the other one
 * does: a walk sets accessed bits.
 */
import type { Core } from './core.ts'
import { M, Tlb } from './layout.ts'

export const PAGE = 4096

export interface Region {
  readonly first: number
  readonly end: number
}

const pages = (bytes: number) => Math.ceil(bytes / PAGE) * PAGE

/** Whole pages of linear memory; RAM is the last. */
export function stateRegions({ vcpus, ramBytes }: Core): Region[] {
  const ramPages = ramBytes / PAGE
  return [
    { first: M.RAM_PAGES, end: M.RAM_PAGES + PAGE }, // and the other cells
    { first: M.VCPU, end: M.VCPU + vcpus.length * M.VCPU_STRIDE },
    { first: M.CODE_MARKS, end: M.CODE_MARKS + pages(8 * ramPages) },
    { first: M.PAGE_ATTR, end: M.PAGE_ATTR + pages(ramPages) },
    { first: M.RAM, end: M.RAM + ramBytes },
  ]
}

/** Below are what a platform puts there for firmware. */
const FIRMWARE = 1 << 20

/**
 * Before a fresh core's memory is loaded: what a snapshot leaves out is zero. So is fresh RAM, but for what a platform
 * has put there: below 1 MiB, and from `own` bytes on, behind the guest's memory.
 */
export function clearState(core: Core, own: number): void {
  for (const { first, end } of stateRegions(core)) if (first !== M.RAM) core.u8.fill(0, first, end)
  core.u8.fill(0, M.RAM, M.RAM + FIRMWARE)
  core.u8.fill(0, M.RAM + own, M.RAM + core.ramBytes)
}

/** Before its memory is saved: TLBs keep what can still be found. */
export function stateSettled(core: Core): void {
  for (const p of core.vcpus) core.system.settleTlb(p)
}

/** After its memory was loaded. */
export function stateLoaded(core: Core): void {
  for (const p of core.vcpus) {
    core.system.parkAbsent(p)
    core.system.reindexExec(p)
  }
}

const WRITABLE = 0x80000000
const BANKS = 3

/** Guest-physical pages to which TLBs lead, in order: those that are likely to be touched. */
export function translatedPages({ vcpus, i32, ramBytes }: Core): number[] {
  const found = new Set<number>()
  for (const p of vcpus)
    for (let entry = p + Tlb.AREA; entry < p + Tlb.AREA + BANKS * Tlb.BANK; entry += Tlb.ENTRY)
      if (i32[entry >> 2] !== 0 || i32[(entry >> 2) + 1] !== 0)
        found.add(((i32[(entry >> 2) + 3] as number) & ~WRITABLE) >>> 0)
  return [...found].filter((page) => page < ramBytes / PAGE).sort((a, b) => a - b)
}
