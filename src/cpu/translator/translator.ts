/**
 * Chooses what to translate, and installs it. The run loop samples where the vCPU is every few ten thousand
 * instructions, which costs nothing in between; a line of code seen often enough becomes a region. Several regions make
 * one module.
 *
 * A region belongs to the decoded records of its page: it is entered through the `region` record that displaces its
 * first one, leaves at records, and goes when they go.
 */
import { allRows } from '../isa/table.ts'
import { forms, modes, recordVariant, endsStream, VARIANTS_PER_ROW } from '../isa/variants.ts'
import { REGION, type Interpreter } from '../interpreter/build.ts'
import { canTranslate } from '../interpreter/inline.ts'
import { Pseudo, PSEUDO } from '../interpreter/pseudo.ts'
import { Mode, R, S, Tlb } from '../layout.ts'
import { Code, ModuleWriter } from '../wasm/module.ts'
import { withBails } from './bails.ts'
import { RegionEmitter } from './emit.ts'
import { lineStart, regionGraph, type Decoded, type Records } from './graph.ts'
import { regionImports } from './imports.ts'
import { PageSamples } from './samples.ts'

/** Whether to translate: hot code, or (for tests) whatever is seen, at once. */
export type Translate = boolean | 'eager'

/** Samples in a line of code before it is translated. */
const THRESHOLD = 32
/** Entering a region costs as much as some instructions: what has no loop must have as many. */
const MIN_STRAIGHT = 24
/** As many times more of them in code that a region has already, but may not enter there. */
const COVERED = 8
const BATCH = 8
/** Samples that a region waits at most for others to make a module with. */
const PATIENCE = 16
const MAX_REGIONS = 4096

/** What the translator needs of the decoded code. */
export interface Arena {
  /** A copy of a record, followed by a goto to the record after it; 0 if there is no room. */
  copyRecord(record: number): number
}

/** A translated region, as listings show it. */
export interface Region {
  readonly table: number
  readonly offset: number
  /** Linear address where it was seen first. */
  readonly linear: bigint
  readonly instructions: number
  readonly bytes: number
  /** Samples in its code since it was made. */
  samples: number
}

interface Pending {
  readonly region: Region
  readonly copy: number
  readonly code: Code
  readonly offsets: readonly number[]
  /** The page's records are still those that it was made from. */
  valid: boolean
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
  readonly #memory: WebAssembly.Memory
  readonly #threshold: number
  readonly #batch: number
  readonly #asynchronous: boolean
  readonly #interpreter: Interpreter
  readonly #origins: (number | undefined)[]
  readonly #decoded: (Decoded | undefined)[] = []
  /** By index table. */
  readonly #samples = new Map<number, PageSamples<Region>>()
  readonly #installed = new Map<number, Installed[]>()
  readonly #pending = new Set<Pending>()
  readonly #free: number[] = []
  #next = 0
  #writer = new ModuleWriter()
  #batched: Pending[] = []
  /** Samples since the batch has its first region. */
  #waited = 0
  #arena!: Arena
  #imports!: WebAssembly.Imports
  /** How much was translated, how often all of it was dropped for room, and the longest pause, in milliseconds. */
  readonly stats = { regions: 0, modules: 0, bytes: 0, evictions: 0, milliseconds: 0, longestPause: 0 }

  constructor(
    memory: WebAssembly.Memory,
    interpreter: Interpreter,
    options: { eager: boolean; asynchronous: boolean },
  ) {
    this.#memory = memory
    this.#threshold = options.eager ? 1 : THRESHOLD
    this.#batch = options.eager ? 1 : BATCH
    this.#asynchronous = options.asynchronous
    this.#i32 = new Int32Array(memory.buffer)
    this.#u8 = new Uint8Array(memory.buffer)
    this.#u16 = new Uint16Array(memory.buffer)
    this.#u64 = new BigUint64Array(memory.buffer)
    this.#interpreter = interpreter
    this.regions = new WebAssembly.Table({ element: 'anyfunc', initial: MAX_REGIONS })
    this.#origins = handlerOrigins(interpreter)
  }

  /** The other parts of the core, once they exist. */
  connect(arena: Arena, system: WebAssembly.ModuleImports, conditions: WebAssembly.ModuleImports): void {
    this.#arena = arena
    this.#imports = { env: { memory: this.#memory }, host: { regions: this.regions }, system, interpreter: conditions }
  }

