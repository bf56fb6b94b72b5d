/**
 * Which accesses of a region probably stay in one page for a while: those by the same registers. Each such group has the
 * page of its last access in the state block and compares with that before it asks the TLB (memory.ts).
 *
 * That pays where a loop walks, its registers only moving by additions. It costs at the region's entry and after calls,
 * where the pages are forgotten, and where each access is in another page than the last. So groups are chosen.
 */
import type { Effect, Value } from '../isa/ir.ts'
import { NO_SEGMENT, R, S } from '../layout.ts'
import { pageOf, type Block, type Instruction, type Records } from './blocks.ts'
import { bodyOf, latchesOf } from './dominators.ts'
import { recordByte, slotByte, usageOf } from './usage.ts'

/** What names a group: the registers of the address, or the page that it is in. */
export type PageKey = string

/** Groups of a region at most: the state block has room for them (S.GROUPS), and all are forgotten wherever one page must be. */
const MOST = 8
/** What an access that finds another page than the last costs, in accesses that find the same. */
const COST = 2
/** How much more often than what is around it a loop's body runs, for the choice. */
const LOOP_WEIGHT = 8
/** An index below that mostly stays in a page. */
const MOST_INDEX = 1024

/** The groups of an instruction's accesses, by the values of their addresses. */
export function pageKeys(r: Records, i: Instruction): Map<Value, PageKey> {
  const keys = new Map<Value, PageKey>()
  const derive = (value: Value): void => {
    const { definition } = value
    if (definition.kind !== 'pure') return
    const [a, b] = definition.args
    const key = a && keys.get(a)
    const near = b === undefined || b.definition.kind === 'constant'
    if (key !== undefined && near && NEAR.has(definition.op)) keys.set(value, key)
  }
  const visit = (effects: readonly Effect[]): void => {
    for (const e of effects) {
      if (e.kind === 'let') derive(e.result)
      else if (e.kind === 'get' && (e.access === 64 || e.access === 32)) {
        const at = slotByte(r, i, e.slot)
        if (at !== undefined && at < S.ZERO) keys.set(e.result, `r${at >> 3}`)
      } else if (e.kind === 'address') keys.set(e.result, addressKey(r, i))
      else if (e.kind === 'if') {
        visit(e.then)
        visit(e.else)
      }
    }
  }
  visit(i.decoded.effects)
  return keys
}

/** Operations with a constant that keep an address near; masks are those of 32 bits. */
const NEAR = new Set(['i64.add', 'i64.sub', 'i64.and', 'i32.add', 'i32.sub', 'i32.wrap_i64', 'i64.extend_i32_u'])

function addressKey(r: Records, i: Instruction): PageKey {
  const { form } = i.decoded
  const plain = form === 'b'
  const base = recordByte(r, i, R.BASE)
  const segment = plain || form === 'd' ? NO_SEGMENT : base & 7
  const register = plain ? base : base & 0xf8
  const index = plain ? S.ZERO : recordByte(r, i, R.INDEX) & 0xf8
  let key = register < S.ZERO ? `r${register >> 3}` : ''
  // What is on the stack is small.
  if (index < S.ZERO && register !== S.RSP) key += `r${index >> 3}`
  if (segment !== NO_SEGMENT) key += `s${segment}`
  if (register < S.ZERO) return key
  const displacement = r.word(i.fields + R.DISP)
  const page = register === S.PAGE_LINEAR ? `i${pageOf(i.place) + (displacement >> 12)}` : `p${displacement >>> 12}`
  return key + page
}

/** The general registers of a key, as bits. */
function registersOf(key: PageKey): number {
  return [...key.matchAll(/r(\d+)/g)].reduce((bits, [, n]) => bits | (1 << Number(n)), 0)
}

/** Registers that an instruction moves far: writes to them that are no additions. */
function jumpsOf(r: Records, i: Instruction): number {
  const { written } = usageOf(r, i)
  const { name } = i.decoded
  if (STEPS.has(name)) return 0
  if (name === 'lea' && (recordByte(r, i, R.BASE) & 0xf8) === recordByte(r, i, R.A)) return 0
  const stack = 1 << (S.RSP >> 3)
  return STACK.has(name) ? written & ~stack : written & 0xffff
}

