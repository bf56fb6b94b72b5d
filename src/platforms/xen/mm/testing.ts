/** Direct paging without a processor, for tests: frames, a domain that owns some of them, and a recount of everything. */
import type { Effects, MemoryEffects } from '../../../paravirt/effects.ts'
import { DOMID } from '../constants.ts'
import type { Domain } from '../domain.ts'
import { GuestMemory } from '../guest-memory.ts'
import { Call } from '../hypercalls/call.ts'
import type { Answer } from '../hypercalls/declare.ts'
import { ENTRIES, isGuestAddress, NARROW_END, PAGE, PRESENT, RW, TABLE_SHIFT, TABLE_WORDS } from './entries.ts'
import { ALLOCATED, FrameTable, HEAP, Owner, PINNED, TYPE, Type, VALIDATED } from './frame-table.ts'
import { Mm } from './mm.ts'
import { mmuUpdate } from './mmu-update.ts'
import { mmuextOp } from './mmuext-op.ts'
import { Tlbs } from './tlbs.ts'
import { isXens } from './types.ts'

/** Frames of the host: DOMID_IO's, Xen's (the machine-to-physical table and its own tables), then the domain's. */
export const IO_FRAMES = 2
const M2P = 2
const XEN = { m2p: 3, perDomain: 4, xen: 5, directMap: 6 }
export const FIRST_OWN = 8

export class TestFrames {
  readonly table: FrameTable
  readonly words: Int32Array
  /** `flush 0`, `page 1 0xffff888000001000`, in order. */
  readonly log: string[] = []

  constructor(options: { frames?: number; own?: number; vcpus?: number; narrow?: boolean } = {}) {
    const { frames = 64, own = frames - FIRST_OWN, vcpus = 1, narrow = false } = options
    const words = new Int32Array(frames * TABLE_WORDS)
    this.words = words
    const hex = (low: number, high: number) => `0x${((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16)}`
    this.table = new FrameTable({
      ram: {
        words,
        put: (at, low, high) => {
          words[at] = low
          words[at + 1] = high
        },
        need: () => {},
      },
      tlbs: new Tlbs(vcpus, {
        flush: (vcpu) => this.log.push(`flush ${vcpu}`),
        tablesChanged: () => {},
        flushPage: (vcpu, low, high) => this.log.push(`page ${vcpu} ${hex(low, high)}`),
      }),
      frames,
      m2p: M2P,
      xen: XEN,
      narrow,
    })
    for (let frame = 0; frame < IO_FRAMES; frame++) {
      this.table.owner[frame] = Owner.IO
      this.table.refs[frame] = 1
    }
    for (let frame = frames - 1; frame >= FIRST_OWN; frame--) this.table.addToHeap(frame)
    this.table.maximum = frames
    for (let i = 0; i < own; i++) this.table.allocate(0)
  }

  /** An entry of a table, as the guest wrote it before it was one. */
  set(table: number, slot: number, frame: number, flags: number, high = 0): void {
    this.words[(table << TABLE_SHIFT) + 2 * slot] = (frame << 12) | flags
    this.words[(table << TABLE_SHIFT) + 2 * slot + 1] = high
  }

  at(table: number, slot: number): number {
    return (table << TABLE_SHIFT) + 2 * slot
  }

  entry(table: number, slot: number): bigint {
    const at = this.at(table, slot)
    return (BigInt(this.words[at + 1] >>> 0) << 32n) | BigInt(this.words[at] >>> 0)
  }
}

/** What refers to frames besides tables in use, pins and allocations: roots, descriptor tables, grants. */
export interface Holder {
  readonly frame: number
  readonly typed: boolean
}

/**
 * Counts all references over again from the tables themselves, knowing nothing of how they were taken; what disagrees
 * with the frame table, in words.
 */
