/**
 * Chooses what to translate, and installs it. The run loop samples where the vCPU is every few ten thousand
 * instructions, which costs nothing in between; a line of code seen often enough becomes a region. Several regions make
 * one module.
 *
 * A region belongs to the decoded records of its page: it is entered through the `region` record that displaces its
 * first one, leaves at records, and goes when they go.
 */
import type { AbsentPages } from '../absent.ts'
import type { Interpreter } from '../interpreter/build.ts'
import { Pseudo, PSEUDO } from '../interpreter/pseudo.ts'
import { M, Mode, R, S, Tlb } from '../layout.ts'
import { bytesAt, type MemoryView } from '../mapping.ts'
import type { ModuleWriter } from '../wasm/module.ts'
import { pageOf } from './blocks.ts'
import type { Counters } from './counters.ts'
import { Facts } from './facts.ts'
import { entriesFor, reach, sketch, type Sketch } from './graph.ts'
import { makeModule } from './make.ts'
import { maker, type Compiled } from './maker.ts'
import { between, moment, Pauses, type Moment } from './pauses.ts'
import { Profile, type RegionFacts } from './profile.ts'
import { LiveRecords } from './records.ts'
import { PageSamples } from './samples.ts'
import { takeSnapshot, type Snapshot } from './snapshot.ts'

/** Whether to translate: hot code, or (for tests) whatever is seen, at once. */
export type Translate = boolean | 'eager'

/** Samples of the interpreter in a line of code before it is translated: as much time as the running thread loses by it. */
const THRESHOLD = 64
/**
 * The same while a machine has had fewer of them than YOUNG, some 2.5 s of the interpreter: what it does first, a boot,
 * is done once. Then a region must pay for all threads that make it.
 */
const YOUNG_THRESHOLD = 512
const YOUNG = 64_000
/** Times that regions go to a place without one before it is translated, too: what that costs them. */
const MAX_MISSES = 16_000
/** Entering a region costs as much as some instructions: what has no loop and no callers must have as many. */
const MIN_STRAIGHT = 8
/** Functions that are tried as a place's, nearest first. */
const MAX_TRIED = 3
/** Regions that come along with one because it calls them; a sample makes one, so that no pause is long. */
const MAX_CALLEES = 3
const BATCH = 8
/** Samples that a region waits at most for others to make a module with. */
const PATIENCE = 16
const MAX_REGIONS = 4096

interface TranslatorOptions {
  eager: boolean
  /** Modules are made and compiled by another thread. */
  asynchronous: boolean
  /** There is one vCPU. */
  alone: boolean
  /** Regions that there are at most. */
  limit?: number | undefined
  /** Regions count what they do. */
  profile?: boolean | undefined
}

/** What the translator needs of the decoded code. */
export interface Arena {
  /** A copy of a record, followed by a goto to the record after it; 0 if there is no room. */
  copyRecord(record: number): number
  /** The record before this one does not do this one's instruction, too. */
  breakPair(record: number): void
}

/** A translated region, as listings show it. */
export interface Region {
  readonly table: number
  readonly offset: number
  /** Linear address where it was seen first. */
  readonly linear: bigint
  readonly instructions: number
  /** Of WebAssembly; 0 until it is made. */
  bytes: number
  /** Index tables of all its pages. */
  readonly tables: readonly number[]
  /** Samples in its code since it was made. */
  samples: number
}

/** A region from `entry` (that is `called`, perhaps by regions) which has `seen`. */
interface Wanted {
  readonly entry: number
  readonly seen: number
  readonly called: boolean
}

interface Pending {
  readonly region: Region
  readonly copy: number
  readonly snapshot: Snapshot
  /** The page's records are still those that it was made from. */
  valid: boolean
  /** What the profile wants to know, and its number there. */
  readonly facts: RegionFacts | undefined
  profiled: number | undefined
}

interface Installed {
  readonly region: Region
  readonly index: number
  readonly record: number
  readonly copy: number
}

