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

/**
 * The accesses of each instruction that are of a run, by their addresses. In 32-bit code distances are modulo 4 GiB: a run
 * around address 0 is in two pages for the TLB, so each of its accesses is by itself.
 */
export function runsOf(r: Places, b: Block, is32: boolean): Map<Instruction, Map<Value, Near>> {
  const found = new Map<Instruction, Map<Value, Near>>()
  const registers: Known[] = Array.from({ length: 16 }, (_, base) => ({ base, distance: 0 }))
  let bases = registers.length
  const unknown = (): Known => ({ base: bases++, distance: 0 })
  /** What RIP-relative addresses count from, in 32-bit code absolute ones. */
  const fixed = unknown()
  const open = new Map<number, Run>()
  for (const i of b.instructions) {
    if (!i.decoded.translatable) {
      for (let n = 0; n < 16; n++) registers[n] = unknown()
      open.clear()
      continue
    }
    const own = new Map<Value, Near>()
    const walk = new Walk(r, i, registers, { is32, fixed, unknown })
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
  readonly #is32: boolean
  readonly #fixed: Known
  readonly #unknown: () => Known
  readonly #known = new Map<Value, Known>()
  readonly #constants = new Map<Value, number>()

  constructor(
    records: Places,
    i: Instruction,
    registers: Known[],
    { is32, fixed, unknown }: { is32: boolean; fixed: Known; unknown: () => Known },
  ) {
    this.#records = records
    this.#instruction = i
    this.#registers = registers
    this.#is32 = is32
    this.#fixed = fixed
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
    const whole = e.access === 64 || (this.#is32 && e.access === 32)
    if (whole && at !== undefined && at < S.ZERO) this.#known.set(e.result, this.#registers[at >> 3] as Known)
  }

  #set(e: Extract<Effect, { kind: 'set' }>, certain: boolean): void {
    const at = slotByte(this.#records, this.#instruction, e.slot)
    if (at === undefined || at >= S.ZERO) return
    const known = certain && e.access === 64 ? this.#known.get(e.value) : undefined
    this.#registers[at >> 3] = known ?? this.#unknown()
  }

  #address(result: Value): void {
    const i = this.#instruction
    const { form } = i.decoded
    const plain = form === 'b'
    if (!plain && form !== 'x' && form !== 'd') return
    const base = recordByte(this.#records, i, R.BASE)
    if (!plain) {
      const indexed = (recordByte(this.#records, i, R.INDEX) & 0xf8) !== S.ZERO
      if (indexed || (form === 'x' && (base & 7) !== NO_SEGMENT)) return
    }
    const register = plain ? base : base & 0xf8
    const distance = this.#field(R.DISP)
    if (register < S.ZERO) this.#moved(result, this.#registers[register >> 3] as Known, distance)
    else if (register === S.PAGE_LINEAR) this.#moved(result, this.#fixed, pageOf(i.place) * 4096 + distance)
    else if (form === 'd') this.#moved(result, this.#fixed, distance)
  }

  #moved(value: Value, { base, distance }: Known, by: number): void {
    const sum = distance + by
    this.#known.set(value, { base, distance: this.#is32 ? sum | 0 : sum })
  }

  #derive(value: Value): void {
    const { definition } = value
    if (definition.kind !== 'pure') return
    const { op } = definition
    const [a, b] = definition.args as [Value, Value | undefined]
    if (op === 'i64.extend_i32_s') {
      const constant = this.#constants.get(a)
      if (constant !== undefined) this.#constants.set(value, constant)
      return
    }
    const known = this.#known.get(a)
    if (!known) return
    if (this.#is32 && SAME_LOW_HALF.has(op)) this.#known.set(value, known)
    const by = b && this.#constant(b)
    if (by === undefined || !(ADDITIONS.has(op) || (this.#is32 && ADDITIONS_32.has(op)))) return
    this.#moved(value, known, op.endsWith('add') ? by : -by)
  }

  #constant(value: Value): number | undefined {
    const { definition } = value
    if (definition.kind !== 'constant') return this.#constants.get(value)
    const number = Number(definition.value as bigint)
    return Math.abs(number) < 2 ** 31 ? number : undefined
  }
}

const ADDITIONS = new Set(['i64.add', 'i64.sub'])
const ADDITIONS_32 = new Set(['i32.add', 'i32.sub'])
const SAME_LOW_HALF = new Set(['i64.extend_i32_u', 'i32.wrap_i64'])
