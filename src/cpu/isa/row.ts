/**
 * A row of the instruction table: name, encoding as the SDM writes it, operands in the notation of SDM Vol. 2
 * appendix A, semantics. `row()` parses the texts; nothing else about an instruction is declared twice.
 *
 * Encoding: [NP|66|F2|F3] [REX.W|W0] opcode bytes [+r] [/r | /0../7]. For x87, a second byte C0-FF is the whole ModRM
 * byte (`D9 E8`) or a family with `+i` (`D8 C0+i`).
 * Operands: a letter for where (E G Z M R V W U P Q N S C D I J O A T) and one for the size (b w d q x v y z, s for a
 * sign-extended byte immediate, nothing where the row does its own accesses), or a fixed register.
 */
import type { Semantics } from './semantics.ts'

export interface OperandSpec {
  where: string
  size: string
  text: string
}

export interface RowOptions {
  /** LOCK is allowed when the destination (operand 0) is memory. */
  lock?: boolean
  /** The operand size exists although no operand shows it (RET, PUSHF, ...). */
  sized?: boolean
  /** 64 bits by default in 64-bit mode (16 with 66, no 32); `f64`: always 64 there. */
  d64?: boolean
  f64?: boolean
  only64?: boolean
  not64?: boolean
  /** Operand sizes that exist, if not all. */
  sizes?: readonly (8 | 16 | 32 | 64)[]
  /** LEA: the address is no access, segment overrides mean nothing. */
  noSegment?: boolean
  /** POP m: the address is computed after RSP was incremented. */
  popBase?: boolean
  /** Arithmetic flags (EFLAGS mask) that the SDM leaves undefined; the oracle does not compare them. */
  undefinedFlags?: number
  /** Needs a kernel or devices: not for the user-mode oracle. */
  system?: boolean
  /** ModRM.mod is ignored: always a register (MOV CR, MOV DR). */
  anyMod?: boolean
  /** Not with REX.B (90 is NOP, 41 90 is XCHG R8, RAX). */
  noRexB?: boolean
  /** Exists for this address size only (LOOP, JCXZ, string instructions). */
  address?: 16 | 32 | 64
  /** REP/REPNE are meaningful (string instructions): the decoder puts the prefix into the record's A field (0 none, 1 REP/REPE, 2 REPNE). */
  string?: boolean
  /** An implicit memory operand in DS or the segment of a prefix (MASKMOVDQU): the decoder says which in field C. */
  dataSegment?: boolean
}

export interface Row {
  readonly index: number
  readonly name: string
  readonly encoding: string
  readonly operands: readonly OperandSpec[]
  readonly semantics: (s: Semantics) => void
  readonly options: RowOptions
  readonly map: 0 | 1 | 2 | 3
  readonly opcode: number
  readonly plusR: boolean
  readonly prefix: 'none' | 'NP' | '66' | 'F2' | 'F3'
  readonly rexW: boolean | undefined
  readonly modrm: boolean
  readonly digit: number | undefined
  readonly rm: number | undefined
  readonly mod: 'mem' | 'reg' | 'any'
  /** Operand sizes for which variants exist, in bits; [0] for rows without size. */
  readonly sizes: readonly number[]
}

const rows: Row[] = []

/** All rows, in the order of definition. */
export function allRows(): readonly Row[] {
  return rows
}

/** Define one row. */
export function row(
  name: string,
  encoding: string,
  operands: string,
  semantics: (s: Semantics) => void,
  options: RowOptions = {},
): void {
  const specs = operands.split(',').filter(Boolean).map(parseOperand)
  rows.push({
    index: rows.length,
    name,
    encoding,
    operands: specs,
    semantics,
    options,
    ...parseEncoding(encoding, specs),
    sizes: sizesOf(specs, options),
  })
}

function parseOperand(text: string): OperandSpec {
  if (/^(AL|CL|AX|EAX|RAX|DX|1)$/.test(text)) return { where: 'fixed', size: '', text }
  if (text === 'rAX') return { where: 'rAX', size: 'v', text }
  const match = /^([EGZMRVWUPQNSCDIJOAT])([bwdqxvyzs]?)$/.exec(text)
  if (!match) throw new Error(`operand '${text}'`)
  return { where: match[1] as string, size: match[2] as string, text }
}

function parseEncoding(encoding: string, specs: readonly OperandSpec[]) {
  let map: 0 | 1 | 2 | 3 = 0
  let prefix: Row['prefix'] = 'none'
  let rexW: boolean | undefined
  let opcode = -1
  let plusR = false
  let modrm = false
  let digit: number | undefined
  let rm: number | undefined
  let mod: Row['mod'] = 'any'
  const tokens = encoding.split(' ')
  if (/^(NP|66|F2|F3)$/.test(tokens[0] ?? '') && tokens.length > 1) prefix = tokens.shift() as Row['prefix']
  for (const token of tokens) {
    if (token === 'REX.W') rexW = true
    else if (token === 'W0') rexW = false
    else if (token === '/r') modrm = true
    else if (/^\/[0-7]$/.test(token)) {
      modrm = true
      digit = Number(token[1])
    } else if (opcode < 0 && map === 0 && token === '0F') map = 1
    else if (map === 1 && opcode < 0 && token === '38') map = 2
    else if (map === 1 && opcode < 0 && token === '3A') map = 3
    else if (opcode < 0) {
      opcode = parseInt(token, 16)
      plusR = token.endsWith('+r')
    } else {
      const byte = parseInt(token, 16)
      modrm = true
      mod = 'reg'
      digit = (byte >> 3) & 7
      if (!token.endsWith('+i')) rm = byte & 7
    }
  }
  if (opcode < 0 || Number.isNaN(opcode)) throw new Error(`encoding '${encoding}'`)
  for (const s of specs) {
    if (s.where === 'M') mod = 'mem'
    if (s.where === 'R' || s.where === 'U' || s.where === 'N') mod = 'reg'
  }
  return { map, prefix, rexW, opcode, plusR, modrm, digit, rm, mod }
}

function sizesOf(specs: readonly OperandSpec[], options: RowOptions): readonly number[] {
  if (options.sizes) return options.sizes
  if (options.sized || specs.some((s) => 'vzs'.includes(s.size) && s.size)) {
    if (options.f64) return options.only64 ? [64] : [16, 32, 64]
    if (options.not64) return [16, 32]
    return [16, 32, 64]
  }
  if (specs.some((s) => s.size === 'y')) return [32, 64]
  const first = specs.find((s) => 'bwdq'.includes(s.size) && s.size)
  return [first ? ({ b: 8, w: 16, d: 32, q: 64 }[first.size] ?? 0) : 0]
}