export class Translator {
  readonly regions: WebAssembly.Table
  readonly #i32: Int32Array
  readonly #u8: Uint8Array
  readonly #u16: Uint16Array
  readonly #u64: BigUint64Array
  readonly #view: MemoryView
  readonly #interpreter: Interpreter
  readonly #memory: WebAssembly.Memory
  readonly eager: boolean
  readonly #batch: number
  readonly #asynchronous: boolean
  readonly #facts: Facts
  readonly #alone: boolean
  readonly #limit: number
  /** There if somebody wants to see the regions; then they count what they do. */
  readonly profile: Profile | undefined
  /** By index table. */
  readonly #samples = new Map<number, PageSamples<Region>>()
  readonly #installed = new Map<number, Installed[]>()
  readonly #pending = new Set<Pending>()
  readonly #free: number[] = []
  #next = 0
  #batched: Pending[] = []
  /** Where the regions made last call, and how many of these are still to be made. */
  #callees: { linear: bigint; table: number }[] = []
  #more = 0
  /** Samples since the batch has its first region. */
  #waited = 0
  #arena!: Arena
  #imports!: WebAssembly.Imports
  /**
   * How much was translated, how often all of it was dropped for room, and how long the vCPU waited; of how many
   * samples were how many of the interpreter.
   */
  readonly stats = {
    regions: 0,
    modules: 0,
    bytes: 0,
    evictions: 0,
    pauses: new Pauses(),
    samples: 0,
    interpreted: 0,
  }

