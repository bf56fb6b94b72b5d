/**
 * What a row's semantics is written against: `s`. Its methods record IR; its plain properties are the static facts of
 * the variant being recorded (operand size, mode, form), the only things that semantics may branch on.
 *
 * Order in every row: read, compute, make every access that can fault, then commit. `s.update(0)` probes a memory
 * destination for write before it is read, so that the later write cannot fault.
 */
import { FlagsKind, NO_SEGMENT, R, S } from '../layout.ts'
import { opcode, type Ty } from '../wasm/opcodes.ts'
import { Value, type Access, type Address, type Effect, type Slot, type Tame } from './ir.ts'
import { procedures } from './procedures.ts'

export type Mode = '64' | '32' | 'seg'

/** An operand of the variant: where it is and how wide (bits; 0 where the row says itself). */
export interface Operand {
  kind: 'reg' | 'mem' | 'imm' | 'fixed'
  /** reg: record field; class g = GPR, v = vector, m = MMX, s = segment, c = control, d = debug (the field holds a number) */
  field?: 'A' | 'B' | 'C'
  class?: 'g' | 'v' | 'm' | 'n'
  bits: number
  /** fixed: offset of the register in the state block */
  offset?: number
}

export class Semantics {
  effects: Effect[] = []
  /** Operand size in bits. */
  readonly size: number
  /** Set when the semantics depended on `mode`, so that variants of other modes need a handler of their own. */
  modeUsed = false
  /** Set when the semantics asked for the immediate's value. */
  immediateUsed = false
  readonly #immediateByte: number | undefined
  readonly #mode: Mode
  readonly operands: readonly Operand[]
  #address: Value | undefined
  readonly #form: string
  readonly #probes = new Map<number, Value>()

  constructor(facts: { size: number; mode: Mode; operands: readonly Operand[]; form: string; immediate?: number }) {
    this.#immediateByte = facts.immediate
    this.size = facts.size
    this.#mode = facts.mode
    this.operands = facts.operands
    this.#form = facts.form
  }

  /** Stack and branch width: 64-bit code, flat 32-bit code, or everything else (segmented or 16-bit). */
  get mode(): Mode {
    this.modeUsed = true
    return this.#mode
  }

  // ---- values -------------------------------------------------------------------------------------------------

  /** The integer type that holds `bits`. */
  ty(bits = this.size): 'i32' | 'i64' {
    return bits === 64 ? 'i64' : 'i32'
  }

  /** A constant of type `ty` (default: the operand size's). */
  k(value: bigint | number, ty: Ty = this.ty()): Value {
    return new Value(ty, { kind: 'constant', value })
  }
  k32(value: number): Value {
    return this.k(value, 'i32')
  }
  k64(value: bigint | number): Value {
    return this.k(BigInt(value), 'i64')
  }
  kv(bytes: Uint8Array): Value {
    return new Value('v128', { kind: 'constant', value: bytes })
  }

  /** Any pure WebAssembly instruction. */
  op(name: string, args: readonly Value[], lanes?: readonly number[]): Value {
    for (const a of args) a.uses++
    const result = new Value(
      opcode(name).ty,
      lanes ? { kind: 'pure', op: name, args, lanes } : { kind: 'pure', op: name, args },
    )
    this.effects.push({ kind: 'let', result })
    return result
  }

