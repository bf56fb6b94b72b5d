/** Random initial machine states for the oracle's cases: registers, flags and an FXSAVE image. */
import { float32, float64, float80, integer, type Random } from './random.ts'
import { Space } from './space.ts'

/** What the bytes of vector registers and memory are mostly made of. */
export type Lanes = 'f32' | 'f64' | 'int' | 'f80'

export const Fxsave = {
  FCW: 0,
  FSW: 2,
  FTW: 4,
  FOP: 6,
  FIP: 8,
  FDP: 16,
  MXCSR: 24,
  MXCSR_MASK: 28,
  ST: 32,
  XMM: 160,
  SIZE: 512,
} as const

const X87_EXCEPTIONS = 0x3f

/** A byte address in the data pages, often at the edge of a page. */
export function dataAddress(random: Random, alignment: number): number {
  if (random.chance(6)) return Space.READ_ONLY - random.below(20)
  if (random.chance(2)) return Space.READ_ONLY + Space.READ_ONLY_SIZE - random.below(20)
  if (random.chance(2)) return Space.DATA - random.below(20)
  if (random.chance(4)) return Space.DATA + 4096 - random.below(20)
  const address = Space.DATA + 64 + random.below(Space.DATA_SIZE - 640)
  return random.chance(75) ? address & -alignment : address
}

/** Fills `bytes` with values of the given kind, each at its natural alignment from the start. */
export function fill(random: Random, bytes: Uint8Array, lanes: Lanes): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const size = { f32: 4, f64: 8, int: 8, f80: 16 }[lanes]
  let at = 0
  for (; at + size <= bytes.length; at += size)
    if (lanes === 'f32') view.setUint32(at, float32(random), true)
    else if (lanes === 'f64') view.setBigUint64(at, float64(random), true)
    else if (lanes === 'f80') float80(random, view, at)
    else if (random.chance(50)) view.setBigUint64(at, integer(random), true)
    else view.setBigUint64(at, packed(random), true)
  for (; at < bytes.length; at++) bytes[at] = random.below(256)
}

/** Eight bytes made of equal-sized corner cases, for packed integers. */
function packed(random: Random): bigint {
  const bits = random.pick([8, 16, 32])
  const top = 1n << BigInt(bits - 1)
  let value = 0n
  for (let at = 0; at < 64; at += bits) {
    const lane = random.chance(40) ? random.u64() : random.pick([0n, 1n, -1n, top, top - 1n, top + 1n, 2n, 0x0fn, 3n])
    value |= BigInt.asUintN(bits, lane) << BigInt(at)
  }
  return value
}

/** CF PF AF ZF SF OF at random, DF where it counts, and sometimes AC: Linux sets CR0.AM. */
export function flags(random: Random, direction: boolean): number {
  return (
    0x202 | (random.u32() & 0x8d5) | (direction && random.chance(30) ? 0x400 : 0) | (random.chance(2) ? 0x40000 : 0)
  )
}

function x87(random: Random, image: Uint8Array, view: DataView): void {
  const precision = random.pick([0, 2, 3, 3, 3])
  const masks = random.chance(70) ? X87_EXCEPTIONS : random.below(64)
  const control = 0x40 | masks | (precision << 8) | (random.below(4) << 10)
  const raised = random.chance(70) ? 0 : random.below(64)
  const stackFault = raised & 1 && random.chance(50) ? 0x40 : 0
  const summary = raised & ~masks ? 0x8080 : 0
  const conditions = random.u32() & 0x4700
  view.setUint16(Fxsave.FCW, control, true)
  view.setUint16(Fxsave.FSW, raised | stackFault | summary | conditions | (random.below(8) << 11), true)
  image[Fxsave.FTW] = random.chance(50) ? 0xff : random.u32() | random.u32()
  view.setUint16(Fxsave.FOP, random.below(0x800), true)
  view.setBigUint64(Fxsave.FIP, BigInt(Space.CODE + random.below(4096)), true)
  view.setBigUint64(Fxsave.FDP, BigInt(Space.DATA + random.below(4096)), true)
  for (let r = 0; r < 8; r++) float80(random, view, Fxsave.ST + r * 16)
}

/** An FXSAVE64 image with x87 registers and vectors of the given kind. */
export function fxsave(random: Random, lanes: Lanes): Uint8Array {
  const image = new Uint8Array(Fxsave.SIZE)
  const view = new DataView(image.buffer)
  x87(random, image, view)
  if (lanes === 'int' && random.chance(70)) mmx(random, image, view)
  const modes = random.chance(50) ? 0 : (random.below(4) << 13) | (random.u32() & 0x8040)
  const masks = random.chance(80) ? 0x1f80 : random.u32() & 0x1f80
  view.setUint32(Fxsave.MXCSR, modes | masks | (random.chance(30) ? random.below(64) : 0), true)
  fill(random, image.subarray(Fxsave.XMM, Fxsave.XMM + 256), lanes === 'f80' ? 'int' : lanes)
  return image
}

/** Registers as MMX code leaves them, no exception pending. */
function mmx(random: Random, image: Uint8Array, view: DataView): void {
  view.setUint16(Fxsave.FCW, 0x37f, true)
  view.setUint16(Fxsave.FSW, random.chance(80) ? 0 : random.u32() & 0x7f00, true)
  image[Fxsave.FTW] = random.chance(80) ? 0xff : 0
  for (let r = 0; r < 8; r++) {
    view.setBigUint64(Fxsave.ST + r * 16, random.chance(50) ? packed(random) : integer(random), true)
    view.setUint16(Fxsave.ST + r * 16 + 8, 0xffff, true)
  }
}

/**
 * General registers: mostly corner cases; the stack pointer, and often the string registers, are offsets in data from
 * `origin`.
 */
export function registers(random: Random, origin: number): BigUint64Array {
  const gpr = new BigUint64Array(16)
  for (let r = 0; r < 16; r++) gpr[r] = integer(random)
  if (random.chance(30)) gpr[random.below(16)] = gpr[random.below(16)]!
  if (random.chance(30)) gpr[1] = BigInt(random.below(40)) // RCX: counts
  const pointer = (percent: number, r: number, alignment: number): void => {
    if (random.chance(percent)) gpr[r] = BigInt.asUintN(64, BigInt(dataAddress(random, alignment) - origin))
  }
  pointer(25, 3, 16)
  pointer(100, 4, 8)
  pointer(40, 5, 8)
  pointer(75, 6, 16)
  pointer(75, 7, 16)
  return gpr
}
