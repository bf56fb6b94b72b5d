/**
 * Makes machine code for one form of an instruction: prefixes in any legal place and order, ModRM and SIB in every
 * addressing form, immediates; and sets the registers so that a memory operand lies at a wanted address.
 */
import { integer, type Random } from './random.ts'
import { dataAddress } from './state.ts'
import { Space } from './native.ts'

export interface Form {
  mode: 64 | 32
  /** 66h, F2h or F3h as part of the opcode. */
  mandatory: number[]
  opcode: number[]
  /** Register number in the low three bits of the last opcode byte. */
  plusRegister: boolean
  /** 'r': register operand; a number: opcode extension. */
  modrm: 'r' | number | undefined
  /** What the r/m operand may be. */
  rm: 'any' | 'memory' | 'register'
  /** Largest encodable number in the reg field (segment, control registers), and whether REX.R may extend it. */
  regs: number
  /** Same for a register in r/m. */
  rms: number
  /** Operand size, which picks 66h or REX.W; undefined if the instruction has none. */
  size: 16 | 32 | 64 | undefined
  /** Size used without REX.W and 66h in 64-bit mode is 64 (PUSH, near branches). */
  default64: boolean
  /** Address size, if the instruction has one of its own. */
  addressSize: 16 | 32 | 64 | undefined
  /** How often (percent) to add a 66h that has no effect. */
  ignored66: number
  /** Bytes of the memory operand, for its alignment. */
  bytes: number
  /** Immediates' sizes in bytes, in order. */
  immediates: number[]
  /** 'relative': the immediate is a branch displacement; 'offset': a moffs of address size. */
  immediate: 'value' | 'relative' | 'offset'
  /** LOCK is allowed. */
  lock: boolean
  /** XCHG locks memory without being told to. */
  alwaysLocked: boolean
  /** F2h and F3h are repeat prefixes. */
  repeat: boolean
}

export interface Encoded {
  code: Uint8Array
  /** Where the memory operand is, if it has one. */
  address: bigint | undefined
  fsBase: bigint
  gsBase: bigint
}

const LOW32 = 0xffffffffn

function littleEndian(value: bigint, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Number((BigInt.asUintN(64, value) >> BigInt(8 * i)) & 0xffn))
}

/**
 * The address of a memory operand: nearly always in the data pages. A locked one is aligned, because hosts slow down
 * programs that lock across cache lines.
 */
function target(random: Random, form: Form, locked: boolean): bigint {
  if (form.mode === 64 && random.chance(1)) return random.u64() | 1n << 63n
  const address = dataAddress(random, Math.max(1, form.bytes))
  return BigInt(locked ? address & -16 : address)
}

interface Memory { modrm: number, tail: number[], x: number, b: number, ripRelative: boolean }

