/**
 * What a region's code knows at each place: which locals hold the guest's registers, and where the fields of the
 * instruction's record are. The layers above add flags, memory, and control.
 */
import type { Access, Slot, Value } from '../isa/ir.ts'
import { EffectEmitter, loadOp, LocalPool, storeOp } from '../isa/emitter.ts'
import { NO_SEGMENT, R, S, Tlb } from '../layout.ts'
import type { Code } from '../wasm/module.ts'
import { pageOf, type Instruction, type Records } from './blocks.ts'
import type { Snapshot } from './snapshot.ts'
import { recordByte } from './usage.ts'
import { RegionFloats } from './floats.ts'
import type { Counters, Reason } from './counters.ts'
import { VectorRegisters } from './vectors.ts'

/** A region's parameters: the state block, the linear address to which its caller expects it to return, its depth. */
export const P = 0
export const EXPECTED = 1
export const DEPTH = 2

/** Functions that regions import. */
export interface RegionImports {
  condition(code: number): number
  procedure(name: string): number
  /** Type and table of regions, and of the interpreter's functions. */
  readonly regionType: number
  readonly regionTable: number
  readonly handlerType: number
  readonly handlerTable: number
}

export abstract class RegionState extends EffectEmitter {
  protected readonly imports: RegionImports
  /** Locals of one instruction. */
  protected readonly temporaries: LocalPool
  protected readonly records: Records
  protected readonly is32: boolean
  /** The part of the TLB that loads ask, if it is always the same. */
  protected readonly tlb: number | undefined
  protected readonly counters: Counters | undefined
  readonly #registers: (number | undefined)[] = []
  protected readonly vectors: VectorRegisters
  protected readonly floats: RegionFloats
  /** Words of the state that are known to be zero here (see `steady` effects). */
  protected readonly steady = new Set<number>()
  protected readonly local: Record<'budget' | 'exitRecord' | 'tlb' | 'res32' | 'resB32' | 'mxcsr', number> &
    Record<'base' | 'gen' | 'exitLinear' | 'flagsRes' | 'flagsB' | 'a32' | 'b32' | 'a64' | 'b64', number>
  /** What of the state block the region keeps in locals besides registers. */
  protected needs = { memory: true, mxcsr: true }
  /**
   * What is emitted runs seldom: it takes from the state block what hot code has in locals. V8's allocator holds what is
   * used in a loop in registers there, wherever the use is.
   */
  protected seldom = false
  /** Nesting of conditional effects within the instruction. */
  protected nested = 0
  protected instruction!: Instruction

  constructor(
    code: Code,
    imports: RegionImports,
    records: Records,
    { is32, tlb }: Pick<Snapshot, 'is32' | 'tlb'>,
    counters?: Counters,
  ) {
    const pool = new LocalPool(code)
    super(code, pool, 0)
    this.temporaries = pool
    this.imports = imports
    this.records = records
    this.is32 = is32
    this.tlb = tlb
    this.counters = counters
    this.vectors = new VectorRegisters(code)
    this.floats = new RegionFloats(code)
    this.local = {
      budget: code.local('i32'),
      exitRecord: code.local('i32'),
      tlb: code.local('i32'),
      res32: code.local('i32'),
      resB32: code.local('i32'),
      mxcsr: code.local('i32'),
      base: code.local('i64'),
      gen: code.local('i64'),
      exitLinear: code.local('i64'),
      flagsRes: code.local('i64'),
      flagsB: code.local('i64'),
      a32: code.local('i32'),
      b32: code.local('i32'),
      a64: code.local('i64'),
      b64: code.local('i64'),
    }
  }

  /** Leave for the interpreter at this instruction if the value on the stack is non-zero. */
  protected abstract bail(reason?: Reason, counting?: (counters: Counters) => void): void

