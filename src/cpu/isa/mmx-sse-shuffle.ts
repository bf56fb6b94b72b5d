/** Shuffles, inserts, extracts and blends whose pattern is an immediate: the pattern is data of the record here. */
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'
import { aligned, bytes, iota, lane, low64, shuffle, simd, units, wide, writeMmx, zero } from './vector.ts'

const swizzle = (s: Semantics, a: Value, index: Value) => s.op('i8x16.swizzle', [a, index])

/** Bits [2k, 2k + 1] of an immediate. */
const pair = (n: number, k: number) => (n >> (2 * k)) & 3
/** The shuffle of `a` and `b` by `lanes` of the immediate where that is known, else by `general`. */
function byImmediate(
  s: Semantics,
  [a, b]: readonly [Value, Value],
  lanes: (n: number) => readonly number[],
  general: (imm: Value) => Value,
): Value {
  const n = s.knownImmediate()
  return n === undefined ? general(s.read(2)) : shuffle(s, a, b, lanes(n))
}

/** A vector of four 32-bit lanes. */
function quad(s: Semantics, lanes: readonly Value[]): Value {
  return lanes.reduce((v, x, i) => s.op('i32x4.replace_lane', [v, x], [i]), zero(s))
}

/** Byte indices of the 32-bit unit that bits [2k, 2k+1] of the immediate name. */
const dword = (s: Semantics, imm: Value, k: number) => s.add(s.mul(s.and(s.shr(imm, 2 * k), 3), 0x04040404), 0x03020100)
/** Byte indices of the word that bits [2k, 2k+1] name, above byte `base`. */
const word = (s: Semantics, imm: Value, k: number, base: number) =>
  s.add(s.mul(s.and(s.shr(imm, 2 * k), 3), 0x0202), 0x0100 + base * 0x101)
const words = (s: Semantics, imm: Value, base: number) =>
  [0, 2].map((k) => s.or(word(s, imm, k, base), s.shl(word(s, imm, k + 1, base), 16)))

row('pshufd', '66 0F 70 /r', 'Vx,Wx,Ib', (s) => {
  simd(s)
  const b = aligned(s, 1)
  const order = [0, 1, 2, 3]
  s.write(
    0,
    byImmediate(
      s,
      [b, b],
      (n) => units(4, ...order.map((k) => pair(n, k))),
      (imm) =>
        swizzle(
          s,
          b,
          quad(
            s,
            order.map((k) => dword(s, imm, k)),
          ),
        ),
    ),
  )
})
row('pshuflw', 'F2 0F 70 /r', 'Vx,Wx,Ib', (s) => {
  simd(s)
  const b = aligned(s, 1)
  s.write(
    0,
    byImmediate(
      s,
      [b, b],
      (n) => units(2, pair(n, 0), pair(n, 1), pair(n, 2), pair(n, 3), 4, 5, 6, 7),
      (imm) => swizzle(s, b, quad(s, [...words(s, imm, 0), s.k32(0x0b0a0908), s.k32(0x0f0e0d0c)])),
    ),
  )
})
row('pshufhw', 'F3 0F 70 /r', 'Vx,Wx,Ib', (s) => {
  simd(s)
  const b = aligned(s, 1)
  s.write(
    0,
    byImmediate(
      s,
      [b, b],
      (n) => units(2, 0, 1, 2, 3, 4 + pair(n, 0), 4 + pair(n, 1), 4 + pair(n, 2), 4 + pair(n, 3)),
      (imm) => swizzle(s, b, quad(s, [s.k32(0x03020100), s.k32(0x07060504), ...words(s, imm, 8)])),
    ),
  )
})
row('pshufw', 'NP 0F 70 /r', 'Pq,Qq,Ib', (s) => {
  s.attempt('mmxFault')
  const b = wide(s, s.read(1))
  writeMmx(s, 0, low64(s, swizzle(s, b, quad(s, [...words(s, s.read(2), 0), s.k32(0), s.k32(0)]))))
})
row('shufps', 'NP 0F C6 /r', 'Vx,Wx,Ib', (s) => {
  simd(s)
  const b = aligned(s, 1)
  const a = s.read(0)
  const none = s.k32(-1)
  s.write(
    0,
    byImmediate(
      s,
      [a, b],
      (n) => units(4, pair(n, 0), pair(n, 1), 4 + pair(n, 2), 4 + pair(n, 3)),
      (imm) =>
        s.op('v128.or', [
          swizzle(s, a, quad(s, [dword(s, imm, 0), dword(s, imm, 1), none, none])),
          swizzle(s, b, quad(s, [none, none, dword(s, imm, 2), dword(s, imm, 3)])),
        ]),
    ),
  )
})
row('shufpd', '66 0F C6 /r', 'Vx,Wx,Ib', (s) => {
  simd(s)
  const b = aligned(s, 1)
  const a = s.read(0)
  const half = (imm: Value, v: Value, bit: number) =>
    s.select(s.and(imm, bit), lane(s, 'i64x2.extract_lane', v, 1), lane(s, 'i64x2.extract_lane', v, 0))
  s.write(
    0,
    byImmediate(
      s,
      [a, b],
      (n) => units(8, n & 1, 2 + ((n >> 1) & 1)),
      (imm) => s.op('i64x2.replace_lane', [s.op('i64x2.splat', [half(imm, a, 1)]), half(imm, b, 2)], [1]),
    ),
  )
})

