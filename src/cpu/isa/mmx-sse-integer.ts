/** Packed integer arithmetic, comparison, packing and shifts of MMX, SSE2, SSSE3 and SSE4 (opcode maps 0F, 0F 38). */
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'
import {
  aligned,
  bytes,
  interleaved,
  iota,
  lane,
  low64,
  shuffle,
  simd,
  units,
  vectorRow,
  wide,
  writeMmx,
  zero,
  type VectorOp,
} from './vector.ts'

const op =
  (name: string): VectorOp =>
  (s, a, b) =>
    s.op(name, [a, b])

const direct: [string, number, string][] = [
  ['paddb', 0xfc, 'i8x16.add'],
  ['paddw', 0xfd, 'i16x8.add'],
  ['paddd', 0xfe, 'i32x4.add'],
  ['paddq', 0xd4, 'i64x2.add'],
  ['psubb', 0xf8, 'i8x16.sub'],
  ['psubw', 0xf9, 'i16x8.sub'],
  ['psubd', 0xfa, 'i32x4.sub'],
  ['psubq', 0xfb, 'i64x2.sub'],
  ['paddsb', 0xec, 'i8x16.add_sat_s'],
  ['paddsw', 0xed, 'i16x8.add_sat_s'],
  ['paddusb', 0xdc, 'i8x16.add_sat_u'],
  ['paddusw', 0xdd, 'i16x8.add_sat_u'],
  ['psubsb', 0xe8, 'i8x16.sub_sat_s'],
  ['psubsw', 0xe9, 'i16x8.sub_sat_s'],
  ['psubusb', 0xd8, 'i8x16.sub_sat_u'],
  ['psubusw', 0xd9, 'i16x8.sub_sat_u'],
  ['pcmpeqb', 0x74, 'i8x16.eq'],
  ['pcmpeqw', 0x75, 'i16x8.eq'],
  ['pcmpeqd', 0x76, 'i32x4.eq'],
  ['pcmpgtb', 0x64, 'i8x16.gt_s'],
  ['pcmpgtw', 0x65, 'i16x8.gt_s'],
  ['pcmpgtd', 0x66, 'i32x4.gt_s'],
  ['pand', 0xdb, 'v128.and'],
  ['por', 0xeb, 'v128.or'],
  ['pxor', 0xef, 'v128.xor'],
  ['pminub', 0xda, 'i8x16.min_u'],
  ['pmaxub', 0xde, 'i8x16.max_u'],
  ['pminsw', 0xea, 'i16x8.min_s'],
  ['pmaxsw', 0xee, 'i16x8.max_s'],
  ['pavgb', 0xe0, 'i8x16.avgr_u'],
  ['pavgw', 0xe3, 'i16x8.avgr_u'],
  ['pmullw', 0xd5, 'i16x8.mul'],
  ['pmaddwd', 0xf5, 'i32x4.dot_i16x8_s'],
]
for (const [name, opcode, wasm] of direct) vectorRow(name, '0F', opcode, op(wasm))
vectorRow('pandn', '0F', 0xdf, (s, a, b) => s.op('v128.andnot', [b, a]))

const HIGH_WORDS = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31]
const mulHigh =
  (sign: 's' | 'u'): VectorOp =>
  (s, a, b) =>
    shuffle(
      s,
      s.op(`i32x4.extmul_low_i16x8_${sign}`, [a, b]),
      s.op(`i32x4.extmul_high_i16x8_${sign}`, [a, b]),
      HIGH_WORDS,
    )