  /** `name` in the type of `a`: s.bin('add', a, b). Numbers become constants. */
  bin(name: string, a: Value, b: Value | number | bigint): Value {
    return this.op(`${a.ty}.${name}`, [a, b instanceof Value ? b : this.k(b, a.ty)])
  }
  add(a: Value, b: Value | number | bigint): Value {
    return this.bin('add', a, b)
  }
  sub(a: Value, b: Value | number | bigint): Value {
    return this.bin('sub', a, b)
  }
  mul(a: Value, b: Value | number | bigint): Value {
    return this.bin('mul', a, b)
  }
  and(a: Value, b: Value | number | bigint): Value {
    return this.bin('and', a, b)
  }
  or(a: Value, b: Value | number | bigint): Value {
    return this.bin('or', a, b)
  }
  xor(a: Value, b: Value | number | bigint): Value {
    return this.bin('xor', a, b)
  }
  shl(a: Value, b: Value | number | bigint): Value {
    return this.bin('shl', a, b)
  }
  shr(a: Value, b: Value | number | bigint): Value {
    return this.bin('shr_u', a, b)
  }
  sar(a: Value, b: Value | number | bigint): Value {
    return this.bin('shr_s', a, b)
  }
  eq(a: Value, b: Value | number | bigint): Value {
    return this.bin('eq', a, b)
  }
  ne(a: Value, b: Value | number | bigint): Value {
    return this.bin('ne', a, b)
  }
  ltU(a: Value, b: Value | number | bigint): Value {
    return this.bin('lt_u', a, b)
  }
  ltS(a: Value, b: Value | number | bigint): Value {
    return this.bin('lt_s', a, b)
  }
  geU(a: Value, b: Value | number | bigint): Value {
    return this.bin('ge_u', a, b)
  }
  gtU(a: Value, b: Value | number | bigint): Value {
    return this.bin('gt_u', a, b)
  }
  leU(a: Value, b: Value | number | bigint): Value {
    return this.bin('le_u', a, b)
  }
  isZero(a: Value): Value {
    return this.op(`${a.ty}.eqz`, [a])
  }
  not(a: Value): Value {
    return this.xor(a, a.ty === 'i64' ? -1n : -1)
  }

  /** condition ? a : b, both evaluated. */
  select(condition: Value, a: Value, b: Value): Value {
    for (const v of [condition, a, b]) v.uses++
    const result = new Value(a.ty, { kind: 'pure', op: 'select', args: [a, b, condition] })
    this.effects.push({ kind: 'let', result })
    return result
  }

  /** Zero-extended to i64. */
  toI64(v: Value): Value {
    return v.ty === 'i64' ? v : this.op('i64.extend_i32_u', [v])
  }
  /** Sign-extended from `bits` to i64. */
  signed64(v: Value, bits: number): Value {
    if (v.ty === 'i64') return bits === 64 ? v : this.op(`i64.extend${bits}_s`, [v])
    const full = bits === 32 ? v : this.op(`i32.extend${bits}_s`, [v])
    return this.op('i64.extend_i32_s', [full])
  }
  /** Sign-extended from `bits` to the type of the operand size. */
  signed(v: Value, bits: number, ty: Ty = this.ty()): Value {
    if (ty === 'i64') return this.signed64(v, bits)
    return bits === 32 ? v : this.op(`i32.extend${bits}_s`, [this.toI32(v)])
  }
  /** Low 32 bits. */
  toI32(v: Value): Value {
    return v.ty === 'i64' ? this.op('i32.wrap_i64', [v]) : v
  }
  /** Zero-extended or truncated to the type of `bits`, high bits cleared. */
  fit(v: Value, bits: number): Value {
    if (bits === 64) return this.toI64(v)
    const low = this.toI32(v)
    return bits === 32 ? low : this.and(low, bits === 8 ? 0xff : 0xffff)
  }

  // ---- state --------------------------------------------------------------------------------------------------