  /** Note where the vCPU is; translate from there when it has been seen often enough. */
  sample(p: number): void {
    if (this.#batched.length > 0 && ++this.#waited >= PATIENCE) {
      const began = performance.now()
      this.#compile()
      this.#spent(began)
    }
    const mode = this.#i32[(p + S.MODE) >> 2] as number
    if (!(mode & Mode.FLAT)) return
    const linear = this.#u64[(p + S.RIP) >> 3] as bigint
    const entry =
      (this.#i32[(p + S.TLB_EXEC) >> 2] as number) + Number((linear >> 8n) & BigInt((Tlb.ENTRIES - 1) * Tlb.ENTRY))
    const tag = (linear & ~0xfffn) | (this.#u64[(p + S.GEN) >> 3] as bigint)
    if (this.#u64[entry >> 3] !== tag) return
    const table = this.#i32[(entry + 8) >> 2] as number
    const offset = Number(linear & 0xfffn)
    let page = this.#samples.get(table)
    if (!page) this.#samples.set(table, (page = new PageSamples()))
    const owner = page.owner(offset)
    if (owner) owner.samples++
    // What is not decoded cannot be translated; when it is, this must still be its first sample.
    if (this.#threshold === 1 && !this.#startsInstruction(table, offset)) return
    const count = page.count(offset, this.#threshold === 1)
    if (count !== this.#threshold * (owner && this.#threshold > 1 ? COVERED : 1)) return
    const began = performance.now()
    this.#translate(page, table, offset, linear, !(mode & Mode.LONG))
    this.#spent(began)
  }

  /** The regions, busiest first. */
  list(): Region[] {
    const all = [...this.#installed.values()].flat().map(({ region }) => region)
    return all.sort((a, b) => b.samples - a.samples)
  }

  /** A page's records are dropped. */
  drop(table: number): void {
    for (const { index } of this.#installed.get(table) ?? []) this.#release(index)
    this.#installed.delete(table)
    for (const pending of this.#pending) if (pending.region.table === table) pending.valid = false
    this.#samples.delete(table)
  }

  /** All records are dropped. */
  dropAll(): void {
    for (const table of this.#installed.keys()) this.drop(table)
    for (const pending of this.#pending) pending.valid = false
    this.#samples.clear()
  }

  #release(index: number): void {
    this.regions.set(index, null)
    this.#free.push(index)
  }

  #spent(began: number): void {
    const pause = performance.now() - began
    this.stats.milliseconds += pause
    this.stats.longestPause = Math.max(this.stats.longestPause, pause)
  }

  #translate(page: PageSamples<Region>, table: number, seen: number, linear: bigint, is32: boolean): void {
    const records: Records = { i32: this.#i32, u16: this.#u16, table, decoded: (handler) => this.#facts(handler) }
    let offset = this.#threshold === 1 ? seen : lineStart(records, seen)
    if (offset !== seen && !this.#startsInstruction(table, offset)) offset = seen
    if (!this.#startsInstruction(table, offset)) return
    // Leaving at the entry must not lead back into the region: the interpreter goes on at the copy.
    const copy = this.#arena.copyRecord(this.#i32[(table >> 2) + offset] as number)
    const blocks = copy === 0 ? undefined : regionGraph(records, offset, copy)
    if (!blocks) return
    const offsets = blocks.flatMap((block) => block.instructions.map((i) => i.offset))
    const worthwhile = offsets.length >= MIN_STRAIGHT || blocks.some((block) => block.loop)
    if (this.#threshold > 1 && !worthwhile) return
    if (this.#batched.length === 0) {
      this.#writer = new ModuleWriter()
      this.#waited = 0
    }
    const code = new Code(REGION)
    new RegionEmitter(code, regionImports(this.#writer), records, is32).region(blocks)
    const region: Region = {
      table,
      offset,
      linear: (linear & ~0xfffn) | BigInt(offset),
      instructions: offsets.length,
      bytes: code.bytes.length,
      samples: 0,
    }
    page.own(offsets, region)
    const pending = { region, copy, code, offsets, valid: true }
    this.#pending.add(pending)
    this.#batched.push(pending)
    if (this.#batched.length >= this.#batch) this.#compile()
  }

  /** Whether the record of an offset is an instruction's own. */
  #startsInstruction(table: number, offset: number): boolean {
    const record = this.#i32[(table >> 2) + offset] as number
    return record !== 0 && (this.#u16[record >> 1] as number) >= PSEUDO.length
  }

  #facts(handler: number): Decoded {
    let known = this.#decoded[handler]
    if (!known) {
      const origin = this.#origins[handler]
      if (origin === undefined) throw new Error(`handler ${this.#interpreter.names[handler]} comes from no row`)
      const row = allRows()[Math.floor(origin / VARIANTS_PER_ROW)] as ReturnType<typeof allRows>[number]
      const variant = origin % VARIANTS_PER_ROW
      const mode = modes[variant % modes.length] as (typeof modes)[number]
      const form = forms[Math.floor(variant / modes.length) % forms.length] as (typeof forms)[number]
      const size = [0, 16, 32, 64][Math.floor(variant / modes.length / forms.length)] as number
      const real = row.sizes.includes(size) ? size : (row.sizes[0] as number)
      const effects = withBails(recordVariant(row, real, form, mode).effects)
      known = {
        effects,
        form,
        translatable: canTranslate(effects, form, mode),
        ends: endsStream(effects),
        jumps: effects.at(-1)?.kind === 'jump',
        calls: effects.some((e) => e.kind === 'nextRip'),
      }
      this.#decoded[handler] = known
    }
    return known
  }

  /** The batch becomes a module: in the background if that may be, else at once. */
  #compile(): void {
    const batch = this.#batched
    this.#batched = []
    const writer = this.#writer
    const functions = batch.map(() => writer.declare())
    batch.forEach(({ code }, i) => {
      writer.define(functions[i] as number, code)
      writer.export(`r${i}`, functions[i] as number)
    })
    const bytes = writer.bytes()
    this.stats.modules++
    this.stats.bytes += bytes.length
    if (this.#asynchronous) void this.#compileLater(batch, bytes)
    else this.#install(batch, new WebAssembly.Module(bytes))
  }

  async #compileLater(batch: readonly Pending[], bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const module = await WebAssembly.compile(bytes)
    const began = performance.now()
    this.#install(batch, module)
    this.#spent(began)
  }

  #install(batch: readonly Pending[], module: WebAssembly.Module): void {
    for (const pending of batch) this.#pending.delete(pending)
    const { exports } = new WebAssembly.Instance(module, this.#imports)
    batch.forEach((pending, i) => {
      if (pending.valid) this.#enter(pending, exports[`r${i}`] as CallableFunction)
    })
  }

  /** Put the region before the record at its entry. */
  #enter({ region, copy }: Pending, entry: CallableFunction): void {
    const { table, offset } = region
    if (!this.#startsInstruction(table, offset)) return
    if (this.#free.length === 0 && this.#next === MAX_REGIONS) this.#evict()
    const index = this.#free.pop() ?? this.#next++
    const record = this.#i32[(table >> 2) + offset] as number
    this.regions.set(index, entry)
    this.#u16[record >> 1] = Pseudo.region
    this.#i32[(record + R.DISP) >> 2] = index
    this.#i32[(record + R.IMM) >> 2] = copy
    const installed = { region, index, record, copy }
    const list = this.#installed.get(table)
    if (list) list.push(installed)
    else this.#installed.set(table, [installed])
    this.stats.regions++
  }

  /** Drop all regions and give the interpreter its records back; what is hot comes again. */
  #evict(): void {
    this.stats.evictions++
    for (const list of this.#installed.values())
      for (const { index, record, copy } of list) {
        this.#u8.copyWithin(record, copy, copy + R.SIZE)
        this.#release(index)
      }
    this.#installed.clear()
    this.#samples.clear()
  }
}

/** For each handler a variant that it serves, as row * VARIANTS_PER_ROW + variant. */
function handlerOrigins(interpreter: Interpreter): (number | undefined)[] {
  const origins: (number | undefined)[] = []
  interpreter.handlers.forEach((handler, i) => {
    if (handler !== 0xffff) origins[handler] ??= i
  })
  return origins
}
