/**
 * How control leaves a region's code: to the interpreter at a record, to a linear address, into another region by a
 * call that returns here, and back to the region that called this one.
 *
 * At each of them the state block has everything: a WebAssembly frame holds nothing that the machine needs, so whoever
 * gets another answer than RETURNED from a call hands it on, and all frames are gone.
 */
import { R, S } from '../layout.ts'
import { NOWHERE, Pseudo } from '../interpreter/pseudo.ts'
import { REGION_MARGIN } from '../interpreter/records.ts'
import { pageOf, type Instruction } from './blocks.ts'
import type { Counters, Reason } from './counters.ts'
import { alignment } from './jump-tables.ts'
import { RegionMemory } from './memory.ts'
import { DEPTH, EXPECTED, P } from './state.ts'

const RECORD_EXIT = 1
const JUMP_EXIT = 2
/** What a region returns that came to the place its caller expects; no record has this address. */
const RETURNED = 1
const FLAG_IF = 0x200
/** Frames of regions above the interpreter's. */
const MAX_DEPTH = 64

export abstract class RegionExits extends RegionMemory {
  /** Instructions of this block not yet begun, this one included. */
  protected unspent = 0
  /**
   * And those begun before, which the budget in the local still has. It loses them at exits, and before blocks that look
   * at it or to which several ways lead: so there is one budget at a time for which V8 needs a register.
   */
  protected owed = 0
  /** Registers changed since the state block had them. */
  protected changed = 0
  /** Registers of the whole region. */
  protected all = { used: 0, written: 0 }
  /**
   * The shared exits put back all that the region writes, instead of each place what is changed there: better where no
   * other code runs in between, since V8 then needs no registers for it at all these places.
   */
  protected together = false

  /** Registers that are needed after this instruction. */
  protected abstract liveAfter(): number

  // ---- the two shared exits -----------------------------------------------------------------------------------

  /** Go on at the record in the local. */
  protected recordExit(): void {
    if (this.together) this.storeState(this.all.written)
    this.#goOn(false)
  }

