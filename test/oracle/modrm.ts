/** ModRM, SIB and displacement in every addressing form, with the registers set so that they give a wanted address. */
import { integer, type Random } from './random.ts'

export interface Memory {
  modrm: number
  tail: number[]
  x: number
  b: number
  ripRelative: boolean
}

/** Where a memory operand is to be: its offset in the segment that applies if the base is, or is not, (E)BP or ESP. */
export type OffsetIn = (stack: boolean) => bigint

const LOW32 = 0xffffffffn
const RIP_RELATIVE = 5

export function littleEndian(value: bigint, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Number((BigInt.asUintN(64, value) >> BigInt(8 * i)) & 0xffn))
}

/** Encodes a memory operand at `offset`, for addresses of `width` bits in 64-bit or other code; changes `gpr` to fit. */
export function memory(
  random: Random,
  offset: OffsetIn,
  width: 64 | 32 | 16,
  long: boolean,
  gpr: BigUint64Array,
): Memory {
  if (width === 16) return memory16(random, offset, gpr)
  for (;;) {
    const found = memoryWide(random, offset, width, long, gpr)
    if (found) return found
  }
}

function displacementBytes(mod: number, displacement: bigint): number[] {
  return mod === 0 ? [] : littleEndian(displacement, mod === 1 ? 1 : 4)
}

/** One try; undefined if the random choices do not fit. */
function memoryWide(
  random: Random,
  offset: OffsetIn,
  width: 64 | 32,
  long: boolean,
  gpr: BigUint64Array,
): Memory | undefined {
  const mask = width === 64 ? (1n << 64n) - 1n : LOW32
  const set = (r: number, value: bigint): void => {
    // Outside the address width the register may hold anything.
    const high = width === 32 && long ? random.u64() & ~LOW32 : 0n
    gpr[r] = (value & mask) | high
  }
  const plain = offset(false)
  const absolute = width === 32 || (plain >= 0n && plain < 0x80000000n)
  if (absolute && random.chance(8)) {
    const ripRelative = long && random.chance(70)
    if (ripRelative || !long) return { modrm: RIP_RELATIVE, tail: littleEndian(plain, 4), x: 0, b: 0, ripRelative }
    return { modrm: 4, tail: [0x25, ...littleEndian(plain, 4)], x: 0, b: 0, ripRelative: false }
  }
  const count = long ? 16 : 8
  const base = random.below(count)
  const index = random.below(count)
  const scale = random.below(4)
  if (absolute && index !== 4 && random.chance(8)) {
    // Index without base: mod 0, base 5, disp32.
    const step = BigInt.asIntN(16, random.u64()) << BigInt(scale)
    const displacement = BigInt.asIntN(32, BigInt.asIntN(32, plain) - step)
    set(index, (plain - displacement) >> BigInt(scale))
    if (((((gpr[index]! & mask) << BigInt(scale)) + displacement) & mask) !== (plain & mask)) return undefined
    return {
      modrm: 4,
      tail: [(scale << 6) | ((index % 8) << 3) | 5, ...littleEndian(displacement, 4)],
      x: index >> 3,
      b: random.below(long ? 2 : 1),
      ripRelative: false,
    }
  }
  const address = offset(base === 4 || base === 5)
  const mod = base % 8 === 5 ? 1 + random.below(2) : random.below(3)
  let displacement = mod === 0 ? 0n : mod === 1 ? BigInt(random.below(256) - 128) : BigInt.asIntN(32, integer(random))
  if (base % 8 !== 4 && random.chance(40)) {
    set(base, address - displacement)
    const tail = displacementBytes(mod, displacement)
    return { modrm: (mod << 6) | (base % 8), tail, x: 0, b: base >> 3, ripRelative: false }
  }
  if (index === 4) set(base, address - displacement)
  else if (index === base) {
    const times = BigInt((1 << scale) + 1)
    const wanted = (address - displacement) & mask
    set(base, wanted / times)
    displacement += wanted % times
    if (mod === 0 || (mod === 1 && displacement > 127n)) return undefined
    displacement = BigInt.asIntN(32, displacement)
    if ((((gpr[base]! & mask) * times + displacement) & mask) !== (address & mask)) return undefined
  } else {
    set(index, random.chance(50) ? BigInt(random.below(256)) : integer(random))
    set(base, address - displacement - (gpr[index]! << BigInt(scale)))
  }
  return {
    modrm: (mod << 6) | 4,
    tail: [(scale << 6) | ((index % 8) << 3) | (base % 8), ...displacementBytes(mod, displacement)],
    x: index >> 3,
    b: base >> 3,
    ripRelative: false,
  }
}

/** Base and index registers of 16-bit addressing by r/m: BX 3, BP 5, SI 6, DI 7. */
const pairs = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]] as const
const BP = 5

function memory16(random: Random, offset: OffsetIn, gpr: BigUint64Array): Memory {
  const rm = random.below(8)
  const mod = random.below(3)
  const set = (r: number, value: bigint): void => {
    gpr[r] = (gpr[r]! & ~0xffffn) | (value & 0xffffn)
  }
  if (mod === 0 && rm === 6) return { modrm: 6, tail: littleEndian(offset(false), 2), x: 0, b: 0, ripRelative: false }
  const [base, index] = pairs[rm]!
  const displacement = mod === 0 ? 0n : mod === 1 ? BigInt(random.below(256) - 128) : random.u64() & 0xffffn
  if (index !== undefined) set(index, random.chance(50) ? BigInt(random.below(256)) : random.u64())
  set(base, offset(base === BP) - displacement - (index === undefined ? 0n : gpr[index]!))
  return { modrm: (mod << 6) | rm, tail: littleEndian(displacement, mod), x: 0, b: 0, ripRelative: false }
}
