/**
 * Chooses what to translate, and installs it. The run loop samples where the vCPU is every few ten thousand
 * instructions, which costs nothing in between; a place seen often enough becomes the entry of a region. Several
 * regions make one module.
 *
 * A region belongs to the decoded records of its page: it is entered through the `region` record that displaces its
 * first one, leaves at records, and goes when they go.
 */
import { allRows } from '../isa/table.ts'
import { forms, modes, recordVariant, endsStream, VARIANTS_PER_ROW } from '../isa/variants.ts'
import { procedures } from '../isa/procedures.ts'
import { REGION, type Interpreter } from '../interpreter/build.ts'
import { canTranslate } from '../interpreter/inline.ts'
import { Pseudo, PSEUDO } from '../interpreter/pseudo.ts'
import { Mode, R, S, Tlb } from '../layout.ts'
import { Code, ModuleWriter } from '../wasm/module.ts'
import type { Ty } from '../wasm/opcodes.ts'
import { RegionEmitter, type RegionImports } from './emit.ts'
import { regionGraph, type Decoded, type Records } from './graph.ts'

/** Whether to translate: hot code, or (for tests) whatever is seen, at once. */
export type Translate = boolean | 'eager'

/** Samples at a place before it is translated. */
const THRESHOLD = 8
const BATCH = 8
const MAX_REGIONS = 65536

/** What the translator needs of the decoded code. */
export interface Arena {
  /** A copy of a record, followed by a goto to the record after it; 0 if there is no room. */
  copyRecord(record: number): number
}

interface Pending {
  table: number
  offset: number
  copy: number
  code: Code
}

export class Translator {
  readonly regions: WebAssembly.Table
  readonly #i32: Int32Array
  readonly #u16: Uint16Array
  readonly #u64: BigUint64Array
  readonly #memory: WebAssembly.Memory
  readonly #threshold: number
  readonly #batch: number
  readonly #interpreter: Interpreter
  readonly #origins: (number | undefined)[]
  readonly #decoded: (Decoded | undefined)[] = []
  readonly #samples = new Map<number, Map<number, number>>()
  /** Regions of each index table. */
  readonly #installed = new Map<number, number[]>()
  readonly #free: number[] = []
  #next = 0
  #pending: Pending[] = []
  #arena!: Arena
  #imports!: WebAssembly.Imports
  /** How much was translated. */
  readonly stats = { regions: 0, modules: 0, bytes: 0, milliseconds: 0 }

  constructor(memory: WebAssembly.Memory, interpreter: Interpreter, eager: boolean) {
    this.#memory = memory
    this.#threshold = eager ? 1 : THRESHOLD
    this.#batch = eager ? 1 : BATCH
    this.#i32 = new Int32Array(memory.buffer)
    this.#u16 = new Uint16Array(memory.buffer)
    this.#u64 = new BigUint64Array(memory.buffer)
    this.#interpreter = interpreter
    this.regions = new WebAssembly.Table({ element: 'anyfunc', initial: MAX_REGIONS })
    this.#origins = handlerOrigins(interpreter)
  }

  /** The other parts of the core, once they exist. */
  connect(arena: Arena, system: WebAssembly.ModuleImports, conditions: WebAssembly.ModuleImports): void {
    this.#arena = arena
    this.#imports = { env: { memory: this.#memory }, system, interpreter: conditions }
  }