  #accessTy(access: Access): Ty {
    return typeof access === 'string' ? access : access === 64 ? 'i64' : 'i32'
  }

  get(slot: Slot, access: Access): Value {
    const result = new Value(this.#accessTy(access), { kind: 'effect' })
    this.effects.push({ kind: 'get', slot, access, result })
    return result
  }

  set(slot: Slot, access: Access, value: Value): void {
    value.uses++
    this.effects.push({ kind: 'set', slot, access, value })
  }

  /** A field of the state block by offset. */
  state(offset: number, access: Access = 32): Value {
    return this.get({ offset }, access)
  }
  setState(offset: number, access: Access, value: Value): void {
    this.set({ offset }, access, value)
  }

  /** A fixed general register (offset S.RAX...), zero-extended. */
  reg(offset: number, bits: number = this.size): Value {
    return this.get({ offset }, bits as Access)
  }

  /** Write a fixed general register: 32-bit writes clear the upper half. */
  setReg(offset: number, value: Value, bits: number = this.size): void {
    this.#setGpr({ offset }, value, bits)
  }

  #setGpr(slot: Slot, value: Value, bits: number): void {
    if (bits === 32) this.set(slot, 64, this.op('i64.extend_i32_u', [this.toI32(value)]))
    else if (bits === 64) this.set(slot, 64, this.toI64(value))
    else this.set(slot, bits as Access, this.toI32(value))
  }

  /** What lies in the state block at `address` + `offset`; nothing that a region has in locals. */
  peek(address: Value, offset: number, access: Access): Value {
    address.uses++
    const result = new Value(this.#accessTy(access), { kind: 'effect' })
    this.effects.push({ kind: 'peek', address, offset, access, result })
    return result
  }
  poke(address: Value, offset: number, access: Access, value: Value): void {
    address.uses++
    value.uses++
    this.effects.push({ kind: 'poke', address, offset, access, value })
  }

  // ---- operands -----------------------------------------------------------------------------------------------

  operand(i: number): Operand {
    const operand = this.operands[i]
    if (!operand) throw new Error(`row has no operand ${i}`)
    return operand
  }

  isMem(i: number): boolean {
    return this.operand(i).kind === 'mem'
  }
  isReg(i: number): boolean {
    return this.operand(i).kind === 'reg' || this.operand(i).kind === 'fixed'
  }

  #slot(operand: Operand): Slot {
    if (operand.kind === 'fixed') return { offset: operand.offset ?? 0 }
    const base = operand.class === 'v' ? S.VEC0 : operand.class === 'm' ? S.FPR : 0
    return { field: operand.field ?? 'A', offset: base }
  }

  /** The slot of a vector or MMX register operand, for access to a part of it. */
  vectorSlot(i: number, byteOffset = 0): Slot {
    const slot = this.#slot(this.operand(i))
    return { ...slot, offset: slot.offset + byteOffset }
  }

  /** The slot of vector register `n`. */
  vector(n: number): number {
    return S.VEC0 + 16 * n
  }

  /** Write an MMX register operand: the exponent field above it becomes all ones (SDM Vol. 1 9.2.2). */
  setMmx(i: number, value: Value): void {
    this.set(this.vectorSlot(i), 64, value)
    this.set(this.vectorSlot(i, 8), 16, this.k32(0xffff))
  }

  /** The number in a register field (segment, control, debug register number), or the immediate field, as i32. */
  number(i: number): Value {
    const operand = this.operand(i)
    if (operand.kind === 'imm') return this.imm()
    const result = new Value('i32', { kind: 'effect' })
    this.effects.push({ kind: 'get', slot: { field: operand.field ?? 'A', offset: -1 }, access: 8, result })
    return result
  }

  /** Address of a vector register operand's slot (i32), for procedures that take operands by address. */
  slotAddress(i: number): Value {
    const { offset } = this.#slot(this.operand(i))
    return this.add(this.add(this.p(), offset), this.number(i))
  }

  /** The state block's address (i32). */
  p(): Value {
    return this.get({ offset: -2 }, 32)
  }

  /** Read operand `i`: integers zero-extended in i32/i64; vectors as v128; `access` overrides the width. */
  read(i: number, access?: Access): Value {
    const operand = this.operand(i)
    const want = access ?? (operand.bits === 128 ? 'v128' : (operand.bits as Access))
    switch (operand.kind) {
      case 'imm': {
        if (want === 64) return this.imm64()
        const value = this.imm()
        return want === 8 ? this.and(value, 0xff) : want === 16 ? this.and(value, 0xffff) : value
      }
      case 'mem':
        return this.load(this.ea(), want)
      default:
        return this.get(this.#slot(operand), want)
    }
  }

  /** Probe operand `i` for write and read it: the first half of a read-modify-write. */
  update(i: number): Value {
    const operand = this.operand(i)
    if (operand.kind !== 'mem') return this.read(i)
    const probe = this.probe(this.ea(), operand.bits / 8)
    this.#probes.set(i, probe)
    return this.loadProbed(this.ea(), probe, operand.bits as 8 | 16 | 32 | 64)
  }

  /** Write operand `i`. After `update(i)` it cannot fault. */
  write(i: number, value: Value, access?: Access): void {
    const operand = this.operand(i)
    if (operand.kind === 'imm') throw new Error('an immediate cannot be written')
    if (operand.kind === 'mem') {
      const bytes =
        value.ty === 'v128' && !access
          ? 16
          : typeof access === 'string'
            ? access === 'v128'
              ? 16
              : access === 'f64'
                ? 8
                : 4
            : (access ?? operand.bits) / 8
      const probe = this.#probes.get(i)
      this.store(this.ea(), value, bytes as 1, probe)
    } else if ((operand.class ?? 'g') === 'g') this.#setGpr(this.#slot(operand), value, operand.bits)
    else this.set(this.#slot(operand), access ?? (operand.bits === 128 ? 'v128' : (operand.bits as Access)), value)
  }

  /** The immediate byte, where the recording is of one record (a translation): else undefined, it is data. */
  knownImmediate(): number | undefined {
    this.immediateUsed = true
    return this.#immediateByte
  }

  /** The immediate, sign-extended as decoded, in i32. */
  imm(): Value {
    return this.#immediate(false, 'IMM', 'i32')
  }
  /** The second immediate (DISP field) of an instruction without memory operand. */
  imm2(): Value {
    return this.#immediate(false, 'DISP', 'i32')
  }
  /** The immediate as i64: sign-extended 32 bits. */
  imm64(): Value {
    return this.op('i64.extend_i32_s', [this.imm()])
  }
  /** A full 64-bit immediate (MOV r64, imm64), in DISP and IMM. */
  immFull(): Value {
    return this.#immediate(true, 'DISP', 'i64')
  }

  #immediate(wide: boolean, field: 'IMM' | 'DISP', ty: Ty): Value {
    const result = new Value(ty, { kind: 'effect' })
    this.effects.push({ kind: 'immediate', wide, field, result })
    return result
  }

  // ---- memory -------------------------------------------------------------------------------------------------

  /** The memory operand's address. */
  ea(): Address {
    this.#address ??= this.offset()
    return { kind: this.#form === 's' ? 'segmented' : 'flat', value: this.#address, stack: false }
  }

  /** The memory operand's effective address: its linear address in flat forms, its offset in the segmented one. */
  offset(): Value {
    const result = new Value('i64', { kind: 'effect' })
    this.effects.push({ kind: 'address', result })
    return result
  }

  /** `address` displaced by a constant or i64, wrapping as the mode does. */
  displaced(address: Address, by: number | Value): Address {
    let value = this.add(address.value, by instanceof Value ? by : BigInt(by))
    if (this.#form === 'd') value = this.#low32(value)
    // Bit 2 of the index field: 16-bit addressing.
    else if (this.#form === 's')
      value = this.and(value, this.select(this.and(this.#field('X'), 4), this.k64(0xffff), this.k64(0xffffffff)))
    return { ...address, value }
  }

  /** A field of the record itself (i32). */
  #field(field: 'A' | 'B' | 'C' | 'X'): Value {
    return this.get({ field, offset: -1 }, 8)
  }

  /** The segment of the memory operand, or of a string instruction's source (i32). */
  segment(): Value {
    return this.and(this.#field('C'), 7)
  }

  /** A string instruction's repeat prefix: 0 none, 1 REP or REPE, 2 REPNE (i32). */
  repeatPrefix(): Value {
    return this.#field('A')
  }

  /** The memory operand of a string instruction: an offset in its segment. */
  stringSource(offset: Value): Address {
    return { kind: 'segmented', value: offset, stack: false }
  }

  /**
   * The linear address (i64) of `bytes` bytes at `address`, after the segment's checks: for procedures. `aligned`: to
   * 16 bytes, where the segment is checked; the caller checks all forms.
   */
  linear(address: Address, bytes: number, write = false, aligned = false): Value {
    if (address.kind === 'flat') return address.value
    const segment = address.segment === undefined ? this.segment() : this.k32(address.segment)
    const linear = this.compute(
      'segLinear',
      segment,
      address.value,
      this.k32(bytes),
      this.k32((write ? 1 : 0) | (aligned ? 2 : 0)),
    )
    this.failed(this.bin('ge_s', this.state(S.EXC), 0))
    return linear
  }

  /** Any offset in a segment register (0..5); NO_SEGMENT for a linear address. */
  at(value: Value, segment: number = NO_SEGMENT): Address {
    return segment === NO_SEGMENT
      ? { kind: 'flat', value, stack: false }
      : { kind: 'segmented', value, segment, stack: segment === 2 }
  }

  load(address: Address, access: Access): Value {
    const bytes = access === 'v128' ? 16 : access === 'f64' ? 8 : access === 'f32' ? 4 : access / 8
    address.value.uses++
    const result = new Value(this.#accessTy(access), { kind: 'effect' })
    this.effects.push({ kind: 'load', address, bytes: bytes as 1, result })
    return result
  }

  probe(address: Address, bytes: number): Value {
    address.value.uses++
    const result = new Value('i32', { kind: 'effect' })
    this.effects.push({ kind: 'probe', address, bytes, result })
    return result
  }

  loadProbed(address: Address, probe: Value, bits: 8 | 16 | 32 | 64): Value {
    address.value.uses++
    probe.uses++
    const result = new Value(this.#accessTy(bits), { kind: 'effect' })
    this.effects.push({ kind: 'loadProbed', address, bytes: (bits / 8) as 1, probe, result })
    return result
  }

  store(address: Address, value: Value, bytes: 1 | 2 | 4 | 8 | 16, probe?: Value): void {
    address.value.uses++
    value.uses++
    if (probe) probe.uses++
    this.effects.push(
      probe ? { kind: 'store', address, bytes, value, probe } : { kind: 'store', address, bytes, value },
    )
  }

  // ---- stack --------------------------------------------------------------------------------------------------

  /** The stack pointer as i64, as wide as the stack segment says. */
  sp(): Value {
    if (this.mode === '64') return this.reg(S.RSP, 64)
    if (this.mode === '32') return this.toI64(this.reg(S.RSP, 32))
    return this.and(this.reg(S.RSP, 64), this.#stackMask())
  }

  #stackMask(): Value {
    return this.select(this.and(this.state(S.MODE), 4), this.k64(0xffffffffn), this.k64(0xffffn))
  }

  /** V8 makes more of this than of a mask: it knows what else has no upper half, and adds in 32 bits. */
  #low32(value: Value): Value {
    return this.toI64(this.toI32(value))
  }

  /** `sp` moved by a constant, wrapped to the stack's width. */
  spAdd(sp: Value, by: number | Value): Value {
    if (this.mode === '32') return this.toI64(this.add(this.toI32(sp), by instanceof Value ? this.toI32(by) : by))
    const moved = this.add(sp, by instanceof Value ? by : BigInt(by))
    return this.mode === '64' ? moved : this.and(moved, this.#stackMask())
  }

  setSp(value: Value): void {
    this.setReg(S.RSP, this.wholeSp(value), 64)
  }

  /** What RSP holds when the stack pointer is `value`: a 16-bit one leaves the rest. */
  wholeSp(value: Value): Value {
    if (this.mode === '64') return value
    if (this.mode === '32') return this.#low32(value)
    const mask = this.#stackMask()
    return this.or(this.and(this.reg(S.RSP, 64), this.not(mask)), this.and(value, mask))
  }

  stackAt(value: Value): Address {
    return this.mode === 'seg'
      ? { kind: 'segmented', value, segment: 2, stack: true }
      : { kind: 'flat', value, stack: true }
  }

  /** Push `value` of `bits` (store, then commit the stack pointer). */
  push(value: Value, bits: number = this.size): void {
    const sp = this.spAdd(this.sp(), -bits / 8)
    this.store(this.stackAt(sp), value, (bits / 8) as 1)
    this.setSp(sp)
  }

  // ---- flags --------------------------------------------------------------------------------------------------

  /** Record the flags' producer: FlagsKind name, result, and b where the kind needs it. `bits` is the operand size. */
  flags(kind: keyof typeof FlagsKind, res: Value, b?: Value, bits: number = this.size): void {
    const wide = this.signed64(res, bits)
    const wideB = b && (kind === 'INC' || kind === 'DEC' || kind === 'RES' ? this.toI64(b) : this.signed64(b, bits))
    wide.uses++
    if (wideB) wideB.uses++
    this.effects.push({ kind: 'flags', flags: FlagsKind[kind], bytes: bits / 8, b: wideB, res: wide })
  }

  /** The six arithmetic flags in their EFLAGS places (i32). */
  getFlags(): Value {
    return this.call('getFlags', []) as Value
  }

  /** Replace the six arithmetic flags. `compared`: they are those of COMISD and kin with these numbers, not NaNs. */
  setFlags(bits: Value, compared?: readonly [Value, Value]): void {
    const res = this.toI64(this.and(bits, 0x8d5))
    res.uses++
    for (const v of compared ?? []) v.uses++
    const effect = { kind: 'flags', flags: FlagsKind.EXPLICIT, bytes: 8, b: undefined, res } as const
    this.effects.push(compared ? { ...effect, compared } : effect)
  }

  /** Replace some of the arithmetic flags; `bits` has no others. */
  mergeFlags(mask: number, bits: Value): void {
    this.setFlags(this.or(this.and(this.getFlags(), ~mask), bits))
    Object.assign(this.effects.at(-1) as Effect, { merged: { mask, bits } })
  }

  // ---- floating point -----------------------------------------------------------------------------------------

  /**
   * Whether nobody sees exceptions of an operation (i32): its operands, by number in the row or as values, are tame and
   * its result, if there is one, is ordinary (see floats.ts).
   */
  floats(bits: 32 | 64, packed: boolean, operands: readonly (readonly [Value, number?])[], outcome?: Value): Value {
    const result = new Value('i32', { kind: 'effect' })
    for (const [value] of operands) value.uses += 2
    if (outcome) outcome.uses++
    this.effects.push({
      kind: 'floats',
      bits,
      packed,
      operands: operands.map(([value, i]) =>
        i === undefined || this.isMem(i) ? { value } : { value, slot: this.vectorSlot(i) },
      ),
      outcome,
      result,
    })
    return result
  }

  /** Lanes of vector register operand `i` are tame, if it is one. */
  tame(i: number, bits: 32 | 64, ...lanes: Tame[]): void {
    if (!this.isMem(i)) this.effects.push({ kind: 'tame', slot: this.vectorSlot(i), bits, lanes })
  }
  /** The scalar or all lanes. */
  tameAll(i: number, bits: 32 | 64, packed: boolean): void {
    this.tame(i, bits, ...(Array(packed ? 128 / bits : 1).fill(true) as true[]))
  }

  /** Jcc condition 0..15 (SDM Vol. 2 appendix B, table B-10) as i32 0 or 1. */
  condition(code: number): Value {
    const result = new Value('i32', { kind: 'effect' })
    this.effects.push({ kind: 'condition', code, result })
    return result
  }

  /** CF as i32. */
  carry(): Value {
    return this.condition(2)
  }

  // ---- control ------------------------------------------------------------------------------------------------

  #nested(body: () => Value | void): { effects: Effect[]; value: Value | undefined } {
    const outer = this.effects
    const inner: Effect[] = []
    this.effects = inner
    const value = body()
    this.effects = outer
    return { effects: inner, value: value ?? undefined }
  }

  if(condition: Value, then: () => void, otherwise: () => void = () => {}, likely = false): void {
    condition.uses++
    const a = this.#nested(then)
    const b = this.#nested(otherwise)
    this.effects.push({ kind: 'if', condition, then: a.effects, else: b.effects, likely })
  }

  /** condition ? then() : otherwise(), only one of them evaluated. */
  choose(condition: Value, then: () => Value, otherwise: () => Value, likely = false): Value {
    condition.uses++
    const a = this.#nested(then)
    const b = this.#nested(otherwise)
    if (!a.value || !b.value) throw new Error('choose() needs two values')
    a.value.uses++
    b.value.uses++
    const result = new Value(a.value.ty, { kind: 'effect' })
    this.effects.push({
      kind: 'if',
      condition,
      then: a.effects,
      else: b.effects,
      likely,
      merge: { result, then: a.value, else: b.value },
    })
    return result
  }

  /** `body` is needed only while the word of the state at `offset` is not zero; no region's code changes that word. */
  steady(offset: number, body: () => void): void {
    this.effects.push({ kind: 'steady', offset, effects: this.#nested(body).effects })
  }

  /** Raise exception `vector` when `when` is non-zero (always if undefined). */
  fault(when: Value | undefined, vector: number, error?: number | Value): void {
    if (when) when.uses++
    const code = error === undefined || error instanceof Value ? error : this.k32(error)
    if (code) code.uses++
    this.effects.push({ kind: 'fault', when, vector, error: code })
  }

  /** Call an AssemblyScript procedure. */
  call(procedure: string, args: readonly Value[]): Value | undefined {
    const declared = procedures[procedure]
    if (!declared) throw new Error(`procedure ${procedure} is not declared`)
    if (declared.params.length !== args.length)
      throw new Error(`procedure ${procedure} takes ${declared.params.length} arguments`)
    args.forEach((a, i) => {
      if (a.ty !== declared.params[i])
        throw new Error(`procedure ${procedure}: argument ${i} is ${a.ty}, not ${declared.params[i]}`)
      a.uses++
    })
    const result = declared.result && new Value(declared.result, { kind: 'effect' })
    this.effects.push({ kind: 'call', procedure, args, result })
    return result
  }

  /** Call a procedure that returns a value. */
  compute(procedure: string, ...args: Value[]): Value {
    const result = this.call(procedure, args)
    if (!result) throw new Error(`procedure ${procedure} returns nothing`)
    return result
  }

  /** Call a procedure that returns non-zero after raising a fault. */
  attempt(procedure: string, ...args: Value[]): void {
    const status = this.compute(procedure, ...args)
    status.uses++
    this.effects.push({ kind: 'failed', when: status })
  }

  /** Leave with the fault that a procedure has raised, when `when` is non-zero. */
  failed(when: Value): void {
    when.uses++
    this.effects.push({ kind: 'failed', when })
  }

  /** Offset in CS of this instruction (i64). */
  thisRip(): Value {
    const result = new Value('i64', { kind: 'effect' })
    this.effects.push({ kind: 'thisRip', result })
    return result
  }

  /** Offset in CS of the next instruction (i64). */
  nextRip(): Value {
    const result = new Value('i64', { kind: 'effect' })
    this.effects.push({ kind: 'nextRip', result })
    return result
  }

  /**
   * Check the target of the branch (or of the jump to `target`) that will follow: for rows that commit something
   * before they jump, since a jump can fault. `when`: the branch's condition.
   */
  aim(target?: Value, when?: Value): void {
    this.modeUsed = true
    if (target) target.uses++
    if (when) when.uses++
    this.effects.push({ kind: 'aim', target, when })
  }

  /** Take the record's relative branch when `when` is non-zero (always if undefined). */
  branch(when?: Value): void {
    this.modeUsed = true
    if (when) when.uses++
    this.effects.push({ kind: 'branch', when })
  }

  /** Jump to an offset in CS (i64). */
  jump(target: Value): void {
    this.modeUsed = true
    target.uses++
    this.effects.push({ kind: 'jump', target })
  }

  /** A procedure has set RIP: leave the stream. */
  transfer(): void {
    this.effects.push({ kind: 'transfer' })
  }

  /** Leave with RIP still at this instruction when `when` is non-zero: a repeated string instruction goes on later. */
  repeat(when: Value): void {
    when.uses++
    this.effects.push({ kind: 'repeat', when })
  }
}

/** The record field that an IR field name stands for. */
export const fieldOffset = { A: R.A, B: R.B, C: R.BASE, X: R.INDEX } as const
