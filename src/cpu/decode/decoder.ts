/**
 * Decodes one instruction from bytes into the fields of a record. Made from the instruction table: it knows prefixes,
 * ModRM and operand notation, and no instruction by name.
 */
import { Mode as M, NO_SEGMENT, S } from '../layout.ts'
import type { Interpreter } from '../interpreter/build.ts'
import type { OperandSpec, Row } from '../isa/row.ts'
import { forms, variantIndex, VARIANTS_PER_ROW, type Form } from '../isa/variants.ts'
import { candidateRows } from './opcodes.ts'

const form = Object.fromEntries(forms.map((f, i) => [f, i])) as Record<Form, number>
const MODE_64 = 0
const MODE_32 = 1
const MODE_SEG = 2
export const MAX_LENGTH = 15

/** What decode() returned instead of a length. */
export const Failed = {
  NEED_BYTES: 0, // the bytes given end inside the instruction
  UNDEFINED: -1, // #UD
  TOO_LONG: -2, // #GP(0): more than 15 bytes
} as const

/** A record's fields, filled by decode(). */
export class Decoder {
  handler = 0
  a = 0
  b = 0
  base = 0
  index = 0
  disp = 0
  imm = 0
  /** Offset in the page that an in-page branch goes to, or -1. */
  branchTo = -1
  row: Row | undefined
  /** Operand size in bits. */
  size = 0

  readonly #candidates = candidateRows()
  readonly #handlers: Uint16Array
  #bytes: Uint8Array = new Uint8Array(0)
  #at = 0
  #limit = 0
  #short = false

  constructor(interpreter: Interpreter) {
    this.#handlers = interpreter.handlers
  }