/** ModRM's mod and r/m, SIB and displacement for `address`; changes `gpr` to fit. */
function memory(random: Random, address: bigint, width: 64 | 32 | 16, mode: 64 | 32, gpr: BigUint64Array): Memory {
  if (width === 16) return memory16(random)
  const mask = width === 64 ? (1n << 64n) - 1n : LOW32
  const set = (r: number, value: bigint): void => {
    // Outside the address width the register may hold anything.
    const high = width === 32 && mode === 64 ? random.u64() & ~LOW32 : 0n
    gpr[r] = (value & mask) | high
  }
  const count = mode === 64 ? 16 : 8
  const signed32 = BigInt.asIntN(32, address)
  const absolute = width === 32 || (address >= 0n && address < 0x80000000n)
  if (absolute && random.chance(8)) {
    const ripRelative = mode === 64 && random.chance(70)
    if (ripRelative || mode === 32) return { modrm: 5, tail: littleEndian(address, 4), x: 0, b: 0, ripRelative }
    return { modrm: 4, tail: [0x25, ...littleEndian(address, 4)], x: 0, b: 0, ripRelative: false }
  }
  const base = random.below(count)
  const mod = base % 8 === 5 ? 1 + random.below(2) : random.below(3)
  let displacement = mod === 0 ? 0n : mod === 1 ? BigInt(random.below(256) - 128) : BigInt.asIntN(32, integer(random))
  const index = random.below(count)
  const scale = random.below(4)
  if (base % 8 !== 4 && random.chance(40)) {
    set(base, address - displacement)
    const tail = mod === 0 ? [] : littleEndian(displacement, mod === 1 ? 1 : 4)
    return { modrm: mod << 6 | base % 8, tail, x: 0, b: base >> 3, ripRelative: false }
  }
  if (random.chance(10) && absolute) {
    // Index without base: mod 0, base 5, disp32.
    if (index !== 4) {
      displacement = signed32 - (BigInt.asIntN(16, random.u64()) << BigInt(scale))
      displacement = BigInt.asIntN(32, displacement)
      set(index, (address - displacement) >> BigInt(scale))
      if ((((gpr[index]! & mask) << BigInt(scale)) + displacement & mask) === (address & mask))
        return {
          modrm: 4, tail: [scale << 6 | (index % 8) << 3 | 5, ...littleEndian(displacement, 4)],
          x: index >> 3, b: random.below(mode === 64 ? 2 : 1), ripRelative: false,
        }
    }
  }
  if (index === 4) set(base, address - displacement)
  else if (index === base) {
    const times = BigInt((1 << scale) + 1)
    const wanted = (address - displacement) & mask
    set(base, wanted / times)
    displacement += wanted % times
    if (mod === 0 || mod === 1 && displacement > 127n)
      return memory(random, address, width, mode, gpr)
    displacement = BigInt.asIntN(32, displacement)
    if ((((gpr[base]! & mask) * times + displacement) & mask) !== (address & mask))
      return memory(random, address, width, mode, gpr)
  } else {
    set(index, random.chance(50) ? BigInt(random.below(256)) : integer(random))
    set(base, address - displacement - (gpr[index]! << BigInt(scale)))
  }
  const tail = mod === 0 ? [] : littleEndian(displacement, mod === 1 ? 1 : 4)
  return {
    modrm: mod << 6 | 4, tail: [scale << 6 | (index % 8) << 3 | base % 8, ...tail],
    x: index >> 3, b: base >> 3, ripRelative: false,
  }
}

/** 16-bit addressing: nothing is mapped there, so accesses fault and CR2 shows the sum. */
function memory16(random: Random): Memory {
  const rm = random.below(8)
  const mod = random.below(3)
  const bytes = mod === 0 ? (rm === 6 ? 2 : 0) : mod
  return { modrm: mod << 6 | rm, tail: littleEndian(random.u64(), bytes), x: 0, b: 0, ripRelative: false }
}

function immediateBytes(random: Random, form: Form, bytes: number): number[] {
  return littleEndian(integer(random), bytes)
}

/**
 * An instruction that leaves arithmetic flags of some kind: ADD OR ADC SBB AND SUB XOR CMP, INC DEC, NOT NEG, a shift or
 * rotation by one, TEST, on memory at a fixed address. What follows then meets flags as an instruction left them.
 */
export function flagProducer(random: Random, mode: 64 | 32): number[] {
  const size = random.pick(mode === 64 ? [8, 16, 32, 64] : [8, 16, 32])
  const wide = size === 8 ? 0 : 1
  const immediate = Math.min(size, 32) / 8
  const [opcode, digit, bytes] = random.pick([
    [0x80 | wide, random.below(8), immediate], [0x80 | wide, random.below(8), immediate],
    [0xfe | wide, random.below(2), 0], [0xf6 | wide, 2 + random.below(2), 0], [0xf6 | wide, 0, immediate],
    [0xd0 | wide, random.below(8), 0],
  ] as const)
  const address = Space.DATA + random.below(Space.DATA_SIZE / 8) * 8
  const prefix = size === 16 ? [0x66] : size === 64 ? [0x48] : []
  const operand = mode === 64 ? [digit << 3 | 4, 0x25] : [digit << 3 | 5]
  return [...prefix, opcode, ...operand, ...littleEndian(BigInt(address), 4), ...littleEndian(integer(random), bytes)]
}

/**
 * Code of `form` at `start` (linear), with `before` bytes of code in front of it; registers in `gpr` are changed to suit
 * a memory operand.
 */
