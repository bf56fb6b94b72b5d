/**
 * Guest memory in a region. An access compares with the page that its group (page-keys.ts) had last, or is at a known
 * distance from others whose bytes were looked up together (runs.ts), else with the TLB's entry; a procedure walks on a
 * miss; and where that is no plain RAM, control leaves.
 *
 * A page that a group has is one that the TLB has, too: whatever may take entries from it (a walk, other code) makes all
 * groups forget theirs. So an access finds nothing here that the interpreter would not find there.
 */
import type { Access, Address, Effect, Value } from '../isa/ir.ts'
import { accessOf, loadOp, storeOp } from '../isa/emitter.ts'
import { Attr, R, S } from '../layout.ts'
import type { Block, Instruction } from './blocks.ts'
import { RegionFlags } from './flags.ts'
import { chooseGroups, pageKeys, type PageKey } from './page-keys.ts'
import { runsOf, type Near, type Run } from './runs.ts'
import { P } from './state.ts'

/** No page: the comparison clears all bits of an address that this has, whatever the size of the access. */
const NONE = 0x800n
const GROUP_SIZE = 24
const SIZES = new Set([1, 2, 4, 8, 16])
/** Accesses of a run that need less there than in a group. */
const MANY = 3
const CS = 1
const FS = 4
/** Of a segment's type: code, expand-down, writable (SDM Vol. 3A 3.4.5.1). */
const WRITABLE = 2
const KIND_OF_DATA = Attr.NULL | 8 | 4 | WRITABLE

/**
 * Offsets from p of what a group has: the linear pages that may be read and written, and what makes a linear address in
 * them the host's. In the state block, since as locals they took registers from the guest's: a loop whose locals are
 * too many moves them from stack slot to stack slot each time round.
 */
interface Group {
  read: number | undefined
  write: number | undefined
  addend: number
}

export abstract class RegionMemory extends RegionFlags {
  readonly #groups = new Map<PageKey, Group>()
  /** Groups that certainly have no page here. */
  #empty = new Set<Group>()
  readonly #atEnd = new Map<Block, ReadonlySet<Group>>()
  #keys = new Map<Value, PageKey>()
  /** FS and GS, where they are known to be plain. */
  readonly #plain = new Set<number>()
  /** Of the block. */
  #runs = new Map<Instruction, Map<Value, Near>>()
  /** Runs of the block whose host address is in a local. */
  #begun: Run[] = []
  readonly #hosts: number[] = []

  // ---- groups -------------------------------------------------------------------------------------------------

  protected prepareGroups(blocks: readonly Block[]): void {
    for (const [key, { reads, writes }] of chooseGroups(this.records, blocks)) {
      const at = S.GROUPS + GROUP_SIZE * this.#groups.size
      this.#groups.set(key, { read: reads ? at : undefined, write: writes ? at + 8 : undefined, addend: at + 16 })
    }
  }

  /** At the entry, or other code ran: no group has a page. */
  protected override loadState(mask: number): void {
    super.loadState(mask)
    this.#plain.clear()
    for (const group of this.#groups.values()) {
      this.#forget(group)
      this.#empty.add(group)
    }
  }

