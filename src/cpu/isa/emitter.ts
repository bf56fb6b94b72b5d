/**
 * What every consumer of recorded effects shares when it emits WebAssembly: values in locals, pure operations at their
 * use, structured `if`, the TLB comparison. How state, memory and control are reached is the consumer's.
 */
import type { Access, Effect, Value } from './ir.ts'
import { procedures } from './procedures.ts'
import { Tlb } from '../layout.ts'
import type { Code } from '../wasm/module.ts'
import type { Ty } from '../wasm/opcodes.ts'

/** Locals of one type, reused by all handlers of a function. */
export class LocalPool {
  readonly #code: Code
  readonly #free = new Map<Ty, number[]>()
  readonly #used = new Map<Ty, number>()
  constructor(code: Code) {
    this.#code = code
  }
  take(ty: Ty): number {
    const list = this.#free.get(ty) ?? []
    this.#free.set(ty, list)
    const n = this.#used.get(ty) ?? 0
    this.#used.set(ty, n + 1)
    return (list[n] ??= this.#code.local(ty))
  }
  reset(): void {
    this.#used.clear()
  }
}

/** A local, and the entry's distance from the address in it. */
export interface TlbEntry {
  readonly local: number
  readonly offset: number
}

export abstract class EffectEmitter {
  protected readonly c: Code
  protected readonly pool: { take(ty: Ty): number }
  protected readonly locals = new Map<Value, number>()
  /** Open blocks. */
  protected height: number

  constructor(code: Code, pool: { take(ty: Ty): number }, height: number) {
    this.c = code
    this.pool = pool
    this.height = height
  }

  emit(effects: readonly Effect[]): void {
    for (const effect of effects) this.effect(effect)
  }

  /** Put a recorded value on the stack. */
  value(v: Value): void {
    this.use(v)
  }

  protected abstract effect(e: Effect): void
  /** The bank's part: an offset, and whether an address to which that counts was put on the stack. */
  protected abstract tlbPart(part: number): { offset: number; based: boolean }
  /** Put its generation on the stack. */
  protected abstract generation(part: number): void
  /** Index of a procedure's function. */
  protected abstract procedure(name: string): number

  protected br(label: number): void {
    this.c.br(this.height - label)
  }
  protected brIf(label: number): void {
    this.c.brIf(this.height - label)
  }
  protected open(kind: 'block' | 'if'): void {
    this.c[kind]()
    this.height++
  }
  protected close(): void {
    this.c.end()
    this.height--
  }

  protected assign(result: Value): void {
    const local = this.pool.take(result.ty)
    this.locals.set(result, local)
    this.c.set(local)
  }

  protected use(value: Value): void {
    const local = this.locals.get(value)
    if (local !== undefined) {
      this.c.get(local)
      return
    }
    const d = value.definition
    if (d.kind === 'constant') this.constant(value.ty, d.value)
    else if (d.kind === 'pure') this.pure(d)
    else throw new Error('a value is used outside the block that makes it')
  }

  protected pure(d: { op: string; args: readonly Value[]; lanes?: readonly number[] }): void {
    for (const a of d.args) this.use(a)
    if (d.op === 'select') this.c.select()
    else this.c.op(d.op, d.lanes)
  }

  protected vector(value: Uint8Array): void {
    this.c.v128(value)
  }

  protected constant(ty: Ty, value: bigint | number | Uint8Array): void {
    if (value instanceof Uint8Array) this.vector(value)
    else if (ty === 'i64') this.c.i64(BigInt(value))
    else if (ty === 'i32') this.c.i32(Number(BigInt.asIntN(32, BigInt(value))))
    else if (ty === 'f64') this.c.f64(Number(value))
    else this.c.f32(Number(value))
  }

  /** A pure operation that has several uses gets a local; others are emitted where they are used. */
  protected let(result: Value): void {
    const d = result.definition
    if (result.uses > 1 && d.kind === 'pure') {
      this.pure(d)
      this.assign(result)
    }
  }

