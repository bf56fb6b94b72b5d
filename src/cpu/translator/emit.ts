/**
 * A region as one WebAssembly function: (p) → next record, or 0 with RIP set.
 *
 * General registers live in locals, flags as the operands of their last producer; both go back to the state block at
 * the two exits only. Whatever is not the fast path (a TLB miss that is no plain RAM, a fault, a short budget) leaves
 * for the interpreter at the instruction's record, before that instruction has changed anything.
 */
import type { Effect, Value } from '../isa/ir.ts'
import { accessOf, loadOp } from '../isa/emitter.ts'
import { R, S } from '../layout.ts'
import { Pseudo } from '../interpreter/pseudo.ts'
import { REGION_MARGIN } from '../interpreter/records.ts'
import type { Block, Edge, Instruction } from './graph.ts'
import { RegionMemory } from './memory.ts'
import { P } from './state.ts'

const RECORD_EXIT = 1
const JUMP_EXIT = 2

export class RegionEmitter extends RegionMemory {
  /** Open labels, innermost last: the block that a br to them reaches. */
  readonly #labels: { block: Block; height: number; loop: boolean }[] = []
  /** Instructions of this block not yet begun, this one included: what an exit gives back. */
  #unspent = 0
  #condition: Value | undefined
  #target: Value | undefined

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
    this.#goOn(this.local.exitRecord)
    c.prepend(() => this.#prologue())
  }

