/** For tests of the procedures: a core with one vCPU, a few megabytes of RAM, and a host that records what it is asked. */
import { M, Mode, S } from '../layout.ts'
import { buildSystem } from '../system/build.ts'

/** The procedures about memory, as a test calls them. */
export interface MemoryProcedures {
  slowLoad(p: number, linear: bigint, size: number): bigint
  slowStore(p: number, linear: bigint, size: number, value: bigint): number
  slowLoad16(p: number, linear: bigint, size: number): number
  slowStore16(p: number, linear: bigint, size: number): number
  loadBytes(p: number, linear: bigint, length: number, stack: number, target: number): number
  storeBytes(p: number, linear: bigint, length: number, stack: number, source: number): number
  sysLoad(p: number, linear: bigint, size: number): bigint
  sysStore(p: number, linear: bigint, size: number, value: bigint): number
  probeWrite(p: number, linear: bigint, size: number): number
  segLinear(p: number, seg: number, offset: bigint, size: number, write: number): bigint
  lookup(p: number): number
  fetchCheck(p: number, linear: bigint): bigint
  physRead(p: number, pa: bigint, size: number): bigint
  physWrite(p: number, pa: bigint, size: number, value: bigint): void
  physCopyIn(p: number, pa: bigint, source: number, length: number): void
  physCopyOut(p: number, target: number, pa: bigint, length: number): void
  physFill(p: number, pa: bigint, value: number, length: number): void
  beforeWrite(p: number, pa: number, length: number): void
  notifyMarked(page: number): void
  resetTlb(p: number): void
  setBank(p: number): void
  flushAll(p: number): void
  flushNonGlobal(p: number): void
  flushPage(p: number, linear: bigint): void
  flushPcid(p: number, pcid: number): void
  flushExec(p: number): void
  dropExec(p: number): void
  switchAddressSpace(p: number, cr3: bigint, keep: number): void
  loadPdptes(p: number, cr3: bigint): number
  refreshState(p: number): void
  stringOp(p: number, op: number, size: number, how: number): number
  checkIo(p: number, port: number, size: number): number
}

export interface TestCore {
  view: DataView
  bytes: Uint8Array
  procedures: MemoryProcedures
  /** Every host call: name, then its arguments without `p`. */
  calls: (string | number)[][]
  /** Answers MMIO and port reads. */
  answer: (address: number, size: number) => number
  /** Answers decode: a record or 0. */
  decode: () => number
  /** Answers other host calls, by name. */
  host: Record<string, (...values: number[]) => number>
}

export const p = M.VCPU
export const RAM_BYTES = 0x400000

/** Index tables are at M.CODE, 16 KiB for each page of RAM. */
export const indexTableOf = (page: number): number => M.CODE + (page & 0xff) * 0x4000

export async function makeTestCore(): Promise<TestCore> {
  const memory = new WebAssembly.Memory({ initial: (M.RAM + RAM_BYTES) >>> 16, maximum: 65536 })
  const view = new DataView(memory.buffer)
  const bytes = new Uint8Array(memory.buffer)
  const core: Omit<TestCore, 'procedures'> = { view, bytes, calls: [], answer: () => 0, decode: () => 0, host: {} }
  const answers: Record<string, (a: number, b: number) => number> = {
    mmioRead: (pa, size) => core.answer(pa, size),
    portIn: (port, size) => core.answer(port, size),
    indexTable: indexTableOf,
    decode: () => core.decode(),
    codeWritten: (page) => {
      view.setBigUint64(M.CODE_MARKS + page * 8, 0n, true)
      return 0
    },
  }
  const module = await WebAssembly.compile(await buildSystem())
  const imports: WebAssembly.ModuleImports = {}
  for (const { module: from, name } of WebAssembly.Module.imports(module))
    if (from === 'host')
      imports[name] = (_p: number, ...values: number[]): number => {
        core.calls.push([name, ...values])
        return core.host[name]?.(...values) ?? answers[name]?.(values[0]!, values[1]!) ?? 0
      }
  const instance = await WebAssembly.instantiate(module, { env: { memory, abort: () => undefined }, host: imports })
  view.setUint32(M.RAM_PAGES, RAM_BYTES >>> 12, true)
  view.setUint32(M.VCPUS, 1, true)
  return Object.assign(core, { procedures: instance.exports as unknown as MemoryProcedures })
}

