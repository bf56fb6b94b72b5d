/**
 * A region as one WebAssembly function: (p) → next record, or 0 with RIP set.
 *
 * General registers live in locals, flags as the operands of their last producer; both go back to the state block at
 * the two exits only. Whatever is not the fast path (a TLB miss that is no plain RAM, a fault, a short budget) leaves
 * for the interpreter at the instruction's record, before that instruction has changed anything.
 */
import type { Access, Address, Effect, Slot, Value } from '../isa/ir.ts'
import { accessOf, EffectEmitter, loadOp, LocalPool, storeOp } from '../isa/emitter.ts'
import { FlagsKind, NO_SEGMENT, R, S } from '../layout.ts'
import type { Code } from '../wasm/module.ts'
import { Pseudo } from '../interpreter/pseudo.ts'
import { REGION_MARGIN } from '../interpreter/records.ts'
import type { Block, Edge, Instruction, Records } from './graph.ts'

const P = 0
const RECORD_EXIT = 1
const JUMP_EXIT = 2

/** Functions that regions import. */
export interface RegionImports {
  condition(code: number): number
  procedure(name: string): number
  /** Type of a region and the table of regions, for tail calls. */
  readonly regionType: number
  readonly regionTable: number
}

/** The flags' producer as far as it is known here; undefined: the local of the kind holds it. The others always do. */
interface Producer {
  kind: number
  bytes: number
  /** The locals with the operands of a comparison. */
  operands: { ty: 'i32' | 'i64'; a: number; b: number } | undefined
}

export class RegionEmitter extends EffectEmitter {
  readonly #imports: RegionImports
  /** Locals of one instruction. */
  readonly #temporaries: LocalPool
  readonly #records: Records
  readonly #is32: boolean
  readonly #registers: (number | undefined)[] = []
  readonly #written = new Set<number>()
  readonly #local: Record<'budget' | 'exitRecord' | 'tlbRead' | 'tlbWrite' | 'flagsKind', number> &
    Record<'pageLinear' | 'gen' | 'exitLinear' | 'flagsRes' | 'flagsB' | 'a32' | 'b32' | 'a64' | 'b64', number>
  /** Open labels, innermost last: the block that a br to them reaches. */
  readonly #labels: { block: Block; height: number; loop: boolean }[] = []
  #producer: Producer | undefined
  #nested = 0
  #instruction!: Instruction
  /** Instructions of this block not yet begun, this one included: what an exit gives back. */
  #unspent = 0
  #condition: Value | undefined
  #target: Value | undefined