  constructor(memory: WebAssembly.Memory, interpreter: Interpreter, absent: AbsentPages, options: TranslatorOptions) {
    this.#memory = memory
    this.eager = options.eager
    this.#batch = options.eager ? 1 : BATCH
    this.#asynchronous = options.asynchronous
    this.#alone = options.alone
    this.#limit = options.limit ?? MAX_REGIONS
    this.#i32 = new Int32Array(memory.buffer)
    this.#u8 = new Uint8Array(memory.buffer)
    this.#u16 = new Uint16Array(memory.buffer)
    this.#u64 = new BigUint64Array(memory.buffer)
    this.regions = new WebAssembly.Table({ element: 'anyfunc', initial: this.#limit })
    this.#interpreter = interpreter
    this.#facts = new Facts(interpreter)
    const ramBytes = (this.#i32[M.RAM_PAGES >> 2] as number) * 4096
    this.#view = { u8: this.#u8, u64: this.#u64, ramBytes, absent }
    if (options.profile) this.profile = new Profile(this.#view)
  }

  /** The other parts of the core, once they exist. */
  connect(arena: Arena, system: WebAssembly.ModuleImports, conditions: WebAssembly.ModuleImports): void {
    this.#arena = arena
    const profile = this.profile?.imports ?? {}
    const env = { memory: this.#memory }
    this.#imports = { env, host: { regions: this.regions }, system, interpreter: conditions, profile }
    if (this.#asynchronous && !this.profile) maker.prepare(this.#interpreter)
  }

  /**
   * Note where the vCPU is; translate from there when it has been seen often enough. `weight`: how many samples it
   * stands for. Whether a region was there.
   */
  sample(p: number, weight: number): boolean {
    if (this.#batched.length > 0 && (this.#waited += weight) >= PATIENCE) {
      const began = moment()
      this.#compile()
      this.#spent(began)
    }
    const mode = this.#i32[(p + S.MODE) >> 2] as number
    if (!(mode & Mode.FLAT)) return false
    this.#translateCallee(p)
    if (!this.eager) this.#countMisses(p)
    const low = this.#i32[(p + S.RIP) >> 2] as number
    const table = this.#tableOf(p, low, this.#i32[(p + S.RIP + 4) >> 2] as number)
    if (table === undefined) return false
    const offset = low & 0xfff
    const page = this.#samplesOf(table)
    const owner = page.owner(offset)
    if (owner) owner.samples += weight
    if (this.eager && !this.#startsInstruction(table, offset)) return false
    const translated = owner !== undefined && this.#i32[(p + S.REGION_SPENT) >> 2] !== 0
    this.#i32[(p + S.REGION_SPENT) >> 2] = 0
    this.stats.samples += weight
    if (!translated) this.stats.interpreted += weight
    else if (!this.eager) return true
    const { before, now } = page.count(offset, this.eager, weight)
    const threshold = this.#threshold()
    if (Math.floor(before / threshold) !== Math.floor(now / threshold)) {
      const began = moment()
      this.#translateAround(p, this.#u64[(p + S.RIP) >> 3] as bigint)
      this.#spent(began)
    }
    return translated
  }

  #threshold(): number {
    if (this.eager) return 1
    return this.stats.interpreted < YOUNG ? YOUNG_THRESHOLD : THRESHOLD
  }

  /** Where regions went that begins none: all that was counted is put down to the last such place. */
  #countMisses(p: number): void {
    const misses = this.#i32[(p + S.MISSES) >> 2] as number
    if (misses === 0) return
    this.#i32[(p + S.MISSES) >> 2] = 0
    const low = this.#i32[(p + S.MISSED) >> 2] as number
    const table = this.#tableOf(p, low, this.#i32[(p + S.MISSED + 4) >> 2] as number)
    const offset = low & 0xfff
    // Calls of regions miss, too, where they are nested too deep.
    if (table === undefined || !this.#startsInstruction(table, offset)) return
    if (this.#samplesOf(table).miss(offset, misses) < MAX_MISSES) return
    const began = moment()
    const linear = this.#u64[(p + S.MISSED) >> 3] as bigint
    this.#translateWithCallees(p, linear & ~0xfffn, table, { entry: offset, seen: offset, called: true })
    this.#spent(began)
  }

  /** The regions, busiest first. */
  list(): Region[] {
    return [...this.#all()].map(({ region }) => region).sort((a, b) => b.samples - a.samples)
  }

  #all(): Set<Installed> {
    return new Set([...this.#installed.values()].flat())
  }

  /** A page's records are dropped. */
  drop(table: number): void {
    for (const installed of this.#installed.get(table) ?? []) {
      const { region } = installed
      if (region.table !== table) this.#restore(installed)
      this.#release(installed.index)
      for (const other of region.tables) {
        if (other === table) continue
        const list = this.#installed.get(other) as Installed[]
        list.splice(list.indexOf(installed), 1)
        this.#samples.get(other)?.disown(region)
      }
    }
    this.#installed.delete(table)
    for (const pending of this.#pending)
      if (pending.valid && pending.region.tables.includes(table)) {
        pending.valid = false
        for (const other of pending.region.tables) this.#samples.get(other)?.disown(pending.region)
      }
    this.#samples.delete(table)
  }

  /** All records are dropped. */
  dropAll(): void {
    for (const { index } of this.#all()) this.#release(index)
    this.#installed.clear()
    for (const pending of this.#pending) pending.valid = false
    this.#samples.clear()
  }

  /** Give the interpreter the record back that a region displaced. */
  #restore({ record, copy, index }: Installed): void {
    const there = this.#u16[record >> 1] === Pseudo.region && this.#i32[(record + R.DISP) >> 2] === index
    if (there) this.#u8.copyWithin(record, copy, copy + R.SIZE)
  }

  #release(index: number): void {
    this.regions.set(index, null)
    this.#free.push(index)
  }

  #spent(began: Moment): void {
    this.stats.pauses.add(between(began, moment()))
  }

  /** The pages around a linear address as the vCPU maps them now. */
  #records(p: number, linear: bigint, table: number): LiveRecords {
    const is32 = this.#is32(p)
    const bits = is32 ? 32 : 64
    return new LiveRecords(linear, table, {
      i32: this.#i32,
      facts: this.#facts,
      is32,
      register: (offset) => this.#u64[(p + offset) >> 3] as bigint,
      tableAt: (page) => this.#tableAt(p, BigInt.asUintN(bits, linear + BigInt(page) * 4096n)),
      bytes: (at, count) => bytesAt(this.#view, p, at, count),
    })
  }

  /** What regions need not take from the state block. Only a kernel's accesses come to have other rules (SMAP). */
  #constants(p: number): Pick<Snapshot, 'state' | 'tlb'> {
    if (!this.#alone) return { state: undefined, tlb: undefined }
    const user = this.#i32[(p + S.CPL) >> 2] === 3
    return { state: p, tlb: user ? p + Tlb.AREA + Tlb.USER * Tlb.BANK : undefined }
  }

  #is32(p: number): boolean {
    return ((this.#i32[(p + S.MODE) >> 2] as number) & Mode.LONG) === 0
  }

  /** The index table of the page at a linear address, if the execute TLB has it. */
  #tableAt(p: number, linear: bigint): number | undefined {
    return this.#tableOf(p, Number(BigInt.asIntN(32, linear)), Number(BigInt.asIntN(32, linear >> 32n)))
  }

  /** The same by the address's two words. */
  #tableOf(p: number, low: number, high: number): number | undefined {
    const i32 = this.#i32
    const entry = ((i32[(p + S.TLB_EXEC) >> 2] as number) + ((low >>> 8) & ((Tlb.ENTRIES - 1) * Tlb.ENTRY))) >> 2
    const tag = (low & ~0xfff) | (i32[(p + S.GEN) >> 2] as number)
    return i32[entry] === tag && i32[entry + 1] === high ? (i32[entry + 2] as number) : undefined
  }

  /** Make regions for code that was seen at an address: its function if that is found, and what it calls. */
  #translateAround(p: number, linear: bigint): void {
    const table = this.#tableAt(p, linear) as number
    const seen = Number(linear & 0xfffn)
    const page = linear & ~0xfffn
    const { line, functions } = entriesFor(this.#records(p, page, table), seen)
    const tries = this.eager ? [seen] : [...functions.slice(0, MAX_TRIED), line, seen]
    for (const entry of tries) {
      const called = this.eager || functions.includes(entry)
      if (this.#translateWithCallees(p, page, table, { entry, seen, called })) return
    }
  }

  /** A region, and later some of those that it calls; whether there is one to be made. */
  #translateWithCallees(p: number, page: bigint, table: number, wanted: Wanted): boolean {
    this.#callees = []
    this.#more = MAX_CALLEES
    return this.#translateAndNote(p, page, table, wanted)
  }

  #translateAndNote(p: number, page: bigint, table: number, wanted: Wanted): boolean {
    const made = this.#translate(p, page, table, wanted)
    for (const place of made?.callees ?? []) {
      const linear = page + BigInt(place)
      const callee = this.#tableAt(p, linear)
      if (callee !== undefined) this.#callees.push({ linear, table: callee })
    }
    return made !== undefined
  }

  /** The next of those that the last region calls. */
  #translateCallee(p: number): void {
    const next = this.#callees.shift()
    if (!next || this.#more === 0 || this.#tableAt(p, next.linear) !== next.table) return
    this.#more--
    const entry = Number(next.linear & 0xfffn)
    const began = moment()
    this.#translateAndNote(p, next.linear & ~0xfffn, next.table, { entry, seen: entry, called: true })
    this.#spent(began)
  }

  /** Have a region made: what it consists of, or undefined if there is none to be made. */
  #translate(p: number, page: bigint, table: number, { entry, seen, called }: Wanted): Sketch | undefined {
    if (!this.#startsInstruction(table, entry) || this.#isPending(table, entry)) return undefined
    const records = this.#records(p, page, table)
    // Leaving at the entry must not lead back into the region: the interpreter goes on at the copy.
    const copy = this.#arena.copyRecord(this.#i32[(table >> 2) + entry] as number)
    if (copy === 0) return undefined
    const reached = reach(records, entry, copy, (fields) => records.outline(fields))
    const made = sketch(records, reached)
    const places = made.instructions.map(({ place }) => place)
    if (!places.includes(seen)) return undefined
    if (!called && places.length < MIN_STRAIGHT && !made.loop) return undefined
    const region: Region = {
      table,
      offset: entry,
      linear: page | BigInt(entry),
      instructions: places.length,
      bytes: 0,
      tables: [...new Set(places.map((place) => records.table(pageOf(place)) as number).concat(table))],
      samples: 0,
    }
    for (const place of places) {
      const of = pageOf(place)
      this.#samplesOf(records.table(of) as number).own(place - of * 4096, region)
    }
    const snapshot = takeSnapshot(
      records,
      { entry, copy, is32: this.#is32(p), ...this.#constants(p) },
      reached,
      made,
      (record) => this.#arena.copyRecord(record),
    )
    const facts = this.profile && this.#factsOf(p, page, entry, made)
    const pending = { region, copy, snapshot, valid: true, facts, profiled: undefined }
    this.#pending.add(pending)
    if (this.#batched.length === 0) this.#waited = 0
    this.#batched.push(pending)
    if (this.#batched.length >= this.#batch) this.#compile()
    return made
  }

  /** What the profile wants to know of a region. */
  #factsOf(p: number, page: bigint, entry: number, { instructions }: Sketch): RegionFacts {
    const code = new Map<number, Uint8Array>()
    for (const { place, length } of instructions) code.set(place, bytesAt(this.#view, p, page + BigInt(place), length))
    return { page, entry, mode: this.#i32[(p + S.MODE) >> 2] as number, code }
  }

  #isPending(table: number, offset: number): boolean {
    for (const { region, valid } of this.#pending)
      if (valid && region.table === table && region.offset === offset) return true
    return false
  }

  #samplesOf(table: number): PageSamples<Region> {
    let page = this.#samples.get(table)
    if (!page) this.#samples.set(table, (page = new PageSamples()))
    return page
  }

  /** Whether the record of an offset is an instruction's own. */
  #startsInstruction(table: number, offset: number): boolean {
    const record = this.#i32[(table >> 2) + offset] as number
    return record !== 0 && (this.#u16[record >> 1] as number) >= PSEUDO.length
  }

  /** The batch becomes a module: by another thread if that may be, else at once. */
  #compile(): void {
    const batch = this.#batched
    this.#batched = []
    this.stats.modules++
    // Counters are kept here.
    if (this.#asynchronous && !this.profile) void this.#compileElsewhere(batch)
    else this.#compileHere(batch)
  }

  async #compileElsewhere(batch: readonly Pending[]): Promise<void> {
    const snapshots = batch.map(({ snapshot }) => snapshot)
    const made = await maker.make(this.#interpreter, snapshots)
    const began = moment()
    if (made) this.#install(batch, made)
    else this.#compileHere(batch)
    this.#spent(began)
  }

  #compileHere(batch: readonly Pending[]): void {
    const { bytes, sizes } = makeModule(
      batch.map(({ snapshot }) => snapshot),
      this.#facts,
      this.profile && ((region, writer) => this.#counters(batch[region] as Pending, writer)),
    )
    this.#install(batch, { module: new WebAssembly.Module(bytes), bytes: bytes.length, sizes }, bytes)
  }

  /** Counters of the next region in a module. */
  #counters(pending: Pending, writer: ModuleWriter): { counters: Counters; done(): void } {
    const profile = this.profile as Profile
    const counters = profile.counters(writer)
    return { counters, done: () => (pending.profiled = profile.add(counters, pending.facts as RegionFacts)) }
  }

  #install(batch: readonly Pending[], { module, bytes, sizes }: Compiled, profiled?: Uint8Array): void {
    for (const pending of batch) this.#pending.delete(pending)
    this.stats.bytes += bytes
    if (!batch.some(({ valid }) => valid)) return
    const { exports } = new WebAssembly.Instance(module, this.#imports)
    batch.forEach((pending, i) => {
      pending.region.bytes = sizes[i] as number
      if (pending.profiled !== undefined && profiled) this.profile?.installed(pending.profiled, profiled, i, exports)
      if (pending.valid && pending.region.bytes > 0) this.#enter(pending, exports[`r${i}`] as CallableFunction)
    })
  }

  /** Put the region before the record at its entry. */
  #enter({ region, copy }: Pending, entry: CallableFunction): void {
    const { table, offset } = region
    if (!this.#startsInstruction(table, offset)) return
    if (this.#free.length === 0 && this.#next === this.#limit) this.#evict()
    const index = this.#free.pop() ?? this.#next++
    const record = this.#i32[(table >> 2) + offset] as number
    this.regions.set(index, entry)
    this.#arena.breakPair(record)
    this.#u16[record >> 1] = Pseudo.region
    this.#i32[(record + R.DISP) >> 2] = index
    this.#i32[(record + R.IMM) >> 2] = copy
    const installed = { region, index, record, copy }
    for (const each of region.tables) {
      const list = this.#installed.get(each)
      if (list) list.push(installed)
      else this.#installed.set(each, [installed])
    }
    this.stats.regions++
  }

  /** Drop all regions and give the interpreter its records back; what is hot comes again. */
  #evict(): void {
    this.stats.evictions++
    for (const installed of this.#all()) {
      this.#restore(installed)
      this.#release(installed.index)
    }
    this.#installed.clear()
    this.#samples.clear()
  }
}
