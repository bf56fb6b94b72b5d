/**
 * The decoded code of all pages: index tables (byte offset → record) and streams of records in one arena.
 *
 * A page is decoded for one MODE as far as straight lines go. Links between records stay inside a page, so dropping a
 * page (its bytes changed) is clearing its index table; its records stay as garbage until the arena is full, when
 * everything is dropped at once.
 */
import type { AbsentPages } from '../absent.ts'
import { M, Mode, R, S, Tlb } from '../layout.ts'
import type { Interpreter } from '../interpreter/build.ts'
import { Pseudo } from '../interpreter/pseudo.ts'
import { MAX_STRAIGHT } from '../interpreter/records.ts'
import { Decoder, Failed, MAX_LENGTH } from './decoder.ts'

const TABLE_BYTES = 4096 * 4
/** Room that one decode run can need: a record, a guard and a check for every byte of a page. */
const RUN_BYTES = 4096 * R.SIZE * 2

/** What streams need of the procedures. */
export interface StreamProcedures {
  fetchCheck(p: number, linear: bigint): bigint
  notifyMarked(page: number): void
  dropExec(p: number): void
  raise(p: number, vector: number, error: number): void
  raiseNoError(p: number, vector: number): void
}

/**
 * Where a debugger wants to stop. An instruction at such a place never gets into an index table, so the decoder is asked
 * each time that it is to be executed; nobody pays for this while there is no debugger.
 */
export interface Breaks {
  /** Non-zero: some breakpoint has these low 12 bits of its linear address. */
  readonly offsets: Uint8Array
  /** The instruction at RIP is about to be executed: true, it is not, and the slice ends. */
  hit(p: number): boolean
}

export class Streams {
  readonly #u8: Uint8Array
  readonly #i32: Int32Array
  readonly #u16: Uint16Array
  readonly #u64: BigUint64Array
  readonly #decoder: Decoder
  readonly #ends: Uint8Array
  readonly #pairs: ReadonlyMap<number, number>
  /** For the handler of a pair, its first instruction's. */
  readonly #firsts: ReadonlyMap<number, number>
  readonly #procedures: StreamProcedures
  readonly #absent: AbsentPages
  readonly #vcpus: () => readonly number[]
  /** Index table address by physical page * 16 + MODE. */
  readonly #tables = new Map<number, number>()
  /** Pages holding instructions that end in the key's page. */
  readonly #crossers = new Map<number, Set<number>>()
  readonly #crossing = new Uint8Array(2 * MAX_LENGTH)
  readonly #ramPages: number
  #next: number = M.CODE
  /** The arena from here on was never used: it is zero and takes no memory. */
  #unused: number = M.CODE
  /** Whoever built on the records of a page hears that they go. */
  onDrop: { drop(table: number): void; dropAll(): void } | undefined
  #breaks: Breaks | undefined
  /** Instructions decoded, and how often everything was dropped. */
  readonly stats = { decoded: 0, flushes: 0, drops: 0 }

  constructor(
    memory: WebAssembly.Memory,
    interpreter: Interpreter,
    procedures: StreamProcedures,
    absent: AbsentPages,
    vcpus: () => readonly number[],
  ) {
    this.#u8 = new Uint8Array(memory.buffer)
    this.#i32 = new Int32Array(memory.buffer)
    this.#u16 = new Uint16Array(memory.buffer)
    this.#u64 = new BigUint64Array(memory.buffer)
    this.#decoder = new Decoder(interpreter)
    this.#ends = interpreter.ends
    this.#pairs = interpreter.pairs
    this.#firsts = new Map([...interpreter.pairs].map(([key, pair]) => [pair, key >>> 16]))
    this.#procedures = procedures
    this.#absent = absent
    this.#vcpus = vcpus
    this.#ramPages = this.#i32[M.RAM_PAGES >> 2] as number
  }

  get breaks(): Breaks | undefined {
    return this.#breaks
  }

  /** They have changed, too: everything is decoded anew. */
  set breaks(breaks: Breaks | undefined) {
    this.#breaks = breaks
    this.#flush()
  }

