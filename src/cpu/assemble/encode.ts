/**
 * From a row of the instruction table and operands to bytes: the decoder's inverse. Whether they fit each other is
 * found out on the way; `undefined` is no.
 */
import { assembly } from '../disassemble/assembly.ts'
import type { OperandSpec, Row } from '../isa/row.ts'
import type { Memory, Operand, Register, RegisterKind, Value } from './operands.ts'

export type Bits = 16 | 32 | 64

export interface Instruction {
  readonly operands: readonly Operand[]
  /** LOCK and repeat prefixes, in front of all. */
  readonly prefixes: readonly number[]
}

const OPERAND_SIZE = 0x66
const ADDRESS_SIZE = 0x67
const overrides = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]
const maps: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]]
const mandatory: Readonly<Record<string, number>> = { '66': 0x66, F2: 0xf2, F3: 0xf3 }

const kinds: Readonly<Record<string, RegisterKind>> = {
  G: 'general',
  E: 'general',
  R: 'general',
  Z: 'general',
  rAX: 'general',
  S: 'segment',
  C: 'control',
  D: 'debug',
  V: 'vector',
  W: 'vector',
  U: 'vector',
}

/** What an operand of the text stands for: one of the row's, in perhaps another size, or a fixed text. */
type Slot =
  | { readonly spec: OperandSpec; readonly register: string; readonly memory: string }
  | { readonly fixed: string }

/** Size without prefixes. */
function usualSize({ options }: Row, bits: Bits): number {
  return bits === 64 ? (options.d64 || options.f64 ? 64 : 32) : bits
}

/** Mnemonic and operands as the row's text has them; undefined: operands that only a disassembler writes. */
function syntax(row: Row, size: number, bits: Bits): { mnemonic: string; slots: readonly Slot[] } | undefined {
  const [mnemonic = '', template] = assembly(row, size, usualSize(row, bits), bits === 64).split(/ (.*)/s)
  if (!template)
    return {
      mnemonic: mnemonic.replace(/^movabs$/, 'mov'),
      slots: row.operands.map((spec) => ({ spec, register: '', memory: '' })),
    }
  const slots = template.split(',').map((text): Slot | undefined => {
    const own = /^\{(\d)(?::(\w?)\/([\w-]?))?\}$/.exec(text)
    if (own) return { spec: row.operands[Number(own[1])] as OperandSpec, register: own[2] ?? '', memory: own[3] ?? '' }
    if (text === '{a}') return { fixed: { 8: 'al', 16: 'ax', 32: 'eax', 64: 'rax' }[size] ?? 'al' }
    return text.startsWith('{') ? undefined : { fixed: text }
  })
  return slots.every((slot) => slot !== undefined) ? { mnemonic, slots } : undefined
}

/** The operand size in bits that a letter means; `n` is the mode's own. */
function bitsOf(letter: string, size: number, bits: Bits): number {
  if (letter === 'n') return Math.min(bits, 32)
  if ('vzs'.includes(letter) && letter) return size
  if (letter === 'y') return size === 64 ? 64 : 32
  return { b: 8, w: 16, d: 32, q: 64, x: 128, f: 48 }[letter] ?? 0
}

const fits = (value: bigint, bits: number): boolean =>
  BigInt.asIntN(bits, value) === value || BigInt.asUintN(bits, value) === value
const fitsSigned = (value: bigint, bits: number): boolean => BigInt.asIntN(bits, value) === value

function littleEndian(value: bigint, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn))
}

const fixedRegisters: Readonly<Record<string, readonly [number: number, bits: number]>> = {
  al: [0, 8],
  cl: [1, 8],
  ax: [0, 16],
  eax: [0, 32],
  rax: [0, 64],
  dx: [2, 16],
}

class Encoder {
  readonly #row: Row
  readonly #size: number
  readonly #bits: Bits
  readonly #here: bigint
  readonly #tail: { value: bigint; bytes: number; relative: boolean }[] = []
  #rex = 0
  #needsRex = false
  #forbidsRex = false
  #reg = 0
  #rm: number | Memory | undefined
  #plus = 0

  constructor(row: Row, size: number, bits: Bits, here: bigint) {
    this.#row = row
    this.#size = size
    this.#bits = bits
    this.#here = here
  }