/** Guest RAM as a test writes and reads it, past the core. */
export class Ram {
  #view: DataView
  constructor(core: TestCore) {
    this.#view = core.view
  }
  read64 = (pa: number): bigint => this.#view.getBigUint64(M.RAM + pa, true)
  write64 = (pa: number, value: bigint): void => this.#view.setBigUint64(M.RAM + pa, value, true)
  read32 = (pa: number): number => this.#view.getUint32(M.RAM + pa, true)
  write32 = (pa: number, value: number): void => this.#view.setUint32(M.RAM + pa, value, true)
}

/** Reads and clears the pending exception. */
export function takeException(core: TestCore): { vector: number; error?: number } | undefined {
  const vector = core.view.getInt32(p + S.EXC, true)
  core.view.setInt32(p + S.EXC, -1, true)
  if (vector === -1) return undefined
  if (core.view.getInt32(p + S.EXC_HAS_ERROR, true) === 0) return { vector }
  return { vector, error: core.view.getInt32(p + S.EXC_ERROR, true) }
}

/** The state block's control registers by name. */
export function setState(core: TestCore, values: Partial<Record<keyof typeof S, number | bigint>>): void {
  for (const [name, value] of Object.entries(values)) {
    const address = p + S[name as keyof typeof S]
    if (typeof value === 'bigint') core.view.setBigUint64(address, value, true)
    else core.view.setInt32(address, value, true)
  }
}

export const PRESENT = 1n
export const WRITABLE = 2n
export const USER = 4n
export const LARGE = 0x80n
export const GLOBAL = 0x100n

/** 4-level page tables at `root`, with tables in the four pages from there on: the first 2 MiB, nothing present. */
export class PageTable {
  #ram: Ram
  readonly root: number
  constructor(core: TestCore, root: number) {
    this.#ram = new Ram(core)
    this.root = root
    for (let pa = root; pa < root + 0x4000; pa += 8) this.#ram.write64(pa, 0n)
    for (let level = 0; level < 3; level++)
      this.#ram.write64(root + level * 0x1000, BigInt(root + (level + 1) * 0x1000) | PRESENT | WRITABLE | USER)
  }
  /** The last-level entry of a linear page below 2 MiB. */
  set(linear: number, entry: bigint): void {
    this.#ram.write64(this.root + 0x3000 + (linear >>> 12) * 8, entry)
  }
  get(linear: number): bigint {
    return this.#ram.read64(this.root + 0x3000 + (linear >>> 12) * 8)
  }
  /** Map `linear` to `pa` with all rights, or with the given flags. */
  map(linear: number, pa: number, flags = PRESENT | WRITABLE | USER): void {
    this.set(linear, BigInt(pa) | flags)
  }
}

/** 64-bit mode with `table` as page table, CPL 0 unless said otherwise, PGE on, SMEP and SMAP off. */
export function enterLongMode(core: TestCore, table: PageTable, values: Parameters<typeof setState>[1] = {}): void {
  setState(core, {
    CR0: 0x80010001n, // PG, WP, PE
    CR3: BigInt(table.root),
    CR4: 0xa0n, // PGE, PAE
    EFER: 0xd00n, // NXE, LMA, LME
    CPL: 0,
    SYSFLAGS: 2,
    MODE: Mode.LONG | Mode.B | Mode.FLAT,
    EXC: -1,
    ...values,
  })
  core.procedures.resetTlb(p)
  setState(core, { LEAVE: 0 })
  core.calls.length = 0
}