  #u8(): number {
    if (this.#at >= this.#limit) {
      this.#short = true
      return 0
    }
    return this.#bytes[this.#at++] as number
  }
  #i8(): number {
    return (this.#u8() << 24) >> 24
  }
  #u16(): number {
    return this.#u8() | (this.#u8() << 8)
  }
  #i16(): number {
    return (this.#u16() << 16) >> 16
  }
  #i32(): number {
    return this.#u16() | (this.#u16() << 16)
  }

  /**
   * Decode at `at`, reading below `limit`; `offset` is the instruction's place in its page, `mode` the MODE word.
   * Returns the length, or a `Failed` value.
   */
  decode(bytes: Uint8Array, at: number, limit: number, offset: number, mode: number): number {
    this.#bytes = bytes
    this.#at = at
    this.#limit = Math.min(limit, at + MAX_LENGTH)
    this.#short = false
    this.branchTo = -1
    const length = this.#instruction(at, offset, mode)
    if (this.#short) return this.#limit - at >= MAX_LENGTH ? Failed.TOO_LONG : Failed.NEED_BYTES
    return length
  }

  #instruction(start: number, offset: number, mode: number): number {
    const long = (mode & M.LONG) !== 0
    const d32 = (mode & M.D) !== 0
    let p66 = false
    let p67 = false
    let lock = false
    let rep = ''
    let segment = -1
    let rex = 0
    let byte = 0
    for (;;) {
      byte = this.#u8()
      if (this.#short) return 0
      switch (byte) {
        case 0x26:
          segment = 0
          rex = 0
          continue
        case 0x2e:
          segment = 1
          rex = 0
          continue
        case 0x36:
          segment = 2
          rex = 0
          continue
        case 0x3e:
          segment = 3
          rex = 0
          continue
        case 0x64:
          segment = 4
          rex = 0
          continue
        case 0x65:
          segment = 5
          rex = 0
          continue
        case 0x66:
          p66 = true
          rex = 0
          continue
        case 0x67:
          p67 = true
          rex = 0
          continue
        case 0xf0:
          lock = true
          rex = 0
          continue
        case 0xf2:
          rep = 'F2'
          rex = 0
          continue
        case 0xf3:
          rep = 'F3'
          rex = 0
          continue
      }
      if (long && (byte & 0xf0) === 0x40) {
        rex = byte
        continue
      }
      break
    }
    let map = 0
    if (byte === 0x0f) {
      map = 1
      byte = this.#u8()
      if (byte === 0x38 || byte === 0x3a) {
        map = byte === 0x38 ? 2 : 3
        byte = this.#u8()
      }
    }
    if (this.#short) return 0
    // In 64-bit mode the overrides of ES, CS, SS and DS are ignored.
    if (long && segment >= 0 && segment < 4) segment = -1

    const modrm = this.#at < this.#limit ? (this.#bytes[this.#at] as number) : -1
    const addressBits = long ? (p67 ? 32 : 64) : d32 !== p67 ? 32 : 16
    for (const row of this.#candidates[(map << 8) | byte] as readonly Row[]) {
      if (row.modrm && modrm < 0) {
        this.#short = true
        return 0
      }
      if (
        row.prefix === 'NP'
          ? p66 || rep !== ''
          : row.prefix === '66'
            ? !p66 || rep !== ''
            : row.prefix !== 'none' && row.prefix !== rep
      )
        continue
      if (row.rexW !== undefined && row.rexW !== ((rex & 8) !== 0)) continue
      if (row.digit !== undefined && row.digit !== ((modrm >> 3) & 7)) continue
      if (row.rm !== undefined && row.rm !== (modrm & 7)) continue
      if (row.mod !== 'any' && (row.mod === 'reg') !== modrm >= 0xc0 && !row.options.anyMod) continue
      if (long ? row.options.not64 : row.options.only64) continue
      if (row.options.noRexB && rex & 1) continue
      if (row.options.address !== undefined && row.options.address !== addressBits) continue
      if (row.options.noSegment) segment = -1
      const length = this.#operands(row, {
        start,
        offset,
        long,
        d32,
        p66,
        rep,
        segment,
        rex,
        byte,
        addressBits,
        modeWord: mode,
      })
      // All of it must be there before LOCK is refused.
      return lock && !(row.options.lock && modrm < 0xc0) ? Failed.UNDEFINED : length
    }
    return Failed.UNDEFINED
  }

  #size(row: Row, p: Prefixes): number {
    const { options, sizes } = row
    let size = p.long
      ? options.f64
        ? 64
        : p.rex & 8
          ? 64
          : p.p66
            ? 16
            : options.d64
              ? 64
              : 32
      : p.d32 !== p.p66
        ? 32
        : 16
    if (!sizes.includes(size)) size = sizes.length === 1 ? (sizes[0] as number) : 32
    return size
  }

  #operands(row: Row, p: Prefixes): number {
    const size = this.#size(row, p)
    const mode = p.long ? MODE_64 : (p.modeWord & (M.D | M.B | M.FLAT)) === (M.D | M.B | M.FLAT) ? MODE_32 : MODE_SEG
    this.row = row
    this.size = size
    this.a = this.b = 0
    this.base = S.ZERO | NO_SEGMENT
    this.index = S.ZERO
    this.disp = this.imm = 0

    let addressing: number = form.r
    let relative = false
    let modrm = 0
    if (row.modrm) {
      modrm = this.#u8()
      // MOV to and from control and debug registers ignores mod (SDM Vol. 2B).
      if (modrm < 0xc0 && !row.operands.some((o) => o.where === 'R')) {
        relative = this.#memory(modrm, p)
        if (row.operands.some((o) => 'EMWQ'.includes(o.where))) addressing = this.#form(p, mode)
        if (row.options.popBase && (this.base & 0xf8) === S.RSP) this.disp += size / 8
      }
    }
    let field = 0
    let immediates = 0
    let branch = false
    for (const spec of row.operands) {
      switch (spec.where) {
        case 'fixed':
          if (spec.text === '1') this.imm = 1
          break
        case 'rAX':
          this.#setField(field++, S.RAX)
          break
        case 'I': {
          const value = this.#immediate(spec, size)
          this.imm = immediates++ === 0 ? value : (this.imm & 0xffff) | (value << 16)
          break
        }
        case 'J':
          this.disp = spec.size === 'b' ? this.#i8() : size === 16 ? this.#i16() : this.#i32()
          branch = true
          break
        case 'A':
          this.disp = size === 16 ? this.#u16() : this.#i32()
          this.imm = this.#u16()
          break
        case 'O':
          addressing = this.#absolute(p, mode)
          break
        case 'T':
          this.imm = modrm & 7
          break
        case 'E':
        case 'W':
        case 'Q':
        case 'R':
        case 'U':
        case 'N':
          if (addressing === form.r)
            this.#setField(field++, this.#register(spec, (modrm & 7) | ((p.rex & 1) << 3), p.rex))
          break
        case 'Z':
          this.#setField(field++, this.#register(spec, (p.byte & 7) | ((p.rex & 1) << 3), p.rex))
          break
        case 'M':
          break
        default: {
          // G V P S C D
          const number = ((modrm >> 3) & 7) | ((p.rex & 4) << 1)
          if (spec.where === 'S' && (number & 7) > 5) return Failed.UNDEFINED
          this.#setField(field++, this.#register(spec, number, p.rex))
        }
      }
    }
    if (row.options.string) {
      this.a = p.rep === 'F3' ? 1 : p.rep === 'F2' ? 2 : 0
      this.base = S.ZERO | (p.segment < 0 ? 3 : p.segment)
    }
    // x87: the eleven opcode bits, as FOP wants them.
    if (row.map === 0 && (p.byte & 0xf8) === 0xd8) this.imm = ((p.byte & 7) << 8) | modrm
    if (row.options.dataSegment) this.base = S.ZERO | (p.segment < 0 ? 3 : p.segment)
    const length = this.#at - p.start
    if (relative) this.disp = (this.disp + p.offset + length) | 0
    if (branch) {
      const target = p.offset + length + this.disp
      if (mode === MODE_SEG || (mode === MODE_32 && size === 16)) {
        addressing = form.t
        this.imm = size === 16 ? 0xffff : -1
      } else if (target >= 0 && target < 4096) {
        addressing = form.p
        this.imm = target
        this.disp = 0
        this.branchTo = target
      } else {
        addressing = form.o
        this.imm = p.offset + length
      }
    }
    const handler = this.#handlers[row.index * VARIANTS_PER_ROW + variantIndex(size, addressing, mode)] as number
    if (handler === 0xffff) return this.#short ? 0 : Failed.UNDEFINED
    if (addressing === form.b) this.base &= 0xf8
    this.handler = handler
    return length
  }

  #setField(field: number, value: number): void {
    if (field === 0) this.a = value
    else if (field === 1) this.b = value
    else this.base = value
  }

  /** The byte that a register operand is named by in its record. */
  #register(spec: OperandSpec, number: number, rex: number): number {
    switch (spec.where) {
      case 'V':
      case 'W':
      case 'U':
        return number << 4
      case 'P':
      case 'Q':
      case 'N':
        return (number & 7) << 4
      case 'S':
        return number & 7
      case 'C':
      case 'D':
        return number
      default:
        // Without REX, byte registers 4-7 are AH, CH, DH, BH.
        return spec.size === 'b' && !rex && number > 3 ? (number - 4) * 8 + 1 : number * 8
    }
  }

  #immediate(spec: OperandSpec, size: number): number {
    switch (spec.size) {
      case 'b':
      case 's':
        return this.#i8()
      case 'w':
        return this.#u16()
      case 'v':
        if (size === 64) {
          this.disp = this.#i32()
          return this.#i32()
        }
        return size === 16 ? this.#i16() : this.#i32()
      default:
        return size === 16 ? this.#i16() : this.#i32()
    }
  }

  /** ModRM (and SIB, displacement) into base, index, disp; true if relative to RIP. */
  #memory(modrm: number, p: Prefixes): boolean {
    const mod = modrm >> 6
    const rm = modrm & 7
    let base: number = S.ZERO
    let index: number = S.ZERO
    let scale = 0
    let stack = false
    let relative = false
    if (p.addressBits === 16) {
      const bases = [S.RBX, S.RBX, S.RBP, S.RBP, S.RSI, S.RDI, S.RBP, S.RBX]
      const indices = [S.RSI, S.RDI, S.RSI, S.RDI, S.ZERO, S.ZERO, S.ZERO, S.ZERO]
      if (mod === 0 && rm === 6) this.disp = this.#i16()
      else {
        base = bases[rm] as number
        index = indices[rm] as number
        stack = base === S.RBP
        this.disp = mod === 1 ? this.#i8() : mod === 2 ? this.#i16() : 0
      }
      scale = 4 // marks 16-bit addressing
    } else {
      if (rm === 4) {
        const sib = this.#u8()
        const x = ((sib >> 3) & 7) | ((p.rex & 2) << 2)
        if (x !== 4) {
          index = x * 8
          scale = sib >> 6
        }
        if ((sib & 7) === 5 && mod === 0) this.disp = this.#i32()
        else {
          base = ((sib & 7) | ((p.rex & 1) << 3)) * 8
          stack = base === S.RSP || base === S.RBP
        }
      } else if (rm === 5 && mod === 0) {
        this.disp = this.#i32()
        if (p.long) {
          base = S.PAGE_LINEAR
          relative = true
        }
      } else {
        base = (rm | ((p.rex & 1) << 3)) * 8
        stack = base === S.RBP
      }
      if (mod === 1) this.disp = this.#i8()
      else if (mod === 2) this.disp = this.#i32()
    }
    const segment = p.segment >= 0 ? p.segment : stack ? 2 : 3
    this.base = base | segment
    this.index = index | scale
    return relative
  }

  /** The addressing form of what #memory found. */
  #form(p: Prefixes, mode: number): number {
    const segment = this.base & 7
    if (mode === MODE_64 && p.addressBits === 64) {
      const plain = segment < 4
      if (plain) this.base = (this.base & 0xf8) | NO_SEGMENT
      return plain && this.index === S.ZERO ? form.b : form.x
    }
    // Flat 32-bit code: writing through CS must fault, FS and GS have limits of their own.
    if (mode === MODE_32 && p.addressBits === 32 && segment !== 1 && segment < 4) return form.d
    return form.s
  }

  /** MOV moffs. */
  #absolute(p: Prefixes, mode: number): number {
    const segment = p.segment >= 0 ? p.segment : 3
    this.base = S.ZERO | segment
    if (p.addressBits === 64) {
      this.base = S.ZERO | (segment < 4 ? NO_SEGMENT : segment)
      this.disp = this.#i32()
      this.imm = this.#i32()
      return form.q
    }
    this.disp = p.addressBits === 16 ? this.#u16() : this.#i32()
    this.index = S.ZERO | (p.addressBits === 16 ? 4 : 0)
    return mode === MODE_32 && p.addressBits === 32 && segment !== 1 && segment < 4 ? form.d : form.s
  }
}

interface Prefixes {
  start: number
  offset: number
  long: boolean
  d32: boolean
  p66: boolean
  rep: string
  segment: number
  rex: number
  byte: number
  addressBits: number
  modeWord: number
}
