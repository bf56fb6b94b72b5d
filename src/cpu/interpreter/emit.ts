/**
 * IR → WebAssembly for one handler of the interpreter.
 *
 * A handler is emitted in one of two shapes. `function`: complete; a fault leaves through `fault`, the slow paths are
 * inside. `inline`: an arm of the dispatch loop that knows only the fast paths; anything else branches to `slow`, where
 * the whole instruction runs again as a function. Both see `p` (state block) and `r` (record) as locals.
 */
import type { Address, Access, Effect, Slot, Value } from '../isa/ir.ts'
import { emitFloats, makeLimit, type FloatsHost } from '../isa/floats.ts'
import { fieldOffset, type Mode } from '../isa/semantics.ts'
import type { Form } from '../isa/variants.ts'
import { R, S } from '../layout.ts'
import { directCondition, type KnownFlags } from '../isa/known-flags.ts'
import { accessOf, EffectEmitter, loadOp, storeOp, type LocalPool } from '../isa/emitter.ts'
import type { Code } from '../wasm/module.ts'
import type { Ty } from '../wasm/opcodes.ts'

/** Function indices that handlers call. */
export interface Helpers {
  condition: readonly number[] // eight functions (p) → i32, for codes 0, 2, 4, ...
  rip: number // (p, r, add) → i64: offset in CS of the record's instruction + add
  link: number // (p, r) → r': resolve the record's branch in its page
  procedure(name: string): number
}

/** Where a handler leaves to: label heights (number of open blocks at the label), and the locals of its function. */
export interface Shape {
  inline: boolean
  /** function: the fault exit; inline: the slow arm */
  bail: number
  /** inline: the dispatch loop, for records that are done; budget check first for taken branches */
  next?: number
  taken?: number
  x?: number // inline: local X
  /** Inline: another handler follows in the same arm. */
  followed?: boolean
}

const P = 0

export class HandlerEmitter extends EffectEmitter {
  readonly #h: Helpers
  readonly #shape: Shape
  readonly #form: Form
  readonly #mode: Mode
  readonly #r: number
  #committed = false
  #aimed: Target | undefined
  /** The flags as they were left, if the handler before in the same arm, or this one, made them. */
  known: KnownFlags | undefined

  constructor(
    code: Code,
    pool: LocalPool,
    helpers: Helpers,
    shape: Shape,
    facts: { form: Form; mode: Mode; r: number; height: number },
  ) {
    super(code, pool, facts.height)
    this.#h = helpers
    this.#shape = shape
    this.#form = facts.form
    this.#mode = facts.mode
    this.#r = facts.r
  }

  protected tlbPart(part: number): { offset: number; based: boolean } {
    this.c.get(P).mem('i32.load', part)
    return { offset: 0, based: true }
  }
  protected generation(): void {
    this.c.get(P).mem('i64.load', S.GEN)
  }
  protected procedure(name: string): number {
    return this.#h.procedure(name)
  }