vectorRow('pmulhw', '0F', 0xe5, mulHigh('s'))
vectorRow('pmulhuw', '0F', 0xe4, mulHigh('u'))
vectorRow('pmuludq', '0F', 0xf4, (s, a, b) => {
  const mask = bytes(s, 255, 255, 255, 255, 0, 0, 0, 0)
  return s.op('i64x2.mul', [s.op('v128.and', [a, mask]), s.op('v128.and', [b, mask])])
})
vectorRow('psadbw', '0F', 0xf6, (s, a, b) => {
  const difference = s.op('i8x16.sub', [s.op('i8x16.max_u', [a, b]), s.op('i8x16.min_u', [a, b])])
  const quads = s.op('i32x4.extadd_pairwise_i16x8_u', [s.op('i16x8.extadd_pairwise_i8x16_u', [difference])])
  const sums = s.op('i32x4.add', [quads, shuffle(s, quads, quads, units(4, 1, 0, 3, 2))])
  return s.op('v128.and', [sums, bytes(s, 255, 255, 255, 255, 0, 0, 0, 0)])
})

vectorRow('packsswb', '0F', 0x63, op('i8x16.narrow_i16x8_s'), 'pair')
vectorRow('packuswb', '0F', 0x67, op('i8x16.narrow_i16x8_u'), 'pair')
vectorRow('packssdw', '0F', 0x6b, op('i16x8.narrow_i32x4_s'), 'pair')

const interleave =
  (size: number, high: number): VectorOp =>
  (s, a, b) =>
    interleaved(s, a, b, size, high)
for (const [suffix, size, at] of [
  ['bw', 1, 0],
  ['wd', 2, 1],
  ['dq', 4, 2],
] as const) {
  vectorRow(`punpckl${suffix}`, '0F', 0x60 + at, interleave(size, 0), 'none')
  row(`punpckl${suffix}_mmx`, `NP 0F ${(0x60 + at).toString(16).toUpperCase()} /r`, 'Pq,Qd', (s) => {
    s.attempt('mmxFault')
    const b = s.toI64(s.read(1, 32))
    writeMmx(s, 0, low64(s, interleave(size, 0)(s, wide(s, s.read(0)), wide(s, b))))
  })
  // The high half of an MMX register is the middle of the two sources' interleaving.
  row(`punpckh${suffix}`, `66 0F ${(0x68 + at).toString(16).toUpperCase()} /r`, 'Vx,Wx', (s) => {
    simd(s)
    const b = aligned(s, 1)
    s.write(0, interleave(size, 1)(s, s.read(0), b))
  })
  row(`punpckh${suffix}_mmx`, `NP 0F ${(0x68 + at).toString(16).toUpperCase()} /r`, 'Pq,Qq', (s) => {
    s.attempt('mmxFault')
    const b = s.read(1)
    const mixed = interleave(size, 0)(s, wide(s, s.read(0)), wide(s, b))
    writeMmx(s, 0, lane(s, 'i64x2.extract_lane', mixed, 1))
  })
}
vectorRow('punpcklqdq', '0F', 0x6c, interleave(8, 0), 'none')
vectorRow('punpckhqdq', '0F', 0x6d, interleave(8, 1), 'none')

// ---- shifts -----------------------------------------------------------------------------------------------------

/** Shift by a 64-bit count: too large a count gives zero, or copies of the sign. */
function shift(s: Semantics, name: string, a: Value, count: Value): Value {
  const bits = name.startsWith('i16') ? 16 : name.startsWith('i32') ? 32 : 64
  const tooLarge = s.geU(count, BigInt(bits))
  if (name.endsWith('shr_s')) return s.op(name, [a, s.select(tooLarge, s.k32(bits - 1), s.toI32(count))])
  return s.select(tooLarge, zero(s), s.op(name, [a, s.toI32(count)]))
}