  #forget({ read, write }: Group): void {
    for (const page of [read, write]) if (page !== undefined) this.#setPage(page, () => this.c.i64(NONE))
  }

  #setPage(at: number, value: () => void): void {
    this.c.get(P)
    value()
    this.c.mem('i64.store', at)
  }

  /** A block knows what its only predecessor knew. */
  protected enterGroups(b: Block): void {
    const [only, ...others] = b.predecessors
    if (only) this.#empty = new Set(others.length === 0 ? this.#atEnd.get(only) : undefined)
    this.#runs = runsOf(this.records, b, this.is32)
    this.#begun = []
    this.#plain.clear()
  }
  protected leaveGroups(b: Block): void {
    this.#atEnd.set(b, new Set(b.call === undefined || b.targets.length > 0 ? this.#empty : this.#groups.values()))
  }

  /** What `emit` writes may be skipped. */
  protected perhaps(emit: () => void): void {
    const before = new Set(this.#empty)
    emit()
    this.#empty = before
  }

  protected beginAccesses(): void {
    if (this.#groups.size > 0) this.#keys = pageKeys(this.records, this.instruction)
  }

  // ---- accesses -----------------------------------------------------------------------------------------------

  #linear(address: Address, write: boolean): number {
    if (address.kind === 'segmented') return this.#linearInSegment(address.value, write)
    const known = this.locals.get(address.value)
    if (known !== undefined) return known
    const local = this.pool.take('i64')
    this.use(address.value)
    this.c.set(local)
    return local
  }

  /**
   * At an offset in the record's segment. MODE says that ES, CS, SS and DS are flat, and CS is never written. FS and GS
   * must reach 4 GiB upwards and be writable, which most do; in 64-bit code there is nothing to look at.
   */
  #linearInSegment(offset: Value, write: boolean): number {
    const c = this.c
    const segment = this.recordByte(R.BASE) & 7
    if (this.is32 && segment >= FS && !this.#plain.has(segment)) {
      c.get(P)
        .mem('i32.load', S.SEG_ATTR + segment * 4)
        .i32(KIND_OF_DATA)
        .op('i32.and')
        .i32(WRITABLE)
        .op('i32.ne')
      c.get(P)
        .mem('i32.load', S.SEG_LIMIT + segment * 4)
        .i32(-1)
        .op('i32.ne')
        .op('i32.or')
      this.bail()
      if (this.nested === 0) this.#plain.add(segment)
    } else if (this.is32 && segment === CS && write) {
      c.i32(1)
      this.bail()
    }
    const local = this.pool.take('i64')
    this.use(offset)
    const at = S.SEG_BASE + segment * 8
    if (this.is32) c.op('i32.wrap_i64').get(P).mem('i32.load', at).op('i32.add').op('i64.extend_i32_u')
    else c.get(P).mem('i64.load', at).op('i64.add')
    c.set(local)
    return local
  }

  /** A local with the host address of an access, but for a constant. */
  #hostOf(address: Address, bytes: number, write: boolean): { host: number; offset: number } {
    const a = this.#linear(address, write)
    const near = this.nested === 0 ? this.#runs.get(this.instruction)?.get(address.value) : undefined
    if (near && near.run.count >= MANY) return this.#hostInRun(a, bytes, write, near)
    // Of other sizes both ends may not be in the page of an aligned address.
    const key = SIZES.has(bytes) ? this.#keys.get(address.value) : undefined
    const group = key === undefined ? undefined : this.#groups.get(key)
    if (group) return { host: this.#hostInGroup(a, bytes, write, group), offset: 0 }
    if (near) return this.#hostInRun(a, bytes, write, near)
    return { host: this.#hostByTlb(a, bytes, write, undefined), offset: 0 }
  }

  /** The host address of an access in a local, whose value is `result`. */
  protected hostOf(address: Address, bytes: number, write: boolean, result: Value): void {
    const { host, offset } = this.#hostOf(address, bytes, write)
    if (offset) this.c.get(host).i32(offset).op('i32.add').set(host)
    this.locals.set(result, host)
  }

  #hostInRun(a: number, bytes: number, write: boolean, { run, distance }: Near): { host: number; offset: number } {
    const c = this.c
    const offset = distance - run.low
    if (run.host === undefined) this.#begin(run, a, offset)
    const host = this.pool.take('i32')
    c.get(run.host as number)
      .op('i32.eqz')
      .hint(false)
    this.open('if')
    this.seldom = true
    const found = this.#hostByTlb(a, bytes, write, undefined)
    this.seldom = false
    c.get(found).i32(offset).op('i32.sub').set(host)
    c.else()
    c.get(run.host as number).set(host)
    this.close()
    return { host, offset }
  }

  /** Ask the TLB for all bytes of a run. */
  #begin(run: Run, a: number, offset: number): void {
    const c = this.c
    const n = this.#begun.push(run) - 1
    const host = (run.host = this.#hosts[n] ??= c.local('i32'))
    let first = a
    if (offset) {
      first = this.pool.take('i64')
      c.get(a).i64(BigInt(-offset)).op('i64.add').set(first)
    }
    const tag = this.pool.take('i64')
    const entry = this.tlbMatch(first, run.high - run.low, run.write ? S.TLB_WRITE : S.TLB_READ, tag)
    c.hint(true)
    this.open('if')
    this.hostAddress(first, entry)
    c.set(host)
    c.else()
    c.get(P).get(tag).mem('i64.store', S.MISSED_TAG)
    c.i32(0).set(host)
    this.close()
  }

  #hostInGroup(a: number, bytes: number, write: boolean, group: Group): number {
    const c = this.c
    const page = (write ? group.write : group.read) as number
    const empty = this.#empty.delete(group)
    if (!empty) {
      // Both ends are in the page if the address is aligned.
      const last = this.pool.take('i64')
      c.get(P).mem('i64.load', page).set(last)
      c.get(a)
        .i64(BigInt(bytes - 1) - 4096n)
        .op('i64.and')
        .get(last)
        .op('i64.ne')
        .hint(false)
      this.open('if')
      // For V8: see #hostByTlb.
      c.get(P).get(last).mem('i64.store', S.MISSED_TAG)
    }
    this.seldom = !empty
    const host = this.#hostByTlb(a, bytes, write, group)
    this.seldom = false
    c.get(P).get(host).get(a).op('i32.wrap_i64').op('i32.sub').mem('i32.store', group.addend)
    const itsPage = () => c.get(a).i64(-4096n).op('i64.and')
    this.#setPage(page, itsPage)
    if (write && group.read !== undefined) this.#setPage(group.read, itsPage)
    // What may be read may not be written yet.
    else if (!write && group.write !== undefined) this.#setPage(group.write, () => c.i64(NONE))
    if (empty) return host
    this.close()
    c.get(a).op('i32.wrap_i64').get(P).mem('i32.load', group.addend).op('i32.add').set(host)
    return host
  }

  /**
   * From the TLB, else by the procedure, else leave. On a miss, two values go through memory, for V8: a tag that the
   * miss uses, too, is not loaded a second time by its comparison, and an address that comes from a load or an addition,
   * not from a call, has no high half to clear.
   */
  #hostByTlb(a: number, bytes: number, write: boolean, own: Group | undefined): number {
    const c = this.c
    const tag = this.pool.take('i64')
    const entry = this.tlbMatch(a, bytes, write ? S.TLB_WRITE : S.TLB_READ, tag)
    const host = this.pool.take('i32')
    c.hint(true)
    this.open('if')
    this.hostAddress(a, entry)
    c.set(host)
    c.else()
    const walk = this.procedure(write ? 'tryWrite' : 'tryRead')
    c.get(P).get(tag).mem('i64.store', S.MISSED_TAG)
    c.get(P).get(P).get(a).i32(bytes).call(walk).mem('i32.store', S.MISSED_HOST)
    c.get(P).mem('i32.load', S.MISSED_HOST).tee(host).op('i32.eqz')
    this.bail(write ? 'write' : 'read', (counters) => counters.access(c, P, a, bytes, write))
    // The walk may have given the address space a generation of its own.
    c.get(P).mem('i64.load', S.GEN).set(this.local.gen)
    for (const group of this.#groups.values()) if (group !== own && !this.#empty.has(group)) this.#forget(group)
    for (const run of this.#begun) c.i32(0).set(run.host as number)
    this.close()
    return host
  }

  protected loadEffect(e: Extract<Effect, { kind: 'load' }>): void {
    const { host, offset } = this.#hostOf(e.address, e.bytes, false)
    this.c.get(host).mem(loadOp(accessOf(e.result.ty, e.bytes)), offset)
    this.assign(e.result)
  }

  protected storeEffect(e: Extract<Effect, { kind: 'store' }>): void {
    const found = e.probe ? undefined : this.#hostOf(e.address, e.bytes, true)
    if (found) this.c.get(found.host)
    else this.use(e.probe as Value)
    this.use(e.value)
    const { ty } = e.value
    const access = ty === 'v128' || ty === 'f32' || ty === 'f64' ? ty : ((e.bytes * 8) as Access)
    this.c.mem(storeOp(access, ty), found?.offset ?? 0)
  }
}
