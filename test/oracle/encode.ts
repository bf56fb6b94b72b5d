/**
 * Makes machine code for one form of an instruction: prefixes in any legal place and order, ModRM and SIB in every
 * addressing form, immediates; and sets the registers so that a memory operand lies at a wanted address.
 */
import { littleEndian, memory } from './modrm.ts'
import { integer, type Random } from './random.ts'
import { baseOf, endOf, Seg, Selector, type Mode } from './segments.ts'
import { Space } from './space.ts'
import { dataAddress } from './state.ts'

export interface Form {
  mode: Mode
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

/** What is known of a case before its code. */
export interface Context {
  /** Offset of the instruction in CS. */
  start: number
  /** Bytes of the case's code in front of it. */
  before: number
  selectors: readonly number[]
  /** Changed to suit a memory operand. */
  gpr: BigUint64Array
}

export interface Encoded {
  code: Uint8Array
  /** Where the memory operand is, if it has one: its linear address. */
  address: bigint | undefined
  fsBase: bigint
  gsBase: bigint
}

/** 26h, 2Eh, 36h, 3Eh, 64h, 65h in the order of `Seg`. */
const overrides = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]

/**
 * The linear address of a memory operand: nearly always in the data pages, or at the end of its segment. A locked one
 * is aligned, because hosts slow down programs that lock across cache lines.
 */
function target(random: Random, form: Form, locked: boolean, selector: number): bigint {
  if (form.mode === 64 && random.chance(1)) return (random.u64() | (1n << 63n)) & (locked ? -16n : -1n)
  const nearEnd = (form.mode === 16 || form.mode === 's32') && random.chance(8)
  const address = nearEnd
    ? baseOf(selector) + endOf(selector) + 4 - random.below(24)
    : dataAddress(random, Math.max(1, form.bytes))
  return BigInt(locked ? address & -16 : address)
}

/**
 * An instruction that leaves arithmetic flags of some kind: ADD OR ADC SBB AND SUB XOR CMP, INC DEC, NOT NEG, a shift or
 * rotation by one, TEST, on memory at a fixed address. What follows then meets flags as an instruction left them.
 */
export function flagProducer(random: Random, mode: Mode): number[] {
  const size = random.pick(mode === 64 ? [8, 16, 32, 64] : [8, 16, 32])
  const wide = size === 8 ? 0 : 1
  const immediate = Math.min(size, 32) / 8
  const [opcode, digit, bytes] = random.pick([
    [0x80 | wide, random.below(8), immediate],
    [0x80 | wide, random.below(8), immediate],
    [0xfe | wide, random.below(2), 0],
    [0xf6 | wide, 2 + random.below(2), 0],
    [0xf6 | wide, 0, immediate],
    [0xd0 | wide, random.below(8), 0],
  ] as const)
  const offset = random.below(Space.DATA_SIZE / 8) * 8
  const prefix = size === (mode === 16 ? 32 : 16) ? [0x66] : size === 64 ? [0x48] : []
  const place = BigInt(mode === 64 || mode === 32 ? Space.DATA + offset : offset)
  const operand =
    mode === 64
      ? [(digit << 3) | 4, 0x25, ...littleEndian(place, 4)]
      : mode === 16
        ? [(digit << 3) | 6, ...littleEndian(place, 2)]
        : [(digit << 3) | 5, ...littleEndian(place, 4)]
  return [...prefix, opcode, ...operand, ...littleEndian(integer(random), bytes)]
}

function shuffle(random: Random, list: number[]): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    ;[list[i], list[j]] = [list[j]!, list[i]!]
  }
}

