/** A small WebAssembly module writer: enough for the interpreter and the translator, and quick (no tree, only bytes). */
import { memoryOp, opcode, tyByte, type Ty } from './opcodes.ts'

export interface Signature {
  params: readonly Ty[]
  results: readonly Ty[]
}

/** The byte stream of one function's body, with its locals. */
export class Code {
  bytes: number[] = []
  /** Parameters whose values are known. */
  readonly #fixed = new Map<number, number>()
  /** Conditional branches whose outcome is known to be likely or unlikely, by offset in `bytes`. */
  readonly #hints: { at: number; likely: boolean }[] = []
  readonly #locals: Ty[] = []
  readonly #params: number

  readonly signature: Signature

  constructor(signature: Signature) {
    this.signature = signature
    this.#params = signature.params.length
  }

  /** A fresh local's index. */
  local(ty: Ty): number {
    return this.#params + this.#locals.push(ty) - 1
  }

  u32(value: number): this {
    value >>>= 0
    do {
      const low = value & 0x7f
      value >>>= 7
      this.bytes.push(value ? low | 0x80 : low)
    } while (value)
    return this
  }

  i32(value: number): this {
    this.bytes.push(0x41)
    return this.#signed32(value | 0)
  }

  i64(value: bigint): this {
    this.bytes.push(0x42)
    if (value >= -0x80000000n && value <= 0x7fffffffn) return this.#signed32(Number(value))
    return this.#signed(BigInt.asIntN(64, value))
  }