  #prologue(): void {
    const c = this.c
    const l = this.local
    const load = (op: string, offset: number, local: number) => c.get(P).mem(op, offset).set(local)
    this.registers.forEach((local, n) => {
      if (local !== undefined) load('i64.load', n * 8, local)
    })
    this.vectors.load(P)
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
    const l = this.local
    for (const n of this.written)
      c.get(P)
        .get(this.register(n))
        .mem('i64.store', n * 8)
    this.vectors.store(P)
    c.get(P).get(l.flagsKind).mem('i32.store', S.FLAGS_KIND)
    c.get(P).get(l.flagsRes).mem('i64.store', S.FLAGS_RES)
    c.get(P).get(l.flagsB).mem('i64.store', S.FLAGS_B)
    c.get(P).get(l.budget).op('i64.extend_i32_s').mem('i64.store', S.BUDGET)
  }

  /** Go on at a record: straight in its region if it begins one, else it is what the region returns. */
  #goOn(record: number): void {
    const c = this.c
    c.get(record).mem('i32.load16_u', R.HANDLER).i32(Pseudo.region).op('i32.eq')
    c.get(this.local.budget).i32(REGION_MARGIN).op('i32.gt_s').op('i32.and')
    this.open('if')
    c.get(P).get(record).mem('i32.load', R.DISP)
    c.returnCallIndirect(this.imports.regionType, this.imports.regionTable)
    this.close()
    c.get(record)
  }

  /** Go on at a linear address: its record if the execute TLB knows it. */
  #jumpExit(): void {
    const c = this.c
    const linear = this.local.exitLinear
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
      this.producer = undefined
      this.#tree(m)
    }
  }

  #edge(from: Block, e: Edge): void {
    if ('record' in e) return this.#leaveAt(e.record)
    if ('offset' in e) return this.#jumpTo(() => this.linearOf(e.offset))
    const to = e.block
    if (to.order <= from.order || to.merge) {
      this.canonical()
      for (let i = this.#labels.length - 1; i >= 0; i--) {
        const label = this.#labels[i] as { block: Block; height: number; loop: boolean }
        if (label.block === to && label.loop === to.order <= from.order) return this.br(label.height)
      }
      throw new Error('a branch has no label')
    }
    if (to.loop) this.canonical()
    this.#tree(to)
  }

  #block(b: Block): void {
    const c = this.c
    if (b.loop) this.producer = undefined
    const count = b.instructions.length
    const { budget } = this.local
    c.get(budget).i32(count).op('i32.sub').tee(budget).i32(0).op('i32.lt_s')
    this.#unspent = count
    this.instruction = b.instructions[0] as Instruction
    this.bail()
    this.#condition = undefined
    this.#target = undefined
    b.instructions.forEach((i, n) => {
      this.instruction = i
      this.#unspent = count - n
      this.temporaries.reset()
      this.emit(i.decoded.effects)
    })
    const last = b.instructions.at(-1) as Instruction
    if (b.taken) {
      const condition = this.#branchCondition()
      if (condition) {
        this.use(condition)
        if (condition.ty === 'i64') c.i64(0n).op('i64.ne')
        const producer = this.producer
        this.open('if')
        this.#edge(b, b.taken)
        this.close()
        this.producer = producer
      } else return this.#edge(b, b.taken)
    }
    if (b.next) this.#edge(b, b.next)
    else if (this.#target) this.#return(b, this.#target)
    else if (!last.decoded.ends) throw new Error('a block has no end')
  }

  /** A computed jump: to where the region's own calls return, or out. */
  #return(b: Block, target: Value): void {
    const local = this.local.exitLinear
    this.use(target)
    this.c.set(local)
    for (const to of b.returns) {
      const producer = this.producer
      this.linearOf(to.offset)
      this.c.get(local).op('i64.eq')
      this.open('if')
      this.#edge(b, { block: to })
      this.close()
      this.producer = producer
    }
    this.#jumpTo(() => this.c.get(local))
  }

  /** The condition of the branch that ended the block, if it has one. */
  #branchCondition(): Value | undefined {
    return this.#condition
  }

  // ---- exits --------------------------------------------------------------------------------------------------

  #leaveAt(record: number): void {
    this.canonical()
    this.c.i32(record).set(this.local.exitRecord)
    this.br(RECORD_EXIT)
  }

  /** Leave for the interpreter at this instruction if the value on the stack is non-zero. */
  protected bail(): void {
    const { budget } = this.local
    const producer = this.producer
    this.c.hint(false)
    this.open('if')
    this.c.get(budget).i32(this.#unspent).op('i32.add').set(budget)
    this.#leaveAt(this.instruction.fields)
    this.close()
    this.producer = producer
  }

  #jumpTo(linear: () => void): void {
    this.canonical()
    linear()
    this.c.set(this.local.exitLinear)
    this.br(JUMP_EXIT)
  }
  // ---- effects ------------------------------------------------------------------------------------------------

  protected effect(e: Effect): void {
    const c = this.c
    switch (e.kind) {
      case 'let':
        return this.let(e.result)
      case 'get':
        this.getSlot(e.slot, e.access)
        return this.assign(e.result)
      case 'set':
        return this.setSlot(e.slot, e.access, e.value)
      case 'immediate': {
        const at = (this.instruction.fields + R[e.field]) >> 2
        const low = this.records.i32[at] as number
        if (e.wide) c.i64((BigInt(this.records.i32[at + 1] as number) << 32n) | BigInt(low >>> 0))
        else c.i32(low)
        return this.assign(e.result)
      }
      case 'address':
        this.addressOf()
        return this.assign(e.result)
      case 'nextRip':
        this.afterInstruction()
        return this.assign(e.result)
      case 'load':
        return this.loadEffect(e)
      case 'probe':
        this.hostOf(e.address, e.bytes, S.TLB_WRITE, 'tryWrite', e.result)
        return
      case 'loadProbed':
        this.use(e.probe)
        c.mem(loadOp(accessOf(e.result.ty, e.bytes)), 0)
        return this.assign(e.result)
      case 'store':
        return this.storeEffect(e)
      case 'flags':
        return this.flagsEffect(e)
      case 'condition':
        this.conditionValue(e.code)
        return this.assign(e.result)
      case 'if':
        return this.nestedIf(e)
      case 'fault':
        if (e.when) {
          this.use(e.when)
          if (e.when.ty === 'i64') c.i64(0n).op('i64.ne')
        } else c.i32(1)
        return this.bail()
      case 'call':
        if (e.procedure === 'getFlags') this.storeFlags()
        return this.call(e)
      case 'aim':
        if (e.target) this.#checkTarget(e.target)
        return
      case 'branch':
        return this.#branch(e.when)
      case 'jump':
        this.#checkTarget(e.target)
        if (this.nested) return this.#jumpTo(() => this.use(e.target))
        this.#target = e.target
        return
      default:
        throw new Error(`${e.kind} cannot be translated`)
    }
  }
  // ---- control ------------------------------------------------------------------------------------------------

  /** A near branch to a non-canonical address faults before anything changes. */
  #checkTarget(target: Value): void {
    if (this.is32) return
    const c = this.c
    this.use(target)
    c.i64(16n).op('i64.shl').i64(16n).op('i64.shr_s')
    this.use(target)
    c.op('i64.ne')
    this.bail()
  }

  #branch(when: Value | undefined): void {
    const c = this.c
    if (this.instruction.decoded.form === 'p') {
      this.#condition = when
      if (when && !this.locals.has(when)) {
        this.use(when)
        this.assign(when)
      }
      return
    }
    const target = () => {
      const i32 = this.records.i32
      const at = this.instruction.fields
      c.get(this.local.pageLinear)
        .i64(BigInt(i32[(at + R.IMM) >> 2] as number) + BigInt(i32[(at + R.DISP) >> 2] as number))
        .op('i64.add')
      if (this.is32) c.i64(0xffffffffn).op('i64.and')
    }
    if (!when) return this.#jumpTo(target)
    const producer = this.producer
    this.use(when)
    if (when.ty === 'i64') c.i64(0n).op('i64.ne')
    this.open('if')
    // The rest of the block is not executed.
    c.get(this.local.budget)
      .i32(this.#unspent - 1)
      .op('i32.add')
      .set(this.local.budget)
    this.#jumpTo(target)
    this.close()
    this.producer = producer
  }
}