/** Code of `form`. */
export function encode(random: Random, form: Form, context: Context): Encoded {
  const { mode } = form
  const { gpr, selectors, start, before } = context
  const long = mode === 64
  const segmented = mode === 16 || mode === 's32'
  const locked = random.chance(form.lock ? 25 : 1)
  // 16-bit addresses in flat code cannot be aligned as locked operands have to be.
  const mayNarrow = mode !== 32 || !(locked || form.alwaysLocked)
  const addressBits = long ? 64 : mode === 16 ? 16 : 32
  const otherBits = mode === 16 ? 32 : addressBits / 2
  const narrow =
    form.addressSize === undefined ? mayNarrow && random.chance(mode === 16 ? 30 : 6) : form.addressSize !== addressBits
  const width = (narrow ? otherBits : addressBits) as 64 | 32 | 16
  const legacy: number[] = []
  if (narrow) legacy.push(0x67)

  const w = form.size === 64 && (!form.default64 || random.chance(10)) ? 8 : 0
  if (form.size === (mode === 16 ? 32 : 16) || random.chance(form.ignored66)) legacy.push(0x66)
  let override: number | undefined
  if (segmented ? random.chance(30) : random.chance(long ? 10 : 4))
    override = random.below(long ? 6 : segmented ? 6 : 4)
  if (override !== undefined) legacy.push(overrides[override]!)
  const free = long && override !== undefined && override >= Seg.FS
  const segmentBase = free
    ? narrow || random.chance(60)
      ? BigInt(random.below(Space.DATA))
      : BigInt.asIntN(47, random.u64())
    : 0n
  if (form.repeat && random.chance(60)) legacy.push(random.pick([0xf2, 0xf3]))
  if (locked) legacy.push(0xf0)
  legacy.push(...form.mandatory)
  shuffle(random, legacy)

  const opcode = [...form.opcode]
  let r = 0,
    x = 0,
    b = 0
  let modrm: number | undefined
  let tail: number[] = []
  let address: bigint | undefined
  let ripRelative = false
  const high = (percent = 50): number => (long && random.chance(percent) ? 1 : 0)
  const baseFor = (stack: boolean): bigint =>
    long ? segmentBase : BigInt(baseOf(selectors[override ?? (stack ? Seg.SS : Seg.DS)]!))
  const wanted = (): bigint =>
    target(random, form, locked || form.alwaysLocked, selectors[override ?? Seg.DS] ?? Selector.DATA)

  if (form.plusRegister) {
    opcode[opcode.length - 1]! |= random.below(8)
    b = high()
  }
  if (form.modrm !== undefined) {
    let reg = form.modrm
    if (reg === 'r') {
      reg = random.below(form.regs)
      if (!long) reg %= 8
      r = reg >> 3
    } else r = high(5)
    const inMemory = form.rm === 'memory' || (form.rm === 'any' && random.chance(50))
    if (inMemory) {
      const linear = wanted()
      address = linear
      const operand = memory(random, (stack) => BigInt.asUintN(64, linear - baseFor(stack)), width, long, gpr)
      modrm = operand.modrm
      ;({ tail, x, b, ripRelative } = operand)
    } else {
      let rm = random.below(form.rms)
      if (!long) rm %= 8
      b = rm >> 3
      x = high(5)
      modrm = 0xc0 | (rm % 8)
    }
    modrm |= (reg % 8) << 3
  }

  const immediates: number[] = []
  if (form.immediate === 'value')
    for (const bytes of form.immediates) immediates.push(...littleEndian(integer(random), bytes))
  else if (form.immediate === 'offset') {
    address = wanted()
    immediates.push(...littleEndian(address - baseFor(false), width / 8))
  }
  // 16-bit addresses in flat code lie elsewhere, where nothing is mapped.
  if (width === 16 && !segmented) address = undefined

  const needRex = w | r | x | b
  const rex = long && (needRex || random.chance(15)) ? [0x40 | w | (r << 2) | (x << 1) | b] : []
  const head = [...legacy, ...rex, ...opcode, ...(modrm === undefined ? [] : [modrm])]
  const relativeBytes = form.immediate === 'relative' ? form.immediates[0]! : 0
  const length = head.length + tail.length + immediates.length + relativeBytes
  if (ripRelative) tail = littleEndian(address! - segmentBase - BigInt(start + length), 4)
  if (relativeBytes) {
    const page = start - (start % Space.CODE_SIZE)
    immediates.push(...littleEndian(relative(random, relativeBytes, start, page, before, length), relativeBytes))
  }
  const base = BigInt.asUintN(64, segmentBase)
  return {
    code: Uint8Array.from([...head, ...tail, ...immediates]),
    address,
    fsBase: override === Seg.FS ? base : 0n,
    gsBase: override === Seg.GS ? base : 0n,
  }
}

/** A branch displacement: within the code pages, at their edges, or far outside; never into the case's own code. */
function relative(random: Random, bytes: number, start: number, page: number, before: number, length: number): bigint {
  if (bytes > 1 && random.chance(10)) return BigInt.asIntN(8 * bytes, random.u64()) | 0x4000n
  for (;;) {
    const displacement =
      bytes === 1 ? random.below(256) - 128 : page + random.below(Space.CODE_SIZE + 16) - start - length
    if (displacement < -length - before || displacement >= 0) return BigInt(displacement)
  }
}
