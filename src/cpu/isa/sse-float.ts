/**
 * SSE, SSE2 and SSE3 floating-point arithmetic and comparison (SDM Vol. 2). Each row has a fast way in WebAssembly's
 * arithmetic (see sse-lanes.ts) and otherwise calls a procedure of ../system/sse-float*.ts.
 */
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'
import { addressOf, bitsOf, checked, Lanes, scalarResult, type Bits } from './sse-lanes.ts'
import { aligned, bytes, shuffle, simd, units } from './vector.ts'

const hex = (opcode: number) => opcode.toString(16).toUpperCase()
const formats: readonly [string, string, Bits, boolean][] = [
  // suffix, prefix, bits of a lane, packed
  ['ps', 'NP', 32, true],
  ['pd', '66', 64, true],
  ['ss', 'F3', 32, false],
  ['sd', 'F2', 64, false],
]
const scalarOperands = (bits: Bits) => (bits === 32 ? 'Vd,Wd' : 'Vq,Wq')

// ---- arithmetic -------------------------------------------------------------------------------------------------

const SQRT = 0x51
const ADD = 0x58
const SUB = 0x5c
type Arithmetic = 'add' | 'sub' | 'mul' | 'div' | 'sqrt' | 'min' | 'max'

function compute(l: Lanes, name: Arithmetic, a: Value, b: Value): Value {
  switch (name) {
    case 'sqrt':
      return l.op('sqrt', b)
    // The second operand if they are equal: zeros of either sign. `pmin` and `pmax` keep their first one.
    case 'min':
    case 'max':
      if (l.packed) return l.op(`p${name}`, b, a)
      return l.s.select(l.op(name === 'min' ? 'lt' : 'gt', a, b), a, b)
    default:
      return l.op(name, a, b)
  }
}

/**
 * Runs `fast` if the result `r` is right and MXCSR stays as it is: at once where all numbers are normal and nobody sees
 * that it is inexact, else when a procedure says so, which knows zeros and exact results. Otherwise `slow`.
 */
function ifQuiet<T extends Value | void>(
  l: Lanes,
  opcode: number,
  operands: readonly (readonly [Value, number?])[],
  r: Value,
  branch: (condition: Value, then: () => T, otherwise: () => T, likely?: boolean) => T,
  fast: () => T,
  slow: () => T,
): T {
  const { s } = l
  const ordinary = s.floats(l.bits, l.packed, operands, r)
  const [[a], [b]] = [operands[0] as readonly [Value], operands.at(-1) as readonly [Value]]
  const quiet = () =>
    s.compute(`sseQuiet${l.bits}`, s.k32(opcode), s.k32(l.packed ? 4 : 1), ...[a, b, r].map((x) => l.spread(x)))
  return branch(ordinary, fast, () => branch(quiet(), fast, slow), true)
}

const arithmetic = (name: Arithmetic, opcode: number, bits: Bits, packed: boolean) => (s: Semantics) => {
  simd(s)
  const l = new Lanes(s, bits, packed)
  const b = l.read(1)
  const a = name === 'sqrt' ? b : l.read(0)
  const r = compute(l, name, a, b)
  const operands: readonly (readonly [Value, number])[] =
    name === 'sqrt'
      ? [[b, 1]]
      : [
          [a, 0],
          [b, 1],
        ]
  const slowScalar = () => s.compute(`sseArith${bits}`, s.k32(opcode), bitsOf(s, a), bitsOf(s, b))
  if (name === 'min' || name === 'max') {
    const ok = s.floats(bits, packed, operands)
    if (packed) packedResult(l, opcode, r, b, (fast, slow) => s.if(ok, fast, slow, true))
    else s.write(0, scalarResult(s, ok, r, slowScalar))
  } else if (packed)
    packedResult(l, opcode, r, b, (fast, slow) => ifQuiet<void>(l, opcode, operands, r, s.if.bind(s), fast, slow))
  else
    s.write(
      0,
      ifQuiet<Value>(
        l,
        opcode,
        operands,
        r,
        s.choose.bind(s),
        () => r,
        () => checked(s, r.ty, slowScalar),
      ),
    )
  s.tameAll(1, bits, packed)
  s.tameAll(0, bits, packed)
}