/** Bytes [imm, imm + n) of b below a. */
const align = (s: Semantics, a: Value, b: Value, imm: Value, n: number) => {
  const from = s.op('i8x16.add_sat_u', [iota(s), s.op('i8x16.splat', [imm])])
  const high = swizzle(s, a, s.op('i8x16.sub', [from, bytes(s, n)]))
  return s.op('v128.or', [swizzle(s, b, from), high])
}
row('palignr', '66 0F 3A 0F /r', 'Vx,Wx,Ib', (s) => {
  simd(s)
  const b = aligned(s, 1)
  const a = s.read(0)
  const n = s.knownImmediate()
  const from = (low: Value, high: Value, by: number) =>
    shuffle(s, low, high, units(1, ...Array.from({ length: 16 }, (_, i) => i + by)))
  if (n === undefined) s.write(0, align(s, a, b, s.read(2), 16))
  else if (n <= 16) s.write(0, from(b, a, n))
  else s.write(0, from(a, zero(s), Math.min(n, 32) - 16))
})
row('palignr_mmx', 'NP 0F 3A 0F /r', 'Pq,Qq,Ib', (s) => {
  s.attempt('mmxFault')
  const b = s.read(1)
  const joined = s.op('i64x2.replace_lane', [wide(s, b), s.read(0)], [1])
  writeMmx(s, 0, low64(s, align(s, zero(s), joined, s.read(2), 16)))
})

// ---- inserts and extracts ---------------------------------------------------------------------------------------

/** All bytes of the result are those of unit `index` (i32, in units of `size` bytes) of v. */
function broadcastUnit(s: Semantics, v: Value, index: Value, size: 1 | 2 | 4 | 8): Value {
  const first = s.op('i8x16.splat', [s.mul(index, size)])
  return swizzle(s, v, s.op('i8x16.add', [first, bytes(s, ...Array.from({ length: size }, (_, i) => i))]))
}
/** All ones in unit `index`. */
function unitMask(s: Semantics, index: Value, size: 1 | 2 | 4 | 8): Value {
  const numbers = s.kv(Uint8Array.from({ length: 16 }, (_, i) => Math.floor(i / size)))
  return s.op('i8x16.eq', [numbers, s.op('i8x16.splat', [index])])
}

row('pextrb', '66 0F 3A 14 /r', 'Ed,Vx,Ib', (s) => {
  simd(s)
  const value = lane(s, 'i8x16.extract_lane_u', broadcastUnit(s, s.read(1, 'v128'), s.and(s.read(2), 15), 1), 0)
  s.write(0, value, s.isMem(0) ? 8 : undefined)
})
const pextrw = (s: Semantics) => {
  simd(s)
  return lane(s, 'i16x8.extract_lane_u', broadcastUnit(s, s.read(1, 'v128'), s.and(s.read(2), 7), 2), 0)
}
row('pextrw', '66 0F 3A 15 /r', 'Ed,Vx,Ib', (s) => s.write(0, pextrw(s), s.isMem(0) ? 16 : undefined))
row('pextrw', '66 0F C5 /r', 'Gd,Ux,Ib', (s) => s.write(0, pextrw(s)))
row('pextrw_mmx', 'NP 0F C5 /r', 'Gd,Nq,Ib', (s) => {
  s.attempt('mmxFault')
  const shift = s.toI64(s.shl(s.and(s.read(2), 3), 4))
  const value = s.toI32(s.and(s.shr(s.read(1), shift), 0xffffn))
  s.call('mmxEnter', [])
  s.write(0, value)
})
row('pextrd', '66 0F 3A 16 /r', 'Ey,Vx,Ib', (s) => {
  simd(s)
  const v = s.read(1, 'v128')
  const imm = s.read(2)
  s.write(
    0,
    s.size === 64
      ? lane(s, 'i64x2.extract_lane', broadcastUnit(s, v, s.and(imm, 1), 8), 0)
      : lane(s, 'i32x4.extract_lane', broadcastUnit(s, v, s.and(imm, 3), 4), 0),
  )
})
row('extractps', '66 0F 3A 17 /r', 'Ed,Vx,Ib', (s) => {
  simd(s)
  s.write(0, lane(s, 'i32x4.extract_lane', broadcastUnit(s, s.read(1, 'v128'), s.and(s.read(2), 3), 4), 0))
})

