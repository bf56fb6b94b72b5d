/**
 * Accesses of a block that lie near each other: at constant distances from what a register holds (pushes and pops, the
 * fields of a structure, variables on the stack). The first of a run asks the TLB for all of its bytes at once
 * (memory.ts); where that answers, the others need nothing but the distance.
 */
import type { Effect, Value } from '../isa/ir.ts'
import { NO_SEGMENT, R, S } from '../layout.ts'
import { pageOf, type Block, type Instruction, type Places } from './blocks.ts'
import { recordByte, slotByte } from './usage.ts'

/** Bytes from a run's first to its last at most: where they lie in two pages, each access is by itself. */
const MOST = 512
const SIZES = new Set([1, 2, 4, 8, 16])

export interface Run {
  low: number
  high: number
  write: boolean
  count: number
  /** The local with the host's address of its lowest byte or 0, once the first access was emitted. */
  host?: number
}

export interface Near {
  readonly run: Run
  /** From what the register holds. */
  readonly distance: number
}

/** What a value is known to be: `distance` from an unknown one, which has a number. */
interface Known {
  readonly base: number
  readonly distance: number
}

/** The accesses of each instruction that are of a run, by their addresses; only for 64-bit code. */
export function runsOf(r: Places, b: Block): Map<Instruction, Map<Value, Near>> {
  const found = new Map<Instruction, Map<Value, Near>>()
  const registers: Known[] = Array.from({ length: 16 }, (_, base) => ({ base, distance: 0 }))
  let bases = registers.length
  const unknown = (): Known => ({ base: bases++, distance: 0 })
  /** What RIP-relative addresses count from. */
  const code = unknown()
  const open = new Map<number, Run>()
  for (const i of b.instructions) {
    if (!i.decoded.translatable) {
      for (let n = 0; n < 16; n++) registers[n] = unknown()
      open.clear()
      continue
    }
    const own = new Map<Value, Near>()
    const walk = new Walk(r, i, registers, code, unknown)
    walk.visit(i.decoded.effects, (address, bytes, write, known) => {
      const low = known.distance
      const high = low + bytes
      let run = open.get(known.base)
      if (!run || Math.max(run.high, high) - Math.min(run.low, low) > MOST)
        open.set(known.base, (run = { low, high, write, count: 0 }))
      run.low = Math.min(run.low, low)
      run.high = Math.max(run.high, high)
      run.write ||= write
      run.count++
      own.set(address, { run, distance: low })
    })
    if (own.size > 0) found.set(i, own)
  }
  for (const own of found.values()) for (const [address, { run }] of own) if (run.count < 2) own.delete(address)
  return found
}

/** One instruction: what its values are, and what it leaves in the registers. */
class Walk {
  readonly #records: Places
  readonly #instruction: Instruction
  readonly #registers: Known[]
  readonly #code: Known
  readonly #unknown: () => Known
  readonly #known = new Map<Value, Known>()
  readonly #constants = new Map<Value, number>()

  constructor(records: Places, i: Instruction, registers: Known[], code: Known, unknown: () => Known) {
    this.#records = records
    this.#instruction = i
    this.#registers = registers
    this.#code = code
    this.#unknown = unknown
  }

  visit(
    effects: readonly Effect[],
    access: (address: Value, bytes: number, write: boolean, known: Known) => void,
    certain = true,
  ): void {
    for (const e of effects) {
      if (e.kind === 'let') this.#derive(e.result)
      else if (e.kind === 'get') this.#get(e)
      else if (e.kind === 'set') this.#set(e, certain)
      else if (e.kind === 'immediate' && !e.wide) this.#constants.set(e.result, this.#field(R[e.field]))
      else if (e.kind === 'address') this.#address(e.result)
      else if (e.kind === 'if') {
        this.visit(e.then, access, false)
        this.visit(e.else, access, false)
      } else if (certain && (e.kind === 'load' || e.kind === 'probe' || (e.kind === 'store' && !e.probe))) {
        const known = this.#known.get(e.address.value)
        if (known && SIZES.has(e.bytes)) access(e.address.value, e.bytes, e.kind !== 'load', known)
      }
    }
  }

  #field(at: number): number {
    return this.#records.word(this.#instruction.fields + at)
  }

  #get(e: Extract<Effect, { kind: 'get' }>): void {
    const at = slotByte(this.#records, this.#instruction, e.slot)
    if (e.access === 64 && at !== undefined && at < S.ZERO) this.#known.set(e.result, this.#registers[at >> 3] as Known)
  }

  #set(e: Extract<Effect, { kind: 'set' }>, certain: boolean): void {
    const at = slotByte(this.#records, this.#instruction, e.slot)
    if (at === undefined || at >= S.ZERO) return
    const known = certain && e.access === 64 ? this.#known.get(e.value) : undefined
    this.#registers[at >> 3] = known ?? this.#unknown()
  }

  #address(result: Value): void {
    const i = this.#instruction
    const plain = i.decoded.form === 'b'
    if (!plain && i.decoded.form !== 'x') return
    const base = recordByte(this.#records, i, R.BASE)
    if (!plain) {
      const indexed = (recordByte(this.#records, i, R.INDEX) & 0xf8) !== S.ZERO
      if (indexed || (base & 7) !== NO_SEGMENT) return
    }
    const register = plain ? base : base & 0xf8
    const distance = this.#field(R.DISP)
    if (register === S.PAGE_LINEAR)
      this.#known.set(result, { ...this.#code, distance: pageOf(i.place) * 4096 + distance })
    else if (register < S.ZERO) this.#known.set(result, moved(this.#registers[register >> 3] as Known, distance))
  }

  #derive(value: Value): void {
    const { definition } = value
    if (definition.kind !== 'pure') return
    const [a, b] = definition.args as [Value, Value | undefined]
    if (definition.op === 'i64.extend_i32_s') {
      const constant = this.#constants.get(a)
      if (constant !== undefined) this.#constants.set(value, constant)
      return
    }
    const known = this.#known.get(a)
    const by = b && this.#constant(b)
    if (!known || by === undefined || (definition.op !== 'i64.add' && definition.op !== 'i64.sub')) return
    this.#known.set(value, moved(known, definition.op === 'i64.add' ? by : -by))
  }

  #constant(value: Value): number | undefined {
    const { definition } = value
    if (definition.kind !== 'constant') return this.#constants.get(value)
    const number = Number(definition.value as bigint)
    return Math.abs(number) < 2 ** 31 ? number : undefined
  }
}

const moved = ({ base, distance }: Known, by: number): Known => ({ base, distance: distance + by })