  constructor(code: Code, imports: RegionImports, records: Records, is32: boolean) {
    const pool = new LocalPool(code)
    super(code, pool, 0)
    this.#temporaries = pool
    this.#imports = imports
    this.#records = records
    this.#is32 = is32
    this.#local = {
      budget: code.local('i32'),
      exitRecord: code.local('i32'),
      tlbRead: code.local('i32'),
      tlbWrite: code.local('i32'),
      flagsKind: code.local('i32'),
      pageLinear: code.local('i64'),
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

  /** Emit the whole region. */
  region(blocks: readonly Block[]): void {
    const c = this.c
    this.open('block')
    this.open('block')
    this.#tree(blocks[0] as Block)
    c.unreachable()
    this.close()
    this.#jumpExit()
    this.close()
    this.#writeBack()
    this.#goOn(this.#local.exitRecord)
    const body = c.bytes
    c.bytes = []
    this.#prologue()
    c.bytes = c.bytes.concat(body)
  }

  #prologue(): void {
    const c = this.c
    const l = this.#local
    const load = (op: string, offset: number, local: number) => c.get(P).mem(op, offset).set(local)
    this.#registers.forEach((local, n) => {
      if (local !== undefined) load('i64.load', n * 8, local)
    })
    load('i32.load', S.BUDGET, l.budget)
    load('i32.load', S.TLB_READ, l.tlbRead)
    load('i32.load', S.TLB_WRITE, l.tlbWrite)
    load('i64.load', S.GEN, l.gen)
    load('i64.load', S.PAGE_LINEAR, l.pageLinear)
    load('i32.load', S.FLAGS_KIND, l.flagsKind)
    load('i64.load', S.FLAGS_RES, l.flagsRes)
    load('i64.load', S.FLAGS_B, l.flagsB)
  }

  #writeBack(): void {
    const c = this.c
    const l = this.#local
    for (const n of this.#written)
      c.get(P)
        .get(this.#register(n))
        .mem('i64.store', n * 8)
    c.get(P).get(l.flagsKind).mem('i32.store', S.FLAGS_KIND)
    c.get(P).get(l.flagsRes).mem('i64.store', S.FLAGS_RES)
    c.get(P).get(l.flagsB).mem('i64.store', S.FLAGS_B)
    c.get(P).get(l.budget).op('i64.extend_i32_s').mem('i64.store', S.BUDGET)
  }

  /** Go on at a record: straight in its region if it begins one, else it is what the region returns. */
  #goOn(record: number): void {
    const c = this.c
    c.get(record).mem('i32.load16_u', R.HANDLER).i32(Pseudo.region).op('i32.eq')
    c.get(this.#local.budget).i32(REGION_MARGIN).op('i32.gt_s').op('i32.and')
    this.open('if')
    c.get(P).get(record).mem('i32.load', R.DISP)
    c.returnCallIndirect(this.#imports.regionType, this.#imports.regionTable)
    this.close()
    c.get(record)
  }

  /** Go on at a linear address: its record if the execute TLB knows it. */
  #jumpExit(): void {
    const c = this.c
    const linear = this.#local.exitLinear
    this.#writeBack()
    const record = c.local('i32')
    const entry = this.tlbMatch(linear, 1, S.TLB_EXEC)
    this.open('if')
    c.get(entry)
      .mem('i32.load', 8)
      .get(linear)
      .op('i32.wrap_i64')
      .i32(4095)
      .op('i32.and')
      .i32(2)
      .op('i32.shl')
      .op('i32.add')
      .mem('i32.load', 0)
      .tee(record)
    this.open('if')
    c.get(P).get(linear).i64(-4096n).op('i64.and').mem('i64.store', S.PAGE_LINEAR)
    this.#goOn(record)
    c.return()
    this.close()
    this.close()
    c.get(P).get(linear).mem('i64.store', S.RIP).i32(0).return()
  }

  // ---- structure (Ramsey, Beyond Relooper: code from the dominator tree) --------------------------------------------

  #tree(b: Block): void {
    if (!b.loop) return this.#within(b)
    this.c.loop()
    this.height++
    this.#labels.push({ block: b, height: this.height, loop: true })
    this.#within(b)
    this.#labels.pop()
    this.close()
  }

  #within(b: Block): void {
    const merges = b.children.filter((x) => x.merge).sort((x, y) => y.order - x.order)
    for (const m of merges) {
      this.open('block')
      this.#labels.push({ block: m, height: this.height, loop: false })
    }
    this.#block(b)
    for (const m of merges.reverse()) {
      this.#labels.pop()
      this.close()
      this.#producer = undefined
      this.#tree(m)
    }
  }

  #edge(from: Block, e: Edge): void {
    if ('record' in e) return this.#leaveAt(e.record)
    if ('offset' in e) return this.#jumpTo(() => this.#linearOf(e.offset))
    const to = e.block
    if (to.order <= from.order || to.merge) {
      this.#canonical()
      for (let i = this.#labels.length - 1; i >= 0; i--) {
        const label = this.#labels[i] as { block: Block; height: number; loop: boolean }
        if (label.block === to && label.loop === to.order <= from.order) return this.br(label.height)
      }
      throw new Error('a branch has no label')
    }
    if (to.loop) this.#canonical()
    this.#tree(to)
  }

  #block(b: Block): void {
    const c = this.c
    if (b.loop) this.#producer = undefined
    const count = b.instructions.length
    const { budget } = this.#local
    c.get(budget).i32(count).op('i32.sub').tee(budget).i32(0).op('i32.lt_s')
    this.#unspent = count
    this.#instruction = b.instructions[0] as Instruction
    this.#bail()
    this.#condition = undefined
    this.#target = undefined
    b.instructions.forEach((i, n) => {
      this.#instruction = i
      this.#unspent = count - n
      this.#temporaries.reset()
      this.emit(i.decoded.effects)
    })
    const last = b.instructions.at(-1) as Instruction
    if (b.taken) {
      const condition = this.#branchCondition()
      if (condition) {
        this.use(condition)
        if (condition.ty === 'i64') c.i64(0n).op('i64.ne')
        const producer = this.#producer
        this.open('if')
        this.#edge(b, b.taken)
        this.close()
        this.#producer = producer
      } else return this.#edge(b, b.taken)
    }
    if (b.next) this.#edge(b, b.next)
    else if (this.#target) this.#return(b, this.#target)
    else if (!last.decoded.ends) throw new Error('a block has no end')
  }

  /** A computed jump: to where the region's own calls return, or out. */
  #return(b: Block, target: Value): void {
    const local = this.#local.exitLinear
    this.use(target)
    this.c.set(local)
    for (const to of b.returns) {
      const producer = this.#producer
      this.#linearOf(to.offset)
      this.c.get(local).op('i64.eq')
      this.open('if')
      this.#edge(b, { block: to })
      this.close()
      this.#producer = producer
    }
    this.#jumpTo(() => this.c.get(local))
  }

  /** The condition of the branch that ended the block, if it has one. */
  #branchCondition(): Value | undefined {
    return this.#condition
  }

  // ---- exits --------------------------------------------------------------------------------------------------

  #leaveAt(record: number): void {
    this.#canonical()
    this.c.i32(record).set(this.#local.exitRecord)
    this.br(RECORD_EXIT)
  }

  /** Leave for the interpreter at this instruction if the value on the stack is non-zero. */
  #bail(): void {
    const { budget } = this.#local
    const producer = this.#producer
    this.open('if')
    this.c.get(budget).i32(this.#unspent).op('i32.add').set(budget)
    this.#leaveAt(this.#instruction.fields)
    this.close()
    this.#producer = producer
  }

  #jumpTo(linear: () => void): void {
    this.#canonical()
    linear()
    this.c.set(this.#local.exitLinear)
    this.br(JUMP_EXIT)
  }

  // ---- state --------------------------------------------------------------------------------------------------

  #register(n: number): number {
    return (this.#registers[n] ??= this.c.local('i64'))
  }

  /** The byte offset from p that a slot names here. */
  #offset(slot: Slot): number {
    if (!slot.field) return slot.offset
    const at = { A: R.A, B: R.B, C: R.BASE, X: R.INDEX }[slot.field]
    return slot.offset + this.#byte(at)
  }

  #byte(at: number): number {
    const word = this.#records.i32[(this.#instruction.fields + at) >> 2] as number
    return (word >>> ((at & 3) * 8)) & 0xff
  }

  #get(slot: Slot, access: Access): void {
    const c = this.c
    if (slot.offset === -2) return void c.get(P)
    if (slot.offset === -1) return void c.i32(this.#byte({ A: R.A, B: R.B, C: R.BASE, X: R.INDEX }[slot.field ?? 'A']))
    const offset = this.#offset(slot)
    if (offset >= S.ZERO) return void c.get(P).mem(loadOp(access), offset)
    c.get(this.#register(offset >> 3))
    if (access === 64) return
    c.op('i32.wrap_i64')
    if (offset & 7) c.i32(8).op('i32.shr_u')
    if (access === 8) c.i32(0xff).op('i32.and')
    if (access === 16) c.i32(0xffff).op('i32.and')
  }

  #set(slot: Slot, access: Access, value: Value): void {
    const c = this.c
    const offset = this.#offset(slot)
    if (offset >= S.ZERO) {
      c.get(P)
      this.use(value)
      return void c.mem(storeOp(access, value.ty), offset)
    }
    const n = offset >> 3
    const register = this.#register(n)
    this.#written.add(n)
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

  protected tlbPart(part: number): void {
    if (part === S.TLB_EXEC) this.c.get(P).mem('i32.load', part)
    else this.c.get(part === S.TLB_READ ? this.#local.tlbRead : this.#local.tlbWrite)
  }
  protected generation(): void {
    this.c.get(this.#local.gen)
  }
  protected procedure(name: string): number {
    return this.#imports.procedure(name)
  }

  // ---- effects ------------------------------------------------------------------------------------------------

  protected effect(e: Effect): void {
    const c = this.c
    switch (e.kind) {
      case 'let':
        return this.let(e.result)
      case 'get':
        this.#get(e.slot, e.access)
        return this.assign(e.result)
      case 'set':
        return this.#set(e.slot, e.access, e.value)
      case 'immediate': {
        const at = (this.#instruction.fields + R[e.field]) >> 2
        const low = this.#records.i32[at] as number
        if (e.wide) c.i64((BigInt(this.#records.i32[at + 1] as number) << 32n) | BigInt(low >>> 0))
        else c.i32(low)
        return this.assign(e.result)
      }
      case 'address':
        this.#address()
        return this.assign(e.result)
      case 'nextRip':
        this.#afterInstruction()
        return this.assign(e.result)
      case 'load':
        return this.#load(e)
      case 'probe':
        this.#host(e.address, e.bytes, S.TLB_WRITE, 'tryWrite', e.result)
        return
      case 'loadProbed':
        this.use(e.probe)
        c.mem(loadOp(accessOf(e.result.ty, e.bytes)), 0)
        return this.assign(e.result)
      case 'store':
        return this.#store(e)
      case 'flags':
        return this.#flags(e)
      case 'condition':
        this.#conditionValue(e.code)
        return this.assign(e.result)
      case 'if':
        return this.#nestedIf(e)
      case 'fault':
        if (e.when) {
          this.use(e.when)
          if (e.when.ty === 'i64') c.i64(0n).op('i64.ne')
        } else c.i32(1)
        return this.#bail()
      case 'call':
        if (e.procedure === 'getFlags') this.#storeFlags()
        return this.call(e)
      case 'aim':
        if (e.target) this.#checkTarget(e.target)
        return
      case 'branch':
        return this.#branch(e.when)
      case 'jump':
        this.#checkTarget(e.target)
        if (this.#nested) return this.#jumpTo(() => this.use(e.target))
        this.#target = e.target
        return
      default:
        throw new Error(`${e.kind} cannot be translated`)
    }
  }

  #address(): void {
    const c = this.c
    const base = this.#byte(R.BASE)
    const index = this.#byte(R.INDEX)
    const disp = BigInt(this.#records.i32[(this.#instruction.fields + R.DISP) >> 2] as number)
    const form = this.#instruction.decoded.form
    const slot = (offset: number) => {
      if (offset === S.PAGE_LINEAR) c.get(this.#local.pageLinear)
      else c.get(this.#register(offset >> 3))
    }
    const plain = form === 'b' ? base : base & 0xf8
    let empty = true
    if (plain !== S.ZERO) {
      slot(plain)
      empty = false
    }
    if (form !== 'b' && (index & 0xf8) !== S.ZERO) {
      slot(index & 0xf8)
      if (index & 3) c.i64(BigInt(index & 3)).op('i64.shl')
      if (!empty) c.op('i64.add')
      empty = false
    }
    if (empty) c.i64(disp)
    else if (disp) c.i64(disp).op('i64.add')
    if (form === 'd') c.i64(0xffffffffn).op('i64.and')
    if (form === 'x' && (base & 7) !== NO_SEGMENT)
      c.get(P)
        .mem('i64.load', S.SEG_BASE + (base & 7) * 8)
        .op('i64.add')
  }

  #afterInstruction(): void {
    const { offset, length } = this.#instruction
    this.#linearOf(offset + length)
  }

  #linearOf(offset: number): void {
    this.c.get(this.#local.pageLinear).i64(BigInt(offset)).op('i64.add')
    if (this.#is32) this.c.i64(0xffffffffn).op('i64.and')
  }

  // ---- memory -------------------------------------------------------------------------------------------------

  #linear(address: Address): number {
    const known = this.locals.get(address.value)
    if (known !== undefined) return known
    const local = this.pool.take('i64')
    this.use(address.value)
    this.c.set(local)
    return local
  }

  /** The host address of an access in a local: from the TLB, else by the procedure, else leave. */
  #host(address: Address, bytes: number, part: number, procedure: string, result?: Value): number {
    const c = this.c
    const a = this.#linear(address)
    const entry = this.tlbMatch(a, bytes, part)
    const host = this.pool.take('i32')
    this.open('if')
    this.hostAddress(a, entry)
    c.set(host)
    c.else()
    c.get(P).get(a).i32(bytes).call(this.procedure(procedure)).tee(host).op('i32.eqz')
    this.#bail()
    // The walk may have given the address space a generation of its own.
    c.get(P).mem('i64.load', S.GEN).set(this.#local.gen)
    this.close()
    if (result) this.locals.set(result, host)
    return host
  }

  #load(e: Extract<Effect, { kind: 'load' }>): void {
    const host = this.#host(e.address, e.bytes, S.TLB_READ, 'tryRead')
    this.c.get(host).mem(loadOp(accessOf(e.result.ty, e.bytes)), 0)
    this.assign(e.result)
  }

  #store(e: Extract<Effect, { kind: 'store' }>): void {
    const host = e.probe ? undefined : this.#host(e.address, e.bytes, S.TLB_WRITE, 'tryWrite')
    if (host === undefined) this.use(e.probe as Value)
    else this.c.get(host)
    this.use(e.value)
    const { ty } = e.value
    this.c.mem(storeOp(ty === 'v128' || ty === 'f32' || ty === 'f64' ? ty : ((e.bytes * 8) as Access), ty), 0)
  }

  // ---- flags --------------------------------------------------------------------------------------------------

  #flags(e: Extract<Effect, { kind: 'flags' }>): void {
    const c = this.c
    const l = this.#local
    if (this.#nested) {
      c.i32((e.flags << 2) | Math.log2(e.bytes)).set(l.flagsKind)
      this.use(e.res)
      c.set(l.flagsRes)
      if (e.b) {
        this.use(e.b)
        c.set(l.flagsB)
      }
      return
    }
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
    this.#producer = { kind: e.flags, bytes: e.bytes, operands: kept as Producer['operands'] }
  }

  /** Make the local of the kind hold the flags' producer. */
  #canonical(): void {
    const c = this.c
    const l = this.#local
    const f = this.#producer
    if (!f) return
    c.i32((f.kind << 2) | Math.log2(f.bytes)).set(l.flagsKind)
    this.#producer = undefined
  }

  /** Put the flags into the state block, for a function that reads them there. */
  #storeFlags(): void {
    const c = this.c
    const l = this.#local
    const f = this.#producer
    this.#canonical()
    this.#producer = f
    c.get(P).get(l.flagsKind).mem('i32.store', S.FLAGS_KIND)
    c.get(P).get(l.flagsRes).mem('i64.store', S.FLAGS_RES)
    c.get(P).get(l.flagsB).mem('i64.store', S.FLAGS_B)
  }

  #conditionValue(code: number): void {
    const c = this.c
    if (!this.#directCondition(code & ~1)) {
      this.#storeFlags()
      c.get(P).call(this.#imports.condition(code & ~1))
    }
    if (code & 1) c.op('i32.eqz')
  }

  /** The condition from the known producer, if there is a short way: true when it is on the stack. */
  #directCondition(code: number): boolean {
    const c = this.c
    const f = this.#producer
    if (!f) return false
    const zero = (compare: string) => {
      c.get(this.#local.flagsRes).i64(0n).op(`i64.${compare}`)
      return true
    }
    if (f.kind === FlagsKind.EXPLICIT) {
      const bit = ({ 0: 0x800n, 2: 1n, 4: 0x40n, 6: 0x41n, 8: 0x80n, 10: 4n } as Record<number, bigint>)[code]
      if (bit === undefined) return false
      c.get(this.#local.flagsRes).i64(bit).op('i64.and').i64(0n).op('i64.ne')
      return true
    }
    if (code === 4) return zero('eq')
    if (code === 8) return zero('lt_s')
    if (f.kind === FlagsKind.LOGIC) {
      if (code === 0 || code === 2) {
        c.i32(0)
        return true
      }
      if (code === 6) return zero('eq')
      if (code === 12) return zero('lt_s')
      if (code === 14) return zero('le_s')
      return false
    }
    const compare = ({ 2: 'lt_u', 6: 'le_u', 12: 'lt_s', 14: 'le_s' } as Record<number, string>)[code]
    if (f.kind === FlagsKind.SUB && compare) {
      if (f.operands) {
        const { ty, a, b } = f.operands
        c.get(a).get(b).op(`${ty}.${compare}`)
      } else {
        const shift = BigInt(64 - 8 * f.bytes)
        const top = () => {
          if (shift) c.i64(shift).op('i64.shl')
        }
        c.get(this.#local.flagsRes).get(this.#local.flagsB).op('i64.add')
        top()
        c.get(this.#local.flagsB)
        top()
        c.op(`i64.${compare}`)
      }
      return true
    }
    if (code === 2 && (f.kind === FlagsKind.RES || f.kind === FlagsKind.INC || f.kind === FlagsKind.DEC)) {
      c.get(this.#local.flagsB).op('i32.wrap_i64').i32(1).op('i32.and')
      return true
    }
    return false
  }

  #nestedIf(e: Extract<Effect, { kind: 'if' }>): void {
    if (touchesFlags(e.then) || touchesFlags(e.else)) this.#canonical()
    this.#nested++
    this.if(e)
    this.#nested--
  }

  // ---- control ------------------------------------------------------------------------------------------------

  /** A near branch to a non-canonical address faults before anything changes. */
  #checkTarget(target: Value): void {
    if (this.#is32) return
    const c = this.c
    this.use(target)
    c.i64(16n).op('i64.shl').i64(16n).op('i64.shr_s')
    this.use(target)
    c.op('i64.ne')
    this.#bail()
  }

  #branch(when: Value | undefined): void {
    const c = this.c
    if (this.#instruction.decoded.form === 'p') {
      this.#condition = when
      if (when && !this.locals.has(when)) {
        this.use(when)
        this.assign(when)
      }
      return
    }
    const target = () => {
      const i32 = this.#records.i32
      const at = this.#instruction.fields
      c.get(this.#local.pageLinear)
        .i64(BigInt(i32[(at + R.IMM) >> 2] as number) + BigInt(i32[(at + R.DISP) >> 2] as number))
        .op('i64.add')
      if (this.#is32) c.i64(0xffffffffn).op('i64.and')
    }
    if (!when) return this.#jumpTo(target)
    const producer = this.#producer
    this.use(when)
    if (when.ty === 'i64') c.i64(0n).op('i64.ne')
    this.open('if')
    // The rest of the block is not executed.
    c.get(this.#local.budget)
      .i32(this.#unspent - 1)
      .op('i32.add')
      .set(this.#local.budget)
    this.#jumpTo(target)
    this.close()
    this.#producer = producer
  }
}

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
