/**
 * Instructions as text, in Intel syntax as `objdump -d -M intel` writes it. The decoder says which row of the
 * instruction table the bytes are and how long; here only operands are read, by the row's notation.
 */
import { Decoder, MAX_LENGTH } from '../decode/decoder.ts'
import type { Interpreter } from '../interpreter/build.ts'
import type { OperandSpec, Row } from '../isa/row.ts'
import { Mode } from '../layout.ts'
import { assembly, hint, named } from './assembly.ts'
import { general, hex, letterOf, memoryOperand, pointer, segments, type MemoryOperand } from './operands.ts'

const prefixNames: Record<number, string> = {
  0x26: 'es',
  0x2e: 'cs',
  0x36: 'ss',
  0x3e: 'ds',
  0x64: 'fs',
  0x65: 'gs',
  0xf0: 'lock',
  0xf2: 'repnz',
  0xf3: 'repz',
}
/** A REX prefix without bits, which changes what byte registers are. */
const PLAIN_REX = 0x40
const isSegment = (byte: number) => byte === 0x64 || byte === 0x65 || (byte & 0xe7) === 0x26
const isPrefix = (byte: number) => prefixNames[byte] !== undefined || byte === 0x66 || byte === 0x67

export interface Disassembled {
  length: number
  text: string
}

const BAD: Disassembled = { length: 1, text: '(bad)' }

export class Disassembler {
  readonly #decoder: Decoder

  constructor(interpreter: Interpreter) {
    this.#decoder = new Decoder(interpreter)
  }

  /** The instruction at `at` of `bytes`, which is at `address` in the guest; `mode` is a MODE word. */
  instruction(bytes: Uint8Array, at: number, address: bigint, mode: number): Disassembled {
    const decoder = this.#decoder
    const length = decoder.decode(bytes, at, bytes.length, 0, mode)
    if (length <= 0) return BAD
    const copy = new Uint8Array(MAX_LENGTH + 1)
    copy.set(bytes.subarray(at, at + length))
    return { length, text: new Text(copy, decoder.row as Row, decoder.size, length, address, mode).text() }
  }
}

/** One instruction being written. */
class Text {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #row: Row
  readonly #size: number
  readonly #length: number
  readonly #address: bigint
  readonly #modeBits: 16 | 32 | 64
  readonly #addressBits: number
  readonly #prefixes: number[] = []
  readonly #used = new Set<number>()
  readonly #rex: number = 0
  /** Bits of REX that said something. */
  #rexUsed = 0
  readonly #modrm: number
  readonly #opcode: number
  #segment: string | undefined
  #memory: MemoryOperand | undefined
  /** Where the next immediate begins. */
  #at: number