const shifts: [string, string, number, number, number][] = [
  // name, operation, opcode by register, opcode by immediate, its digit
  ['psrlw', 'i16x8.shr_u', 0xd1, 0x71, 2],
  ['psrld', 'i32x4.shr_u', 0xd2, 0x72, 2],
  ['psrlq', 'i64x2.shr_u', 0xd3, 0x73, 2],
  ['psraw', 'i16x8.shr_s', 0xe1, 0x71, 4],
  ['psrad', 'i32x4.shr_s', 0xe2, 0x72, 4],
  ['psllw', 'i16x8.shl', 0xf1, 0x71, 6],
  ['pslld', 'i32x4.shl', 0xf2, 0x72, 6],
  ['psllq', 'i64x2.shl', 0xf3, 0x73, 6],
]
for (const [name, wasm, opcode, immediate, digit] of shifts) {
  vectorRow(name, '0F', opcode, (s, a, b) => shift(s, wasm, a, low64(s, b)))
  const code = immediate.toString(16)
  row(`${name}_i`, `66 0F ${code} /${digit}`, 'Ux,Ib', (s) => {
    simd(s)
    s.write(0, shift(s, wasm, s.read(0), s.toI64(s.read(1))))
  })
  row(`${name}_i_mmx`, `NP 0F ${code} /${digit}`, 'Nq,Ib', (s) => {
    s.attempt('mmxFault')
    writeMmx(s, 0, low64(s, shift(s, wasm, wide(s, s.read(0)), s.toI64(s.read(1)))))
  })
}

/** Bytes moved by a count from the record: out of range comes zero. */
const byteShift = (left: boolean) => (s: Semantics) => {
  simd(s)
  const known = s.knownImmediate()
  if (known !== undefined) {
    const first = left ? 16 - Math.min(known, 16) : Math.min(known, 16)
    const [low, high] = left ? [zero(s), s.read(0)] : [s.read(0), zero(s)]
    return s.write(0, shuffle(s, low, high, units(1, ...Array.from({ length: 16 }, (_, i) => first + i))))
  }
  const count = s.op('i8x16.splat', [s.read(1)])
  const a = s.read(0)
  const by = s.op('i8x16.min_u', [count, bytes(s, 16)])
  s.write(0, s.op('i8x16.swizzle', [a, s.op(left ? 'i8x16.sub' : 'i8x16.add', [iota(s), by])]))
}
row('psrldq', '66 0F 73 /3', 'Ux,Ib', byteShift(false))
row('pslldq', '66 0F 73 /7', 'Ux,Ib', byteShift(true))

// ---- SSSE3 ------------------------------------------------------------------------------------------------------

row('pshufb', '66 0F 38 00 /r', 'Vx,Wx', (s) => {
  simd(s)
  const b = aligned(s, 1)
  s.write(0, s.op('i8x16.swizzle', [s.read(0), s.op('v128.and', [b, bytes(s, 0x8f)])]))
})
row('pshufb_mmx', 'NP 0F 38 00 /r', 'Pq,Qq', (s) => {
  s.attempt('mmxFault')
  const b = wide(s, s.read(1))
  writeMmx(s, 0, low64(s, s.op('i8x16.swizzle', [wide(s, s.read(0)), s.op('v128.and', [b, bytes(s, 0x87)])])))
})

/** Neighbours combined: the pairs of a, then those of b. */
const horizontal =
  (size: number, wasm: string): VectorOp =>
  (s, a, b) => {
    const n = 16 / size
    const pick = (odd: number) => shuffle(s, a, b, units(size, ...Array.from({ length: n }, (_, i) => 2 * i + odd)))
    return s.op(wasm, [pick(0), pick(1)])
  }
const horizontals: [string, number, number, string][] = [
  ['phaddw', 1, 2, 'i16x8.add'],
  ['phaddd', 2, 4, 'i32x4.add'],
  ['phaddsw', 3, 2, 'i16x8.add_sat_s'],
  ['phsubw', 5, 2, 'i16x8.sub'],
  ['phsubd', 6, 4, 'i32x4.sub'],
  ['phsubsw', 7, 2, 'i16x8.sub_sat_s'],
]
for (const [name, opcode, size, wasm] of horizontals) vectorRow(name, '0F 38', opcode, horizontal(size, wasm), 'pair')

