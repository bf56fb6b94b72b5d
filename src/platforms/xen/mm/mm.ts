/**
 * Direct paging: a PV domain's page tables are its own, in memory that it sees, but it can only read them. What the
 * domain and its vCPUs have besides the frame table: which roots each vCPU runs on, and its LDT.
 */
import type { MemoryEffects } from '../../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { Errno } from '../errno.ts'
import type { GuestMemory } from '../guest-memory.ts'
import type { Call } from '../hypercalls/call.ts'
import { Batch } from './batch.ts'
import type { FrameTable } from './frame-table.ts'
import { Type } from './frame-table.ts'
import { GuestArray } from './guest-array.ts'
import { findL1 } from './linear.ts'
import type { Tlbs } from './tlbs.ts'
import { getPageAndType, putPageAndType } from './types.ts'
import { hideM2p, showM2p } from './xen-slots.ts'

/** The processor's side: what changes when roots or LDTs do. */
export interface MmCpu {
  /** Run on these L4 tables (32 bits: L3) from now on, in kernel and in user mode (0: none); see `Tlbs.loaded`. */
  setRoots(vcpu: number, kernel: number, user: number): void
  /** The LDT is elsewhere, or has another size; none of its pages is mapped yet. */
  setLdt(vcpu: number, low: number, high: number, entries: number): void
  /** The frame behind page `index` of a vCPU's LDT as the processor sees it; 0: nothing. */
  mapLdt(vcpu: number, index: number, frame: number): void
}

export interface MmOptions {
  readonly frames: FrameTable
  readonly memory: MemoryEffects
  readonly guest: GuestMemory
  readonly cpu: MmCpu
}

/** What a domain with direct paging has as its kind. */
interface DirectPaging {
  readonly mm: Mm
}

/** The memory management of the domain that makes a call. */
export const mmOf = (call: Call): Mm => (call.domain.kind as unknown as DirectPaging).mm

const LDT_PAGES = 16