  /** False: the operand does not fit. */
  operand(slot: Slot, operand: Operand, sized: boolean): boolean {
    if ('fixed' in slot) return this.#fixed(slot.fixed, operand)
    const { spec } = slot
    if (spec.where === 'fixed') return this.#fixed(spec.text.toLowerCase(), operand)
    if ('memory' in operand) {
      if (!'EWMQ'.includes(spec.where)) return false
      const { bits } = operand.memory
      const wanted = bitsOf(slot.memory === '-' ? '' : slot.memory || spec.size, this.#size, this.#bits)
      if (bits !== 0 ? bits !== wanted && wanted !== 0 : spec.where === 'E' && !sized) return false
      this.#rm = operand.memory
      return true
    }
    if ('register' in operand) return this.#register(spec, slot.register, operand.register)
    if ('far' in operand) return this.#far(spec, operand.far)
    return this.#immediate(spec, operand.immediate)
  }

  #fixed(text: string, operand: Operand): boolean {
    if (text === '1') return 'immediate' in operand && operand.immediate.value === 1n && !operand.immediate.symbolic
    const [number, bits] = fixedRegisters[text] ?? [-1, 0]
    if (!('register' in operand)) return false
    const { register } = operand
    return register.kind === 'general' && register.number === number && register.bits === bits && !register.high
  }

