/**
 * Arithmetic flags in a region: the operands of their last producer in locals, and what is known of it here. Conditions
 * are made from them directly where that is short.
 */
import type { Effect, Value } from '../isa/ir.ts'
import { directCondition } from '../isa/known-flags.ts'
import { FlagsKind, S } from '../layout.ts'
import { P, RegionState, UNCHANGED } from './state.ts'

const CARRY_OVERFLOW = 0x801

/** The flags' producer as far as it is known here; undefined: the local of the kind holds it, or says that they are unchanged. The others always do. */
interface Producer {
  kind: number
  bytes: number
  /** The locals with the operands of a comparison. */
  operands: { ty: 'i32' | 'i64'; a: number; b: number } | undefined
  /** The locals with floating-point numbers that were compared; the local of the result does not hold the flags yet. */
  compared?: { ty: 'f32' | 'f64'; a: number; b: number }
}

export abstract class RegionFlags extends RegionState {
  protected producer: Producer | undefined

  protected flagsEffect(e: Extract<Effect, { kind: 'flags' }>): void {
    const c = this.c
    const l = this.local
    if (this.nested) {
      c.i32((e.flags << 2) | Math.log2(e.bytes)).set(l.flagsKind)
      this.use(e.res)
      c.set(l.flagsRes)
      if (e.b) {
        this.use(e.b)
        c.set(l.flagsB)
      }
      return
    }
    if (e.compared) return this.#compared(e.compared)
    if (e.merged && this.#merge(e.merged)) return
    const operands = subtraction(e)
    const kept =
      operands && (operands[0].ty === 'i32' ? { ty: 'i32', a: l.a32, b: l.b32 } : { ty: 'i64', a: l.a64, b: l.b64 })
    if (operands && kept) {
      this.use(operands[0])
      this.use(operands[1])
      c.set(kept.b).set(kept.a)
    }
    this.use(e.res)
    if (e.b) {
      this.use(e.b)
      c.set(l.flagsB)
    }
    c.set(l.flagsRes)
    this.producer = { kind: e.flags, bytes: e.bytes, operands: kept as Producer['operands'] }
  }

  /** Replace CF, or CF and OF, of known flags; false, and nothing done, if there is no short way. */
  #merge({ mask, bits }: { mask: number; bits: Value }): boolean {
    const c = this.c
    const f = this.producer
    const { flagsRes: res, flagsB: b } = this.local
    if (!f || f.compared) return false
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
    this.producer = { kind: FlagsKind.RES, bytes: f.bytes, operands: undefined }
    return true
  }

  #compared([a, b]: readonly [Value, Value]): void {
    const ty = a.ty as 'f32' | 'f64'
    const locals = (this.#floats[ty] ??= [this.c.local(ty), this.c.local(ty)])
    this.use(a)
    this.use(b)
    this.c.set(locals[1]).set(locals[0])
    const compared = { ty, a: locals[0], b: locals[1] }
    this.producer = { kind: FlagsKind.EXPLICIT, bytes: 8, operands: undefined, compared }
  }
  readonly #floats: { f32?: readonly [number, number]; f64?: readonly [number, number] } = {}

  /** ZF and CF of a comparison of floating-point numbers. */
  #comparedFlags({ ty, a, b }: NonNullable<Producer['compared']>): void {
    const c = this.c
    c.get(a).get(b).op(`${ty}.eq`).i32(6).op('i32.shl')
    c.get(a).get(b).op(`${ty}.lt`).op('i32.or').op('i64.extend_i32_u').set(this.local.flagsRes)
  }

  /** Make the local of the kind hold the flags' producer. */
  protected canonical(): void {
    const c = this.c
    const l = this.local
    const f = this.producer
    if (!f) return
    if (f.compared) this.#comparedFlags(f.compared)
    c.i32(kindOf(f)).set(l.flagsKind)
    this.producer = undefined
  }

  /** Put the flags into the state block, for whoever reads them there. */
  protected storeFlags(): void {
    const c = this.c
    const l = this.local
    const f = this.producer
    if (!f) c.get(l.flagsKind).i32(UNCHANGED).op('i32.ne').if()
    if (f?.compared) this.#comparedFlags(f.compared)
    c.get(P)
    if (f) c.i32(kindOf(f))
    else c.get(l.flagsKind)
    c.mem('i32.store', S.FLAGS_KIND)
    c.get(P).get(l.flagsRes).mem('i64.store', S.FLAGS_RES)
    c.get(P).get(l.flagsB).mem('i64.store', S.FLAGS_B)
    if (!f) c.end()
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
    const { flagsRes: res, flagsB: b } = this.local
    return directCondition(c, { ...f, res, b }, code)
  }

  protected nestedIf(e: Extract<Effect, { kind: 'if' }>): void {
    if (touchesFlags(e.then) || touchesFlags(e.else)) this.canonical()
    this.nested++
    this.if(e)
    this.nested--
  }
}

/** As the state block has it. */
const kindOf = ({ kind, bytes }: Producer): number => (kind << 2) | Math.log2(bytes)

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