  readonly #floats: FloatsHost = {
    use: (v) => this.use(v),
    limit: (shape) => makeLimit(this.c, shape, () => this.c.get(P).mem('i32.load', S.MXCSR)),
    vector: (value) => this.vector(value),
  }

  protected noteRecord(): void {
    if (this.#shape.inline) this.c.get(P).get(this.#r).mem('i32.store', S.RECORD)
  }

  /** Leave through `bail` if the value on the stack is non-zero. Inline, nothing may have been committed before. */
  #bail(): void {
    if (this.#shape.inline && this.#committed) throw new Error('an inline handler commits before its last check')
    this.brIf(this.#shape.bail)
  }

  // ---- effects ------------------------------------------------------------------------------------------------

  protected effect(e: Effect): void {
    const c = this.c
    if (e.kind === 'set' || e.kind === 'poke' || e.kind === 'flags') this.#committed = true
    switch (e.kind) {
      case 'let':
        return this.let(e.result)
      case 'get':
        this.#get(e.slot, e.access)
        this.assign(e.result)
        return
      case 'set': {
        this.#slotBase(e.slot)
        this.use(e.value)
        c.mem(storeOp(e.access, e.value.ty), e.slot.offset)
        return
      }
      case 'immediate':
        c.get(this.#r).mem(e.wide ? 'i64.load' : 'i32.load', R[e.field])
        this.assign(e.result)
        return
      case 'address':
        this.#address()
        this.assign(e.result)
        return
      case 'peek':
        return this.peek(e)
      case 'poke':
        return this.poke(e)
      case 'thisRip':
        c.get(P).get(this.#r).i32(0).call(this.#h.rip)
        return this.assign(e.result)
      case 'nextRip':
        this.#ripAfter()
        this.assign(e.result)
        return
      case 'load':
        return this.#load(e)
      case 'probe':
        return this.#probe(e)
      case 'loadProbed':
        return this.#loadProbed(e)
      case 'store':
        return this.#store(e)
      case 'flags':
        return this.#flags(e)
      case 'condition':
        if (!this.known || !directCondition(c, this.known, e.code & ~1))
          c.get(P).call(this.#h.condition[e.code >> 1] as number)
        if (e.code & 1) c.op('i32.eqz')
        this.assign(e.result)
        return
      case 'floats':
        emitFloats(
          c,
          this.#floats,
          e,
          e.operands.map((o) => o.value),
        )
        return this.assign(e.result)
      case 'tame':
        return
      case 'steady':
        return this.emit(e.effects)
      case 'if':
        this.if(e)
        if (makesFlags(e.then) || makesFlags(e.else)) this.known = undefined
        return
      case 'fault':
        return this.#fault(e)
      case 'call':
        return this.call(e)
      case 'failed':
        this.use(e.when)
        if (e.when.ty === 'i64') c.i64(0n).op('i64.ne')
        this.#bail()
        return
      case 'aim':
        if (e.target) this.#aimJump(e.target)
        else if (this.#form === 't') this.#aimSegmented(e.when)
        else if (this.#shape.inline)
          this.#aimed = this.#form === 'p' ? this.#targetInPage() : this.#targetAt(this.#outTarget())
        return
      case 'branch':
        return this.#branch(e.when)
      case 'jump':
        return this.#jump(e.target)
      case 'transfer':
        this.#functionOnly('transfer')
        c.i32(0).return()
        return
      case 'repeat':
        this.#functionOnly('repeat')
        this.use(e.when)
        this.open('if')
        c.get(P).get(P).get(this.#r).i32(0).call(this.#h.rip).mem('i64.store', S.RIP)
        c.i32(0).return()
        this.close()
        return
    }
  }

  #flags(e: Extract<Effect, { kind: 'flags' }>): void {
    const c = this.c
    c.get(P)
      .i32((e.flags << 2) | Math.log2(e.bytes))
      .mem('i32.store', S.FLAGS_KIND)
    const keep = (value: Value, offset: number) => {
      c.get(P)
      this.use(value)
      const local = this.#shape.followed ? this.pool.take('i64') : undefined
      if (local !== undefined) c.tee(local)
      c.mem('i64.store', offset)
      return local
    }
    const res = keep(e.res, S.FLAGS_RES)
    const b = e.b && keep(e.b, S.FLAGS_B)
    this.known = res === undefined ? undefined : { kind: e.flags, bytes: e.bytes, res, b }
  }

  #functionOnly(what: string): void {
    if (this.#shape.inline) throw new Error(`${what} cannot be inline`)
  }

  #slotBase(slot: Slot): void {
    this.c.get(P)
    if (slot.field) this.c.get(this.#r).mem('i32.load8_u', fieldOffset[slot.field]).op('i32.add')
  }

  #get(slot: Slot, access: Access): void {
    if (slot.offset === -2)
      this.c.get(P) // the state block's own address
    else if (slot.offset === -1)
      this.c.get(this.#r).mem('i32.load8_u', fieldOffset[slot.field ?? 'A']) // the field itself
    else {
      this.#slotBase(slot)
      this.c.mem(loadOp(access), slot.offset)
    }
  }

  #address(): void {
    const c = this.c
    const r = this.#r
    const byte = (field: number) => c.get(r).mem('i32.load8_u', field)
    if (this.#form === 'q') {
      c.get(r).mem('i64.load', R.DISP)
      this.#segmentBase()
      c.op('i64.add')
      return
    }
    if (this.#form === 'b') {
      c.get(P)
      byte(R.BASE).op('i32.add').mem('i64.load', 0)
      c.get(r).mem('i64.load32_s', R.DISP).op('i64.add')
      return
    }
    c.get(P)
    byte(R.BASE).i32(0xf8).op('i32.and').op('i32.add').mem('i64.load', 0)
    c.get(P)
    byte(R.INDEX).i32(0xf8).op('i32.and').op('i32.add').mem('i64.load', 0)
    byte(R.INDEX).i32(3).op('i32.and').op('i64.extend_i32_u').op('i64.shl').op('i64.add')
    c.get(r).mem('i64.load32_s', R.DISP).op('i64.add')
    if (this.#form === 's') {
      // Bit 2 of the index field: 16-bit addressing; otherwise 32.
      c.i64(0xffffn).i64(0xffffffffn)
      byte(R.INDEX).i32(4).op('i32.and').select().op('i64.and')
      return
    }
    if (this.#form === 'd') c.i64(0xffffffffn).op('i64.and')
    else {
      this.#segmentBase()
      c.op('i64.add')
    }
  }

  #segmentBase(): void {
    this.c
      .get(P)
      .get(this.#r)
      .mem('i32.load8_u', R.BASE)
      .i32(7)
      .op('i32.and')
      .i32(3)
      .op('i32.shl')
      .op('i32.add')
      .mem('i64.load', S.SEG_BASE)
  }

  // ---- memory -------------------------------------------------------------------------------------------------

  /** The linear address in a local; segmented addresses are translated first. */
  #linear(address: Address, bytes: number, write: boolean): number {
    const c = this.c
    if (address.kind === 'flat') {
      const known = this.locals.get(address.value)
      if (known !== undefined) return known
      this.use(address.value)
    } else {
      this.#functionOnly('a segmented access')
      c.get(P)
      if (address.segment === undefined) c.get(this.#r).mem('i32.load8_u', R.BASE).i32(7).op('i32.and')
      else c.i32(address.segment)
      this.use(address.value)
      c.i32(bytes)
        .i32(write ? 1 : 0)
        .call(this.#h.procedure('segLinear'))
    }
    const local = this.pool.take('i64')
    c.set(local)
    if (address.kind === 'segmented') this.#bailOnException()
    return local
  }

  #bailOnException(): void {
    this.c.get(P).mem('i32.load', S.EXC).i32(0).op('i32.ge_s')
    this.#bail()
  }

  /** Size argument of the slow procedures: bytes, and 0x100 when a canonical fault is #SS. */
  #sizeArgument(address: Address, bytes: number): void {
    const c = this.c
    c.i32(bytes | (address.stack ? 0x100 : 0))
    if (!address.stack && address.segment === undefined && (this.#form === 'b' || this.#form === 'x')) {
      // RSP (slot 32) or RBP (40) as base without FS/GS override.
      const base = this.pool.take('i32')
      const flat = this.#form === 'b' ? 0 : 6
      c.get(this.#r)
        .mem('i32.load8_u', R.BASE)
        .tee(base)
        .i32(S.RSP | flat)
        .op('i32.eq')
      c.get(base)
        .i32(S.RBP | flat)
        .op('i32.eq')
        .op('i32.or')
        .i32(8)
        .op('i32.shl')
        .op('i32.or')
    }
  }

  #load(e: { address: Address; bytes: number; result: Value }): void {
    const c = this.c
    const { result, bytes } = e
    const a = this.#linear(e.address, bytes, false)
    const entry = this.tlbMatch(a, bytes, S.TLB_READ)
    const out = this.pool.take(result.ty)
    this.locals.set(result, out)
    if (this.#shape.inline) {
      c.op('i32.eqz')
      this.#bail()
      this.hostAddress(a, entry)
      c.mem(loadOp(accessOf(result.ty, bytes)), 0).set(out)
      return
    }
    this.open('if')
    this.hostAddress(a, entry)
    c.mem(loadOp(accessOf(result.ty, bytes)), 0).set(out)
    c.else()
    this.#slowLoad(e.address, a, bytes, result.ty)
    c.set(out)
    this.close()
  }

  #slowLoad(address: Address, a: number, bytes: number, ty: Ty): void {
    const c = this.c
    c.get(P).get(a)
    this.#sizeArgument(address, bytes)
    if (bytes === 16) {
      c.call(this.#h.procedure('slowLoad16'))
      this.#bail()
      c.get(P).mem('v128.load', S.SCRATCH)
      return
    }
    const wide = this.pool.take('i64')
    c.call(this.#h.procedure('slowLoad')).set(wide)
    this.#bailOnException()
    c.get(wide)
    if (ty !== 'i64' && ty !== 'f64') c.op('i32.wrap_i64')
    if (ty === 'f32') c.op('f32.reinterpret_i32')
    if (ty === 'f64') c.op('f64.reinterpret_i64')
  }

  #probe(e: { address: Address; bytes: number; result: Value }): void {
    const c = this.c
    const a = this.#linear(e.address, e.bytes, true)
    const entry = this.tlbMatch(a, e.bytes, S.TLB_WRITE)
    const out = this.pool.take('i32')
    this.locals.set(e.result, out)
    if (this.#shape.inline) {
      c.op('i32.eqz')
      this.#bail()
      this.hostAddress(a, entry)
      c.set(out)
      return
    }
    this.open('if')
    this.hostAddress(a, entry)
    c.set(out)
    c.else()
    c.get(P).get(a)
    this.#sizeArgument(e.address, e.bytes)
    c.call(this.#h.procedure('probeWrite')).tee(out).i32(-1).op('i32.eq')
    this.#bail()
    this.close()
  }

  #loadProbed(e: { address: Address; bytes: number; probe: Value; result: Value }): void {
    const c = this.c
    const out = this.pool.take(e.result.ty)
    const direct = () => {
      this.use(e.probe)
      c.mem(loadOp(accessOf(e.result.ty, e.bytes)), 0).set(out)
    }
    this.locals.set(e.result, out)
    if (this.#shape.inline) return direct()
    this.use(e.probe)
    this.open('if')
    direct()
    c.else()
    const a = this.#linear(e.address, e.bytes, true)
    this.#slowLoad(e.address, a, e.bytes, e.result.ty)
    c.set(out)
    this.close()
  }

  #store(e: { address: Address; bytes: number; value: Value; probe?: Value }): void {
    const c = this.c
    const direct = (host: () => void) => {
      host()
      this.use(e.value)
      c.mem(
        storeOp(
          e.bytes === 16
            ? 'v128'
            : e.value.ty === 'f32' || e.value.ty === 'f64'
              ? e.value.ty
              : ((e.bytes * 8) as Access),
          e.value.ty,
        ),
        0,
      )
    }
    if (e.probe && this.#shape.inline) {
      this.#committed = true
      return direct(() => this.use(e.probe as Value))
    }
    if (e.probe) {
      this.use(e.probe)
      this.open('if')
      direct(() => this.use(e.probe as Value))
      c.else()
      this.#slowStore(e, this.#linear(e.address, e.bytes, true))
      this.close()
      return
    }
    const a = this.#linear(e.address, e.bytes, true)
    const entry = this.tlbMatch(a, e.bytes, S.TLB_WRITE)
    if (this.#shape.inline) {
      c.op('i32.eqz')
      this.#bail()
      this.#committed = true
      direct(() => this.hostAddress(a, entry))
      return
    }
    this.open('if')
    direct(() => this.hostAddress(a, entry))
    c.else()
    this.#slowStore(e, a)
    this.close()
  }

  #slowStore(e: { address: Address; bytes: number; value: Value }, a: number): void {
    const c = this.c
    if (e.bytes === 16) {
      c.get(P)
      this.use(e.value)
      c.mem('v128.store', S.SCRATCH)
      c.get(P).get(a)
      this.#sizeArgument(e.address, 16)
      c.call(this.#h.procedure('slowStore16'))
    } else {
      c.get(P).get(a)
      this.#sizeArgument(e.address, e.bytes)
      this.use(e.value)
      if (e.value.ty === 'f32') c.op('i32.reinterpret_f32')
      if (e.value.ty === 'f64') c.op('i64.reinterpret_f64')
      if (e.value.ty === 'i32' || e.value.ty === 'f32') c.op('i64.extend_i32_u')
      c.call(this.#h.procedure('slowStore'))
    }
    this.#bail()
  }

  // ---- control ------------------------------------------------------------------------------------------------

  #fault(e: Extract<Effect, { kind: 'fault' }>): void {
    const c = this.c
    if (this.#shape.inline) {
      if (e.when) {
        this.use(e.when)
        if (e.when.ty === 'i64') c.i64(0n).op('i64.ne')
        this.#bail()
      } else this.br(this.#shape.bail)
      return
    }
    if (e.when) {
      this.use(e.when)
      if (e.when.ty === 'i64') c.i64(0n).op('i64.ne')
      this.open('if')
    }
    c.get(P).i32(e.vector)
    if (e.error) {
      this.use(e.error)
      c.call(this.#h.procedure('raise'))
    } else c.call(this.#h.procedure('raiseNoError'))
    this.br(this.#shape.bail)
    if (e.when) this.close()
  }

  #ripAfter(): void {
    this.c.get(P).get(this.#r)
    this.c.get(this.#r).mem('i32.load16_u', R.OFFSET_LENGTH).i32(15).op('i32.and').call(this.#h.rip)
  }

  #branch(when: Value | undefined): void {
    if (when) {
      this.use(when)
      this.open('if')
    }
    if (this.#form === 'p') this.#branchInPage()
    else this.#branchOut()
    if (when) this.close()
  }

  #branchInPage(): void {
    if (this.#shape.inline) this.#goto(this.#aimed ?? this.#targetInPage())
    else this.c.get(P).get(this.#r).call(this.#h.link).return()
  }

  /** Inline: the record of a resolved branch in the page. */
  #targetInPage(): Target {
    const record = this.pool.take('i32')
    this.c.get(this.#r).mem('i32.load', R.DISP).tee(record).op('i32.eqz')
    this.#bail()
    return { record }
  }

  /** Inline: go on at the target, then check the budget. */
  #goto(target: Target): void {
    const c = this.c
    const x = this.#shape.x as number
    if (target.linear !== undefined)
      c.get(P).get(target.linear).i64(-4096n).op('i64.and').mem('i64.store', S.PAGE_LINEAR)
    c.get(x).get(target.record).op('i32.add').get(this.#r).op('i32.sub').i32(R.SIZE).op('i32.sub').set(x)
    c.get(target.record).set(this.#r)
    this.br(this.#shape.taken as number)
  }

  #outTarget(): number {
    const c = this.c
    const linear = this.pool.take('i64')
    c.get(P).mem('i64.load', S.PAGE_LINEAR).get(this.#r).mem('i64.load32_s', R.IMM).op('i64.add')
    c.get(this.#r).mem('i64.load32_s', R.DISP).op('i64.add')
    if (this.#mode === '32') c.i64(0xffffffffn).op('i64.and')
    c.set(linear)
    return linear
  }

  #branchOut(): void {
    const c = this.c
    if (this.#form === 't') {
      if (!this.#aimed) this.#aimSegmented(undefined)
      c.get(P)
        .get((this.#aimed as Target).linear as number)
        .mem('i64.store', S.RIP)
        .i32(0)
        .return()
      return
    }
    if (this.#aimed) this.#goto(this.#aimed)
    else this.#jumpLinear(this.#outTarget())
  }

  /** Segmented or 16-bit code: EIP arithmetic wraps at the operand size, whose mask is in IMM. */
  #aimSegmented(when: Value | undefined): void {
    const c = this.c
    const offset = this.pool.take('i64')
    this.#ripAfter()
    c.get(this.#r)
      .mem('i64.load32_s', R.DISP)
      .op('i64.add')
      .get(this.#r)
      .mem('i64.load32_u', R.IMM)
      .op('i64.and')
      .set(offset)
    this.#checkLimit(offset, when)
    this.#aimed = { record: -1, linear: offset }
  }

  /** A near branch beyond the limit of CS faults before anything changes (SDM Vol. 2A, CALL, JMP). */
  #checkLimit(offset: number, when: Value | undefined): void {
    const c = this.c
    this.#functionOnly('a check against CS')
    c.get(offset)
      .get(P)
      .mem('i64.load32_u', S.SEG_LIMIT + 4)
      .op('i64.gt_u')
    if (when) {
      this.use(when)
      c.op('i32.and')
    }
    this.open('if')
    c.get(P).i32(13).i32(0).call(this.#h.procedure('raise'))
    this.br(this.#shape.bail)
    this.close()
  }

  /** The jump's target in a local, checked. */
  #aimJump(target: Value): void {
    const c = this.c
    const linear = this.pool.take('i64')
    this.use(target)
    c.set(linear)
    if (this.#mode === '64') {
      // A near branch to a non-canonical address faults before RIP changes (SDM Vol. 2A, CALL, JMP).
      c.get(linear).i64(16n).op('i64.shl').i64(16n).op('i64.shr_s').get(linear).op('i64.ne')
      if (this.#shape.inline) this.#bail()
      else {
        this.open('if')
        c.get(P).i32(13).i32(0).call(this.#h.procedure('raise'))
        this.br(this.#shape.bail)
        this.close()
      }
    } else if (this.#mode === 'seg') this.#checkLimit(linear, undefined)
    this.#aimed = this.#shape.inline ? this.#targetAt(linear) : { record: -1, linear }
  }

  #jump(target: Value): void {
    if (!this.#aimed) this.#aimJump(target)
    const aimed = this.#aimed as Target
    if (this.#shape.inline) this.#goto(aimed)
    else this.#jumpLinear(aimed.linear as number)
  }

  /** Inline: the record at a linear address, if it is decoded and its page is in the execute TLB. */
  #targetAt(linear: number): Target {
    const c = this.c
    const entry = this.tlbMatch(linear, 1, S.TLB_EXEC)
    c.op('i32.eqz')
    this.#bail()
    const record = this.pool.take('i32')
    this.entryField(entry, 8)
    c.get(linear)
      .op('i32.wrap_i64')
      .i32(4095)
      .op('i32.and')
      .i32(2)
      .op('i32.shl')
      .op('i32.add')
      .mem('i32.load', 0)
      .tee(record)
      .op('i32.eqz')
    this.#bail()
    return { record, linear }
  }

  /** In flat code RIP is the linear address; elsewhere the function leaves with RIP and never comes here inline. */
  #jumpLinear(linear: number): void {
    if (this.#shape.inline) this.#goto(this.#targetAt(linear))
    else this.c.get(P).get(linear).mem('i64.store', S.RIP).i32(0).return()
  }
}

const makesFlags = (effects: readonly Effect[]): boolean =>
  effects.some((e) => e.kind === 'flags' || (e.kind === 'if' && (makesFlags(e.then) || makesFlags(e.else))))

/** Where an inline branch goes: the record, and the linear address if the page changes. */
interface Target {
  record: number
  linear?: number
}