vectorRow('pmaddubsw', '0F 38', 0x04, (s, a, b) => {
  const k8 = s.k32(8)
  const even = s.op('i16x8.mul', [
    s.op('v128.and', [a, bytes(s, 255, 0)]),
    s.op('i16x8.shr_s', [s.op('i16x8.shl', [b, k8]), k8]),
  ])
  const odd = s.op('i16x8.mul', [s.op('i16x8.shr_u', [a, k8]), s.op('i16x8.shr_s', [b, k8])])
  return s.op('i16x8.add_sat_s', [even, odd])
})
vectorRow('pmulhrsw', '0F 38', 0x0b, (s, a, b) => {
  // -1 * -1 is not saturated here.
  const least = bytes(s, 0, 0x80)
  const overflow = s.op('v128.and', [s.op('i16x8.eq', [a, least]), s.op('i16x8.eq', [b, least])])
  return s.op('v128.xor', [s.op('i16x8.q15mulr_sat_s', [a, b]), overflow])
})
for (const [suffix, shape, at] of [
  ['b', 'i8x16', 0],
  ['w', 'i16x8', 1],
  ['d', 'i32x4', 2],
] as const) {
  vectorRow(`psign${suffix}`, '0F 38', 0x08 + at, (s, a, b) => {
    const signed = s.op('v128.bitselect', [s.op(`${shape}.neg`, [a]), a, s.op(`${shape}.lt_s`, [b, zero(s)])])
    return s.op('v128.andnot', [signed, s.op(`${shape}.eq`, [b, zero(s)])])
  })
  vectorRow(`pabs${suffix}`, '0F 38', 0x1c + at, (s, _a, b) => s.op(`${shape}.abs`, [b]))
}

// ---- SSE4 -------------------------------------------------------------------------------------------------------

const sse4: [string, number, string][] = [
  ['pcmpeqq', 0x29, 'i64x2.eq'],
  ['packusdw', 0x2b, 'i16x8.narrow_i32x4_u'],
  ['pcmpgtq', 0x37, 'i64x2.gt_s'],
  ['pminsb', 0x38, 'i8x16.min_s'],
  ['pminsd', 0x39, 'i32x4.min_s'],
  ['pminuw', 0x3a, 'i16x8.min_u'],
  ['pminud', 0x3b, 'i32x4.min_u'],
  ['pmaxsb', 0x3c, 'i8x16.max_s'],
  ['pmaxsd', 0x3d, 'i32x4.max_s'],
  ['pmaxuw', 0x3e, 'i16x8.max_u'],
  ['pmaxud', 0x3f, 'i32x4.max_u'],
  ['pmulld', 0x40, 'i32x4.mul'],
]
for (const [name, opcode, wasm] of sse4) vectorRow(name, '0F 38', opcode, op(wasm), 'none')
vectorRow(
  'pmuldq',
  '0F 38',
  0x28,
  (s, a, b) => {
    const low = (v: Value) => s.op('i64x2.shr_s', [s.op('i64x2.shl', [v, s.k32(32)]), s.k32(32)])
    return s.op('i64x2.mul', [low(a), low(b)])
  },
  'none',
)
vectorRow(
  'phminposuw',
  '0F 38',
  0x41,
  (s, _a, b) => {
    // value << 16 | index in 32-bit lanes: the least of them names the first of the least.
    const keyed = (half: 'low' | 'high', index: number[]) =>
      s.op('v128.or', [
        s.op('i32x4.shl', [s.op(`i32x4.extend_${half}_i16x8_u`, [b]), s.k32(16)]),
        s.kv(Uint8Array.from(index.flatMap((i) => [i, 0, 0, 0]))),
      ])
    const least4 = s.op('i32x4.min_u', [keyed('low', [0, 1, 2, 3]), keyed('high', [4, 5, 6, 7])])
    const least2 = s.op('i32x4.min_u', [least4, shuffle(s, least4, least4, units(4, 2, 3, 0, 1))])
    const least = lane(
      s,
      'i32x4.extract_lane',
      s.op('i32x4.min_u', [least2, shuffle(s, least2, least2, units(4, 1, 0, 3, 2))]),
      0,
    )
    return s.op('i64x2.replace_lane', [zero(s), s.toI64(s.or(s.shr(least, 16), s.shl(s.and(least, 0xffff), 16)))], [0])
  },
  'none',
)
/** Sums of absolute differences of four bytes of b, which the immediate chooses, at eight places in a. */
row('mpsadbw', '66 0F 3A 42 /r', 'Vx,Wx,Ib', (s) => {
  simd(s)
  const b = aligned(s, 1)
  const imm = s.read(2)
  const from = (offset: Value, ...pattern: number[]) =>
    s.op('i8x16.add', [s.op('i8x16.splat', [offset]), bytes(s, ...pattern)])
  const first = s.and(imm, 4)
  const block = s.shl(s.and(imm, 3), 2)
  const a = s.read(0)
  const sums = [0, 1, 2, 3].map((i) => {
    const x = s.op('i8x16.swizzle', [a, from(first, ...Array.from({ length: 16 }, (_, k) => i + k))])
    const y = s.op('i8x16.swizzle', [b, from(block, i)])
    return s.op('i16x8.extend_low_i8x16_u', [
      s.op('i8x16.sub', [s.op('i8x16.max_u', [x, y]), s.op('i8x16.min_u', [x, y])]),
    ])
  })
  s.write(
    0,
    sums.reduce((sum, x) => s.op('i16x8.add', [sum, x])),
  )
})