export function encode(random: Random, form: Form, start: number, before: number, gpr: BigUint64Array): Encoded {
  const { mode } = form
  const locked = random.chance(form.lock ? 25 : 1)
  // 16-bit addresses cannot be aligned as locked operands have to be.
  const mayNarrow = mode === 64 || !(locked || form.alwaysLocked)
  const narrow = form.addressSize === undefined ? mayNarrow && random.chance(6) : form.addressSize !== mode
  const width = mode === 64 ? (narrow ? 32 : 64) : narrow ? 16 : 32
  const legacy: number[] = []
  if (narrow) legacy.push(0x67)

  const defaultSize = mode === 64 && form.default64 ? 64 : 32
  const w = form.size === 64 && (defaultSize !== 64 || random.chance(10)) ? 8 : 0
  if (form.size === 16 || random.chance(form.ignored66)) legacy.push(0x66)
  let segmentBase = 0n
  let fs = false
  if (random.chance(4)) legacy.push(random.pick([0x26, 0x2e, 0x36, 0x3e]))
  else if (mode === 64 && random.chance(6)) {
    fs = random.chance(50)
    legacy.push(fs ? 0x64 : 0x65)
    segmentBase = narrow || random.chance(60) ? BigInt(random.below(Space.DATA)) : BigInt.asIntN(47, random.u64())
  }
  if (form.repeat && random.chance(60)) legacy.push(random.pick([0xf2, 0xf3]))
  if (locked) legacy.push(0xf0)
  legacy.push(...form.mandatory)
  for (let i = legacy.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    ;[legacy[i], legacy[j]] = [legacy[j]!, legacy[i]!]
  }

  const opcode = [...form.opcode]
  let r = 0, x = 0, b = 0
  let modrm: number | undefined
  let tail: number[] = []
  let address: bigint | undefined
  let ripRelative = false
  const high = (percent = 50): number => (mode === 64 && random.chance(percent) ? 1 : 0)

  if (form.plusRegister) {
    opcode[opcode.length - 1]! |= random.below(8)
    b = high()
  }
  if (form.modrm !== undefined) {
    let reg = form.modrm
    if (reg === 'r') {
      reg = random.below(form.regs)
      if (mode === 32) reg %= 8
      r = reg >> 3
    } else r = high(5)
    const inMemory = form.rm === 'memory' || (form.rm === 'any' && random.chance(50))
    if (inMemory) {
      address = target(random, form, locked || form.alwaysLocked)
      const operand = memory(random, BigInt.asUintN(64, address - segmentBase), width, mode, gpr)
      modrm = operand.modrm
      ;({ tail, x, b, ripRelative } = operand)
      if (width === 16) address = undefined
    } else {
      let rm = random.below(form.rms)
      if (mode === 32) rm %= 8
      b = rm >> 3
      x = high(5)
      modrm = 0xc0 | rm % 8
    }
    modrm |= (reg % 8) << 3
  }

  const immediates: number[] = []
  if (form.immediate === 'value')
    for (const bytes of form.immediates) immediates.push(...immediateBytes(random, form, bytes))
  else if (form.immediate === 'offset') {
    address = target(random, form, locked || form.alwaysLocked)
    immediates.push(...littleEndian(address - segmentBase, width / 8))
    if (width === 16) address = undefined
  }

  const needRex = w | r | x | b
  const rex = mode === 64 && (needRex || random.chance(15)) ? [0x40 | w | r << 2 | x << 1 | b] : []
  const head = [...legacy, ...rex, ...opcode, ...(modrm === undefined ? [] : [modrm])]
  const relativeBytes = form.immediate === 'relative' ? form.immediates[0]! : 0
  const length = head.length + tail.length + immediates.length + relativeBytes
  if (ripRelative) tail = littleEndian(address! - segmentBase - BigInt(start + length), 4)
  if (relativeBytes) immediates.push(...littleEndian(relative(random, relativeBytes, start, before, length), relativeBytes))
  const base = BigInt.asUintN(64, segmentBase)
  const bases = fs ? { fsBase: base, gsBase: 0n } : { fsBase: 0n, gsBase: base }
  return { code: Uint8Array.from([...head, ...tail, ...immediates]), address, ...bases }
}

/** A branch displacement: within the code pages, at their edges, or far outside; never into the case's own code. */
function relative(random: Random, bytes: number, start: number, before: number, length: number): bigint {
  if (bytes > 1 && random.chance(10)) return BigInt.asIntN(8 * bytes, random.u64()) | 0x4000n
  for (;;) {
    const displacement = bytes === 1
      ? random.below(256) - 128
      : Space.CODE + random.below(Space.CODE_SIZE + 16) - start - length
    if (displacement < -length - before || displacement >= 0) return BigInt(displacement)
  }
}