/** Makes a small number, with which a table is indexed. */
function isIndex(r: Records, i: Instruction): boolean {
  const { name, effects } = i.decoded
  if (name === 'movzx')
    return effects.some((e) => (e.kind === 'get' && e.access === 8) || (e.kind === 'load' && e.bytes === 1))
  const mask = r.word(i.fields + R.IMM)
  return name === 'and' && effects.some(({ kind }) => kind === 'immediate') && mask >= 0 && mask < MOST_INDEX
}
const STEPS = new Set(['add', 'sub', 'inc', 'dec', 'xadd'])
const STACK = new Set(['push', 'pop', 'call', 'call_indirect', 'ret', 'ret_n', 'pushf', 'popf'])

/** The groups that are worth it, and whether they have loads and stores. */
export function chooseGroups(r: Records, blocks: readonly Block[]): Map<PageKey, { reads: boolean; writes: boolean }> {
  const groups = new Map<PageKey, { reads: boolean; writes: boolean; gain: number }>()
  const facts = new Map(blocks.map((b) => [b, factsOf(r, b, groups)]))
  const loops = bodies(blocks)
  const seen = new Set<Block>()
  for (const body of loops) {
    const own = new Map<PageKey, { count: number; registers: number }>()
    const jumps = new Map<number, number>()
    let foreign = 0
    for (const b of body) {
      const { keys, far, others } = facts.get(b) as Facts
      foreign += others
      for (const written of far) jumps.set(written, (jumps.get(written) ?? 0) + 1)
      if (!seen.has(b))
        for (const [key, registers] of keys) {
          const before = own.get(key) ?? { count: 0, registers: 0 }
          own.set(key, { count: before.count + 1, registers: before.registers | registers })
        }
    }
    for (const b of body) seen.add(b)
    const around = loops.filter((x) => x.size > body.size && [...body].every((b) => x.has(b))).length
    for (const [key, { count, registers }] of own) {
      let misses = foreign
      for (const [written, times] of jumps) if (written & registers) misses += times
      const group = groups.get(key) as { gain: number }
      group.gain += (count - COST * misses) * LOOP_WEIGHT ** around
    }
  }
  // What is done once does not earn what forgetting the page at the entry costs.
  const best = [...groups].filter(([, { gain }]) => gain > 0).sort(([, a], [, b]) => b.gain - a.gain)
  return new Map(best.slice(0, MOST))
}

/** What the choice wants to know of a block. */
interface Facts {
  /** Of each access, with the registers of its address that have no index here. */
  keys: [PageKey, number][]
  /** What instructions move far, as bits. */
  far: number[]
  /** Calls, and instructions that a function does. */
  others: number
}

function factsOf(r: Records, b: Block, groups: Map<PageKey, { reads: boolean; writes: boolean; gain: number }>): Facts {
  const facts: Facts = { keys: [], far: [], others: b.call === undefined ? 0 : 1 }
  // Registers that have an index.
  let small = 0
  for (const i of b.instructions) {
    if (!i.decoded.translatable) {
      facts.others++
      small = 0
      continue
    }
    const far = jumpsOf(r, i)
    if (far) facts.far.push(far)
    const keys = pageKeys(r, i)
    accesses(i.decoded.effects, (address, write) => {
      const key = keys.get(address)
      if (key === undefined) return
      facts.keys.push([key, registersOf(key) & ~small])
      const group = groups.get(key) ?? { reads: false, writes: false, gain: 0 }
      groups.set(key, group)
      if (write) group.writes = true
      else group.reads = true
    })
    const { written } = usageOf(r, i)
    small = isIndex(r, i) ? small | written : small & ~written
  }
  return facts
}

/** The bodies of all loops, the smallest first. Those that share a head are taken for nested. */
function bodies(blocks: readonly Block[]): Set<Block>[] {
  const bySize = (a: Set<Block>, b: Set<Block>) => a.size - b.size
  const all = blocks
    .filter((b) => b.loop)
    .flatMap((head) => {
      const own = latchesOf(head)
        .map((last) => bodyOf(head, last))
        .sort(bySize)
      own.reduce((inner, outer) => {
        for (const b of inner) outer.add(b)
        return outer
      })
      return own
    })
  return all.sort(bySize)
}

/** All loads and stores that look an address up. */
function accesses(effects: readonly Effect[], found: (address: Value, write: boolean) => void): void {
  for (const e of effects) {
    if (e.kind === 'load') found(e.address.value, false)
    else if (e.kind === 'probe' || (e.kind === 'store' && !e.probe)) found(e.address.value, true)
    else if (e.kind === 'if') {
      accesses(e.then, found)
      accesses(e.else, found)
    }
  }
}