export function audit(f: FrameTable, holders: readonly Holder[] = []): string[] {
  const refs = new Uint32Array(f.count)
  const typeRefs = new Uint32Array(f.count)
  const wrong: string[] = []
  const inUse = (frame: number) =>
    f.typeRefs[frame] > 0 && ((f.types[frame] & VALIDATED) !== 0 || f.partial[frame] !== 0)
  const level = (frame: number) => f.types[frame] & TYPE
  const say = (frame: number, what: string) => wrong.push(`frame ${frame} (type ${level(frame)}): ${what}`)
  const isTable = (frame: number) => level(frame) >= Type.L1 && level(frame) <= Type.L4 && inUse(frame)
  // The test runner's imports are slow to ask for, and this runs after every step of long tests.
  const { words } = f
  const { DOMAIN } = Owner
  for (const { frame, typed } of holders) {
    refs[frame]++
    if (typed) typeRefs[frame]++
  }
  // What failed validations have left.
  for (const [frame, count] of f.lost) refs[frame] += count
  for (let frame = 0; frame < f.count; frame++) {
    const own = f.owner[frame] === DOMAIN
    if (!own && f.types[frame] === 0 && f.partial[frame] === 0) continue
    if (own && f.types[frame] & ALLOCATED) refs[frame]++
    if (own && f.types[frame] & HEAP) typeRefs[frame]++
    if (f.types[frame] & PINNED) {
      refs[frame]++
      typeRefs[frame]++
      if (!isTable(frame)) say(frame, 'pinned, and no table')
    }
    if (f.partial[frame] !== 0) {
      refs[frame]++
      typeRefs[frame]++
    }
    if (!isTable(frame)) continue
    const type = level(frame)
    const slots = f.partial[frame] || ENTRIES
    const first = frame << TABLE_SHIFT
    for (let slot = 0; slot < slots; slot++) {
      const low = words[first + 2 * slot]
      if (low === 0 || (low & PRESENT) === 0 || isXens(f, frame, type, slot)) continue
      const to = low >>> 12
      if (type === 1) {
        refs[to]++
        if (low & RW) {
          typeRefs[to]++
          if (level(to) !== Type.WRITABLE) say(to, `writable through entry ${slot} of ${frame}`)
        }
      } else if (to !== frame) {
        refs[to]++
        typeRefs[to]++
        const linear = level(to) === type
        if (linear && low & RW) say(frame, `entry ${slot} names a table of its level and is writable`)
        if (!linear && level(to) !== type - 1) say(frame, `entry ${slot} names ${to}`)
        if (!isTable(to)) say(frame, `entry ${slot} names ${to}, which is no table`)
      } else if (low & RW) say(frame, `entry ${slot} names itself and is writable`)
    }
  }
  for (let frame = 0; frame < f.count; frame++) {
    if (f.owner[frame] !== DOMAIN) continue
    if (refs[frame] !== f.refs[frame]) say(frame, `${f.refs[frame]} references, should be ${refs[frame]}`)
    if (typeRefs[frame] !== f.typeRefs[frame]) say(frame, `${f.typeRefs[frame]} uses, should be ${typeRefs[frame]}`)
  }
  return wrong
}

/** Hypercalls on such frames: linear addresses are physical ones. */
export class TestCalls {
  readonly frames: TestFrames
  readonly mm: Mm
  readonly call: Call
  /** Where arguments are put: a frame of Xen's. */
  readonly buffer = XEN.xen * PAGE
  /** `roots 0 12 0`, `ldt 0 ...`. */
  readonly log: string[] = []

  constructor(options: ConstructorParameters<typeof TestFrames>[0] = {}) {
    this.frames = new TestFrames(options)
    const { words, table } = this.frames
    const view = new DataView(words.buffer)
    const bytes = new Uint8Array(words.buffer)
    const memory = {
      words,
      view,
      translate: (_: number, low: number, high: number) => (high === 0 && low < bytes.length ? low : -1),
      place: (address: number, content: Uint8Array) => bytes.set(content, address),
    } as unknown as MemoryEffects
    const { narrow } = table
    const kind = {
      name: 'pv',
      narrow,
      mayAccess: (low: number, high: number) => (narrow ? low >>> 0 < NARROW_END : isGuestAddress(high)),
    }
    const guest = new GuestMemory({ memory } as Effects, () => kind)
    this.mm = new Mm({
      frames: table,
      memory,
      guest,
      cpu: {
        setRoots: (vcpu, kernel, user) => this.log.push(`roots ${vcpu} ${kernel} ${user}`),
        setLdt: (vcpu, low, high, entries) => this.log.push(`ldt ${vcpu} ${high} ${low} ${entries}`),
        mapLdt: (vcpu, index, frame) => this.log.push(`ldt page ${vcpu} ${index} ${frame}`),
      },
    })
    const vcpus = Array.from({ length: table.tlbs.vcpus }, (_, id) => ({ id }))
    this.call = new Call({ kind: { ...kind, mm: this.mm }, guest, vcpus, effects: { memory } } as unknown as Domain)
    this.call.wide = !narrow
  }

  /** 64-bit words at an address in memory. */
  write(address: number, ...values: readonly bigint[]): void {
    const view = new DataView(this.frames.words.buffer)
    for (const [i, value] of values.entries()) view.setBigUint64(address + 8 * i, BigInt.asUintN(64, value), true)
  }

  /** Words of the guest's width. */
  writeLongs(address: number, ...values: readonly (number | bigint)[]): void {
    if (this.call.wide) this.write(address, ...values.map(BigInt))
    else this.frames.words.set(values.map(Number), address / 4)
  }

  read(address: number): bigint {
    return new DataView(this.frames.words.buffer).getBigUint64(address, true)
  }

  args(...values: readonly (number | bigint)[]): Call {
    for (const [i, value] of values.entries()) {
      const word = BigInt.asUintN(64, BigInt(value))
      this.call.setArg(i, Number(word & 0xffffffffn), Number(word >> 32n))
    }
    return this.call
  }

  /** mmu_update of these {ptr, val}; the answer, and how many were done. */
  mmuUpdate(requests: readonly (readonly [bigint, bigint])[], domid: number = DOMID.SELF): [Answer, number] {
    const done = this.buffer + PAGE - 8
    this.write(this.buffer, ...requests.flat())
    const answer = mmuUpdate(this.args(this.buffer, requests.length, done, domid), this.mm)
    return [answer, Number(this.read(done) & 0xffffffffn)]
  }

  mmuext(cmd: number, first: number | bigint = 0, second: number | bigint = 0): Answer {
    this.writeLongs(this.buffer, cmd, first, second)
    return mmuextOp(this.args(this.buffer, 1, 0, DOMID.SELF), this.mm)
  }
}
