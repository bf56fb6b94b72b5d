/**
 * Deterministic randomness for the oracle's cases: a seeded generator, and values biased to where instructions go
 * wrong: limits, single bits, sign extensions; zeros, denormals, infinities, NaNs, halfway and overflowing floats.
 */

/** The sfc32 generator (C. Doty-Humphrey's "small fast counting"), seeded by a string. */
export class Random {
  private a = 0x9e3779b9
  private b: number
  private c = 0x243f6a88
  private counter = 1

  constructor(seed: string) {
    let hash = 0x811c9dc5 // FNV-1a
    for (let i = 0; i < seed.length; i++) hash = Math.imul(hash ^ seed.charCodeAt(i), 0x01000193)
    this.b = hash
    for (let i = 0; i < 12; i++) this.u32()
  }

  u32(): number {
    const t = (this.a + this.b + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (((this.c << 21) | (this.c >>> 11)) + t) | 0
    return t >>> 0
  }

  below(limit: number): number {
    return Math.floor((this.u32() / 0x100000000) * limit)
  }

  /** True in `percent` of all calls. */
  chance(percent: number): boolean {
    return this.below(100) < percent
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32())
  }
}

const ALL = (1n << 64n) - 1n

/** A 64-bit pattern whose low 8, 16, 32 or 64 bits are likely to be a corner case. */
export function integer(random: Random): bigint {
  const bits = BigInt(random.pick([8, 16, 32, 32, 64, 64]))
  const top = 1n << (bits - 1n)
  const junk = random.chance(50) ? (random.u64() << bits) & ALL : 0n
  switch (random.below(10)) {
    case 0:
    case 1: {
      const corner = random.pick([0n, 1n, 2n, -1n, -2n, top, top - 1n, top + 1n, top - 2n, 0x10n, 0x0fn])
      return (BigInt.asUintN(Number(bits), corner) | junk) & ALL
    }
    case 2:
      return (1n << BigInt(random.below(64))) & ALL
    case 3:
      return ~(1n << BigInt(random.below(64))) & ALL
    case 4:
      return BigInt(random.below(256))
    case 5: {
      const low = random.below(64)
      return ((1n << BigInt(random.below(64 - low) + 1)) - 1n) << BigInt(low)
    }
    case 6:
      return BigInt.asUintN(64, BigInt.asIntN(random.pick([8, 16, 32]), random.u64()))
    case 7:
      return random.u64() & random.u64() & 0x7f7f7f7f7f7f7f7fn
    default:
      return random.u64()
  }
}

interface Format {
  exponentBits: number
  fractionBits: number
}
const single: Format = { exponentBits: 8, fractionBits: 23 }
const double: Format = { exponentBits: 11, fractionBits: 52 }

function fraction(random: Random, bits: number): bigint {
  const all = (1n << BigInt(bits)) - 1n
  switch (random.below(6)) {
    case 0:
      return 0n
    case 1:
      return all
    case 2:
      return 1n << BigInt(random.below(bits))
    case 3:
      return (all << BigInt(random.below(bits))) & all
    case 4:
      return BigInt(random.below(4))
    default:
      return random.u64() & all
  }
}

function exponent(random: Random, bits: number, fractionBits: number): number {
  const max = (1 << bits) - 1
  const bias = max >> 1
  switch (random.below(8)) {
    case 0:
      return 0
    case 1:
      return max
    case 2:
      return random.pick([1, 2, max - 1, max - 2])
    case 3:
      return Math.min(max, bias + random.pick([15, 16, 31, 32, 62, 63, 64, fractionBits, fractionBits + 1]))
    case 4:
    case 5:
      return bias + random.below(8) - 4
    case 6:
      return (bias + random.below(2 * fractionBits) - fractionBits) & max
    default:
      return random.below(max + 1)
  }
}

function float(random: Random, format: Format): bigint {
  const { exponentBits, fractionBits } = format
  const sign = BigInt(random.below(2)) << BigInt(exponentBits + fractionBits)
  return (
    sign |
    (BigInt(exponent(random, exponentBits, fractionBits)) << BigInt(fractionBits)) |
    fraction(random, fractionBits)
  )
}

/** Bits of a single. */
export function float32(random: Random): number {
  return Number(float(random, single))
}

/** Bits of a double. */
export function float64(random: Random): bigint {
  return float(random, double)
}

/** Writes a double-extended value (10 bytes), sometimes of a kind that only the x87 knows: unnormal, pseudo-NaN. */
export function float80(random: Random, view: DataView, at: number): void {
  if (random.chance(10)) {
    // A small integer, so that results are exact more often.
    writeInteger80(BigInt.asIntN(32, BigInt(random.u32())) >> BigInt(random.below(32)), view, at)
    return
  }
  const e = exponent(random, 15, 63)
  const explicit = random.chance(96) ? e !== 0 : e === 0
  view.setBigUint64(at, fraction(random, 63) | (explicit ? 1n << 63n : 0n), true)
  view.setUint16(at + 8, e | (random.below(2) << 15), true)
}

function writeInteger80(value: bigint, view: DataView, at: number): void {
  const magnitude = value < 0n ? -value : value
  if (magnitude === 0n) {
    view.setBigUint64(at, 0n, true)
    view.setUint16(at + 8, 0, true)
    return
  }
  const length = magnitude.toString(2).length
  view.setBigUint64(at, magnitude << BigInt(64 - length), true)
  view.setUint16(at + 8, (16383 + length - 1) | (value < 0n ? 0x8000 : 0), true)
}