export class Mm implements Stateful {
  readonly frames: FrameTable
  readonly tlbs: Tlbs
  readonly kernelRoots: Uint32Array
  readonly userRoots: Uint32Array
  /** The batch that a hypercall works on. */
  readonly batch: Batch
  readonly #cpu: MmCpu
  readonly #ldt: {
    readonly low: Uint32Array
    readonly high: Uint32Array
    readonly entries: Uint32Array
    readonly pages: Uint32Array
  }

  constructor({ frames, memory, guest, cpu }: MmOptions) {
    const { vcpus } = frames.tlbs
    this.batch = new Batch(frames, new GuestArray(memory, guest))
    this.frames = frames
    this.tlbs = frames.tlbs
    this.#cpu = cpu
    this.kernelRoots = new Uint32Array(vcpus)
    this.userRoots = new Uint32Array(vcpus)
    this.#ldt = {
      low: new Uint32Array(vcpus),
      high: new Uint32Array(vcpus),
      entries: new Uint32Array(vcpus),
      pages: new Uint32Array(vcpus * LDT_PAGES),
    }
  }

  transfer(state: Transfer): void {
    state.part('frames', this.frames)
    state.part('tlbs', this.tlbs)
    state.array('kernelRoots', this.kernelRoots)
    state.array('userRoots', this.userRoots)
    const { low, high, entries, pages } = this.#ldt
    for (const [name, array] of Object.entries({ low, high, entries, pages })) state.array(`ldt.${name}`, array)
  }

  /** MMUEXT_NEW_BASEPTR, and CR3 at a vCPU's start. */
  setKernelRoot(vcpu: number, root: number): number {
    const old = this.kernelRoots[vcpu]
    if (old !== root) {
      const answer = getPageAndType(this.frames, root, this.frames.rootType)
      if (answer < 0) return answer
      this.dropLdt(vcpu)
      if (!this.frames.narrow && !this.frames.strictM2p) showM2p(this.frames, root)
      this.kernelRoots[vcpu] = root
    }
    this.#load(vcpu)
    if (old !== root && old !== 0) putPageAndType(this.frames, old)
    return 0
  }

  /** MMUEXT_NEW_USER_BASEPTR; 0: none. */
  setUserRoot(vcpu: number, root: number): number {
    const old = this.userRoots[vcpu]
    if (old === root) return 0
    if (root !== 0) {
      const answer = getPageAndType(this.frames, root, Type.L4)
      if (answer < 0) return answer
      if (this.frames.strictM2p) hideM2p(this.frames, root)
    }
    this.userRoots[vcpu] = root
    this.#load(vcpu)
    if (old !== 0) putPageAndType(this.frames, old)
    return 0
  }

  #load(vcpu: number): void {
    this.#cpu.setRoots(vcpu, this.kernelRoots[vcpu], this.userRoots[vcpu])
    this.tlbs.loaded(vcpu)
  }

  /** Word index of the L1 entry of a linear address in the tables that the vCPU's kernel runs on, or -1. */
  findL1(vcpu: number, low: number, high: number): number {
    return findL1(this.frames, this.kernelRoots[vcpu], low, high)
  }

  /** MMUEXT_SET_LDT with arguments that are right. Pages come when they are used: `loadLdtPage`. */
  setLdt(vcpu: number, low: number, high: number, entries: number): void {
    const ldt = this.#ldt
    if (ldt.entries[vcpu] === entries && ldt.low[vcpu] === low && ldt.high[vcpu] === high) return
    if (this.dropLdt(vcpu)) this.tlbs.flush(vcpu)
    ldt.low[vcpu] = low
    ldt.high[vcpu] = high
    ldt.entries[vcpu] = entries
    this.#cpu.setLdt(vcpu, low, high, entries)
  }

  /** Whether pages of the LDT were in use. */
  dropLdt(vcpu: number): boolean {
    let dropped = false
    for (let index = 0; index < LDT_PAGES; index++) {
      const frame = this.#ldt.pages[vcpu * LDT_PAGES + index]
      if (frame === 0) continue
      this.#ldt.pages[vcpu * LDT_PAGES + index] = 0
      this.#cpu.mapLdt(vcpu, index, 0)
      putPageAndType(this.frames, frame)
      dropped = true
    }
    return dropped
  }

  /** The processor wants the LDT's byte at `offset`, below its limit: false if its page cannot be a descriptor table. */
  loadLdtPage(vcpu: number, offset: number): boolean {
    const ldt = this.#ldt
    const index = offset >>> 12
    if (offset >>> 3 >= ldt.entries[vcpu]) return false
    const low = ldt.low[vcpu] + offset
    const at = this.findL1(vcpu, low >>> 0, ldt.high[vcpu] + (low > 0xffffffff ? 1 : 0))
    const { words } = this.frames
    if (at < 0 || (words[at] & 1) === 0 || ldt.pages[vcpu * LDT_PAGES + index] !== 0) return false
    const frame = words[at] >>> 12
    if (getPageAndType(this.frames, frame, Type.SEG_DESC) < 0) return false
    ldt.pages[vcpu * LDT_PAGES + index] = frame
    this.#cpu.mapLdt(vcpu, index, frame)
    return true
  }

  /**
   * A new GDT of `entries` descriptors in `list` (frames): each becomes a descriptor table, `old` ones are let go of.
   * -EINVAL, and nothing has changed, if one cannot.
   */
  holdDescriptors(list: readonly number[], old: readonly number[]): number {
    for (const [i, frame] of list.entries()) {
      if (getPageAndType(this.frames, frame, Type.SEG_DESC) === 0) continue
      for (let back = i - 1; back >= 0; back--) putPageAndType(this.frames, list[back])
      return Errno.EINVAL
    }
    for (const frame of old) putPageAndType(this.frames, frame)
    return 0
  }
}
