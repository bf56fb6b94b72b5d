/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM Vol. 2B). */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'
import { bytes, clear64, simd, zero } from './vector.ts'

const WORDS = 1
const MOST_SIGNIFICANT = 0x40
const EXPANDED = 0x40

/** Mode, polarity and size of elements in the immediate. */
const MODE = 0xd
const EQUAL_EACH_BYTES = 8
const POLARITY = 0x30
const NEGATIVE = 0x10
const MASKED_NEGATIVE = 0x30

/** Bits of the bytes before the first that is 0. */
function valid(s: Semantics, v: Value): Value {
  const ends = s.op('i8x16.bitmask', [s.op('i8x16.eq', [v, zero(s)])])
  return s.and(s.and(s.sub(ends, 1), s.not(ends)), 0xffff)
}

/** Bytes of two strings compared one by one, as the library's strcmp does; IntRes2 and flags. */
function comparedEach(s: Semantics, a: Value, b: Value, immediate: number): Value {
  const validA = valid(s, a)
  const validB = valid(s, b)
  const equal = s.op('i8x16.bitmask', [s.op('i8x16.eq', [a, b])])
  const neither = s.xor(s.or(validA, validB), 0xffff)
  const result1 = s.or(s.and(equal, s.and(validA, validB)), neither)
  const polarity = immediate & POLARITY
  const result2 =
    polarity === NEGATIVE ? s.xor(result1, 0xffff) : polarity === MASKED_NEGATIVE ? s.xor(result1, validB) : result1
  const flag = (bit: number, set: Value) => s.shl(set, bit)
  const carryAndZero = s.or(flag(16, s.ne(result2, 0)), flag(22, s.ne(validB, 0xffff)))
  const signAndOverflow = s.or(flag(23, s.ne(validA, 0xffff)), flag(27, s.and(result2, 1)))
  return s.or(result2, s.or(carryAndZero, signAndOverflow))
}

/** IntRes2 and flags. */
function compared(s: Semantics, explicit: boolean): Value {
  simd(s)
  const b = s.read(1, 'v128')
  const known = explicit ? undefined : s.knownImmediate()
  if (known !== undefined && (known & MODE) === EQUAL_EACH_BYTES) return comparedEach(s, s.read(0, 'v128'), b, known)
  const immediate = s.read(2)
  s.setState(S.SCRATCH, 'v128', s.read(0, 'v128'))
  s.setState(S.SCRATCH + 16, 'v128', b)
  if (!explicit) return s.compute('compareImplicit', immediate)
  const length = (register: number) => s.signed64(s.reg(register), s.size)
  return s.compute('compareExplicit', immediate, length(S.RAX), length(S.RDX))
}

/** The index of the first or last bit, or the number of elements. */
function index(s: Semantics, mask: Value): Value {
  const immediate = s.read(2)
  const count = s.shr(s.k32(16), s.and(immediate, WORDS))
  const last = s.sub(s.k32(31), s.op('i32.clz', [mask]))
  const found = s.select(s.and(immediate, MOST_SIGNIFICANT), last, s.op('i32.ctz', [mask]))
  return s.select(mask, found, count)
}

/** The bits themselves, or elements of all ones. */
function expanded(s: Semantics, mask: Value): Value {
  const immediate = s.read(2)
  const elements = (v: Value, shape: string, weights: Value) =>
    s.op(`${shape}.ne`, [s.op('v128.and', [v, weights]), zero(s)])
  const splat = s.op('i16x8.splat', [mask])
  const words = elements(splat, 'i16x8', bytes(s, 1, 0, 2, 0, 4, 0, 8, 0, 16, 0, 32, 0, 64, 0, 128, 0))
  const halves = s.op('i8x16.swizzle', [splat, bytes(s, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)])
  const single = elements(halves, 'i8x16', bytes(s, 1, 2, 4, 8, 16, 32, 64, 128))
  return s.select(
    s.and(immediate, EXPANDED),
    s.select(s.and(immediate, WORDS), words, single),
    clear64(s, s.toI64(mask)),
  )
}

for (const [name, opcode, explicit, toIndex] of [
  ['pcmpestrm', '60', true, false],
  ['pcmpestri', '61', true, true],
  ['pcmpistrm', '62', false, false],
  ['pcmpistri', '63', false, true],
] as const)
  row(
    name,
    `66 0F 3A ${opcode} /r`,
    'Vx,Wx,Ib',
    (s) => {
      const result = compared(s, explicit)
      const mask = s.and(result, 0xffff)
      if (toIndex) s.setReg(S.RCX, index(s, mask), 32)
      else s.setState(s.vector(0), 'v128', expanded(s, mask))
      s.setFlags(s.shr(result, 16))
    },
    explicit ? { sized: true, sizes: [32, 64] } : {},
  )
