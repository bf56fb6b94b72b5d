/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM Vol. 2B). */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'
import { bytes, clear64, simd, zero } from './vector.ts'

const WORDS = 1
const MOST_SIGNIFICANT = 0x40
const EXPANDED = 0x40

/** IntRes2 and flags. */
function compared(s: Semantics, explicit: boolean): Value {
  simd(s)
  const b = s.read(1, 'v128')
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