  protected register(n: number): number {
    return (this.#registers[n] ??= this.c.local('i64'))
  }

  /** Put registers by their bits into the state block. */
  protected storeRegisters(mask: number): void {
    for (let n = 0; n < 16; n++)
      if (mask & (1 << n))
        this.c
          .get(P)
          .get(this.register(n))
          .mem('i64.store', n * 8)
    this.vectors.store(P, mask >>> 16)
  }

  protected storeBudget(): void {
    this.c.get(P).get(this.local.budget).op('i64.extend_i32_s').mem('i64.store', S.BUDGET)
  }

  /** Take registers by their bits, and the TLB's current parts, from the state block; the flags stay there. */
  protected loadState(mask: number): void {
    const c = this.c
    const l = this.local
    const load = (op: string, offset: number, local: number) => c.get(P).mem(op, offset).set(local)
    for (let n = 0; n < 16; n++) if (mask & (1 << n)) load('i64.load', n * 8, this.register(n))
    this.vectors.load(P, mask >>> 16)
    this.steady.clear()
    this.floats.forget()
    const { memory, mxcsr } = this.needs
    if (mxcsr) {
      load('i32.load', S.MXCSR, l.mxcsr)
      this.floats.makeLimits(() => c.get(l.mxcsr))
    }
    if (!memory) return
    if (this.tlb === undefined) load('i32.load', S.TLB_READ, l.tlb)
    load('i64.load', S.GEN, l.gen)
  }

  /** Puts on the stack whether loads ask another part of the TLB now; false, and nothing done, if that does not matter. */
  protected tlbMoved(): boolean {
    if (this.tlb === undefined || !this.needs.memory) return false
    this.c.get(P).mem('i32.load', S.TLB_READ).i32(this.tlb).op('i32.ne')
    return true
  }

  /** The byte offset from p that a slot names here. */
  protected slotOffset(slot: Slot): number {
    if (!slot.field) return slot.offset
    const at = { A: R.A, B: R.B, C: R.BASE, X: R.INDEX }[slot.field]
    return slot.offset + this.recordByte(at)
  }

  protected recordByte(at: number): number {
    return recordByte(this.records, this.instruction, at)
  }

  protected getSlot(slot: Slot, access: Access): void {
    const c = this.c
    if (slot.offset === -2) return void c.get(P)
    if (slot.offset === -1)
      return void c.i32(this.recordByte({ A: R.A, B: R.B, C: R.BASE, X: R.INDEX }[slot.field ?? 'A']))
    const offset = this.slotOffset(slot)
    if (this.vectors.has(offset)) return this.vectors.get(offset, access)
    if (offset === S.MXCSR) return void c.get(this.local.mxcsr)
    if (offset >= S.ZERO) return void c.get(P).mem(loadOp(access), offset)
    c.get(this.register(offset >> 3))
    if (access === 64) return
    c.op('i32.wrap_i64')
    if (offset & 7) c.i32(8).op('i32.shr_u')
    if (access === 8) c.i32(0xff).op('i32.and')
    if (access === 16) c.i32(0xffff).op('i32.and')
  }

  protected setSlot(slot: Slot, access: Access, value: Value): void {
    const c = this.c
    const offset = this.slotOffset(slot)
    if (this.vectors.has(offset)) {
      this.floats.written(offset, access, value.ty)
      return this.vectors.set(offset, access, value.ty, () => this.use(value))
    }
    if (offset >= S.ZERO) {
      if (offset === S.MXCSR) {
        this.use(value)
        c.set(this.local.mxcsr)
        this.floats.makeLimits(() => c.get(this.local.mxcsr))
      }
      c.get(P)
      this.use(value)
      return void c.mem(storeOp(access, value.ty), offset)
    }
    const register = this.register(offset >> 3)
    if (access === 64) {
      this.use(value)
      return void c.set(register)
    }
    const mask = access === 8 ? 0xffn : 0xffffn
    const shift = BigInt((offset & 7) * 8)
    c.get(register)
      .i64(~(mask << shift))
      .op('i64.and')
    this.use(value)
    if (value.ty === 'i32') c.op('i64.extend_i32_u')
    c.i64(mask).op('i64.and')
    if (shift) c.i64(shift).op('i64.shl')
    c.op('i64.or').set(register)
  }

  protected override vector(value: Uint8Array): void {
    this.vectors.constant(value)
  }
  protected noteRecord(): void {
    this.c.get(P).i32(this.instruction.fields).mem('i32.store', S.RECORD)
  }
  protected tlbPart(part: number): { offset: number; based: boolean } {
    const offset = part === S.TLB_WRITE ? Tlb.PART : 0
    if (part === S.TLB_EXEC) this.c.get(P).mem('i32.load', part)
    else if (this.tlb !== undefined) return { offset: this.tlb + offset, based: false }
    else if (this.seldom) this.c.get(P).mem('i32.load', S.TLB_READ)
    else this.c.get(this.local.tlb)
    return { offset, based: true }
  }
  protected generation(part: number): void {
    if (part === S.TLB_EXEC || this.seldom) this.c.get(P).mem('i64.load', S.GEN)
    else this.c.get(this.local.gen)
  }
  protected procedure(name: string): number {
    return this.imports.procedure(name)
  }

  protected addressOf(): void {
    const c = this.c
    const base = this.recordByte(R.BASE)
    const index = this.recordByte(R.INDEX)
    const disp = this.records.word(this.instruction.fields + R.DISP)
    const form = this.instruction.decoded.form
    // In 32 bits: V8 then knows that there is no upper half to clear.
    const narrow = form === 'd' || form === 's'
    const ty = narrow ? 'i32' : 'i64'
    const constant = (value: number) => (narrow ? c.i32(value) : c.i64(BigInt(value)))
    const slot = (offset: number) => {
      if (offset === S.PAGE_LINEAR) this.linearOf(pageOf(this.instruction.place) * 4096)
      else c.get(this.register(offset >> 3))
      if (narrow) c.op('i32.wrap_i64')
    }
    const plain = form === 'b' ? base : base & 0xf8
    let empty = true
    if (plain !== S.ZERO) {
      slot(plain)
      empty = false
    }
    if (form !== 'b' && (index & 0xf8) !== S.ZERO) {
      slot(index & 0xf8)
      if (index & 3) {
        constant(index & 3)
        c.op(`${ty}.shl`)
      }
      if (!empty) c.op(`${ty}.add`)
      empty = false
    }
    if (empty) constant(disp)
    else if (disp) {
      constant(disp)
      c.op(`${ty}.add`)
    }
    // Bit 2 of the index field: 16-bit addressing.
    if (form === 's' && index & 4) c.i32(0xffff).op('i32.and')
    if (narrow) c.op('i64.extend_i32_u')
    if (form === 'x' && (base & 7) !== NO_SEGMENT)
      c.get(P)
        .mem('i64.load', S.SEG_BASE + (base & 7) * 8)
        .op('i64.add')
  }

  protected afterInstruction(): void {
    const { place, length } = this.instruction
    this.linearOf(place + length)
  }

  /** The linear address of a place. */
  protected linearOf(place: number): void {
    const c = this.c
    c.get(this.local.base)
    if (this.is32) c.op('i32.wrap_i64').i32(place).op('i32.add').op('i64.extend_i32_u')
    else if (place) c.i64(BigInt(place)).op('i64.add')
  }
}
