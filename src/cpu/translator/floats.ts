/**
 * What a region knows of floating-point numbers: which lanes of vector registers are tame, and the limits that its tests
 * of results take from MXCSR (see ../isa/floats.ts).
 */
import type { FloatsShape } from '../isa/floats.ts'
import { limitType, makeLimit } from '../isa/floats.ts'
import type { Access, Effect, Slot } from '../isa/ir.ts'
import type { Code } from '../wasm/module.ts'
import type { Ty } from '../wasm/opcodes.ts'
import type { Block } from './blocks.ts'

const ALL = { 32: 0xf, 64: 0x3 }
/** A register's lanes as bits: 0 to 3 those of 32 bits, 4 and 5 those of 64. */
const place = (bits: 32 | 64, lane: number) => 1 << (bits === 32 ? lane : 4 + lane)

export class RegionFloats {
  readonly #code: Code
  #tame = new Map<number, number>()
  readonly #atEnd = new Map<Block, ReadonlyMap<number, number>>()
  readonly #limits: { shape: FloatsShape; local: number }[] = []

  constructor(code: Code) {
    this.#code = code
  }

  // ---- limits -------------------------------------------------------------------------------------------------

  /** Find out which limits the region needs. */
  prepare(blocks: readonly Block[]): void {
    for (const e of blocks.flatMap((b) => b.instructions).flatMap((i) => i.decoded.effects))
      if (e.kind === 'floats' && e.outcome && !this.#find(e))
        this.#limits.push({ shape: { bits: e.bits, packed: e.packed }, local: this.#code.local(limitType(e)) })
  }

  #find({ bits, packed }: FloatsShape) {
    return this.#limits.find(({ shape }) => shape.bits === bits && shape.packed === packed)
  }

  makeLimits(mxcsr: () => void): void {
    for (const { shape, local } of this.#limits) {
      makeLimit(this.#code, shape, mxcsr)
      this.#code.set(local)
    }
  }

  limit(shape: FloatsShape): void {
    this.#code.get((this.#find(shape) as { local: number }).local)
  }

  // ---- tame lanes ---------------------------------------------------------------------------------------------

  isTame(offset: number, { bits, packed }: FloatsShape): boolean {
    const wanted = packed ? ALL[bits] << (bits === 32 ? 0 : 4) : place(bits, 0)
    return ((this.#tame.get(offset & ~15) ?? 0) & wanted) === wanted
  }

  tame(e: Extract<Effect, { kind: 'tame' }>, offsetOf: (slot: Slot) => number): void {
    const at = offsetOf(e.slot)
    let tame = this.#tame.get(at) ?? 0
    e.lanes.forEach((lane, i) => {
      if (lane === true || (this.#before.get(offsetOf(lane.slot)) ?? 0) & place(e.bits, lane.lane))
        tame |= place(e.bits, i)
    })
    this.#tame.set(at, tame)
  }

  /** As it was before the instruction, for lanes that come from others. */
  #before = new Map<number, number>()
  beginInstruction(): void {
    this.#before = new Map(this.#tame)
  }

  /** A register is written: what was known of the lanes is not any more. */
  written(offset: number, access: Access, ty: Ty): void {
    const at = offset & ~15
    const tame = this.#tame.get(at)
    if (!tame) return
    const bytes =
      access === 'v128' ? 16 : ty === 'f64' ? 8 : ty === 'f32' ? 4 : typeof access === 'number' ? access / 8 : 16
    const from = offset & 15
    let lost = 0
    for (const bits of [32, 64] as const)
      for (let lane = 0; lane < 128 / bits; lane++)
        if (from < ((lane + 1) * bits) / 8 && from + bytes > (lane * bits) / 8) lost |= place(bits, lane)
    this.#tame.set(at, tame & ~lost)
  }

  forget(): void {
    this.#tame.clear()
  }

  /** A block knows what its only predecessor knew. */
  enter(b: Block): void {
    const [only, ...others] = b.predecessors
    const known = only && others.length === 0 ? this.#atEnd.get(only) : undefined
    this.#tame = new Map(known)
  }
  leave(b: Block): void {
    this.#atEnd.set(b, new Map(this.#tame))
  }
}