/** Writes `r` or calls the procedure of an opcode, as `decide` says. */
function packedResult(
  { s, bits }: Lanes,
  opcode: number,
  r: Value,
  b: Value,
  decide: (fast: () => void, slow: () => void) => void,
): void {
  decide(
    () => s.write(0, r),
    () => s.attempt(`ssePacked${bits}`, s.k32(opcode), s.slotAddress(0), s.slotAddress(0), addressOf(s, 1, b)),
  )
}

const operations: [Arithmetic, number][] = [
  ['sqrt', SQRT],
  ['add', ADD],
  ['mul', 0x59],
  ['sub', SUB],
  ['min', 0x5d],
  ['div', 0x5e],
  ['max', 0x5f],
]
for (const [name, opcode] of operations)
  for (const [suffix, prefix, bits, packed] of formats)
    row(
      `${name}${suffix}`,
      `${prefix} 0F ${hex(opcode)} /r`,
      packed ? 'Vx,Wx' : scalarOperands(bits),
      arithmetic(name, opcode, bits, packed),
    )

/** Sums or differences of lanes that were brought side by side. */
const pairwise = (opcode: number, bits: Bits, subtract: boolean) => (s: Semantics) => {
  simd(s)
  const l = new Lanes(s, bits, true)
  const b = aligned(s, 1)
  const a = s.read(0)
  const size = bits / 8
  const [even, odd] =
    bits === 32
      ? [
          [0, 2, 4, 6],
          [1, 3, 5, 7],
        ]
      : [
          [0, 2],
          [1, 3],
        ]
  let x = a
  let y = b
  // ADDSUB subtracts in the even lanes, where a sign bit is flipped before the addition.
  if (opcode === 0xd0)
    y = s.op('v128.xor', [
      b,
      bits === 32 ? bytes(s, 0, 0, 0, 0x80, 0, 0, 0, 0) : bytes(s, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0),
    ])
  else {
    x = shuffle(s, a, b, units(size, ...(even as number[])))
    y = shuffle(s, a, b, units(size, ...(odd as number[])))
  }
  const r = l.op(subtract ? 'sub' : 'add', x, y)
  packedResult(l, opcode, r, b, (fast, slow) =>
    ifQuiet<void>(l, subtract ? SUB : ADD, [[x], [y]], r, s.if.bind(s), fast, slow),
  )
}
for (const [name, opcode] of [
  ['hadd', 0x7c],
  ['hsub', 0x7d],
  ['addsub', 0xd0],
] as const)
  for (const [suffix, prefix, bits] of [
    ['ps', 'F2', 32],
    ['pd', '66', 64],
  ] as const)
    row(`${name}${suffix}`, `${prefix} 0F ${hex(opcode)} /r`, 'Vx,Wx', pairwise(opcode, bits, name === 'hsub'))

for (const [name, opcode, scalar] of [
  ['rcp', 0x53, 'sseRcp32'],
  ['rsqrt', 0x52, 'sseRsqrt32'],
] as const) {
  row(`${name}ps`, `NP 0F ${hex(opcode)} /r`, 'Vx,Wx', (s) => {
    simd(s)
    const b = aligned(s, 1)
    s.call('sseApproximate', [s.k32(opcode), s.slotAddress(0), addressOf(s, 1, b)])
  })
  row(`${name}ss`, `F3 0F ${hex(opcode)} /r`, 'Vd,Wd', (s) => {
    simd(s)
    s.write(0, s.compute(scalar, s.read(1)))
  })
}