  /** Note where the vCPU is; translate from there when it has been seen often enough. */
  sample(p: number): void {
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
    if (!page) this.#samples.set(table, (page = new Map()))
    const count = (page.get(offset) ?? 0) + 1
    page.set(offset, count)
    if (count === this.#threshold) this.#translate(table, offset, !(mode & Mode.LONG))
  }

  /** A page's records are dropped. */
  drop(table: number): void {
    const list = this.#installed.get(table)
    if (list) {
      for (const index of list) {
        this.regions.set(index, null)
        this.#free.push(index)
      }
      this.#installed.delete(table)
    }
    this.#pending = this.#pending.filter((x) => x.table !== table)
    this.#samples.delete(table)
  }

  /** All records are dropped. */
  dropAll(): void {
    for (const table of this.#installed.keys()) this.drop(table)
    this.#samples.clear()
    this.#pending = []
  }

  #translate(table: number, offset: number, is32: boolean): void {
    const began = performance.now()
    const records: Records = { i32: this.#i32, u16: this.#u16, table, decoded: (handler) => this.#facts(handler) }
    const record = this.#i32[(table >> 2) + offset] as number
    // Leaving at the entry must not lead back into the region: the interpreter goes on at the copy.
    const copy =
      record !== 0 && (this.#u16[record >> 1] as number) >= PSEUDO.length ? this.#arena.copyRecord(record) : 0
    const blocks = copy === 0 ? undefined : regionGraph(records, offset, copy)
    if (blocks) {
      const code = new Code(REGION)
      new RegionEmitter(code, imports.of, records, is32).region(blocks)
      this.#pending.push({ table, offset, copy, code })
      if (this.#pending.length >= this.#batch) this.#install()
    }
    this.stats.milliseconds += performance.now() - began
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
      const { effects } = recordVariant(row, real, form, mode)
      known = { effects, form, translatable: canTranslate(effects, form, mode), ends: endsStream(effects) }
      this.#decoded[handler] = known
    }
    return known
  }

  #install(): void {
    const batch = this.#pending
    this.#pending = []
    const writer = imports.writer()
    batch.forEach(({ code }, i) => {
      const index = writer.declare()
      writer.define(index, code)
      writer.export(`r${i}`, index)
    })
    const bytes = writer.bytes()
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), this.#imports)
    this.stats.modules++
    this.stats.bytes += bytes.length
    batch.forEach(({ table, offset, copy }, i) =>
      this.#enter(table, offset, copy, exports[`r${i}`] as CallableFunction),
    )
  }

  /** Put the region before the record at its entry. */
  #enter(table: number, offset: number, copy: number, region: CallableFunction): void {
    const record = this.#i32[(table >> 2) + offset] as number
    const handler = this.#u16[record >> 1] as number
    if (record === 0 || handler < PSEUDO.length) return
    const index = this.#free.pop() ?? (this.#next < MAX_REGIONS ? this.#next++ : -1)
    if (index < 0) return
    this.regions.set(index, region)
    this.#u16[record >> 1] = Pseudo.region
    this.#i32[(record + R.DISP) >> 2] = index
    this.#i32[(record + R.IMM) >> 2] = copy
    const list = this.#installed.get(table)
    if (list) list.push(index)
    else this.#installed.set(table, [index])
    this.stats.regions++
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

/** The imports of every module of regions, in one order. */
const imports = (() => {
  const names = ['tryRead', 'tryWrite', ...Object.keys(procedures)]
  const signature = (name: string): { params: Ty[]; results: Ty[] } => {
    if (name === 'tryRead' || name === 'tryWrite') return { params: ['i32', 'i64', 'i32'], results: ['i32'] }
    const { params, result } = procedures[name] as { params: readonly Ty[]; result?: Ty }
    return { params: ['i32', ...params], results: result ? [result] : [] }
  }
  const declare = (writer: ModuleWriter): RegionImports => {
    const condition = [0, 2, 4, 6, 8, 10, 12, 14].map((code) =>
      writer.import('interpreter', `condition${code}`, { params: ['i32'], results: ['i32'] }),
    )
    const indices = new Map(names.map((name) => [name, writer.import('system', name, signature(name))]))
    return { condition, procedure: (name) => indices.get(name) as number }
  }
  return {
    of: declare(new ModuleWriter()),
    writer: (): ModuleWriter => {
      const writer = new ModuleWriter()
      declare(writer)
      return writer
    },
  }
})()