  #signed32(value: number): this {
    for (;;) {
      const low = value & 0x7f
      value >>= 7
      if ((value === 0 && !(low & 0x40)) || (value === -1 && low & 0x40)) {
        this.bytes.push(low)
        return this
      }
      this.bytes.push(low | 0x80)
    }
  }

  #signed(value: bigint): this {
    for (;;) {
      const low = Number(value & 0x7fn)
      value >>= 7n
      if ((value === 0n && !(low & 0x40)) || (value === -1n && low & 0x40)) {
        this.bytes.push(low)
        return this
      }
      this.bytes.push(low | 0x80)
    }
  }

  f64(value: number): this {
    this.bytes.push(0x44, ...new Uint8Array(new Float64Array([value]).buffer))
    return this
  }

  f32(value: number): this {
    this.bytes.push(0x43, ...new Uint8Array(new Float32Array([value]).buffer))
    return this
  }

  v128(bytes: Uint8Array): this {
    this.bytes.push(0xfd, 12, ...bytes)
    return this
  }

  /** A numeric or vector instruction; `lanes` are its immediate bytes. */
  op(name: string, lanes?: readonly number[]): this {
    for (const byte of opcode(name).bytes) this.bytes.push(byte)
    if (lanes) this.bytes.push(...lanes)
    return this
  }

  /** A load or store with a constant offset; alignment is always given as 1 byte. */
  mem(name: string, offset: number): this {
    const bytes = memoryOp[name]
    if (!bytes) throw new Error(`no such memory instruction: ${name}`)
    for (const byte of bytes) this.bytes.push(byte)
    this.bytes.push(0)
    return this.u32(offset)
  }

  /** A parameter (i32) has always this value: `get` makes it a constant. */
  fix(parameter: number, value: number): this {
    this.#fixed.set(parameter, value)
    return this
  }

  get(local: number): this {
    const fixed = this.#fixed.get(local)
    if (fixed !== undefined) return this.i32(fixed)
    this.bytes.push(0x20)
    return this.u32(local)
  }
  set(local: number): this {
    this.bytes.push(0x21)
    return this.u32(local)
  }
  tee(local: number): this {
    this.bytes.push(0x22)
    return this.u32(local)
  }
  /** The `if` or `br_if` that comes next is mostly taken, or hardly ever. */
  hint(likely: boolean): this {
    this.#hints.push({ at: this.bytes.length, likely })
    return this
  }
  globalGet(index: number): this {
    this.bytes.push(0x23)
    return this.u32(index)
  }
  globalSet(index: number): this {
    this.bytes.push(0x24)
    return this.u32(index)
  }
  select(): this {
    this.bytes.push(0x1b)
    return this
  }
  drop(): this {
    this.bytes.push(0x1a)
    return this
  }
  call(index: number): this {
    this.bytes.push(0x10)
    return this.u32(index)
  }
  callIndirect(type: number, table: number): this {
    this.bytes.push(0x11)
    this.u32(type)
    return this.u32(table)
  }
  returnCallIndirect(type: number, table: number): this {
    this.bytes.push(0x13)
    this.u32(type)
    return this.u32(table)
  }
  block(ty?: Ty): this {
    this.bytes.push(0x02, ty ? tyByte[ty] : 0x40)
    return this
  }
  loop(): this {
    this.bytes.push(0x03, 0x40)
    return this
  }
  if(ty?: Ty): this {
    this.bytes.push(0x04, ty ? tyByte[ty] : 0x40)
    return this
  }
  else(): this {
    this.bytes.push(0x05)
    return this
  }
  end(): this {
    this.bytes.push(0x0b)
    return this
  }
  br(depth: number): this {
    this.bytes.push(0x0c)
    return this.u32(depth)
  }
  brIf(depth: number): this {
    this.bytes.push(0x0d)
    return this.u32(depth)
  }
  return(): this {
    this.bytes.push(0x0f)
    return this
  }
  unreachable(): this {
    this.bytes.push(0x00)
    return this
  }
  brTable(depths: readonly number[], fallback: number): this {
    this.bytes.push(0x0e)
    this.u32(depths.length)
    for (const depth of depths) this.u32(depth)
    return this.u32(fallback)
  }

  /** What `emit` writes goes before everything that was written. */
  prepend(emit: () => void): void {
    const rest = this.bytes
    const hints = this.#hints.splice(0)
    this.bytes = []
    emit()
    // They must stay in order, or the engine heeds none.
    for (const { at, likely } of hints) this.#hints.push({ at: at + this.bytes.length, likely })
    this.bytes = this.bytes.concat(rest)
  }

  #head(): number[] {
    const groups: [number, Ty][] = []
    for (const ty of this.#locals) {
      const last = groups.at(-1)
      if (last && last[1] === ty) last[0]++
      else groups.push([1, ty])
    }
    const head = new Code({ params: [], results: [] })
    head.u32(groups.length)
    for (const [count, ty] of groups) {
      head.u32(count)
      head.bytes.push(tyByte[ty])
    }
    return head.bytes
  }

  /** The function's entry of the code section, in pieces. */
  body(): number[][] {
    const head = this.#head()
    const size = new Code({ params: [], results: [] }).u32(head.length + this.bytes.length + 1)
    return [size.bytes, head, this.bytes, [0x0b]]
  }

  /** This function's entry of the branch hint section without its index: offsets count from the locals' declaration. */
  branchHints(): number[] {
    if (this.#hints.length === 0) return []
    const head = this.#head().length
    const c = new Code({ params: [], results: [] }).u32(this.#hints.length)
    for (const { at, likely } of this.#hints)
      c.u32(head + at)
        .u32(1)
        .u32(likely ? 1 : 0)
    return c.bytes
  }
}

/** Collects types, imports, functions and one table; `bytes()` is the module. */
export class ModuleWriter {
  readonly #types: Signature[] = []
  readonly #typeIndex = new Map<string, number>()
  readonly #imports: { module: string; name: string; type: number }[] = []
  readonly #importIndex = new Map<string, number>()
  readonly #functions: (Code | undefined)[] = []
  readonly #exports: { name: string; kind: number; index: number }[] = []
  #table: readonly number[] = []
  #globals = 0
  readonly #importedTables: { module: string; name: string }[] = []
  #sealed = false

  type(signature: Signature): number {
    const key = `${signature.params}>${signature.results}`
    let index = this.#typeIndex.get(key)
    if (index === undefined) {
      index = this.#types.push(signature) - 1
      this.#typeIndex.set(key, index)
    }
    return index
  }

  /** Index of an imported function; all imports come before the first `declare`. */
  import(module: string, name: string, signature: Signature): number {
    const key = `${module}.${name}`
    let index = this.#importIndex.get(key)
    if (index === undefined) {
      if (this.#sealed) throw new Error(`import ${key} after the first function`)
      index = this.#imports.push({ module, name, type: this.type(signature) }) - 1
      this.#importIndex.set(key, index)
    }
    return index
  }

  /** Reserve a function index; give its code with `define`. */
  declare(): number {
    this.#sealed = true
    return this.#imports.length + this.#functions.push(undefined) - 1
  }

  define(index: number, code: Code): void {
    this.#functions[index - this.#imports.length] = code
  }

  export(name: string, index: number): void {
    this.#exports.push({ name, kind: 0, index })
  }

  /** A global of type i64 that begins at 0, exported by its number. */
  global(): number {
    this.#exports.push({ name: `g${this.#globals}`, kind: 3, index: this.#globals })
    return this.#globals++
  }

  /** The module's own function table, after those that are imported; its number. */
  table(indices: readonly number[]): number {
    this.#table = indices
    return this.#importedTables.length
  }

  exportTable(name: string, index: number): void {
    this.#exports.push({ name, kind: 1, index })
  }

  /** Number of an imported function table; all come before the module's own. */
  importTable(module: string, name: string): number {
    const known = this.#importedTables.findIndex((t) => t.module === module && t.name === name)
    return known >= 0 ? known : this.#importedTables.push({ module, name }) - 1
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const sections: number[][] = []
    const u32 = (value: number) => new Code({ params: [], results: [] }).u32(value).bytes
    const text = (value: string) => {
      const b = [...new TextEncoder().encode(value)]
      return [...u32(b.length), ...b]
    }
    const section = (id: number, items: number[][]) => {
      const body = u32(items.length).concat(...items)
      sections.push([id, ...u32(body.length)], body)
    }
    for (const code of this.#functions) if (code) this.type(code.signature)
    section(
      1,
      this.#types.map((t) => [
        0x60,
        ...u32(t.params.length),
        ...t.params.map((x) => tyByte[x]),
        ...u32(t.results.length),
        ...t.results.map((x) => tyByte[x]),
      ]),
    )
    const memory = [...text('env'), ...text('memory'), 2, 1, ...u32(1), ...u32(65536)]
    const tables = this.#importedTables.map((t) => [...text(t.module), ...text(t.name), 1, 0x70, 0, 0])
    section(2, [
      memory,
      ...tables,
      ...this.#imports.map((i) => [...text(i.module), ...text(i.name), 0, ...u32(i.type)]),
    ])
    section(
      3,
      this.#functions.map((code) => {
        if (!code) throw new Error('a declared function has no code')
        return u32(this.type(code.signature))
      }),
    )
    if (this.#table.length) section(4, [[0x70, 0, ...u32(this.#table.length)]])
    // Mutable, i64.const 0.
    if (this.#globals)
      section(
        6,
        Array.from({ length: this.#globals }, () => [0x7e, 1, 0x42, 0, 0x0b]),
      )
    section(
      7,
      this.#exports.map((e) => [...text(e.name), e.kind, ...u32(e.index)]),
    )
    if (this.#table.length) {
      const own = tables.length
      const where = own ? [2, own, 0x41, 0, 0x0b, 0] : [0, 0x41, 0, 0x0b]
      section(9, [[...where, ...u32(this.#table.length), ...this.#table.flatMap(u32)]])
    }
    const hints = this.#functions.flatMap((code, i) => {
      const list = (code as Code).branchHints()
      return list.length > 0 ? [[...u32(i + this.#imports.length), ...list]] : []
    })
    if (hints.length > 0) {
      const body = [...text('metadata.code.branch_hint'), ...u32(hints.length), ...hints.flat()]
      sections.push([0, ...u32(body.length)], body)
    }
    const bodies = this.#functions.flatMap((code) => (code as Code).body())
    const count = u32(this.#functions.length)
    const size = bodies.reduce((sum, b) => sum + b.length, count.length)
    const head = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0].concat(...sections, [10], u32(size), count)
    const out = new Uint8Array(head.length + size - count.length)
    out.set(head)
    let at = head.length
    for (const body of bodies) {
      out.set(body, at)
      at += body.length
    }
    return out
  }
}