  #register(spec: OperandSpec, letter: string, register: Register): boolean {
    if (kinds[spec.where] !== register.kind) return false
    if (register.kind === 'general') {
      if (register.bits !== bitsOf(letter || spec.size, this.#size, this.#bits)) return false
      if (register.high) this.#forbidsRex = true
      if (register.low) this.#needsRex = true
    }
    const high = register.number > 7
    switch (spec.where) {
      case 'rAX':
        return register.number === 0
      case 'Z':
        this.#plus = register.number & 7
        if (high) this.#rex |= 1
        return true
      case 'E':
      case 'R':
      case 'W':
      case 'U':
        this.#rm = register.number
        if (high) this.#rex |= 1
        return true
      default:
        this.#reg = register.number & 7
        if (high) this.#rex |= 4
        return true
    }
  }

  #immediate(spec: OperandSpec, { value, symbolic }: Value): boolean {
    const size = this.#size
    if (spec.where === 'J') {
      // A branch of another size would cut the instruction pointer off.
      if (spec.size === 'b' || size !== usualSize(this.#row, this.#bits)) return false
      this.#tail.push({ value, bytes: size === 16 ? 2 : 4, relative: true })
      return true
    }
    if (spec.where !== 'I') return false
    const wide = spec.size === 'v' ? size : Math.min(size, 32)
    const bits = spec.size === 'b' || spec.size === 's' ? 8 : spec.size === 'w' ? 16 : wide
    // What is extended by its sign must be what it was then.
    const extended = spec.size === 's' || (size === 64 && bits === 32)
    if (symbolic ? bits < Math.min(size, 32) && spec.size !== 'w' : !(extended ? fitsSigned : fits)(value, bits))
      return false
    this.#tail.push({ value, bytes: bits / 8, relative: false })
    return true
  }

  #far(spec: OperandSpec, { selector, offset }: { selector: Value; offset: Value }): boolean {
    // The usual size, but from 16-bit code to wherever it does not reach.
    const far = this.#bits === 16 && (offset.symbolic || !fits(offset.value, 16)) ? 32 : this.#bits
    if (spec.where !== 'A' || this.#size !== far) return false
    this.#tail.push({ value: offset.value, bytes: this.#size === 16 ? 2 : 4, relative: false })
    this.#tail.push({ value: selector.value, bytes: 2, relative: false })
    return true
  }

  bytes(prefixes: readonly number[]): number[] | undefined {
    const { options, prefix, map, opcode, operands } = this.#row
    const scalable = options.sized || options.sizes || operands.some(({ size }) => size && 'vzsy'.includes(size))
    const front = [...prefixes]
    if (scalable && this.#size === (this.#bits === 16 ? 32 : 16)) front.push(OPERAND_SIZE)
    if (this.#row.rexW || (scalable && this.#size === 64 && !options.d64 && !options.f64)) this.#rex |= 8
    const memory = typeof this.#rm === 'object' ? this.#rm : undefined
    const width = memory ? addressBits(memory, this.#bits) : (options.address ?? this.#bits)
    if (width !== this.#bits) front.push(ADDRESS_SIZE)
    if (memory?.segment !== undefined) front.push(overrides[memory.segment] as number)
    const last = mandatory[prefix]
    if (last !== undefined) front.push(last)
    const place = this.#modrm()
    if (this.#rex !== 0 || this.#needsRex) {
      if (this.#bits !== 64 || this.#forbidsRex) return undefined
      front.push(0x40 | this.#rex)
    }
    const head = [...front, ...(maps[map] as number[]), opcode | this.#plus, ...place.bytes]
    const after = this.#tail.reduce((sum, { bytes }) => sum + bytes, 0)
    const end = this.#here + BigInt(head.length + place.displacement + after)
    const displacement = memory ? memory.displacement.value - (memory.relative ? end : 0n) : 0n
    if (!(this.#bits === 64 ? fitsSigned : fits)(displacement, 32)) return undefined
    return [
      ...head,
      ...littleEndian(displacement, place.displacement),
      ...this.#tail.flatMap(({ value, bytes, relative }) => littleEndian(relative ? value - end : value, bytes)),
    ]
  }

  /** ModRM and SIB, and how many bytes of displacement follow. */
  #modrm(): { bytes: readonly number[]; displacement: number } {
    const { modrm, digit, rm } = this.#row
    if (!modrm) return { bytes: [], displacement: 0 }
    const reg = (digit ?? this.#reg) << 3
    const place = this.#rm ?? rm ?? 0
    if (typeof place === 'number') return { bytes: [0xc0 | reg | (place & 7)], displacement: 0 }
    const { base, index, scale, displacement, relative } = place
    if (relative) return { bytes: [reg | 5], displacement: 4 }
    if (base && base.number > 7) this.#rex |= 1
    if (index && index.number > 7) this.#rex |= 2
    const low = base && base.number & 7
    const sib = (Math.log2(scale) << 6) | (((index?.number ?? 4) & 7) << 3)
    if (low === undefined) {
      if (!index && this.#bits !== 64) return { bytes: [reg | 5], displacement: 4 }
      return { bytes: [reg | 4, sib | 5], displacement: 4 }
    }
    const zero = displacement.value === 0n && !displacement.symbolic && low !== 5
    const short = !displacement.symbolic && fitsSigned(displacement.value, 8)
    const mod = zero ? 0 : short ? 0x40 : 0x80
    const bytes = index || low === 4 ? [mod | reg | 4, sib | low] : [mod | reg | low]
    return { bytes, displacement: zero ? 0 : short ? 1 : 4 }
  }
}

/** Addresses have 32 bits in 16-bit code, too; 16-bit ones are not made. */
function addressBits({ base, index }: Memory, bits: Bits): number {
  return (base ?? index)?.bits ?? (bits === 64 ? 64 : 32)
}

/** A row in one of its sizes, as it is written in code of some mode. */
export interface Form {
  readonly row: Row
  readonly size: number
  readonly slots: readonly Slot[]
}

/** All forms that code of this mode can have, by mnemonic. */
export function formsOf(rows: readonly Row[], bits: Bits): ReadonlyMap<string, readonly Form[]> {
  const forms = new Map<string, Form[]>()
  const add = (mnemonic: string, form: Form) => {
    const list = forms.get(mnemonic)
    if (list) list.push(form)
    else forms.set(mnemonic, [form])
  }
  for (const row of rows) {
    const { options } = row
    if ((options.only64 && bits !== 64) || (options.not64 && bits === 64)) continue
    for (const size of row.sizes) {
      if (size === 64 && bits !== 64) continue
      if (bits === 64 && (options.d64 ? size === 32 : options.f64 && size !== 64)) continue
      const text = syntax(row, size, bits)
      if (!text) continue
      add(text.mnemonic, { row, size, slots: text.slots })
      // LGDT and its like name a size where it is the mode's own.
      if (size === bits && /^[ls][gi]dt[wdq]$/.test(text.mnemonic))
        add(text.mnemonic.slice(0, -1), { row, size, slots: text.slots })
    }
  }
  return forms
}

/** Undefined: the operands are not those of this form. */
export function encode(form: Form, instruction: Instruction, bits: Bits, here: bigint): number[] | undefined {
  const { row, size, slots } = form
  const { operands, prefixes } = instruction
  if (slots.length !== operands.length) return undefined
  const sized =
    operands.some((operand) => 'register' in operand && operand.register.kind === 'general') ||
    (row.options.d64 ?? row.options.f64 ?? false) ||
    (row.operands.length === 1 && row.operands[0]?.size === 'w')
  const encoder = new Encoder(row, size, bits, here)
  for (const [i, slot] of slots.entries())
    if (!encoder.operand(slot, operands[i] as Operand, sized && size === sizeOf(row, size, bits))) return undefined
  return encoder.bytes(prefixes)
}

/** Without registers, the size is the usual one. */
function sizeOf(row: Row, size: number, bits: Bits): number {
  return row.operands.length > 1 || row.sizes.length === 1 ? size : usualSize(row, bits)
}
