/**
 * A region as one WebAssembly function: (p, expected return, depth) → next record, 0 with RIP set, or RETURNED.
 *
 * General registers live in locals, flags as the operands of their last producer; both go back to the state block where
 * control leaves. Whatever is not the fast path (a TLB miss that is no plain RAM, a fault, a short budget) leaves for
 * the interpreter at the instruction's record, before that instruction has changed anything.
 */
import type { Effect, Value } from '../isa/ir.ts'
import { accessOf, loadOp } from '../isa/emitter.ts'
import { emitFloats, type FloatsHost } from '../isa/floats.ts'
import { R, S } from '../layout.ts'
import { budgetChecks } from './budgets.ts'
import { nestedLoops } from './dominators.ts'
import { deadAfter, flagsNeeded, withoutDeadFlags } from './dead-flags.ts'
import { RegionExits } from './exits.ts'
import { endPage, pageOf, type Block, type Edge, type Instruction } from './blocks.ts'
import { Liveness } from './liveness.ts'
import { EXPECTED, P } from './state.ts'
import { changedAt, needsOf, usageOf } from './usage.ts'

export class RegionEmitter extends RegionExits {
  /** Open labels, innermost last: the block that a br to them reaches; of a loop, the blocks that lead back by it. */
  readonly #labels: { block: Block; height: number; lasts?: Set<Block> }[] = []
  /** No foreign code runs while this region does. */
  #alone = false
  #changedAt = new Map<Block, number>()
  #liveness!: Liveness
  /** The block, and the number of its instruction. */
  #at!: { block: Block; number: number }
  #budgets = new Map<Block, number>()
  /** Pages of the region, and the local with a bit for each that was found since other code ran. */
  #pages: number[] = []
  readonly #pagesFound = this.c.local('i32')
  #flagsNeeded = new Set<Block>()
  #condition: Value | undefined
  #target: Value | undefined
  /** The target that was looked at already. */
  #aimed: Value | undefined

  /** Emit the whole region. */
  region(blocks: readonly Block[]): void {
    const c = this.c
    for (const i of blocks.flatMap((b) => b.instructions)) {
      const { used, written } = usageOf(this.records, i)
      this.all.used |= used
      this.all.written |= written
    }
    this.#pages = [...new Set(blocks.map(({ place }) => pageOf(place)))]
    this.needs = needsOf(blocks)
    this.#changedAt = changedAt(this.records, blocks)
    this.#liveness = new Liveness(this.records, blocks, this.#changedAt)
    this.#budgets = budgetChecks(blocks)
    this.#flagsNeeded = flagsNeeded(blocks, this.#budgets)
    this.counters?.entry(c)
    c.get(P).mem('i64.load', S.PAGE_LINEAR).set(this.local.base)
    c.get(P).mem('i32.load', S.BUDGET).set(this.local.budget)
    this.floats.prepare(blocks)
    this.prepareGroups(blocks)
    this.#alone = blocks.every((b) => b.call === undefined && b.instructions.every((i) => i.decoded.translatable))
    this.together = this.#alone
    const entry = blocks[0] as Block
    this.loadState(this.together ? this.all.used : this.#liveness.at(entry))
    this.open('block')
    this.open('block')
    this.#lookAtBudget(entry)
    if (entry.dispatches) this.#goes(() => this.linearOf(entry.place))
    this.#tree(entry)
    c.unreachable()
    this.close()
    this.producer = undefined
    this.jumpExit()
    this.close()
    this.recordExit()
    c.prepend(() => {
      this.#entryChecks((entry.dispatches ? (entry.targets[0] as Block) : entry).instructions[0] as Instruction)
      this.vectors.makeConstants()
    })
  }

  /** The interpreter goes on where a word of the state is not what it was taken for and stays so. */
  #entryChecks(entry: Instruction): void {
    const c = this.c
    if (this.tlbMoved()) c.hint(false).if().i32(entry.fields).return().end()
    if (!this.#alone) return
    for (const offset of this.steady) c.get(P).mem('i32.load', offset).hint(false).if().i32(entry.fields).return().end()
  }

  readonly #floatsHost: FloatsHost = {
    use: (v) => this.use(v),
    limit: (shape) => this.floats.limit(shape),
    vector: (value) => this.vector(value),
  }

  #steady(offset: number): void {
    if (this.steady.has(offset)) return
    this.steady.add(offset)
    if (this.#alone) return
    this.c.get(P).mem('i32.load', offset)
    this.bail()
  }

  // ---- structure (Ramsey, Beyond Relooper: code from the dominator tree) --------------------------------------------

