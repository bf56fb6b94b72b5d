/**
 * Arithmetic flags in a region: what is known of their last producer, with its operands in locals, or nothing; then they
 * are in the state block. So it is wherever several blocks lead, unless nobody can see them there (dead-flags.ts).
 * Conditions are made from the operands directly where that is short.
 */
import type { Effect, Value } from '../isa/ir.ts'
import { directCondition } from '../isa/known-flags.ts'
import { FlagsKind, S } from '../layout.ts'
import type { Code } from '../wasm/module.ts'
import { P, RegionState } from './state.ts'

const CARRY_OVERFLOW = 0x801

/** A value of 64 bits in a local, or a narrower one that is widened by operations when somebody wants it. */
interface Kept {
  local: number
  widen?: string
  /** Before that, of 8 or 16 bits. */
  extend?: string
}

/** A value that is made from locals when somebody wants it. */
interface Deferred {
  value: Value
  leaves: ReadonlyMap<Value, number>
}

/** Operands at most of what is deferred: each keeps a local. */
const MOST_LEAVES = 2
/** And its operations, at the least: what is shorter costs nothing. */
const LEAST_OPERATIONS = 3
const MOST_OPERATIONS = 24

/** The flags' producer as far as it is known here. */
interface Producer {
  kind: number
  bytes: number
  /** Of a comparison, the difference of the operands is made when somebody wants it. */
  res: Kept | 'difference'
  b: Kept | Deferred | undefined
  /** The locals with the operands of a comparison; those of 8 or 16 bits with zeros before them, and what extends their signs. */
  operands: { ty: 'i32' | 'i64'; a: number; b: number; extend?: string } | undefined
  /** The locals with floating-point numbers that were compared; the result is not made yet. */
  compared?: { ty: 'f32' | 'f64'; a: number; b: number }
}

export abstract class RegionFlags extends RegionState {
  protected producer: Producer | undefined

  protected flagsEffect(e: Extract<Effect, { kind: 'flags' }>): void {
    const c = this.c
    const l = this.local
    if (this.nested) {
      c.get(P)
        .i32((e.flags << 2) | Math.log2(e.bytes))
        .mem('i32.store', S.FLAGS_KIND)
      c.get(P)
      this.use(e.res)
      c.mem('i64.store', S.FLAGS_RES)
      if (e.b) {
        c.get(P)
        this.use(e.b)
        c.mem('i64.store', S.FLAGS_B)
      }
      return
    }
    if (e.compared) return this.#compared(e.compared)
    if (e.merged && this.#merge(e.merged)) return
    if (e.bytes < 4 && this.instruction.decoded.name === 'cmp' && this.#comparedNarrow(e)) return
    const operands = subtraction(e)
    const kept =
      operands && (operands[0].ty === 'i32' ? { ty: 'i32', a: l.a32, b: l.b32 } : { ty: 'i64', a: l.a64, b: l.b64 })
    if (operands && kept) {
      this.use(operands[0])
      this.use(operands[1])
      c.set(kept.b).set(kept.a)
    }
    if (kept && this.instruction.decoded.name === 'cmp') {
      const b = kept.ty === 'i32' ? { local: kept.b, widen: 'i64.extend_i32_s' } : { local: kept.b }
      const compared = kept as Producer['operands']
      this.producer = { kind: e.flags, bytes: e.bytes, res: 'difference', b, operands: compared }
      return
    }
    const later = e.b && !kept ? this.#defer(e.b) : undefined
    const res = this.#keep(e.res, l.flagsRes, l.res32)
    let b: Producer['b'] = later
    if (e.b && !later) {
      const now = this.#keep(e.b, l.flagsB, l.resB32)
      c.set(now.local)
      b = now
    }
    c.set(res.local)
    this.producer = { kind: e.flags, bytes: e.bytes, res, b, operands: kept as Producer['operands'] }
  }

  /** A comparison of 8 or 16 bits. */
  #comparedNarrow(e: Extract<Effect, { kind: 'flags' }>): boolean {
    const c = this.c
    const { a32: a, b32: b } = this.local
    const extend = `i32.extend${e.bytes * 8}_s`
    const wide = argumentOf(e.res, 'i64.extend_i32_s')
    const difference = wide && argumentOf(wide, extend)?.definition
    if (e.flags !== FlagsKind.SUB || difference?.kind !== 'pure' || difference.op !== 'i32.sub') return false
    const mask = e.bytes === 1 ? 0xff : 0xffff
    for (const value of difference.args) {
      this.use(value)
      c.i32(mask).op('i32.and')
    }
    c.set(b).set(a)
    const kept = { local: b, widen: 'i64.extend_i32_s', extend }
    this.producer = { kind: e.flags, bytes: e.bytes, res: 'difference', b: kept, operands: { ty: 'i32', a, b, extend } }
    return true
  }

  /** Put a value on the stack that is to be kept in one of two locals, as narrow as it is. */
  #keep(value: Value, wide: number, narrow: number): Kept {
    const { definition } = value
    const extended =
      definition.kind === 'pure' && /^i64.extend_i32_[su]$/.test(definition.op) && !this.locals.has(value)
    if (!extended) {
      this.use(value)
      return { local: wide }
    }
    this.use(definition.args[0] as Value)
    return { local: narrow, widen: definition.op }
  }

