/**
 * Decodes one instruction from bytes into the fields of a record. Made from the instruction table (plans.ts): it knows
 * prefixes, ModRM and operand notation, and no instruction by name.
 */
import { Mode as M, NO_SEGMENT, S } from '../layout.ts'
import type { Interpreter } from '../interpreter/build.ts'
import type { Row } from '../isa/row.ts'
import { forms, variantIndex, VARIANTS_PER_ROW, type Form } from '../isa/variants.ts'
import { candidatePlans, Register, Step, Wanted, type Plan } from './plans.ts'

const form = Object.fromEntries(forms.map((f, i) => [f, i])) as Record<Form, number>
const MODE_64 = 0
const MODE_32 = 1
const MODE_SEG = 2
export const MAX_LENGTH = 15
const NO_REP = 0

/** What decode() returned instead of a length. */
export const Failed = {
  NEED_BYTES: 0, // the bytes given end inside the instruction
  UNDEFINED: -1, // #UD
  TOO_LONG: -2, // #GP(0): more than 15 bytes
} as const

// 16-bit addressing, by ModRM.rm.
const BASES_16 = [S.RBX, S.RBX, S.RBP, S.RBP, S.RSI, S.RDI, S.RBP, S.RBX]
const INDICES_16 = [S.RSI, S.RDI, S.RSI, S.RDI, S.ZERO, S.ZERO, S.ZERO, S.ZERO]

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

  readonly #candidates = candidatePlans()
  readonly #handlers: Uint16Array
  #bytes: Uint8Array = new Uint8Array(0)
  #at = 0
  #limit = 0
  #short = false
  // The instruction being decoded: MODE and what follows from it, and its prefixes.
  #mode = 0
  #long = false
  #d32 = false
  #p66 = false
  #rep: number = NO_REP
  #segment = -1
  #rex = 0
  #byte = 0
  #addressBits = 0
  #fields = 0

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
    this.#mode = mode
    this.#long = (mode & M.LONG) !== 0
    this.#d32 = (mode & M.D) !== 0
    const length = this.#instruction(at, offset)
    if (this.#short) return this.#limit - at >= MAX_LENGTH ? Failed.TOO_LONG : Failed.NEED_BYTES
    return length
  }

  /** Prefixes; returns the first opcode byte, and whether there is LOCK in bit 8. */
  #prefixes(): number {
    let lock = 0
    this.#p66 = false
    this.#rep = NO_REP
    this.#segment = -1
    this.#rex = 0
    let p67 = false
    for (;;) {
      const byte = this.#u8()
      if (this.#long && (byte & 0xf0) === 0x40) {
        this.#rex = byte
        continue
      }
      switch (byte) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
          // In 64-bit mode they mean nothing, but take the place of FS and GS.
          this.#segment = this.#long ? -1 : (byte >> 3) & 3
          break
        case 0x64:
        case 0x65:
          this.#segment = byte & 7
          break
        case 0x66:
          this.#p66 = true
          break
        case 0x67:
          p67 = true
          break
        case 0xf0:
          lock = 0x100
          break
        case 0xf2:
        case 0xf3:
          this.#rep = byte & 3
          break
        default:
          this.#addressBits = this.#long ? (p67 ? 32 : 64) : this.#d32 !== p67 ? 32 : 16
          return byte | lock
      }
      // A REX prefix counts only just before the opcode.
      this.#rex = 0
    }
  }

  #instruction(start: number, offset: number): number {
    const first = this.#prefixes()
    let byte = first & 0xff
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
    this.#byte = byte
    const modrm = this.#at < this.#limit ? (this.#bytes[this.#at] as number) : -1
    const candidates = this.#candidates[(map << 8) | byte] as readonly Plan[]
    for (let i = 0; i < candidates.length; i++) {
      const plan = candidates[i] as Plan
      if (plan.modrm && modrm < 0) {
        this.#short = true
        return 0
      }
      if (!this.#fits(plan, modrm)) continue
      if (plan.noSegment) this.#segment = -1
      const length = this.#operands(plan, start, offset)
      // All of it must be there before LOCK is refused.
      return first > 0xff && !(plan.lock && modrm < 0xc0) ? Failed.UNDEFINED : length
    }
    return Failed.UNDEFINED
  }

  #fits(plan: Plan, modrm: number): boolean {
    switch (plan.prefix) {
      case Wanted.ANY:
        break
      case Wanted.NONE:
        if (this.#p66 || this.#rep !== NO_REP) return false
        break
      case Wanted.P66:
        if (!this.#p66 || this.#rep !== NO_REP) return false
        break
      default:
        if (plan.prefix !== this.#rep) return false
    }
    if (plan.digit >= 0 && plan.digit !== ((modrm >> 3) & 7)) return false
    if (plan.mod !== 0 && (plan.mod === 1) !== modrm >= 0xc0) return false
    if (plan.rm >= 0 && plan.rm !== (modrm & 7)) return false
    if (plan.rexW >= 0 && plan.rexW !== (this.#rex >> 3) % 2) return false
    if (this.#long ? plan.not64 : plan.only64) return false
    if (plan.noRexB && this.#rex & 1) return false
    return plan.address === 0 || plan.address === this.#addressBits
  }

  #size(plan: Plan): number {
    let size: number
    if (!this.#long) size = this.#d32 !== this.#p66 ? 32 : 16
    else if (plan.f64 || this.#rex & 8) size = 64
    else if (this.#p66) size = 16
    else size = plan.d64 ? 64 : 32
    return plan.sizes & size ? size : plan.otherSize
  }

  #operands(plan: Plan, start: number, offset: number): number {
    const size = this.#size(plan)
    const flat = M.D | M.B | M.FLAT
    const mode = this.#long ? MODE_64 : (this.#mode & flat) === flat ? MODE_32 : MODE_SEG
    this.row = plan.row
    this.size = size
    this.a = this.b = 0
    this.base = S.ZERO | NO_SEGMENT
    this.index = S.ZERO
    this.disp = this.imm = 0
    this.#fields = 0

    let addressing: number = form.r
    let relative = false
    let modrm = 0
    if (plan.modrm) {
      modrm = this.#u8()
      if (modrm < 0xc0 && !plan.neverMemory) {
        relative = this.#memory(modrm)
        if (plan.formByModrm) addressing = this.#form(mode)
        if (plan.popBase && (this.base & 0xf8) === S.RSP) this.disp += size / 8
      }
    }
    let immediates = 0
    let branch = false
    const { steps } = plan
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i] as number
      switch (step & Step.MASK) {
        case Step.NOTHING:
          break
        case Step.RM:
          if (addressing === form.r) this.#register(step >> Step.SHIFT, (modrm & 7) | ((this.#rex & 1) << 3))
          break
        case Step.REG: {
          const number = ((modrm >> 3) & 7) | ((this.#rex & 4) << 1)
          if (step >> Step.SHIFT === Register.SEGMENT && (number & 7) > 5) return Failed.UNDEFINED
          this.#register(step >> Step.SHIFT, number)
          break
        }
        case Step.OPCODE:
          this.#register(step >> Step.SHIFT, (this.#byte & 7) | ((this.#rex & 1) << 3))
          break
        case Step.RAX:
          this.#setField(S.RAX)
          break
        case Step.ONE:
          this.imm = 1
          break
        case Step.IMM8:
        case Step.IMM16:
        case Step.IMM:
        case Step.IMM_FULL: {
          const value = this.#immediate(step & Step.MASK, size)
          this.imm = immediates++ === 0 ? value : (this.imm & 0xffff) | (value << 16)
          break
        }
        case Step.NEAR8:
          this.disp = this.#i8()
          branch = true
          break
        case Step.NEAR:
          this.disp = size === 16 ? this.#i16() : this.#i32()
          branch = true
          break
        case Step.FAR:
          this.disp = size === 16 ? this.#u16() : this.#i32()
          this.imm = this.#u16()
          break
        case Step.OFFSET:
          addressing = this.#absolute(mode)
          break
        case Step.TEST:
          this.imm = modrm & 7
      }
    }
    if (plan.string) this.a = this.#rep === Wanted.F3 ? 1 : this.#rep === Wanted.F2 ? 2 : 0
    if (plan.string || plan.dataSegment) this.base = S.ZERO | (this.#segment < 0 ? 3 : this.#segment)
    // x87: the eleven opcode bits, as FOP wants them.
    if (plan.x87) this.imm = ((this.#byte & 7) << 8) | modrm
    const length = this.#at - start
    if (relative) this.disp = (this.disp + offset + length) | 0
    if (branch) addressing = this.#branch(offset + length, mode, size)
    const handler = this.#handlers[plan.row.index * VARIANTS_PER_ROW + variantIndex(size, addressing, mode)] as number
    if (handler === 0xffff) return this.#short ? 0 : Failed.UNDEFINED
    if (addressing === form.b) this.base &= 0xf8
    this.handler = handler
    return length
  }

  /** A near branch from before the offset `after` in its page, by `disp`: its form. */
  #branch(after: number, mode: number, size: number): number {
    const target = after + this.disp
    if (mode === MODE_SEG || (mode === MODE_32 && size === 16)) {
      this.imm = size === 16 ? 0xffff : -1
      return form.t
    }
    if (target >= 0 && target < 4096) {
      this.imm = target
      this.disp = 0
      this.branchTo = target
      return form.p
    }
    this.imm = after
    return form.o
  }

  #setField(value: number): void {
    const field = this.#fields++
    if (field === 0) this.a = value
    else if (field === 1) this.b = value
    else this.base = value
  }

  /** The byte that a register operand is named by in its record. */
  #register(kind: number, number: number): void {
    switch (kind) {
      case Register.VECTOR:
        return this.#setField(number << 4)
      case Register.MMX:
        return this.#setField((number & 7) << 4)
      case Register.SEGMENT:
        return this.#setField(number & 7)
      case Register.NUMBER:
        return this.#setField(number)
      case Register.BYTE:
        // Without REX, byte registers 4-7 are AH, CH, DH, BH.
        return this.#setField(this.#rex === 0 && number > 3 ? (number - 4) * 8 + 1 : number * 8)
      default:
        return this.#setField(number * 8)
    }
  }

  #immediate(step: number, size: number): number {
    if (step === Step.IMM8) return this.#i8()
    if (step === Step.IMM16) return this.#u16()
    if (step === Step.IMM_FULL && size === 64) this.disp = this.#i32()
    return size === 16 ? this.#i16() : this.#i32()
  }

  /** ModRM (and SIB, displacement) into base, index, disp; true if relative to RIP. */
  #memory(modrm: number): boolean {
    const mod = modrm >> 6
    const rm = modrm & 7
    const rex = this.#rex
    let base: number = S.ZERO
    let index: number = S.ZERO
    let scale = 0
    let stack = false
    let relative = false
    if (this.#addressBits === 16) {
      if (mod === 0 && rm === 6) this.disp = this.#i16()
      else {
        base = BASES_16[rm] as number
        index = INDICES_16[rm] as number
        stack = base === S.RBP
        this.disp = mod === 1 ? this.#i8() : mod === 2 ? this.#i16() : 0
      }
      scale = 4 // marks 16-bit addressing
    } else {
      if (rm === 4) {
        const sib = this.#u8()
        const x = ((sib >> 3) & 7) | ((rex & 2) << 2)
        if (x !== 4) {
          index = x * 8
          scale = sib >> 6
        }
        if ((sib & 7) === 5 && mod === 0) this.disp = this.#i32()
        else {
          base = ((sib & 7) | ((rex & 1) << 3)) * 8
          stack = base === S.RSP || base === S.RBP
        }
      } else if (rm === 5 && mod === 0) {
        this.disp = this.#i32()
        if (this.#long) {
          base = S.PAGE_LINEAR
          relative = true
        }
      } else {
        base = (rm | ((rex & 1) << 3)) * 8
        stack = base === S.RBP
      }
      if (mod === 1) this.disp = this.#i8()
      else if (mod === 2) this.disp = this.#i32()
    }
    const segment = this.#segment >= 0 ? this.#segment : stack ? 2 : 3
    this.base = base | segment
    this.index = index | scale
    return relative
  }

  /** The addressing form of what #memory found. */
  #form(mode: number): number {
    const segment = this.base & 7
    if (mode === MODE_64 && this.#addressBits === 64) {
      const plain = segment < 4
      if (plain) this.base = (this.base & 0xf8) | NO_SEGMENT
      return plain && this.index === S.ZERO ? form.b : form.x
    }
    // Flat 32-bit code: writing through CS must fault, FS and GS have limits of their own.
    if (mode === MODE_32 && this.#addressBits === 32 && segment !== 1 && segment < 4) return form.d
    return form.s
  }

  /** MOV moffs. */
  #absolute(mode: number): number {
    const segment = this.#segment >= 0 ? this.#segment : 3
    const bits = this.#addressBits
    this.base = S.ZERO | segment
    if (bits === 64) {
      this.base = S.ZERO | (segment < 4 ? NO_SEGMENT : segment)
      this.disp = this.#i32()
      this.imm = this.#i32()
      return form.q
    }
    this.disp = bits === 16 ? this.#u16() : this.#i32()
    this.index = S.ZERO | (bits === 16 ? 4 : 0)
    return mode === MODE_32 && bits === 32 && segment !== 1 && segment < 4 ? form.d : form.s
  }
}