  #tree(b: Block): void {
    if (!b.loop) return this.#within(b)
    const levels = nestedLoops(b)
    for (const lasts of levels) {
      this.c.loop()
      this.height++
      this.#labels.push({ block: b, height: this.height, lasts })
    }
    this.#within(b)
    for (const _ of levels) {
      this.#labels.pop()
      this.close()
    }
  }

  #within(b: Block): void {
    const merges = b.children.filter((x) => x.merge).sort((x, y) => y.order - x.order)
    for (const m of merges) {
      this.open('block')
      this.#labels.push({ block: m, height: this.height })
    }
    if (b.dispatches) this.#dispatch(b)
    else this.#block(b)
    for (const m of merges.reverse()) {
      this.#labels.pop()
      this.close()
      this.producer = undefined
      this.owed = 0
      this.#tree(m)
    }
  }

  #edge(from: Block, e: Edge): void {
    if (!('block' in e)) this.#payAll()
    if ('record' in e) {
      this.counters?.exit(this.c, 'procedure', this.instruction.place)
      return this.leaveAt(e.record)
    }
    if ('last' in e) return this.leaveByFunction(e.last)
    if ('place' in e) {
      this.counters?.exit(this.c, 'not decoded', e.place)
      return this.jumpTo(() => this.linearOf(e.place))
    }
    const to = e.block
    const crosses = pageOf(to.place) !== endPage(from)
    if (crosses || to.merge || to.loop || this.#budgets.has(to)) this.#payAll()
    if (crosses) this.#cross(to)
    this.#lookAtBudget(to)
    if (to.order <= from.order || to.merge) {
      this.#settleFlags(to)
      for (let i = this.#labels.length - 1; i >= 0; i--) {
        const { block, height, lasts } = this.#labels[i] as { block: Block; height: number; lasts?: Set<Block> }
        const leads = to.order <= from.order ? lasts?.has(from) : !lasts
        if (block === to && leads) return this.br(height)
      }
      throw new Error('a branch has no label')
    }
    if (to.loop) this.#settleFlags(to)
    this.#tree(to)
  }

  /** Where several blocks lead, the state block has the flags, if anybody can see them. */
  #settleFlags(to: Block): void {
    if (this.#flagsNeeded.has(to)) this.canonical()
    else this.producer = undefined
  }

  /** Before a block that looks, where the flags' producer is known: leave if the budget is too short. */
  #lookAtBudget(to: Block): void {
    const covered = this.#budgets.get(to)
    if (covered === undefined) return
    this.instruction = to.instructions[0] as Instruction
    this.unspent = 0
    this.c.get(this.local.budget).i32(covered).op('i32.lt_s')
    this.bail('budget')
  }

  /** Into another page: the execute TLB must still have it there, as it had if that was found since other code ran. */
  #cross(to: Block): void {
    const c = this.c
    const page = pageOf(to.place)
    const table = this.records.table(page) as number
    const producer = this.producer
    const linear = this.pool.take('i64')
    const tag = this.pool.take('i64')
    const there = this.pool.take('i32')
    const bit = 1 << this.#pages.indexOf(page)
    this.open('block')
    const valid = this.height
    c.get(this.#pagesFound).i32(bit).op('i32.and').hint(true)
    this.brIf(valid)
    this.linearOf(page * 4096)
    c.set(linear)
    this.open('block')
    const missed = this.height
    const entry = this.tlbMatch(linear, 1, S.TLB_EXEC, tag)
    c.op('i32.eqz').hint(false)
    this.brIf(missed)
    this.entryField(entry, 8)
    c.tee(there).i32(table).op('i32.ne').hint(false)
    this.brIf(missed)
    c.get(this.#pagesFound).i32(bit).op('i32.or').set(this.#pagesFound)
    this.br(valid)
    this.close()
    // For V8: see #hostByTlb.
    c.get(P).get(tag).mem('i64.store', S.MISSED_TAG)
    c.get(P).get(there).mem('i32.store', S.MISSED_HOST)
    this.counters?.exit(c, 'other page', to.place)
    this.jumpTo(() => (to.dispatches ? c.get(this.local.exitLinear) : this.linearOf(to.place)))
    this.close()
    this.producer = producer
    this.enterPageOf(to.place)
  }

  /** At the entry, and where other code ran: only the page that executes is known to be there. */
  protected override loadState(mask: number): void {
    super.loadState(mask)
    if (this.#pages.length < 2) return
    const page = this.instruction ? pageOf(this.instruction.place) : 0
    this.c.i32(1 << this.#pages.indexOf(page)).set(this.#pagesFound)
  }

  /** What is known where a block begins. */
  #enter(b: Block): void {
    if (b.loop) this.producer = undefined
    if (!this.#alone) this.steady.clear()
    this.floats.enter(b)
    this.enterGroups(b)
    this.changed = this.#changedAt.get(b) as number
  }

  /** Where the linear address in the local leads: to the entry, behind a call of it, or as any return. */
  #dispatch(b: Block): void {
    const c = this.c
    this.#enter(b)
    this.#payAll()
    const { changed } = this
    this.floats.leave(b)
    this.leaveGroups(b)
    for (const to of b.targets) {
      c.get(this.local.exitLinear)
      this.linearOf(to.place)
      c.op('i64.eq')
      this.open('if')
      this.#edge(b, { block: to })
      this.close()
      this.producer = undefined
      this.changed = changed
      this.owed = 0
    }
    this.instruction = (b.targets[0] as Block).instructions[0] as Instruction
    this.computedJump(true)
  }

  /** A linear address to the local. */
  #goes(to: () => void): void {
    to()
    this.c.set(this.local.exitLinear)
  }

  #block(b: Block): void {
    const c = this.c
    this.#enter(b)
    const count = b.instructions.length
    const before = this.owed
    this.unspent = count
    this.instruction = b.instructions[0] as Instruction
    this.counters?.block(c, b)
    this.#condition = undefined
    this.#target = undefined
    const effects = withoutDeadFlags(b.instructions, deadAfter(b, this.#flagsNeeded, this.#budgets))
    b.instructions.forEach((i, n) => {
      this.instruction = i
      this.unspent = count - n
      this.owed = before + n
      this.temporaries.reset()
      this.#at = { block: b, number: n }
      if (i.decoded.enablesInterrupts && n + 1 < count) this.enableInterrupts(i)
      else this.#one(i, effects[n] as readonly Effect[])
    })
    if (b.call === undefined) this.floats.leave(b)
    this.leaveGroups(b)
    this.owed = before + count
    this.#leave(b)
  }

  #payAll(): void {
    this.pay()
    this.owed = 0
  }

  protected liveAfter(): number {
    return this.#liveness.after(this.#at.block, this.#at.number)
  }

  #one(i: Instruction, effects: readonly Effect[]): void {
    if (i.crosses !== undefined) this.#crossingIsValid(i, i.crosses)
    if (!i.decoded.translatable) return this.byFunction(i)
    this.#merges = effects.some((e) => e.kind === 'flags' && e.merged !== undefined)
    this.#oldFlags = undefined
    this.floats.beginInstruction()
    this.beginAccesses()
    this.emit(effects)
    this.changed |= usageOf(this.records, i).written
  }

  /** An instruction with bytes in the next page: that must be the one it was decoded from. */
  #crossingIsValid(i: Instruction, page: number): void {
    const c = this.c
    const producer = this.producer
    const linear = this.pool.take('i64')
    this.linearOf((pageOf(i.place) + 1) * 4096)
    c.set(linear)
    const entry = this.tlbMatch(linear, 1, S.TLB_EXEC)
    this.entryField(entry, 12)
    c.i32(page).op('i32.eq').op('i32.and').op('i32.eqz').hint(false)
    this.open('if')
    this.pay()
    this.counters?.exit(c, 'other page', i.place, this.unspent)
    this.leaveAt(i.at)
    this.close()
    this.producer = producer
  }

  /** From a block's last instruction on. */
  #leave(b: Block): void {
    const c = this.c
    const last = b.instructions.at(-1) as Instruction
    const condition = this.#condition
    if (b.call !== undefined || !(b.next || b.taken)) this.#payAll()
    if (b.call !== undefined) {
      const live = b.next && 'block' in b.next ? this.#liveness.at(b.next.block) : 0
      if (b.call === 'computed') this.#computed(b, last)
      this.callRegion(last, b.call, live)
    } else if (b.taken && condition) {
      this.use(condition)
      if (condition.ty === 'i64') c.i64(0n).op('i64.ne')
      const { producer, changed, owed } = this
      this.open('if')
      this.#edge(b, b.taken)
      this.close()
      this.producer = producer
      this.changed = changed
      this.owed = owed
      this.instruction = last
    } else if (b.taken) {
      if ('block' in b.taken && b.taken.block.dispatches) {
        const { place } = b.taken.block
        this.#goes(() => (this.#target ? this.use(this.#target) : this.linearOf(place)))
      }
      return this.#edge(b, b.taken)
    }
    if (b.next) this.#edge(b, b.next)
    else if (this.#target) {
      this.#computed(b, last)
      this.computedJump(last.decoded.returns)
    } else if (!last.decoded.ends) throw new Error('a block has no end')
  }

  /** The address that a computed jump or call goes to is in the local, and it goes to one of the block's targets if that is there. */
  #computed(b: Block, last: Instruction): void {
    this.#goes(() => this.use(this.#target as Value))
    if (b.targets.length === 0) return
    const { producer, changed } = this
    this.open('block')
    this.switchOn(b.targets.map(({ place }) => place))
    for (const to of b.targets) {
      this.close()
      this.producer = producer
      this.changed = changed
      this.#edge(b, { block: to })
      this.owed = 0
    }
    this.close()
    this.producer = producer
    this.changed = changed
    this.instruction = last
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
        const at = this.instruction.fields + R[e.field]
        const low = this.records.word(at)
        if (e.wide) c.i64((BigInt(this.records.word(at + 4)) << 32n) | BigInt(low >>> 0))
        else c.i32(low)
        return this.assign(e.result)
      }
      case 'address':
        this.addressOf()
        return this.assign(e.result)
      case 'peek':
        return this.peek(e)
      case 'poke':
        return this.poke(e)
      case 'thisRip':
        this.linearOf(this.instruction.place)
        return this.assign(e.result)
      case 'nextRip':
        this.afterInstruction()
        return this.assign(e.result)
      case 'load':
        return this.loadEffect(e)
      case 'probe':
        this.hostOf(e.address, e.bytes, true, e.result)
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
      case 'floats': {
        const unknown = e.operands.filter(({ slot }) => !slot || !this.floats.isTame(this.slotOffset(slot), e))
        emitFloats(
          c,
          this.#floatsHost,
          e,
          unknown.map(({ value }) => value),
        )
        return this.assign(e.result)
      }
      case 'tame':
        return this.floats.tame(e, (slot) => this.slotOffset(slot))
      case 'steady':
        return this.#steady(e.offset)
      case 'if':
        return this.nestedIf(e)
      case 'fault':
        if (e.when) {
          this.use(e.when)
          if (e.when.ty === 'i64') c.i64(0n).op('i64.ne')
        } else c.i32(1)
        return this.bail()
      case 'call':
        if (e.procedure === 'getFlags') {
          this.#oldFlags = e.result
          if (this.#merges) return
          this.storeFlags()
        }
        return this.call(e)
      case 'aim':
        if (e.target) this.#checkTarget(e.target)
        this.#aimed = e.target
        return
      case 'branch':
        return this.#branch(e.when)
      case 'jump':
        if (e.target !== this.#aimed) this.#checkTarget(e.target)
        if (this.nested) {
          this.counters?.exit(c, 'indirect jump', this.instruction.place)
          this.changed |= usageOf(this.records, this.instruction).written
          this.pay(1)
          return this.jumpTo(() => this.use(e.target))
        }
        this.#target = e.target
        return
      default:
        throw new Error(`${e.kind} cannot be translated`)
    }
  }
  /** The old flags of an instruction that merges new ones with them are made where they are used, if they are. */
  protected override use(value: Value): void {
    if (value !== this.#oldFlags || !this.#merges) return super.use(value)
    this.storeFlags()
    this.c.get(P).call(this.procedure('getFlags'))
  }
  #oldFlags: Value | undefined
  #merges = false

  // ---- control ------------------------------------------------------------------------------------------------

  /** A near branch to a non-canonical address faults before anything changes. */
  #checkTarget(target: Value): void {
    if (this.is32) return
    const c = this.c
    // Where the caller expects a return, and where a guess leads, code executes.
    const { returns } = this.instruction.decoded
    const { block, number } = this.#at
    const [guess, ...others] = number === block.instructions.length - 1 ? block.targets : []
    const known = guess !== undefined && others.length === 0
    if (known || returns) {
      this.use(target)
      if (known) this.linearOf(guess.place)
      else c.get(EXPECTED)
      c.op('i64.ne').hint(false)
      this.open('if')
    }
    this.use(target)
    c.i64(16n).op('i64.shl').i64(16n).op('i64.shr_s')
    this.use(target)
    c.op('i64.ne')
    this.bail('non-canonical target')
    if (known || returns) this.close()
  }

  /** The block's end goes on from here. */
  #branch(when: Value | undefined): void {
    this.#condition = when
    if (!when || this.locals.has(when)) return
    this.use(when)
    this.assign(when)
  }
}
