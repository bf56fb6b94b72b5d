/** Seeded operands for the floating-point oracle: boundary values of each format and random ones near each other. */

export class Random {
  private state: number
  constructor(seed: number) {
    this.state = seed >>> 0 || 1
  }
  /** 32 random bits (xorshift32 with a multiplicative scrambler). */
  u32(): number {
    let x = this.state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.state = x >>> 0
    return Math.imul(x, 0x9e3779bb) >>> 0
  }
  below(n: number): number {
    return Math.floor((this.u32() / 4294967296) * n)
  }
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32())
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }
  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0
  }
}

/** A binary format: fraction bits without the integer bit, exponent bits, whether the integer bit is stored. */
interface Format {
  fraction: number
  exponent: number
}
const F32: Format = { fraction: 23, exponent: 8 }
const F64: Format = { fraction: 52, exponent: 11 }
const F80: Format = { fraction: 63, exponent: 15 }

/** A fraction: all kinds of patterns that sit on rounding boundaries of this and narrower formats. */
function fraction(random: Random, bits: number): bigint {
  const mask = (1n << BigInt(bits)) - 1n
  switch (random.below(8)) {
    case 0:
      return 0n
    case 1:
      return mask
    case 2:
      return 1n << BigInt(random.below(bits))
    case 3:
      return mask ^ (1n << BigInt(random.below(bits)))
    case 4:
      return mask & (mask << BigInt(random.below(bits)))
    case 5:
      return mask >> BigInt(random.below(bits))
    case 6:
      return (((random.u64() & mask) >> BigInt(bits - random.below(bits))) << BigInt(random.below(bits))) & mask
    default:
      return random.u64() & mask
  }
}

function exponentField(random: Random, bits: number): number {
  const max = (1 << bits) - 1,
    bias = max >> 1
  switch (random.below(8)) {
    case 0:
      return 0
    case 1:
      return max
    case 2:
      return 1 + random.below(3)
    case 3:
      return max - 1 - random.below(3)
    case 4:
      return bias + random.below(70)
    case 5:
      return Math.max(0, Math.min(max, bias - 35 + random.below(70)))
    case 6:
      return Math.max(0, Math.min(max, (bias >> 1) * random.below(4) - 2 + random.below(5)))
    default:
      return random.below(max + 1)
  }
}

function number(random: Random, f: Format): { sign: bigint; exponent: number; fraction: bigint } {
  return {
    sign: BigInt(random.u32() & 1),
    exponent: exponentField(random, f.exponent),
    fraction: fraction(random, f.fraction),
  }
}

export function f32(random: Random): number {
  const n = number(random, F32)
  return Number((n.sign << 31n) | (BigInt(n.exponent) << 23n) | n.fraction)
}

export function f64(random: Random): bigint {
  const n = number(random, F64)
  return (n.sign << 63n) | (BigInt(n.exponent) << 52n) | n.fraction
}

/** 80 bits; one in sixteen has an integer bit that does not fit the exponent (unnormal, pseudo-denormal, ...). */
export function f80(random: Random): bigint {
  const n = number(random, F80)
  const stored = (n.exponent !== 0) !== random.chance(16) ? 1n : 0n
  return (n.sign << 79n) | (BigInt(n.exponent) << 64n) | (stored << 63n) | n.fraction
}

/** An integer of `bits` bits, signed. */
export function integer(random: Random, bits: number): bigint {
  return BigInt.asIntN(
    bits,
    random.chance(2) ? fraction(random, bits) : random.u64() >> BigInt(64 - bits + random.below(bits)),
  )
}