  constructor(bytes: Uint8Array, row: Row, size: number, length: number, address: bigint, mode: number) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
    this.#row = row
    this.#size = size
    this.#length = length
    this.#address = address
    this.#modeBits = mode & Mode.LONG ? 64 : mode & Mode.D ? 32 : 16
    const long = this.#modeBits === 64
    let at = 0
    for (;;) {
      const byte = bytes[at]!
      if (long && (byte & 0xf0) === 0x40) {
        at++
        if (isPrefix(bytes[at]!) || (bytes[at]! & 0xf0) === 0x40) {
          this.#prefixes.push(byte)
          continue
        }
        this.#rex = byte
        break
      }
      if (!isPrefix(byte)) break
      if (isSegment(byte) && (!long || byte >= 0x64)) this.#segment = prefixNames[byte]
      this.#prefixes.push(byte)
      at++
    }
    const p67 = this.#prefixes.includes(0x67)
    this.#addressBits = long ? (p67 ? 32 : 64) : (this.#modeBits === 32) !== p67 ? 32 : 16
    at += [1, 2, 3, 3][row.map]! - 1
    this.#opcode = bytes[at++]!
    this.#modrm = row.modrm ? bytes[at++]! : 0
    this.#at = at
  }

  text(): string {
    const row = this.#row
    if (row.modrm && this.#modrm < 0xc0 && !row.options.anyMod) this.#memoryText()
    const repeat = this.#prefixes.includes(0xf3)
    const hinted = hint(row, this.#modrm, repeat)
    if (hinted?.startsWith('endbr')) this.#useLast(0xf3)
    let [mnemonic, operands] = this.#split(hinted ?? this.#assembly())
    if (row.map === 0 && row.opcode === 0x90 && row.name === 'nop' && this.#size66()) {
      this.#useLast(0x66)
      ;[mnemonic, operands] = ['xchg', this.#modeBits === 16 ? 'eax,eax' : 'ax,ax']
    }
    if (this.#modeBits === 64 && this.#addressBits === 64 && row.operands.some((o) => o.where === 'O'))
      mnemonic = 'movabs'
    let texts = operands === undefined ? row.operands.map((_, i) => this.#operand(i)) : [this.#fill(operands)]
    if (row.operands.at(-1)?.where === 'I') {
      const short = named(mnemonic, this.#bytes[this.#length - 1]!)
      if (short) [mnemonic, texts] = [short, texts.slice(0, -1)]
    }
    this.#sizeUsed()
    const list = texts.join(',')
    const target =
      this.#memory?.relative === undefined
        ? ''
        : `        # ${hex(this.#address + BigInt(this.#length + this.#memory.relative), this.#addressBits)}`
    return `${this.#prefixText()}${list ? `${mnemonic.padEnd(6)} ${list}${target}` : mnemonic}`
  }

  #assembly(): string {
    const { options } = this.#row
    const usual = this.#modeBits === 64 ? (options.d64 || options.f64 ? 64 : 32) : this.#modeBits
    return assembly(this.#row, this.#size, usual, this.#modeBits === 64)
  }

  #split(text: string): [string, string | undefined] {
    const at = text.startsWith('fn') && text.includes('(') ? -1 : text.indexOf(' ')
    return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
  }

  #fill(template: string): string {
    return template.replace(/\{(\w+)(?::(\w?)\/([\w-]?))?\}/g, (_, name: string, register: string, memory: string) =>
      /\d/.test(name) ? this.#operand(Number(name), register, memory) : this.#implicit(name),
    )
  }

  #implicit(name: string): string {
    const bits = this.#size || 8
    if (name === 'i') return `st(${this.#modrm & 7})`
    if (name === 'a') return general(0, bits, false)
    const own = name === 'di' ? 'es' : (this.#segment ?? 'ds')
    if (name !== 'di') this.#useSegment()
    this.#useLast(0x67)
    const letter = name === 'bx' ? 'b' : letterOf(bits)
    return `${pointer(letter)}${own}:[${general({ si: 6, di: 7, bx: 3 }[name]!, this.#addressBits, true)}]`
  }

  // ---- operands -------------------------------------------------------------------------------------------------

  /** Operand n, perhaps in another size if it is a register, or if it is memory. */
  #operand(n: number, register = '', memory = ''): string {
    const spec = this.#row.operands[n]!
    const isMemory = 'EWQM'.includes(spec.where) && this.#modrm < 0xc0
    const letter = (isMemory ? memory : register) || spec.size || (spec.where === 'Q' ? 'q' : '')
    const bits = this.#bits(letter)
    if (isMemory) return pointer(letter === '-' ? '' : letterOf(bits) || letter) + this.#memory!.text
    const rex = this.#rex
    const rm = (this.#modrm & 7) | ((rex & 1) << 3)
    const reg = ((this.#modrm >> 3) & 7) | ((rex & 4) << 1)
    switch (spec.where) {
      case 'fixed':
        return spec.text.toLowerCase()
      case 'rAX':
        return general(0, bits, false)
      case 'E':
      case 'R':
        return this.#general(rm, bits, 1)
      case 'G':
        return this.#general(reg, bits, 4)
      case 'Z':
        return this.#general((this.#opcode & 7) | ((rex & 1) << 3), bits, 1)
      case 'V':
        return this.#numbered('xmm', reg, 4)
      case 'W':
      case 'U':
        return this.#numbered('xmm', rm, 1)
      case 'P':
        return `mm${reg & 7}`
      case 'Q':
      case 'N':
        return `mm${rm & 7}`
      case 'S':
        return segments[reg & 7]!
      case 'C':
        return this.#numbered('cr', reg, 4)
      case 'D':
        return this.#numbered('dr', reg, 4)
      case 'T':
        return `st(${this.#modrm & 7})`
      default:
        return this.#immediate(spec)
    }
  }

  #bits(letter: string): number {
    if (letter === 'v' || letter === 'z' || letter === 's') return this.#size
    if (letter === 'n') {
      if (this.#rex & 8) {
        this.#rexUsed |= 8
        return 64
      }
      this.#useLast(0x66)
      return (this.#modeBits === 16) === this.#prefixes.includes(0x66) ? 32 : 16
    }
    if (letter === 'y') return this.#size === 64 ? 64 : 32
    return { b: 8, w: 16, d: 32, q: 64, x: 128 }[letter] ?? 0
  }

  #general(number: number, bits: number, rexBit: number): string {
    this.#rexUsed |= rexBit
    if (bits === 8) this.#rexUsed |= PLAIN_REX
    return general(number, bits, this.#rex !== 0)
  }

  #numbered(name: string, number: number, rexBit: number): string {
    this.#rexUsed |= rexBit
    return `${name}${number}`
  }

  #immediate(spec: OperandSpec): string {
    const view = this.#view
    const at = this.#at
    const size = this.#size
    switch (spec.where) {
      case 'J': {
        const bytes = spec.size === 'b' ? 1 : size === 16 ? 2 : 4
        this.#at += bytes
        const distance =
          bytes === 1 ? view.getInt8(at) : bytes === 2 ? view.getInt16(at, true) : view.getInt32(at, true)
        const target = this.#address + BigInt(this.#length + distance)
        return hex(target, this.#modeBits === 64 ? 64 : size === 16 ? 16 : 32)
      }
      case 'A': {
        const bytes = size === 16 ? 2 : 4
        this.#at += bytes + 2
        const offset = bytes === 2 ? view.getUint16(at, true) : view.getUint32(at, true)
        return `0x${view.getUint16(at + bytes, true).toString(16)}:0x${offset.toString(16)}`
      }
      case 'O': {
        const bits = this.#addressBits
        this.#at += bits / 8
        this.#useSegment()
        const offset =
          bits === 64
            ? view.getBigUint64(at, true)
            : BigInt(bits === 16 ? view.getUint16(at, true) : view.getUint32(at, true))
        return `${this.#segment ?? 'ds'}:0x${offset.toString(16)}`
      }
      default:
        switch (spec.size) {
          case 'b':
            this.#at++
            return hex(BigInt(view.getUint8(at)), 8)
          case 's':
            this.#at++
            return hex(BigInt(view.getInt8(at)), size)
          case 'w':
            this.#at += 2
            return hex(BigInt(view.getUint16(at, true)), 16)
          default: {
            const bytes = spec.size === 'v' ? size / 8 : size === 16 ? 2 : 4
            this.#at += bytes
            if (bytes === 8) return hex(view.getBigUint64(at, true), 64)
            return hex(BigInt(bytes === 2 ? view.getInt16(at, true) : view.getInt32(at, true)), size)
          }
        }
    }
  }

  #memoryText(): void {
    const memory = memoryOperand(this.#modrm, this.#view, this.#at, {
      bits: this.#addressBits,
      rex: this.#rex,
      long: this.#modeBits === 64,
      segment: this.#segment,
    })
    this.#memory = memory
    this.#at += memory.length
    this.#rexUsed |= memory.sib ? 3 : 1
    this.#useSegment()
    if (!memory.absolute || this.#modeBits !== 16) this.#useLast(0x67)
  }

  // ---- prefixes -------------------------------------------------------------------------------------------------

  #useSegment(): void {
    const at = this.#prefixes.findLastIndex((byte) => isSegment(byte) && prefixNames[byte] === this.#segment)
    if (at >= 0) this.#used.add(at)
  }

  #useLast(byte: number): void {
    const at = this.#prefixes.lastIndexOf(byte)
    if (at >= 0) this.#used.add(at)
  }

  /** The operand size is 16 (in 16-bit code 32) because of a prefix. */
  #size66(): boolean {
    return this.#prefixes.includes(0x66) && !(this.#rex & 8)
  }

  /** Prefixes that chose the row or its size are part of it. */
  #sizeUsed(): void {
    const { prefix, sizes, rexW, options, name } = this.#row
    if (prefix === '66') this.#useLast(0x66)
    if (prefix === 'F2') this.#useLast(0xf2)
    if (prefix === 'F3') this.#useLast(0xf3)
    const other = this.#modeBits === 16 ? 32 : 16
    const short = this.#row.operands[0]?.text === 'Jb' && name !== 'jmp'
    const word = this.#memory !== undefined && /^(smsw|sldt|str|mov_from_seg)$/.test(name)
    if (this.#size === other && sizes.length > 1 && !short && !word) this.#useLast(0x66)
    const own64 = options.d64 || options.f64 || name.endsWith('far_indirect')
    if (rexW || (this.#size === 64 && sizes.length > 1 && !own64)) this.#rexUsed |= 8
    if (options.address !== undefined && name.startsWith('j')) this.#useLast(0x67)
  }

  #prefixText(): string {
    const { options, name } = this.#row
    let text = ''
    this.#prefixes.forEach((byte, i) => {
      if (this.#used.has(i)) return
      text += `${this.#prefixName(byte, options.string === true, name)} `
    })
    if (this.#rex === PLAIN_REX ? !(this.#rexUsed & PLAIN_REX) : this.#rex & 15 & ~this.#rexUsed)
      text += `${rexName(this.#rex)} `
    return text
  }

  #prefixName(byte: number, string: boolean, name: string): string {
    if (byte === 0x66) return this.#modeBits === 16 ? 'data32' : 'data16'
    if (byte === 0x67) return this.#modeBits === 32 ? 'addr16' : 'addr32'
    if ((byte & 0xf0) === 0x40) return rexName(byte)
    if (byte === 0xf3 && string && /^(movs|stos|lods|ins|outs)/.test(name)) return 'rep'
    const branches = /^(j|call|ret)/.test(name)
    if (byte === 0xf2 && branches) return 'bnd'
    if (byte === 0x3e && name.endsWith('_indirect')) return 'notrack'
    return prefixNames[byte]!
  }
}

function rexName(rex: number): string {
  const bits = ['W', 'R', 'X', 'B'].filter((_, i) => rex & (8 >> i)).join('')
  return bits ? `rex.${bits}` : 'rex'
}