  /** The index table of a physical page in this vCPU's MODE. */
  indexTable(p: number, page: number): number {
    const key = page * 16 + (this.#i32[(p + S.MODE) >> 2] as number)
    const known = this.#tables.get(key)
    if (known !== undefined) return known
    // After it an empty record: what comes before a record is always one.
    const bytes = TABLE_BYTES + R.SIZE
    if (this.#next + bytes > M.CODE_END) this.#flush()
    const table = this.#next
    this.#next += bytes
    this.#u8.fill(0, table, Math.max(table, Math.min(table + bytes, this.#unused)))
    this.#tables.set(key, table)
    return table
  }

  /** Marked lines of a page changed: nothing decoded from it is valid any more. */
  codeWritten(page: number): void {
    this.stats.drops++
    this.#u64[(M.CODE_MARKS >> 3) + page] = 0n
    this.#clearTables(page)
    const crossers = this.#crossers.get(page)
    if (crossers) {
      this.#crossers.delete(page)
      for (const other of crossers) this.#clearTables(other)
    }
    this.#bumpEpoch()
  }

  /** The guard record r found another page behind its own: decode its instruction anew. */
  recross(p: number, r: number): void {
    const entry = this.#execEntry(p, this.#i32[(p + S.PAGE_LINEAR) >> 2] as number)
    const offset = (this.#u16[(r + R.OFFSET_LENGTH) >> 1] as number) >> 4
    this.#i32[((this.#i32[(entry + 8) >> 2] as number) >> 2) + offset] = 0
  }

  /** Decode at RIP, whose page the execute TLB holds: the first record, or 0 with an exception raised. */
  decode(p: number): number {
    const mode = this.#i32[(p + S.MODE) >> 2] as number
    // Bits 0 to 31 are enough to find the entry and the place in the page.
    const low = ((this.#i32[(p + S.RIP) >> 2] as number) + (this.#i32[(p + S.SEG_BASE + 8) >> 2] as number)) >>> 0
    if (this.#breaks?.offsets[low & 4095]) {
      if (this.#breaks.hit(p)) return 0
      // Branches must not remember the record that is made now.
      this.#bumpEpoch()
    }
    const page = this.#i32[(this.#execEntry(p, low) + 12) >> 2] as number
    if (page >= this.#ramPages) {
      // Nothing answers: the bus reads all ones, and FF FF is undefined.
      this.#procedures.raiseNoError(p, 6)
      return 0
    }
    if (this.#next + RUN_BYTES > M.CODE_END) this.#flush()
    const table = this.indexTable(p, page)
    return this.#run(p, low & 4095, page, table >> 2, mode)
  }

  /** A copy of a record, followed by one that goes on as the stream does; 0 if there is no room. */
  copyRecord(record: number): number {
    if (this.#next + RUN_BYTES > M.CODE_END) return 0
    const copy = this.#next
    const after = record + R.SIZE
    this.#u8.copyWithin(copy, record, after + R.SIZE)
    this.#next += R.SIZE
    this.#single(copy)
    const handler = this.#u16[after >> 1] as number
    // A goto, or the stream's end, serves as it is.
    if (handler === Pseudo.goto || handler === Pseudo.nextPage || handler === Pseudo.lookup) this.#next += R.SIZE
    else {
      const place = this.#u16[(record + R.OFFSET_LENGTH) >> 1] as number
      this.#pseudo(Pseudo.goto, (place >> 4) + (place & 15), after, 0)
    }
    return copy
  }

  /** Another handler is put into a record: the instruction before it must not do this one, too. */
  breakPair(record: number): void {
    this.#single(record - R.SIZE)
  }

  #single(record: number): void {
    const first = this.#firsts.get(this.#u16[record >> 1] as number)
    if (first !== undefined) this.#u16[record >> 1] = first
  }

  #execEntry(p: number, linear: number): number {
    return (this.#i32[(p + S.TLB_EXEC) >> 2] as number) + ((linear >>> 8) & ((Tlb.ENTRIES - 1) * Tlb.ENTRY))
  }

  /** The linear address of the page after the one at RIP. */
  #nextPage(p: number, mode: number): bigint {
    const linear = (this.#u64[(p + S.RIP) >> 3] as bigint) + (this.#u64[(p + S.SEG_BASE + 8) >> 3] as bigint)
    return BigInt.asUintN(mode & Mode.LONG ? 64 : 32, (linear & ~0xfffn) + 4096n)
  }

  #run(p: number, start: number, page: number, table: number, mode: number): number {
    const i32 = this.#i32
    const d = this.#decoder
    const host = M.RAM + page * 4096
    this.#absent.need(page * 4096, 4096)
    const first = this.#next
    let offset = start
    let straight = 0
    let before = 0
    for (;;) {
      const known = i32[table + offset] as number
      if (known !== 0 && offset !== start) {
        this.#pseudo(Pseudo.goto, offset, known, 0)
        break
      }
      const stop = this.#breaks?.offsets[offset]
      if (stop && offset !== start) {
        this.#pseudo(Pseudo.lookup, offset, 0, 0)
        break
      }
      let length = d.decode(this.#u8, host + offset, host + 4096, offset, mode)
      let crossed = -1
      if (length === Failed.NEED_BYTES) {
        if (offset !== start) {
          this.#pseudo(Pseudo.lookup, offset, 0, 0)
          break
        }
        const other = this.#procedures.fetchCheck(p, this.#nextPage(p, mode))
        if ((i32[(p + S.EXC) >> 2] as number) >= 0) return 0
        crossed = Number(other)
        const here = 4096 - offset
        this.#crossing.set(this.#u8.subarray(host + offset, host + 4096))
        if (crossed < this.#ramPages) {
          this.#absent.need(crossed * 4096, MAX_LENGTH)
          this.#crossing.set(this.#u8.subarray(M.RAM + crossed * 4096, M.RAM + crossed * 4096 + MAX_LENGTH), here)
        } else this.#crossing.fill(0xff, here)
        length = d.decode(this.#crossing, 0, here + MAX_LENGTH, offset, mode)
      }
      if (length <= 0) {
        if (offset !== start) {
          this.#pseudo(Pseudo.lookup, offset, 0, 0)
          break
        }
        this.#next = first
        if (length === Failed.UNDEFINED) this.#procedures.raiseNoError(p, 6)
        else this.#procedures.raise(p, 13, 0)
        return 0
      }
      if (straight >= MAX_STRAIGHT) {
        this.#pseudo(Pseudo.check, offset, 0, 0)
        straight = 0
      }
      this.stats.decoded++
      if (!stop) i32[table + offset] = this.#next
      if (crossed >= 0) {
        this.#pseudo(Pseudo.guard, offset, 0, crossed)
        this.#mark(crossed, 0, offset + length - 4096)
        let set = this.#crossers.get(crossed)
        if (!set) this.#crossers.set(crossed, (set = new Set()))
        set.add(page)
      }
      const at = this.#next
      if (before === at - R.SIZE) this.#pair(before, d.handler)
      before = at
      this.#record(offset, length, d.branchTo >= 0 ? (i32[table + d.branchTo] as number) : d.disp)
      offset += length
      straight++
      if (this.#ends[d.handler]) break
      if (stop && offset < 4096) {
        this.#pseudo(Pseudo.lookup, offset, 0, 0)
        break
      }
      if (offset >= 4096) {
        this.#pseudo(Pseudo.nextPage, 4095, 0, offset - 4096)
        break
      }
      if ((mode & (Mode.LONG | Mode.FLAT)) === 0) {
        // The limit of CS, which may be another one next time, is checked where an instruction is looked up.
        this.#pseudo(Pseudo.lookup, offset, 0, 0)
        break
      }
    }
    this.#mark(page, start, Math.min(offset, 4096))
    return first
  }

  /** The record before one with this handler does both, if there is an arm for it. */
  #pair(before: number, handler: number): void {
    const pair = this.#pairs.get(((this.#u16[before >> 1] as number) << 16) | handler)
    if (pair !== undefined) this.#u16[before >> 1] = pair
  }

  #record(offset: number, length: number, disp: number): void {
    const d = this.#decoder
    const at = this.#next
    this.#u16[at >> 1] = d.handler
    this.#u16[(at >> 1) + 1] = (offset << 4) | length
    this.#i32[(at >> 2) + 1] = d.a | (d.b << 8) | (d.base << 16) | (d.index << 24)
    this.#i32[(at >> 2) + 2] = disp
    this.#i32[(at >> 2) + 3] = d.imm
    this.#next = at + R.SIZE
  }

  #pseudo(handler: number, offset: number, disp: number, imm: number): void {
    const at = this.#next
    this.#u16[at >> 1] = handler
    this.#u16[(at >> 1) + 1] = offset << 4
    this.#i32[(at >> 2) + 1] = 0
    this.#i32[(at >> 2) + 2] = disp
    this.#i32[(at >> 2) + 3] = imm
    this.#next = at + R.SIZE
  }

  /** Mark the 64-byte lines of [from, to) in a page as decoded. */
  #mark(page: number, from: number, to: number): void {
    if (page >= this.#ramPages) return
    const at = (M.CODE_MARKS >> 2) + page * 2
    const unmarked = this.#i32[at] === 0 && this.#i32[at + 1] === 0
    for (let line = from >> 6; line <= (to - 1) >> 6; line++) {
      const word = at + (line >> 5)
      this.#i32[word] = (this.#i32[word] as number) | (1 << (line & 31))
    }
    if (unmarked) this.#procedures.notifyMarked(page)
  }

  #clearTables(page: number): void {
    for (let mode = 0; mode < 16; mode++) {
      const table = this.#tables.get(page * 16 + mode)
      if (table === undefined) continue
      this.#u8.fill(0, table, table + TABLE_BYTES)
      this.onDrop?.drop(table)
    }
  }

  #bumpEpoch(): void {
    for (const p of this.#vcpus()) {
      const at = (p + S.CODE_EPOCH) >> 2
      this.#i32[at] = (this.#i32[at] as number) + 1
    }
  }

  /** The arena is full: drop everything. */
  #flush(): void {
    this.stats.flushes++
    for (const key of this.#tables.keys()) this.#u64[(M.CODE_MARKS >> 3) + Math.floor(key / 16)] = 0n
    for (const page of this.#crossers.keys()) this.#u64[(M.CODE_MARKS >> 3) + page] = 0n
    this.#tables.clear()
    this.#crossers.clear()
    this.#unused = Math.max(this.#unused, this.#next)
    this.#next = M.CODE
    this.onDrop?.dropAll()
    for (const p of this.#vcpus()) this.#procedures.dropExec(p)
    this.#bumpEpoch()
  }
}
