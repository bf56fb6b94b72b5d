/**
 * What the decoder makes of the instruction table: candidate plans by opcode map and opcode, most specific first. A plan
 * says the same as its row in numbers, so that decoding compares no texts and makes no objects.
 */
import { allRows, type OperandSpec, type Row } from '../isa/row.ts'

/** What the prefixes must be; F2 and F3 are the prefix's own low bits. */
export const Wanted = { ANY: 0, NONE: 1, F2: 2, F3: 3, P66: 4 } as const

/** What an operand takes of the instruction, in the low bits of a step; above SHIFT a `Register` for those that have one. */
export const Step = {
  NOTHING: 0,
  ONE: 1, // the immediate 1
  RAX: 2,
  RM: 3, // the register of ModRM.rm, unless it is memory
  REG: 4, // of ModRM.reg
  OPCODE: 5, // of the opcode's low bits
  IMM8: 6,
  IMM16: 7,
  IMM: 8, // as wide as the operand, at most 32 bits
  IMM_FULL: 9, // as wide as the operand
  NEAR8: 10,
  NEAR: 11,
  FAR: 12,
  OFFSET: 13,
  TEST: 14, // ModRM.reg as a number
  SHIFT: 4,
  MASK: 15,
} as const

/** How a record names a register. */
export const Register = { GENERAL: 0, BYTE: 1, VECTOR: 2, MMX: 3, SEGMENT: 4, NUMBER: 5 } as const

export interface Plan {
  readonly row: Row
  readonly prefix: number
  /** 0 or 1 where REX.W must be so, else -1; likewise ModRM.reg and ModRM.rm. */
  readonly rexW: number
  readonly digit: number
  readonly rm: number
  /** ModRM.mod: 0 any, 1 a register, 2 memory. */
  readonly mod: number
  readonly modrm: boolean
  /** ModRM names a register whatever mod is. */
  readonly neverMemory: boolean
  /** The record's form depends on ModRM. */
  readonly formByModrm: boolean
  readonly address: number
  readonly not64: boolean
  readonly only64: boolean
  readonly lock: boolean
  readonly noRexB: boolean
  readonly noSegment: boolean
  readonly d64: boolean
  readonly f64: boolean
  readonly string: boolean
  readonly dataSegment: boolean
  readonly popBase: boolean
  readonly x87: boolean
  /** The operand sizes, or-ed; the only one, or 32. */
  readonly sizes: number
  readonly otherSize: number
  readonly steps: readonly number[]
}

const rank = { F2: 0, F3: 0, '66': 1, NP: 2, none: 3 } as const

/** candidates[map << 8 | opcode]. */
export function candidatePlans(): readonly (readonly Plan[])[] {
  const table: Row[][] = Array.from({ length: 1024 }, () => [])
  for (const row of allRows())
    for (let i = 0; i < (row.plusR ? 8 : 1); i++) table[(row.map << 8) | (row.opcode + i)]?.push(row)
  const plans = allRows().map(planOf)
  return table.map((list) =>
    list.sort((a, b) => specificity(a) - specificity(b)).map((row) => plans[row.index] as Plan),
  )
}

function specificity(row: Row): number {
  return rank[row.prefix] * 8 + (row.rexW === undefined ? 4 : 0) + (row.rm === undefined ? 2 : 0) + (row.plusR ? 1 : 0)
}

function planOf(row: Row): Plan {
  const { options, operands, sizes } = row
  const has = (places: string) => operands.some(({ where }) => places.includes(where))
  return {
    row,
    prefix: { none: Wanted.ANY, NP: Wanted.NONE, '66': Wanted.P66, F2: Wanted.F2, F3: Wanted.F3 }[row.prefix],
    rexW: row.rexW === undefined ? -1 : Number(row.rexW),
    digit: row.digit ?? -1,
    rm: row.rm ?? -1,
    mod: row.mod === 'any' || options.anyMod ? 0 : row.mod === 'reg' ? 1 : 2,
    modrm: row.modrm,
    neverMemory: has('R'),
    formByModrm: has('EMWQ'),
    address: options.address ?? 0,
    not64: options.not64 ?? false,
    only64: options.only64 ?? false,
    lock: options.lock ?? false,
    noRexB: options.noRexB ?? false,
    noSegment: options.noSegment ?? false,
    d64: options.d64 ?? false,
    f64: options.f64 ?? false,
    string: options.string ?? false,
    dataSegment: options.dataSegment ?? false,
    popBase: options.popBase ?? false,
    x87: row.map === 0 && (row.opcode & 0xf8) === 0xd8,
    sizes: sizes.reduce((all, size) => all | size, 0),
    otherSize: sizes.length === 1 ? (sizes[0] as number) : 32,
    steps: operands.map((spec) => stepOf(spec) | (registerOf(spec) << Step.SHIFT)),
  }
}

function stepOf({ where, size, text }: OperandSpec): number {
  switch (where) {
    case 'fixed':
      return text === '1' ? Step.ONE : Step.NOTHING
    case 'rAX':
      return Step.RAX
    case 'I':
      return size === 'b' || size === 's'
        ? Step.IMM8
        : size === 'w'
          ? Step.IMM16
          : size === 'v'
            ? Step.IMM_FULL
            : Step.IMM
    case 'J':
      return size === 'b' ? Step.NEAR8 : Step.NEAR
    case 'A':
      return Step.FAR
    case 'O':
      return Step.OFFSET
    case 'T':
      return Step.TEST
    case 'M':
      return Step.NOTHING
    case 'Z':
      return Step.OPCODE
    default:
      return 'EWQRUN'.includes(where) ? Step.RM : Step.REG
  }
}

function registerOf({ where, size }: OperandSpec): number {
  if ('VWU'.includes(where)) return Register.VECTOR
  if ('PQN'.includes(where)) return Register.MMX
  if (where === 'S') return Register.SEGMENT
  if (where === 'C' || where === 'D') return Register.NUMBER
  return size === 'b' ? Register.BYTE : Register.GENERAL
}