  #widened(kept: Kept | Deferred): void {
    if ('value' in kept) return this.#make(kept.value, kept)
    this.c.get(kept.local)
    if (kept.extend) this.c.op(kept.extend)
    if (kept.widen) this.c.op(kept.widen)
  }

  /**
   * What takes several operations (CF and OF of a shift, of a multiplication) is often only wanted where the region
   * leaves, and V8 would not move it there: so its operands are kept, in the locals of a comparison's.
   */
  #defer(value: Value): Deferred | undefined {
    const leaves = new Set<Value>()
    let operations = 0
    const visit = (v: Value): boolean => {
      const { definition } = v
      if (definition.kind === 'constant') return !(definition.value instanceof Uint8Array)
      if (definition.kind === 'effect') return this.locals.has(v) && leaves.add(v).size <= MOST_LEAVES
      return ++operations <= MOST_OPERATIONS && definition.args.every(visit)
    }
    if (!visit(value) || operations < LEAST_OPERATIONS) return undefined
    const { a32, b32, a64, b64 } = this.local
    const free = { i32: [a32, b32], i64: [a64, b64] }
    const kept = new Map<Value, number>()
    for (const leaf of leaves) {
      const local = leaf.ty === 'i32' || leaf.ty === 'i64' ? free[leaf.ty].shift() : undefined
      if (local === undefined) return undefined
      kept.set(leaf, local)
    }
    for (const [leaf, local] of kept) {
      this.use(leaf)
      this.c.set(local)
    }
    return { value, leaves: kept }
  }

  #make(value: Value, from: Deferred): void {
    const c = this.c
    const { definition } = value
    if (definition.kind === 'constant') return this.constant(value.ty, definition.value)
    if (definition.kind === 'effect') return void c.get(from.leaves.get(value) as number)
    for (const argument of definition.args) this.#make(argument, from)
    if (definition.op === 'select') c.select()
    else c.op(definition.op, definition.lanes)
  }

  /** Put the producer's result on the stack, in 64 bits. */
  #result({ res, operands }: Producer): void {
    if (res !== 'difference') return this.#widened(res)
    const { ty, a, b, extend } = operands as NonNullable<Producer['operands']>
    this.c.get(a).get(b).op(`${ty}.sub`)
    if (extend) this.c.op(extend)
    if (ty === 'i32') this.c.op('i64.extend_i32_s')
  }

  /** Have the result and operand in the locals of 64 bits here; other ways through the code may not. */
  #widen(f: Producer): void {
    const { flagsRes, flagsB } = this.local
    this.#result(f)
    this.c.set(flagsRes)
    if (f.b) this.#widened(f.b)
    if (f.b) this.c.set(flagsB)
    const operands = f.operands?.extend === undefined ? f.operands : undefined
    this.producer = { ...f, res: { local: flagsRes }, b: f.b && { local: flagsB }, operands }
  }

  /** Replace CF, or CF and OF, of known flags; false, and nothing done, if there is no short way. */
  #merge({ mask, bits }: { mask: number; bits: Value }): boolean {
    const c = this.c
    const f = this.producer
    const { flagsRes: res, flagsB: b } = this.local
    if (!f || f.compared) return false
    this.#widen(f)
    const rest = (local: number, kept: number) => {
      c.get(local).i64(BigInt(kept)).op('i64.and')
      this.use(bits)
      c.op('i64.extend_i32_u').op('i64.or').set(local)
    }
    if (f.kind === FlagsKind.EXPLICIT) {
      rest(res, 0x8d5 & ~mask)
      return true
    }
    if (f.kind === FlagsKind.RES) rest(b, 0x811 & ~mask)
    else if (f.kind === FlagsKind.LOGIC) {
      this.use(bits)
      c.op('i64.extend_i32_u').set(b)
    } else if (mask === CARRY_OVERFLOW && (f.kind === FlagsKind.ADD || f.kind === FlagsKind.SUB)) {
      // AF is the carry into bit 4.
      c.get(res)
        .get(b)
        .op(f.kind === FlagsKind.ADD ? 'i64.sub' : 'i64.add')
      c.get(b).op('i64.xor').get(res).op('i64.xor').set(b)
      rest(b, 0x10)
    } else return false
    this.producer = { kind: FlagsKind.RES, bytes: f.bytes, res: { local: res }, b: { local: b }, operands: undefined }
    return true
  }

  #compared([a, b]: readonly [Value, Value]): void {
    const ty = a.ty as 'f32' | 'f64'
    const locals = (this.#floats[ty] ??= [this.c.local(ty), this.c.local(ty)])
    this.use(a)
    this.use(b)
    this.c.set(locals[1]).set(locals[0])
    const compared = { ty, a: locals[0], b: locals[1] }
    const res = { local: this.local.flagsRes }
    this.producer = { kind: FlagsKind.EXPLICIT, bytes: 8, res, b: undefined, operands: undefined, compared }
  }
  readonly #floats: { f32?: readonly [number, number]; f64?: readonly [number, number] } = {}

  /** ZF and CF of a comparison of floating-point numbers. */
  #comparedFlags({ ty, a, b }: NonNullable<Producer['compared']>): void {
    const c = this.c
    c.get(a).get(b).op(`${ty}.eq`).i32(6).op('i32.shl')
    c.get(a).get(b).op(`${ty}.lt`).op('i32.or').op('i64.extend_i32_u').set(this.local.flagsRes)
  }

  /** Let the state block have the flags, for all that follows. */
  protected canonical(): void {
    this.storeFlags()
    this.producer = undefined
  }

  /** Put the flags into the state block, for whoever reads them there. */
  protected storeFlags(): void {
    const c = this.c
    const f = this.producer
    if (!f) return
    if (f.compared) this.#comparedFlags(f.compared)
    c.get(P).i32(kindOf(f)).mem('i32.store', S.FLAGS_KIND)
    c.get(P)
    this.#result(f)
    c.mem('i64.store', S.FLAGS_RES)
    if (!f.b) return
    c.get(P)
    this.#widened(f.b)
    c.mem('i64.store', S.FLAGS_B)
  }

  protected conditionValue(code: number): void {
    const c = this.c
    if (!this.#directCondition(code & ~1)) {
      this.storeFlags()
      c.get(P).call(this.imports.condition(code & ~1))
    }
    if (code & 1) c.op('i32.eqz')
  }

  /** The condition from the known producer, if there is a short way: true when it is on the stack. */
  #directCondition(code: number): boolean {
    const c = this.c
    const f = this.producer
    if (!f) return false
    if (f.compared) {
      const { ty, a, b } = f.compared
      const compare = ({ 2: 'lt', 4: 'eq', 6: 'le' } as Record<number, string>)[code]
      if (compare) c.get(a).get(b).op(`${ty}.${compare}`)
      else if (code !== 12 && code !== 14) c.i32(0)
      else return false
      return true
    }
    if (f.res === 'difference') {
      if (differenceCondition(c, f.operands as NonNullable<Producer['operands']>, code)) return true
    } else if (f.res.widen === 'i64.extend_i32_s' && narrowCondition(c, f.kind, f.res.local, code)) return true
    this.#widen(f)
    const { flagsRes: res, flagsB } = this.local
    return directCondition(c, { ...(this.producer as Producer), res, b: f.b && flagsB }, code)
  }

  protected nestedIf(e: Extract<Effect, { kind: 'if' }>): void {
    if (makesFlags(e.then) && makesFlags(e.else)) this.producer = undefined
    else if (touchesFlags(e.then) || touchesFlags(e.else)) this.canonical()
    this.nested++
    this.if(e)
    this.nested--
  }
}

