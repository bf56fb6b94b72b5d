/**
 * The regions of a run as somebody wants to see them: which guest code each has, how often each of its blocks was
 * begun, and where and why control left it. Regions that were dropped stay here.
 */
import { Leave, M, PageAttr, S } from '../layout.ts'
import { physicalAddress, type MemoryView } from '../mapping.ts'
import type { ModuleWriter } from '../wasm/module.ts'
import { Counters, type Exit, type Reason } from './counters.ts'

/** A guest instruction of a region. */
export interface GuestInstruction {
  readonly linear: bigint
  readonly bytes: Uint8Array
  /** How often its block was done, or begun. */
  executions: number
}

export interface HotExit {
  readonly reason: Reason
  /** What was the matter with an access. */
  readonly detail: string
  readonly linear: bigint
  readonly count: number
}

export interface HotRegion {
  readonly linear: bigint
  /** MODE. */
  readonly mode: number
  readonly entries: number
  /** Instructions executed. */
  readonly executed: number
  /** By address. */
  readonly instructions: readonly GuestInstruction[]
  /** Most frequent first. */
  readonly exits: readonly HotExit[]
  /** The module that it is in, and its number there. */
  readonly module: Uint8Array
  readonly index: number
}

export interface RegionFacts {
  /** Linear address of place 0: where the entry's page was mapped when the region was made. */
  readonly page: bigint
  readonly entry: number
  readonly mode: number
  /** The bytes of its instructions, by place. */
  readonly code: ReadonlyMap<number, Uint8Array>
}

interface Profiled extends RegionFacts {
  readonly counters: Counters
  module: Uint8Array
  index: number
  globals: WebAssembly.Exports
  /** Accesses that made it leave: by exit and what was the matter. */
  readonly accesses: Map<string, number>
}

const WRITE = 0x100

export class Profile {
  readonly #memory: MemoryView
  readonly #regions: Profiled[] = []

  constructor(memory: MemoryView) {
    this.#memory = memory
  }

  /** What the modules import for it. */
  get imports(): WebAssembly.ModuleImports {
    return { access: this.#access.bind(this) }
  }

  /** The counters of the next region. */
  counters(writer: ModuleWriter): Counters {
    return new Counters(writer, this.#regions.length)
  }

  /** That region is written; its number. */
  add(counters: Counters, facts: RegionFacts): number {
    const nothing = { module: new Uint8Array(0), index: 0, globals: {} }
    return this.#regions.push({ ...facts, ...nothing, counters, accesses: new Map() }) - 1
  }

  /** A region's module has its counters. */
  installed(region: number, module: Uint8Array, index: number, globals: WebAssembly.Exports): void {
    Object.assign(this.#regions[region] as Profiled, { module, index, globals })
  }

  #access(p: number, linear: bigint, how: number, region: number, exit: number): void {
    const { accesses } = this.#regions[region] as Profiled
    const key = `${exit} ${this.#matter(p >>> 0, linear, how & 0xff, (how & WRITE) !== 0)}`
    accesses.set(key, (accesses.get(key) ?? 0) + 1)
  }

  /** Why an access is not simply one to RAM. */
  #matter(p: number, linear: bigint, bytes: number, write: boolean): string {
    const { u8, u64, ramBytes } = this.#memory
    if (Number(linear & 0xfffn) + bytes > 4096) return 'crosses a page'
    if ((u8[p + S.LEAVE] as number) & (Leave.EVENT | Leave.CODE | Leave.HOST)) return 'an interrupt or a flush waits'
    const at = physicalAddress(this.#memory, p, BigInt.asUintN(64, linear))
    if (at === undefined) return 'page fault: not present'
    if (at >= BigInt(ramBytes)) return 'device'
    const page = Number(at >> 12n)
    if (write && u64[(M.CODE_MARKS >> 3) + page] !== 0n) return 'page with code'
    if ((u8[M.PAGE_ATTR + page] as number) & PageAttr.WATCHED) return 'watched page'
    return 'rights or alignment'
  }

  /** The regions that executed most, with those that were made again counted together; instructions in all of them. */
  hottest(limit: number): { regions: HotRegion[]; executed: number; made: number } {
    const merged = new Map<string, HotRegion>()
    for (const region of this.#regions) {
      const hot = read(region)
      const key = `${hot.linear} ${hot.mode} ${hot.instructions.map((i) => `${i.linear}:${Buffer.from(i.bytes).toString('hex')}`).join()}`
      const before = merged.get(key)
      merged.set(key, before ? sum(before, hot) : hot)
    }
    const all = [...merged.values()].sort((a, b) => b.executed - a.executed)
    const executed = all.reduce((total, region) => total + region.executed, 0)
    return { regions: all.slice(0, limit), executed, made: this.#regions.length }
  }
}

function read({ page, entry, mode, code, counters, module, index, globals, accesses }: Profiled): HotRegion {
  const value = (counter: number) => Number((globals[`g${counter}`] as WebAssembly.Global | undefined)?.value ?? 0n)
  const linearOf = (place: number) => {
    const at = page + BigInt(place)
    return mode & 1 ? BigInt.asUintN(64, at) : BigInt.asUintN(32, at)
  }
  const executions = new Map<number, number>()
  let executed = 0
  for (const { places, counter } of counters.blocks) {
    const begun = value(counter)
    executed += begun * places.length
    for (const place of places) executions.set(place, (executions.get(place) ?? 0) + begun)
  }
  // A block for which the budget is too short is not begun.
  for (const { reason, unspent, counter } of counters.exits)
    if (reason !== 'budget') executed -= unspent * value(counter)
  const instructions = [...code]
    .sort(([a], [b]) => a - b)
    .map(([place, bytes]) => ({ linear: linearOf(place), bytes, executions: executions.get(place) ?? 0 }))
  return {
    linear: linearOf(entry),
    mode,
    entries: value(counters.entries),
    executed,
    instructions,
    exits: mergeExits(counters.exits.flatMap((exit, i) => exitsOf(exit, i, linearOf(exit.place), value, accesses))),
    module,
    index,
  }
}

/** An exit as often as it was taken, by what was the matter if it is an access. */
function exitsOf(
  { reason, counter }: Exit,
  number: number,
  linear: bigint,
  value: (counter: number) => number,
  accesses: ReadonlyMap<string, number>,
): HotExit[] {
  const details = [...accesses].filter(([key]) => key.startsWith(`${number} `))
  if (details.length === 0) return [{ reason, detail: '', linear, count: value(counter) }]
  return details.map(([key, count]) => ({ reason, detail: key.slice(key.indexOf(' ') + 1), linear, count }))
}

function mergeExits(exits: readonly HotExit[]): HotExit[] {
  const merged = new Map<string, HotExit>()
  for (const exit of exits) {
    if (exit.count === 0) continue
    const key = `${exit.reason} ${exit.detail} ${exit.linear}`
    merged.set(key, { ...exit, count: exit.count + (merged.get(key)?.count ?? 0) })
  }
  return [...merged.values()].sort((a, b) => b.count - a.count)
}

function sum(a: HotRegion, b: HotRegion): HotRegion {
  return {
    ...b,
    entries: a.entries + b.entries,
    executed: a.executed + b.executed,
    instructions: b.instructions.map((i, n) => ({
      ...i,
      executions: i.executions + (a.instructions[n] as GuestInstruction).executions,
    })),
    exits: mergeExits([...a.exits, ...b.exits]),
  }
}