for (const [name, opcode, procedure] of [
  ['dpps', '40', 'sseDot32'],
  ['dppd', '41', 'sseDot64'],
] as const)
  row(name, `66 0F 3A ${opcode} /r`, 'Vx,Wx,Ib', (s) => {
    simd(s)
    const b = aligned(s, 1)
    s.attempt(procedure, s.read(2), s.slotAddress(0), s.slotAddress(0), addressOf(s, 1, b))
  })

// ---- comparison -------------------------------------------------------------------------------------------------

const never = (l: Lanes) => (l.packed ? bytes(l.s, 0) : l.s.k32(0))
/** Numbers that are no NaNs compared by predicate 0..7, which is data of the record: EQ LT LE never and negations. */
function predicated(l: Lanes, a: Value, b: Value, predicate: Value): Value {
  const { s } = l
  const n = s.knownImmediate()
  if (n !== undefined) {
    const known = [l.op('eq', a, b), l.op('lt', a, b), l.op('le', a, b)][n & 3] ?? never(l)
    const all = l.packed ? bytes(s, 0xff) : s.k32(1)
    return n & 4 ? s.op(l.packed ? 'v128.xor' : 'i32.xor', [known, all]) : known
  }
  const flag = (bit: Value) => (l.packed ? s.op('i32x4.splat', [s.sub(s.k32(0), bit)]) : bit)
  const equal = flag(s.and(s.not(predicate), 1))
  const less = flag(s.and(s.shr(s.add(s.and(predicate, 3), 1), 1), 1))
  const negated = flag(s.and(s.shr(predicate, 2), 1))
  const holds = l.or(l.and(l.op('eq', a, b), equal), l.and(l.op('lt', a, b), less))
  return s.op(l.packed ? 'v128.xor' : 'i32.xor', [holds, negated])
}

for (const [suffix, prefix, bits, packed] of formats)
  row(`cmp${suffix}`, `${prefix} 0F C2 /r`, `${packed ? 'Vx,Wx' : scalarOperands(bits)},Ib`, (s) => {
    simd(s)
    const l = new Lanes(s, bits, packed)
    const b = l.read(1)
    const a = l.read(0)
    const predicate = s.and(s.read(2), 7)
    const ok = s.floats(bits, packed, [
      [a, 0],
      [b, 1],
    ])
    const fast = predicated(l, a, b, predicate)
    if (packed)
      s.if(
        ok,
        () => s.write(0, fast),
        () => {
          s.attempt(`sseCmpPacked${bits}`, predicate, s.slotAddress(0), s.slotAddress(0), addressOf(s, 1, b))
        },
      )
    else {
      const mask = s.sub(s.k32(0), fast)
      s.write(
        0,
        scalarResult(s, ok, bits === 32 ? mask : s.signed64(mask, 32), () =>
          s.compute(`sseCmp${bits}`, predicate, bitsOf(s, a), bitsOf(s, b)),
        ),
      )
    }
  })

const ZF = 6
for (const [name, opcode, quiet] of [
  ['ucomi', '2E', 1],
  ['comi', '2F', 0],
] as const)
  for (const [suffix, prefix, bits] of [
    ['ss', 'NP', 32],
    ['sd', '66', 64],
  ] as const)
    row(`${name}${suffix}`, `${prefix} 0F ${opcode} /r`, scalarOperands(bits), (s) => {
      simd(s)
      const l = new Lanes(s, bits, false)
      const b = l.read(1)
      const a = l.read(0)
      const fast = s.or(s.shl(l.op('eq', a, b), ZF), l.op('lt', a, b))
      const ok = s.floats(bits, false, [
        [a, 0],
        [b, 1],
      ])
      s.setFlags(
        scalarResult(s, ok, fast, () => s.compute(`sseComi${bits}`, bitsOf(s, a), bitsOf(s, b), s.k32(quiet))),
        [a, b],
      )
      s.tameAll(0, bits, false)
      s.tameAll(1, bits, false)
    })