  protected peek(e: Extract<Effect, { kind: 'peek' }>): void {
    this.c.get(0)
    this.use(e.address)
    this.c.op('i32.add').mem(loadOp(e.access), e.offset)
    this.assign(e.result)
  }
  protected poke(e: Extract<Effect, { kind: 'poke' }>): void {
    this.c.get(0)
    this.use(e.address)
    this.c.op('i32.add')
    this.use(e.value)
    this.c.mem(storeOp(e.access, e.value.ty), e.offset)
  }

  /** Before a procedure that does its work in place: RECORD must be the instruction's. */
  protected abstract noteRecord(): void

  protected call(e: Extract<Effect, { kind: 'call' }>): void {
    if (procedures[e.procedure]?.inPlace) this.noteRecord()
    this.c.get(0)
    for (const a of e.args) this.use(a)
    this.c.call(this.procedure(e.procedure))
    if (e.result) this.assign(e.result)
  }

  protected if(e: Extract<Effect, { kind: 'if' }>): void {
    const merged = e.merge && this.pool.take(e.merge.result.ty)
    const arm = (effects: readonly Effect[], value: Value | undefined) => {
      this.emit(effects)
      if (value && merged !== undefined && !diverges(effects)) {
        this.use(value)
        this.c.set(merged)
      }
    }
    this.use(e.condition)
    if (e.condition.ty === 'i64') this.c.i64(0n).op('i64.ne')
    if (e.likely) this.c.hint(true)
    this.open('if')
    arm(e.then, e.merge?.then)
    if (e.else.length || e.merge) {
      this.c.else()
      arm(e.else, e.merge?.else)
    }
    this.close()
    if (e.merge && merged !== undefined) this.locals.set(e.merge.result, merged)
  }

  /** Leaves the tag comparison on the stack and returns where the entry is; `tag`: a local that gets the entry's. */
  protected tlbMatch(a: number, bytes: number, part: number, tag?: number): TlbEntry {
    const c = this.c
    const local = this.pool.take('i32')
    const { offset, based } = this.tlbPart(part)
    c.get(a)
      .op('i32.wrap_i64')
      .i32(8)
      .op('i32.shr_u')
      .i32((Tlb.ENTRIES - 1) * Tlb.ENTRY)
      .op('i32.and')
    if (based) c.op('i32.add')
    c.tee(local)
    c.mem('i64.load', offset)
    if (tag !== undefined) c.tee(tag)
    c.get(a)
    if (bytes > 1) c.i64(BigInt(bytes - 1)).op('i64.add')
    c.i64(-4096n).op('i64.and')
    this.generation(part)
    c.op('i64.or').op('i64.eq')
    return { local, offset }
  }

  /** What an entry has behind its tag: 8, what makes a linear address the host's, or the page's index table; 12, the page. */
  protected entryField({ local, offset }: TlbEntry, field: 8 | 12): void {
    this.c.get(local).mem('i32.load', offset + field)
  }

  protected hostAddress(a: number, entry: TlbEntry): void {
    this.c.get(a).op('i32.wrap_i64')
    this.entryField(entry, 8)
    this.c.op('i32.add')
  }
}

/** True when the effects never reach their end, so that a merged value is not needed. */
function diverges(effects: readonly Effect[]): boolean {
  const last = effects.at(-1)
  return !!last && (last.kind === 'transfer' || last.kind === 'jump' || (last.kind === 'fault' && !last.when))
}

export function accessOf(ty: Ty, bytes: number): Access {
  return ty === 'v128' || ty === 'f32' || ty === 'f64' ? ty : ((bytes * 8) as Access)
}

export function loadOp(access: Access): string {
  switch (access) {
    case 8:
      return 'i32.load8_u'
    case 16:
      return 'i32.load16_u'
    case 32:
      return 'i32.load'
    case 64:
      return 'i64.load'
    default:
      return `${access}.load`
  }
}

export function storeOp(access: Access, ty: Ty): string {
  if (typeof access === 'string') return `${access}.store`
  if (ty === 'f32' || ty === 'f64') return `${ty}.store`
  const bits = ty === 'i64' ? 64 : 32
  return access === bits ? `${ty}.store` : `${ty}.store${access}`
}