/** Conditions of a comparison by its operands. */
function differenceCondition(c: Code, { ty, a, b, extend }: NonNullable<Producer['operands']>, code: number): boolean {
  const compare = ({ 2: 'lt_u', 4: 'eq', 6: 'le_u', 12: 'lt_s', 14: 'le_s' } as Record<number, string>)[code]
  if (!compare) return false
  for (const local of [a, b]) {
    c.get(local)
    if (extend && compare.endsWith('_s')) c.op(extend)
  }
  c.op(`${ty}.${compare}`)
  return true
}

/** The argument of a value that this operation makes. */
function argumentOf({ definition }: Value, op: string): Value | undefined {
  return definition.kind === 'pure' && definition.op === op ? definition.args[0] : undefined
}

/** Conditions of a result of 32 bits that need no more than that. */
function narrowCondition(c: Code, kind: number, res: number, code: number): boolean {
  const compare = ({ 4: 'eq', 8: 'lt_s' } as Record<number, string>)[code]
  const logic =
    kind === FlagsKind.LOGIC ? ({ 6: 'eq', 12: 'lt_s', 14: 'le_s' } as Record<number, string>)[code] : undefined
  if (kind === FlagsKind.EXPLICIT || !(compare ?? logic)) return false
  c.get(res)
    .i32(0)
    .op(`i32.${compare ?? logic}`)
  return true
}

/** As the state block has it. */
const kindOf = ({ kind, bytes }: Producer): number => (kind << 2) | Math.log2(bytes)

/** Makes flags, whatever happens. */
const makesFlags = (effects: readonly Effect[]): boolean => effects.some(({ kind }) => kind === 'flags')

function touchesFlags(effects: readonly Effect[]): boolean {
  return effects.some((e) => e.kind === 'flags' || (e.kind === 'if' && (touchesFlags(e.then) || touchesFlags(e.else))))
}

/** The operands of a 32- or 64-bit comparison, so that conditions compare them directly. */
function subtraction(e: Extract<Effect, { kind: 'flags' }>): [Value, Value] | undefined {
  if (e.flags !== FlagsKind.SUB || e.bytes < 4) return undefined
  let d = e.res.definition
  if (e.bytes === 4) {
    if (d.kind !== 'pure' || d.op !== 'i64.extend_i32_s') return undefined
    d = (d.args[0] as Value).definition
  }
  if (d.kind !== 'pure' || d.op !== (e.bytes === 4 ? 'i32.sub' : 'i64.sub')) return undefined
  return [d.args[0] as Value, d.args[1] as Value]
}
