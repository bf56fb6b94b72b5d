/**
 * A PV guest of Xen's without a processor, for the random requests of `xen-pv.ts`: frames of its own, page tables, and after
 * each step a recount of all references.
 */
import { deepStrictEqual, strictEqual } from 'node:assert'
import { cpuModel } from '../../src/cpu/models.ts'
import { Mock } from '../../src/paravirt/mock.ts'
import { type Event, Observer } from '../../src/paravirt/observe.ts'
import type { Domain } from '../../src/platforms/xen/domain.ts'
import { errorName } from '../../src/platforms/xen/errno.ts'
import { pvFrames } from '../../src/platforms/xen/mm/create.ts'
import { PRESENT, RW, USER } from '../../src/platforms/xen/mm/entries.ts'
import { Owner } from '../../src/platforms/xen/mm/frame-table.ts'
import { audit, type Holder } from '../../src/platforms/xen/mm/testing.ts'
import { XenPvPlatform } from '../../src/platforms/xen/pv/index.ts'
import type { PvKind } from '../../src/platforms/xen/pv/kind.ts'
import { Grants } from './xen-pv-grants-model.ts'

export const PAGE = 4096
const EMPTY = Buffer.alloc(PAGE)
const MEMORY = 0x200000
export const VCPUS = 2
/** Where structures are: nobody's memory, as the page tables of this guest map everything. */
export const AREA = 0x1000
export const LIST = 0x1800
export const NOWHERE = 0x7fff_f000n
export const HOLE = 1n << 47n
/** Where the hypervisor begins, and the kernel's code. */
const XEN = { wide: 0xffff_8000_0000_0000n, narrow: 0xf580_0000n } as const
const TEXT = { wide: 0xffff_ffff_8100_0000n, narrow: 0xc100_0000n } as const
export const OWN = 24
const registers = {
  wide: ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'],
  narrow: ['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp'],
} as const
/** The guest's own number. */
export const DOMU = 1
export const DOMID = { SELF: 0x7ff0, IO: 0x7ff1, NOBODY: 9, DOM0: 0 } as const

export class Session {
  readonly mock = new Mock({ vcpus: VCPUS, pages: MEMORY / PAGE, frames: pvFrames(MEMORY) })
  readonly kind: PvKind
  readonly narrow: boolean
  readonly width: 'wide' | 'narrow'
  readonly #platform: XenPvPlatform
  readonly own: number[]
  readonly gdts: number[][] = [[], []]
  eoi: number | undefined
  readonly debug = Array.from({ length: VCPUS }, () => new Map<number, bigint>())
  readonly grants = new Grants()
  #picks: readonly number[] = []
  #at = 0

  constructor(narrow: boolean, listen: (event: Event) => void) {
    this.narrow = narrow
    this.width = narrow ? 'narrow' : 'wide'
    const observer = new Observer(() => 0)
    observer.listen(listen)
    const { effects } = this.mock
    if (narrow) for (const vcpu of this.mock.vcpus) Object.assign(vcpu, { wide: false, privilege: 1 })
    this.#platform = new XenPvPlatform({ effects, model: cpuModel('inorder'), features: new Set(), observer }, narrow)
    this.kind = this.#platform.domain.kind as unknown as PvKind
    const { frames } = this.kind.mm
    frames.maximum = OWN + 40
    this.own = Array.from({ length: OWN }, () => frames.allocate(0))
    // A table of each level, so that there are entries for linear addresses.
    const [root, l3, l2, l1, page] = this.own as [number, number, number, number, number]
    const name = (table: number, slot: number, next: number, flags: number) =>
      this.put(table * PAGE + 8 * slot, BigInt(next * PAGE) | BigInt(flags))
    const all = PRESENT | RW | USER
    name(root, 0, narrow ? l2 : l3, narrow ? PRESENT : all)
    // A 32-bit guest's has four slots, of which the last must be there.
    name(narrow ? root : l3, narrow ? 3 : 0, narrow ? l3 : l2, narrow ? PRESENT : all)
    name(l2, 0, l1, all)
    name(l1, 0, page, all)
    for (let vcpu = 0; vcpu < VCPUS; vcpu++) strictEqual(this.kind.mm.setKernelRoot(vcpu, root), 0)
  }