row('pinsrb', '66 0F 3A 20 /r', 'Vx,Ed,Ib', (s) => {
  simd(s)
  const value = s.op('i8x16.splat', [s.read(1, 8)])
  s.write(0, s.op('v128.bitselect', [value, s.read(0), unitMask(s, s.and(s.read(2), 15), 1)]))
})
row('pinsrw', '66 0F C4 /r', 'Vx,Ed,Ib', (s) => {
  simd(s)
  const value = s.op('i16x8.splat', [s.read(1, 16)])
  s.write(0, s.op('v128.bitselect', [value, s.read(0), unitMask(s, s.and(s.read(2), 7), 2)]))
})
row('pinsrw_mmx', 'NP 0F C4 /r', 'Pq,Ed,Ib', (s) => {
  s.attempt('mmxFault')
  const value = s.op('i16x8.splat', [s.read(1, 16)])
  writeMmx(s, 0, low64(s, s.op('v128.bitselect', [value, wide(s, s.read(0)), unitMask(s, s.and(s.read(2), 3), 2)])))
})
row('pinsrd', '66 0F 3A 22 /r', 'Vx,Ey,Ib', (s) => {
  simd(s)
  const size = s.size === 64 ? 8 : 4
  const value = s.op(size === 8 ? 'i64x2.splat' : 'i32x4.splat', [s.read(1)])
  s.write(0, s.op('v128.bitselect', [value, s.read(0), unitMask(s, s.and(s.read(2), size === 8 ? 1 : 3), size)]))
})
row('insertps', '66 0F 3A 21 /r', 'Vx,Wd,Ib', (s) => {
  simd(s)
  const imm = s.read(2)
  const unit = s.isMem(1)
    ? s.read(1, 32)
    : lane(s, 'i32x4.extract_lane', broadcastUnit(s, s.read(1, 'v128'), s.shr(imm, 6), 4), 0)
  const mask = unitMask(s, s.and(s.shr(imm, 4), 3), 4)
  const inserted = s.op('v128.bitselect', [s.op('i32x4.splat', [unit]), s.read(0), mask])
  s.write(0, s.op('v128.andnot', [inserted, bitMask(s, imm, 'i32x4', 4)]))
})

/** All ones in the lanes whose bit is set in the immediate. */
function bitMask(s: Semantics, imm: Value, shape: 'i16x8' | 'i32x4' | 'i64x2', lanes: number): Value {
  const size = 16 / lanes
  const weights = s.kv(Uint8Array.from({ length: 16 }, (_, i) => (i % size === 0 ? 1 << (i / size) : 0)))
  const splat = s.op(`${shape}.splat`, [shape === 'i64x2' ? s.toI64(imm) : imm])
  return s.op(`${shape}.ne`, [s.op('v128.and', [splat, weights]), zero(s)])
}
for (const [name, opcode, shape, lanes] of [
  ['pblendw', '0E', 'i16x8', 8],
  ['blendps', '0C', 'i32x4', 4],
  ['blendpd', '0D', 'i64x2', 2],
] as const)
  row(name, `66 0F 3A ${opcode} /r`, 'Vx,Wx,Ib', (s) => {
    simd(s)
    const b = aligned(s, 1)
    const a = s.read(0)
    const order = Array.from({ length: lanes }, (_, i) => i)
    s.write(
      0,
      byImmediate(
        s,
        [a, b],
        (n) => units(16 / lanes, ...order.map((i) => i + ((n >> i) & 1) * lanes)),
        (imm) => s.op('v128.bitselect', [b, a, bitMask(s, imm, shape, lanes)]),
      ),
    )
  })