  /** Before a branch to a shared exit. */
  #toExit(): void {
    if (this.together) this.storeFlags()
    else this.storeState(this.changed)
  }

  /** Go on at the linear address in the local: at its record if the execute TLB knows it. */
  protected jumpExit(): void {
    const c = this.c
    if (this.together) this.storeState(this.all.written)
    this.#findRecord()
    c.get(this.local.exitRecord)
    this.open('if')
    this.#enterPage()
    this.#goOn(true)
    c.return()
    this.close()
    c.get(P).get(this.local.exitLinear).mem('i64.store', S.RIP).i32(0).return()
  }

  /** Registers by their bits, flags and budget to the state block. */
  protected storeState(mask: number): void {
    this.storeRegisters(mask)
    this.storeFlags()
    this.storeBudget()
  }

  /** The record in the local begins a region. */
  #isRegion(): void {
    this.c.get(this.local.exitRecord).mem('i32.load16_u', R.HANDLER).i32(Pseudo.region).op('i32.eq')
  }

  #storedBudget(): void {
    this.c.get(P).mem('i32.load', S.BUDGET)
  }

  /** For samples: whether this region leaves because the slice is nearly over. */
  #noteBudget(): void {
    this.c.get(P)
    this.#storedBudget()
    this.c.i32(REGION_MARGIN).op('i32.le_s').mem('i32.store', S.REGION_SPENT)
  }

  /** Unless the slice is nearly over: the linear address in the local begins no region and should perhaps. */
  #noteMiss(): void {
    const c = this.c
    this.#storedBudget()
    c.i32(REGION_MARGIN).op('i32.gt_s')
    this.open('if')
    c.get(P).get(this.local.exitLinear).mem('i64.store', S.MISSED)
    c.get(P).get(P).mem('i32.load', S.MISSES).i32(1).op('i32.add').mem('i32.store', S.MISSES)
    this.close()
  }

  /** Go on straight in the record's region if it begins one, else it is what the region returns. `expected`: what that region's caller expects. */
  #goOn(noted: boolean, expected: () => void = () => this.c.get(EXPECTED)): void {
    const c = this.c
    this.#isRegion()
    this.#storedBudget()
    c.i32(REGION_MARGIN).op('i32.gt_s').op('i32.and')
    this.open('if')
    c.get(P)
    expected()
    c.get(DEPTH).get(this.local.exitRecord).mem('i32.load', R.DISP)
    c.returnCallIndirect(this.imports.regionType, this.imports.regionTable)
    this.close()
    this.#noteBudget()
    if (noted) this.#noteMiss()
    c.get(this.local.exitRecord)
  }

  /** The record at the linear address in the local, 0 if it must be looked up. */
  #findRecord(): void {
    const c = this.c
    const { exitLinear, exitRecord } = this.local
    c.i32(0).set(exitRecord)
    const entry = this.tlbMatch(exitLinear, 1, S.TLB_EXEC)
    c.hint(true)
    this.open('if')
    this.entryField(entry, 8)
    c.get(exitLinear)
      .op('i32.wrap_i64')
      .i32(4095)
      .op('i32.and')
      .i32(2)
      .op('i32.shl')
      .op('i32.add')
      .mem('i32.load', 0)
      .set(exitRecord)
    this.close()
  }

  /** The page of the linear address in the local is the one that executes. */
  #enterPage(): void {
    this.c.get(P).get(this.local.exitLinear).i64(-4096n).op('i64.and').mem('i64.store', S.PAGE_LINEAR)
  }

  /** The budget in the local loses what it owes, and `more`. */
  protected pay(more = 0): void {
    const { budget } = this.local
    if (this.owed + more)
      this.c
        .get(budget)
        .i32(this.owed + more)
        .op('i32.sub')
        .set(budget)
  }

  // ---- leaving ------------------------------------------------------------------------------------------------

  protected leaveAt(record: number): void {
    this.#toExit()
    this.c.i32(record).set(this.local.exitRecord)
    this.br(RECORD_EXIT)
  }

  /** Leave for the interpreter at this instruction if the value on the stack is non-zero. */
  protected bail(reason: Reason = 'slow path', counting?: (counters: Counters) => void): void {
    const producer = this.producer
    this.c.hint(false)
    this.open('if')
    this.pay()
    if (this.counters) counting?.(this.counters)
    this.counters?.exit(this.c, reason, this.instruction.place, this.unspent)
    this.leaveAt(this.instruction.fields)
    this.close()
    this.producer = producer
  }

  protected jumpTo(linear: () => void): void {
    linear()
    this.c.set(this.local.exitLinear)
    this.#toExit()
    this.br(JUMP_EXIT)
  }

  /**
   * Open a block for each place (they are sorted): control leaves the first by one end, the second by two, ... as the
   * linear address in the local is that of the first place, the second, ..., and the block around them if of none.
   */
  protected switchOn(places: readonly number[]): void {
    const c = this.c
    if (places.length === 1) {
      const none = this.height
      this.open('block')
      c.get(this.local.exitLinear)
      this.linearOf(places[0] as number)
      c.op('i64.ne').hint(false)
      this.brIf(none)
      return this.br(this.height)
    }
    const least = places[0] as number
    const range = (places.at(-1) as number) - least
    const shift = alignment(places)
    const none = this.height
    for (const _ of places) this.open('block')
    const rest = this.pool.take('i64')
    c.get(this.local.exitLinear)
    this.linearOf(least)
    c.op('i64.sub')
    if (this.is32) c.op('i32.wrap_i64').op('i64.extend_i32_u')
    c.tee(rest).i64(BigInt(range)).op('i64.gt_u')
    this.brIf(none)
    const depths = new Map(places.map((place, i) => [(place - least) >> shift, i]))
    const fallback = places.length
    c.get(rest).op('i32.wrap_i64')
    if (shift) c.i32(shift).op('i32.rotr')
    const table = Array.from({ length: (range >> shift) + 1 }, (_, i) => depths.get(i) ?? fallback)
    c.brTable(table, fallback)
  }

  /** A computed jump to the linear address in the local ends the region: back to the caller if it goes where that expects, else to where it goes. */
  protected computedJump(returns: boolean): void {
    const c = this.c
    const { exitLinear } = this.local
    if (returns) {
      c.get(exitLinear).get(EXPECTED).op('i64.eq').hint(true)
      this.open('if')
      this.storeState(this.changed)
      this.counters?.exit(c, 'return', this.instruction.place)
      c.i32(RETURNED).return()
      this.close()
    }
    this.#toExit()
    this.counters?.exit(c, 'indirect jump', this.instruction.place)
    this.br(JUMP_EXIT)
  }

  /**
   * The interpreter's function does a last instruction, which sets RIP (SYSCALL, SYSRET, IRET): go on there unless
   * something waits. What this region's caller expects is forgotten: that was for its privilege.
   */
  protected leaveByFunction(i: Instruction): void {
    const c = this.c
    const { exitLinear, exitRecord } = this.local
    this.storeState(this.together ? this.all.written : this.changed)
    this.counters?.exit(c, 'procedure', i.place)
    c.get(P).i32(i.at)
    c.i32(this.records.word(i.at + R.HANDLER) & 0xffff)
    c.callIndirect(this.imports.handlerType, this.imports.handlerTable).set(exitRecord)
    c.get(P).get(P).mem('i64.load', S.BUDGET).i64(1n).op('i64.sub').mem('i64.store', S.BUDGET)
    c.get(exitRecord)
    c.get(P).mem('i32.load', S.LEAVE).op('i32.or')
    c.get(P).mem('i32.load', S.EXC).i32(0).op('i32.ge_s').op('i32.or')
    c.hint(false)
    this.open('if')
    this.#noteBudget()
    c.get(exitRecord).return()
    this.close()
    c.get(P).mem('i64.load', S.RIP).set(exitLinear)
    this.#findRecord()
    c.get(exitRecord).hint(true)
    this.open('if')
    this.#enterPage()
    this.#goOn(true, () => c.i64(NOWHERE))
    c.return()
    this.close()
    c.i32(0).return()
  }

  // ---- calls --------------------------------------------------------------------------------------------------

  /** The region of a call's target (a computed one's linear address is in the local) runs and returns here, where the registers `live` are needed; without one, or if it does not return, leave. */
  protected callRegion(call: Instruction, target: number | 'computed', live: number): void {
    const c = this.c
    const { exitLinear, exitRecord } = this.local
    this.open('block')
    const returned = this.height
    this.storeState(this.changed)
    this.producer = undefined
    if (typeof target === 'number') {
      this.linearOf(target)
      c.set(exitLinear)
    }
    const page = pageOf(call.place)
    const table = typeof target === 'number' && pageOf(target) === page ? this.records.table(page) : undefined
    if (table !== undefined)
      c.i32(table + ((target as number) - page * 4096) * 4)
        .mem('i32.load', 0)
        .set(exitRecord)
    else this.#findRecord()
    c.get(exitRecord).hint(true)
    this.open('if')
    if (table === undefined) this.#enterPage()
    this.#isRegion()
    c.hint(true)
    this.open('if')
    c.get(DEPTH).i32(MAX_DEPTH).op('i32.lt_s').hint(true)
    this.open('if')
    c.get(P)
    this.linearOf(call.place + call.length)
    c.get(DEPTH).i32(1).op('i32.add')
    c.get(exitRecord).mem('i32.load', R.DISP).callIndirect(this.imports.regionType, this.imports.regionTable)
    c.tee(exitRecord).i32(RETURNED).op('i32.eq').hint(true)
    this.brIf(returned)
    this.counters?.exit(c, 'callee left', call.place)
    c.get(exitRecord).return()
    this.close()
    this.close()
    this.counters?.exit(c, 'call', call.place)
    this.#noteBudget()
    this.#noteMiss()
    c.get(exitRecord).return()
    this.close()
    this.counters?.exit(c, 'call', call.place)
    c.get(P).get(exitLinear).mem('i64.store', S.RIP).i32(0).return()
    this.close()
    this.enterPageOf(call.place)
    this.loadState(live)
    this.c.get(P).mem('i32.load', S.BUDGET).set(this.local.budget)
    this.changed = 0
    this.#leaveIfTlbMoved(call)
  }

  /** Other code came back with other rules for accesses: go on behind this instruction. */
  #leaveIfTlbMoved({ place, length }: Instruction): void {
    if (!this.tlbMoved()) return
    this.c.hint(false)
    this.open('if')
    this.pay()
    this.counters?.exit(this.c, 'slow path', place)
    this.jumpTo(() => this.linearOf(place + length))
    this.close()
  }

  protected enterPageOf(place: number): void {
    this.c.get(P)
    this.linearOf(pageOf(place) * 4096)
    this.c.mem('i64.store', S.PAGE_LINEAR)
  }

  /**
   * STI. While no interrupt waits it may do without the shadow, and so without leaving, if the next instruction follows
   * at once: what is pending can only change when the slice ends or the host is asked.
   */
  protected enableInterrupts(i: Instruction): void {
    const c = this.c
    const { changed } = this
    this.canonical()
    for (const field of [S.CPL, S.IRQ_PENDING, S.NMI_PENDING]) c.get(P).mem('i32.load', field)
    c.op('i32.or').op('i32.or').op('i32.eqz').hint(true)
    this.open('if')
    c.get(P).get(P).mem('i32.load', S.SYSFLAGS).i32(FLAG_IF).op('i32.or').mem('i32.store', S.SYSFLAGS)
    c.else()
    this.perhaps(() => this.byFunction(i))
    this.close()
    this.changed = changed
  }

  /** The interpreter's function does an instruction; go on if that comes to the next one. */
  protected byFunction(i: Instruction): void {
    const c = this.c
    const { exitRecord } = this.local
    const record = this.records.copy(i.fields)
    if (record === 0) {
      c.i32(1)
      return this.bail('procedure')
    }
    // The function finds the budget as before its instruction.
    this.pay()
    this.storeState(this.changed)
    this.producer = undefined
    this.pay(-2 * this.owed)
    c.get(P).i32(record)
    c.i32(this.records.word(i.fields + R.HANDLER) & 0xffff)
    c.callIndirect(this.imports.handlerType, this.imports.handlerTable)
    c.tee(exitRecord)
      .i32(record + R.SIZE)
      .op('i32.ne')
      .hint(false)
    this.open('if')
    this.pay(1)
    this.storeBudget()
    this.counters?.exit(c, 'function left', i.place, this.unspent - 1)
    c.get(exitRecord).return()
    this.close()
    this.loadState(this.liveAfter())
    this.changed = 0
    const { owed } = this
    this.owed++
    this.#leaveIfTlbMoved(i)
    this.owed = owed
  }
}
