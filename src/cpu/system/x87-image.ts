/**
 * The x87 state as FNSTENV, FNSAVE and FXSAVE store it and FLDENV, FRSTOR and FXRSTOR load it (SDM Vol. 1 8.1.10,
 * 10.5.1). `image` is a host address, usually SCRATCH; the rows move it to and from guest memory, and so commit a
 * store only after that: FNSTENV by `x87EnvStored`, FNSAVE by `x87Init`.
 *
 * FCS and FDS are 0. In real-address mode FIP and FDP are offsets all the same, for there is no FCS to add.
 */
import { FCW, FDP, FIP, FOP, FPR, FSW, FTW } from './layout'
import { setControl, summarise } from './x87-control'
import { registerAt } from './x87-stack'

/** Formats of the environment. */
const WIDE: u32 = 1 // 32-bit operand size
const REAL: u32 = 2 // real-address mode

/** The tag word as it was before it was abridged: 0 valid, 1 zero, 2 special, 3 empty. */
function tagWord(p: u32): u32 {
  let word: u32 = 0
  for (let i: u32 = 0; i < 8; i++) {
    const m = load<u64>(p + FPR + i * 16), s = <u32>load<u16>(p + FPR + i * 16 + 8)
    let tag: u32
    if ((load<u32>(p + FTW) >> i & 1) == 0) tag = 3
    else if (m == 0 && (s & 0x7fff) == 0) tag = 1
    else if (m >> 63 == 0 || (s & 0x7fff) == 0 || (s & 0x7fff) == 0x7fff) tag = 2
    else tag = 0
    word |= tag << i * 2
  }
  return word
}

/** FNSTENV's image, 14 bytes or 28 (`format` 1); `format` + 2 in real-address mode. */
export function x87StoreEnv(p: u32, image: u32, format: u32): void {
  const fop = load<u32>(p + FOP), fip = load<u32>(p + FIP), fdp = load<u32>(p + FDP)
  if ((format & WIDE) != 0) {
    store<u32>(image, load<u32>(p + FCW) | 0xffff0000)
    store<u32>(image, load<u32>(p + FSW) | 0xffff0000, 4)
    store<u32>(image, tagWord(p) | 0xffff0000, 8)
    if ((format & REAL) != 0) {
      store<u32>(image, fip | 0xffff0000, 12)
      store<u32>(image, fip >> 16 << 12 | fop, 16)
      store<u32>(image, fdp | 0xffff0000, 20)
      store<u32>(image, fdp >> 16 << 12, 24)
    } else {
      store<u32>(image, fip, 12)
      store<u32>(image, fop << 16, 16)
      store<u32>(image, fdp, 20)
      store<u32>(image, 0xffff0000, 24)
    }
  } else {
    store<u16>(image, load<u32>(p + FCW))
    store<u16>(image, load<u32>(p + FSW), 2)
    store<u16>(image, tagWord(p), 4)
    store<u16>(image, fip, 6)
    store<u16>(image, fdp, 10)
    const real = (format & REAL) != 0
    store<u16>(image, real ? fip >> 4 & 0xf000 | fop : 0, 8)
    store<u16>(image, real ? fdp >> 4 & 0xf000 : 0, 12)
  }
}

/** After FNSTENV's image has reached memory: masks all exceptions. */
export function x87EnvStored(p: u32): void {
  store<u32>(p + FCW, load<u32>(p + FCW) | 0x3f)
  summarise(p)
}

/** FLDENV from an image as `x87StoreEnv` makes them. */
export function x87LoadEnv(p: u32, image: u32, format: u32): void {
  let word: u32, fip: u32, fdp: u32, fop: u32
  if ((format & WIDE) != 0) {
    setControl(p, load<u16>(image))
    store<u32>(p + FSW, load<u16>(image, 4))
    word = load<u16>(image, 8)
    if ((format & REAL) != 0) {
      fip = <u32>load<u16>(image, 12) | load<u32>(image, 16) << 4 & 0xffff0000
      fop = load<u32>(image, 16)
      fdp = <u32>load<u16>(image, 20) | load<u32>(image, 24) << 4 & 0xffff0000
    } else {
      fip = load<u32>(image, 12)
      fop = load<u32>(image, 16) >> 16
      fdp = load<u32>(image, 20)
    }
  } else {
    setControl(p, load<u16>(image))
    store<u32>(p + FSW, load<u16>(image, 2))
    word = load<u16>(image, 4)
    fip = load<u16>(image, 6)
    fdp = load<u16>(image, 10)
    fop = 0
    if ((format & REAL) != 0) {
      fop = load<u16>(image, 8)
      fip |= (fop & 0xf000) << 4
      fdp |= (<u32>load<u16>(image, 12) & 0xf000) << 4
    }
  }
  let tags: u32 = 0
  for (let i: u32 = 0; i < 8; i++) if ((word >> i * 2 & 3) != 3) tags |= 1 << i
  store<u32>(p + FTW, tags)
  store<u32>(p + FOP, fop & 0x7ff)
  store<u64>(p + FIP, fip)
  store<u64>(p + FDP, fdp)
  summarise(p)
}

/** The 80 bytes that follow the environment in FNSAVE's image: ST(0) to ST(7). */
export function x87StoreStack(p: u32, image: u32): void {
  for (let i: u32 = 0; i < 8; i++) {
    const register = registerAt(p, i)
    store<u64>(image + i * 10, load<u64>(register))
    store<u16>(image + i * 10, load<u16>(register, 8), 8)
  }
}

/** The same for FRSTOR, after `x87LoadEnv`. */
export function x87LoadStack(p: u32, image: u32): void {
  for (let i: u32 = 0; i < 8; i++) {
    const register = registerAt(p, i)
    store<u64>(register, load<u64>(image + i * 10))
    store<u64>(register, load<u16>(image + i * 10, 8), 8)
  }
}

/** The x87's part of an FXSAVE or XSAVE image: bytes 0-23 and 32-159; `wide` with REX.W (64-bit FIP and FDP). */
export function fxStoreX87(p: u32, image: u32, wide: i32): void {
  store<u16>(image, load<u32>(p + FCW))
  store<u16>(image, load<u32>(p + FSW), 2)
  store<u16>(image, load<u32>(p + FTW), 4)
  store<u16>(image, load<u32>(p + FOP), 6)
  store<u64>(image, wide ? load<u64>(p + FIP) : load<u32>(p + FIP), 8)
  store<u64>(image, wide ? load<u64>(p + FDP) : load<u32>(p + FDP), 16)
  for (let i: u32 = 0; i < 8; i++) {
    const register = registerAt(p, i)
    store<u64>(image + i * 16, load<u64>(register), 32)
    store<u64>(image + i * 16, load<u16>(register, 8), 40)
  }
}

export function fxLoadX87(p: u32, image: u32, wide: i32): void {
  setControl(p, load<u16>(image))
  store<u32>(p + FSW, load<u16>(image, 2))
  store<u32>(p + FTW, load<u8>(image, 4))
  store<u32>(p + FOP, load<u16>(image, 6) & 0x7ff)
  store<u64>(p + FIP, wide ? load<u64>(image, 8) : load<u32>(image, 8))
  store<u64>(p + FDP, wide ? load<u64>(image, 16) : load<u32>(image, 16))
  for (let i: u32 = 0; i < 8; i++) {
    const register = registerAt(p, i)
    store<u64>(register, load<u64>(image + i * 16, 32))
    store<u64>(register, load<u16>(image + i * 16, 40), 8)
  }
  summarise(p)
}