const extensions: [string, number, string, 16 | 32 | 64, string[]][] = [
  ['bw', 0, 'Wq', 64, ['i16x8.extend_low_i8x16']],
  ['bd', 1, 'Wd', 32, ['i16x8.extend_low_i8x16', 'i32x4.extend_low_i16x8']],
  ['bq', 2, 'Ww', 16, ['i16x8.extend_low_i8x16', 'i32x4.extend_low_i16x8', 'i64x2.extend_low_i32x4']],
  ['wd', 3, 'Wq', 64, ['i32x4.extend_low_i16x8']],
  ['wq', 4, 'Wd', 32, ['i32x4.extend_low_i16x8', 'i64x2.extend_low_i32x4']],
  ['dq', 5, 'Wq', 64, ['i64x2.extend_low_i32x4']],
]
for (const [suffix, at, source, bits, steps] of extensions)
  for (const [prefix, base, sign] of [
    ['pmovsx', 0x20, 's'],
    ['pmovzx', 0x30, 'u'],
  ] as const)
    row(`${prefix}${suffix}`, `66 0F 38 ${(base + at).toString(16)} /r`, `Vx,${source}`, (s) => {
      simd(s)
      let v = wide(s, s.toI64(s.read(1, bits)))
      for (const step of steps) v = s.op(`${step}_${sign}`, [v])
      s.write(0, v)
    })

row('ptest', '66 0F 38 17 /r', 'Vx,Wx', (s) => {
  simd(s)
  const b = aligned(s, 1)
  const a = s.read(0)
  const none = (v: Value) => s.isZero(s.op('v128.any_true', [v]))
  s.setFlags(s.or(s.shl(none(s.op('v128.and', [a, b])), 6), none(s.op('v128.andnot', [b, a]))))
})
const blendv = (name: string, opcode: string, shape: string, bits: number) =>
  row(name, `66 0F 38 ${opcode} /r`, 'Vx,Wx', (s) => {
    simd(s)
    const b = aligned(s, 1)
    const mask = s.op(`${shape}.shr_s`, [s.state(s.vector(0), 'v128'), s.k32(bits - 1)])
    s.write(0, s.op('v128.bitselect', [b, s.read(0), mask]))
  })
blendv('pblendvb', '10', 'i8x16', 8)
blendv('blendvps', '14', 'i32x4', 32)
blendv('blendvpd', '15', 'i64x2', 64)

row('crc32', 'F2 0F 38 F0 /r', 'Gy,Eb', (s) =>
  s.write(0, s.compute('crc32', s.toI32(s.read(0)), s.toI64(s.read(1)), s.k32(1))),
)
row('crc32', 'F2 0F 38 F1 /r', 'Gy,Ev', (s) =>
  s.write(0, s.compute('crc32', s.toI32(s.read(0)), s.toI64(s.read(1)), s.k32(s.size / 8))),
)