  /** A step, which picks by these numbers what it asks. */
  step(picks: readonly number[], call: (s: Session) => void): void {
    this.#picks = picks
    this.#at = 0
    call(this)
    const { frames } = this.kind.mm
    deepStrictEqual(audit(frames, this.#holders()), [])
    strictEqual(frames.pages <= frames.maximum, true)
  }

  get domain(): Domain {
    return this.#platform.domain
  }

  finish(): void {
    const { ram } = this.mock
    const { frames } = this.kind.mm
    // What is no memory has nothing but the test's structures.
    for (let frame = 2; frame < frames.count; frame++)
      if (frames.owner[frame] === Owner.IO)
        strictEqual(EMPTY.compare(ram, frame * PAGE, (frame + 1) * PAGE), 0, `frame ${frame}`)
  }

  #holders(): Holder[] {
    const { kernelRoots, userRoots } = this.kind.mm
    const frames = [...kernelRoots, ...userRoots, ...this.gdts.flat(), ...(this.eoi === undefined ? [] : [this.eoi])]
    const held = frames.filter((frame) => frame !== 0).map((frame) => ({ frame, typed: true }))
    return [...held, ...this.grants.holders()]
  }

  below(limit: number): number {
    const pick = this.#picks[this.#at++ % this.#picks.length] as number
    return (pick + this.#at * 7919) % limit
  }

  pick<T>(...values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }

  rarely(one: number): boolean {
    return this.below(one) === 0
  }

  frame(): number {
    return this.rarely(20) ? this.pick(1, 5, 0xfffff, 0) : (this.own[this.below(OWN)] as number)
  }

  entry(): bigint {
    const flags = this.pick(0, PRESENT, PRESENT, PRESENT | RW, PRESENT | RW | USER, PRESENT | USER)
    return (BigInt(this.frame()) << 12n) | BigInt(flags) | (this.rarely(30) ? this.pick(0x80n, 1n << 40n) : 0n)
  }

  get xen(): bigint {
    return XEN[this.width]
  }

  get text(): bigint {
    return TEXT[this.width]
  }

  /** Where a structure is. */
  place(): bigint {
    return this.rarely(25) ? this.pick(NOWHERE, this.xen) : BigInt(AREA)
  }

  /** An entry point; 64-bit guests' may be no address at all. */
  address(): bigint {
    return this.narrow ? this.pick(this.text, this.text, 0x1000n) : this.pick(this.text, this.text, 0x1000n, HOLE)
  }

  put(at: number, ...values: readonly (number | bigint)[]): void {
    const { buffer, byteOffset } = this.mock.ram
    const view = new DataView(buffer, byteOffset)
    for (const [i, value] of values.entries()) view.setBigUint64(at + 8 * i, BigInt.asUintN(64, BigInt(value)), true)
  }

  put32(at: number, ...values: readonly (number | bigint)[]): void {
    const { buffer, byteOffset } = this.mock.ram
    const view = new DataView(buffer, byteOffset)
    for (const [i, value] of values.entries())
      view.setUint32(at + 4 * i, Number(BigInt.asUintN(32, BigInt(value))), true)
  }

  /** Words of the guest's width. */
  longs(at: number, ...values: readonly (number | bigint)[]): void {
    if (this.narrow) this.put32(at, ...values)
    else this.put(at, ...values)
  }

  /** An argument of 64 bits, as which 32-bit guests pass two. */
  split(value: bigint): readonly bigint[] {
    return this.narrow ? [value & 0xffffffffn, value >> 32n] : [value]
  }

  /** struct xen_memory_reservation; where it ends. */
  reservation(at: number, list: number | bigint, count: number, order: number, flags: number, domid: number): number {
    const long = this.narrow ? 4 : 8
    this.longs(at, list, count)
    this.put32(at + 2 * long, order, flags, domid)
    return at + 2 * long + (this.narrow ? 12 : 16)
  }

  call(vcpu: number, number: number, ...args: readonly (number | bigint)[]): number | string {
    const { cpu } = this.mock.effects
    cpu.setRegister(vcpu, 'rax', BigInt(number))
    const bits = this.narrow ? 32 : 64
    for (const [i, name] of registers[this.width].entries())
      cpu.setRegister(vcpu, name, BigInt.asUintN(bits, BigInt(args[i] ?? 0)))
    while (this.#platform.pv.hypercall(vcpu) === 'again');
    const value = Number(BigInt.asIntN(bits, cpu.register(vcpu, 'rax')))
    return errorName(value) ?? value
  }
}
