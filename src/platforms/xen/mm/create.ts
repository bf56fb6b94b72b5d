/**
 * A PV host's machine frames: DOMID_IO's first, as on every PC, then the heap from which the domain gets its memory,
 * then Xen's own with the machine-to-physical table. Pages come from the top of the heap in 2 MiB extents, so that no
 * page has its own number as its frame's.
 */
import type { Effects } from '../../../paravirt/effects.ts'
import type { Frames } from '../frames.ts'
import type { GuestMemory } from '../guest-memory.ts'
import { ACCESSED, NX, PAGE, PRESENT, PSE, USER } from './entries.ts'
import { FrameTable, m2pFrames, Owner } from './frame-table.ts'
import { Mm } from './mm.ts'
import { Tlbs } from './tlbs.ts'

/** The first MiB is no memory to guests. */
const IO_FRAMES = 256
/** Frames of Xen's: tables, shared pages, grants, descriptor tables; and memory that is free beyond the domain's. */
const XEN_FRAMES = 1024
const FREE_FRAMES = 1024
const SUPERPAGE = 512

/** Frames that a PV host has besides its domain's memory. */
export function pvFrames(bytes: number): number {
  const least = bytes / PAGE + IO_FRAMES + XEN_FRAMES + FREE_FRAMES
  // The table is in 2 MiB pages.
  return IO_FRAMES + XEN_FRAMES + FREE_FRAMES + m2pFrames(least + 2 * SUPERPAGE) + SUPERPAGE
}

type Five = [number, number, number, number, number]

export interface MmParts {
  readonly effects: Effects
  /** Xen's own frames, none of which is taken yet below `lowest`. */
  readonly xen: Frames
  readonly guest: GuestMemory
  /** A 32-bit guest's. */
  readonly narrow?: boolean
}

export function createMm({ effects, xen, guest, narrow = false }: MmParts): Mm {
  const { memory, pv, mmu } = effects
  const { frames } = memory
  for (let frame = 0; frame < frames; frame++) memory.setKind(frame, 'ram')
  const length = m2pFrames(frames)
  const first = (xen.lowest - length) & -SUPERPAGE
  const m2p = xen.allocateRun(xen.lowest - first)
  const [l3, l2, perDomain, own, directMap] = [0, 1, 2, 3, 4].map(() => xen.allocateRun(1)) as Five
  const heapEnd = xen.reserve(XEN_FRAMES)
  const tlbs = new Tlbs(effects.cpu.count, {
    flush: pv.flush,
    flushPage: (vcpu, low, high) => mmu.flush(vcpu, [wide(low, high)]),
    tablesChanged: pv.tablesChanged,
  })
  const table = new FrameTable({
    ram: {
      words: memory.words,
      put: memory.storePair,
      need: (frame) => void memory.bytes(frame * PAGE, PAGE),
    },
    tlbs,
    frames,
    m2p,
    narrow,
    xen: { m2p: l3, perDomain, xen: own, directMap },
  })
  memory.storePair(l3 << 10, (l2 << 12) | PRESENT | ACCESSED | USER, NX)
  for (let i = 0; i < length / SUPERPAGE; i++)
    memory.storePair((l2 << 10) + 2 * i, ((m2p + i * SUPERPAGE) << 12) | PRESENT | ACCESSED | USER | PSE, NX)
  for (let frame = m2p; frame < m2p + length; frame++) table.owner[frame] = Owner.SHARED
  for (let frame = 0; frame < IO_FRAMES; frame++) {
    table.owner[frame] = Owner.IO
    table.refs[frame] = 1
  }
  for (let frame = IO_FRAMES; frame < heapEnd; frame++) table.addToHeap(frame)
  const cpu = {
    setRoots: pv.setRoots,
    setLdt: (vcpu: number, low: number, high: number, entries: number) => pv.setLdt(vcpu, wide(low, high), entries),
    mapLdt: pv.mapLdt,
  }
  return new Mm({ frames: table, memory, guest, cpu })
}

const wide = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
