/**
 * Random programs for the translator's tests: a loop of arithmetic, memory, stack, x87, SSE, strings and branches, which
 * calls functions (directly, through registers, to the end of another one), some of them in the next page, and sometimes
 * writes over its own code. They run in the oracle's guest.
 */
import { littleEndian } from '../oracle/modrm.ts'
import type { Case } from '../oracle/native.ts'
import { integer, Random } from '../oracle/random.ts'
import { Selector } from '../oracle/segments.ts'
import { Space } from '../oracle/space.ts'
import { fxsave } from '../oracle/state.ts'

const RSP = 4
const RSI = 6
const RDI = 7
const OFFSET = 0x100

/** Writes instructions; branches are patched when their targets are known. */
class Assembler {
  readonly bytes: number[] = []
  readonly random: Random
  readonly long: boolean
  readonly counter: number
  constructor(random: Random, long: boolean) {
    this.random = random
    this.long = long
    this.counter = long ? 15 : 5
  }

  /** A register that programs may change. */
  register(): number {
    const { random, long } = this
    return long ? random.pick([0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14]) : random.below(4)
  }

  /** opcode with a register and an r/m operand: a register, or memory around RSI or RDI. */
  rm(opcode: readonly number[], reg: number, size: number, memory = this.random.chance(45), prefix?: number): void {
    const { random, long } = this
    const rm = memory ? random.pick([RSI, RDI]) : this.register()
    const indexed = memory && random.chance(20)
    const wide = size === 64 ? 8 : 0
    const rex = 0x40 | wide | (reg > 7 ? 4 : 0) | (rm > 7 ? 1 : 0)
    if (prefix !== undefined) this.bytes.push(prefix)
    if (size === 16) this.bytes.push(0x66)
    if (long && (rex !== 0x40 || random.chance(5))) this.bytes.push(rex)
    const low = (reg & 7) << 3
    this.bytes.push(...opcode)
    if (!memory) this.bytes.push(0xc0 | low | (rm & 7))
    // No index is 100b; an index could be anything, so the other way to write plain bases is used.
    else if (indexed) this.bytes.push(0x44 | low, 0x20 | rm, random.below(256))
    else this.bytes.push(0x40 | low | rm, random.below(256))
  }

  immediate(bytes: number): void {
    this.bytes.push(...littleEndian(integer(this.random), bytes))
  }

  size(): 8 | 16 | 32 | 64 {
    return this.random.pick(this.long ? [8, 16, 32, 32, 64, 64] : [8, 16, 32, 32])
  }

  arithmetic(): void {
    const { random } = this
    const size = this.size()
    const wide = size === 8 ? 0 : 1
    const bytes = size === 8 ? 1 : size === 16 ? 2 : 4
    switch (random.below(16)) {
      case 0:
      case 1:
      case 2:
        return this.rm([(random.below(8) << 3) | random.pick([0, 2]) | wide], this.register(), size)
      case 3: {
        this.rm([0x80 | wide], random.below(8), size)
        return this.immediate(bytes)
      }
      case 4:
        return this.rm([random.pick([0x88, 0x8a]) | wide], this.register(), size)
      case 5: {
        this.rm([0xc0 | wide], random.below(8), size)
        return this.immediate(1)
      }
      case 6:
        return this.rm([random.pick([0xd0, 0xd2]) | wide], random.below(8), size)
      case 7:
        return this.rm([0xfe | wide], random.below(2), size)
      case 8:
        return this.rm([0xf6 | wide], random.pick([2, 3, 4, 5]), size)
      case 9: {
        this.rm([0x0f, 0x90 | random.below(16)], 0, 8)
        return
      }
      case 10:
        return this.rm([0x0f, 0x40 | random.below(16)], this.register(), size === 8 ? 32 : size)
      case 11:
        return this.rm([0x0f, random.pick([0xb6, 0xb7, 0xbe, 0xbf])], this.register(), size === 8 ? 32 : size)
      case 12:
        return this.rm(
          [0x0f, random.pick([0xaf, 0xa3, 0xab, 0xb3, 0xbb, 0xa5, 0xad, 0xbc, 0xbd])],
          this.register(),
          size === 8 ? 32 : size,
          random.chance(45) && size !== 64 ? undefined : false,
        )
      case 13: {
        this.rm([0x0f, 0xba], 4 + random.below(4), size === 8 ? 32 : size)
        return this.immediate(1)
      }
      case 14:
        return this.rm([0x0f, random.pick([0xb0, 0xc0]) | wide], this.register(), size)
      default:
        return void this.bytes.push(...random.pick([[0xf5], [0xf8], [0xf9], [0x98], [0x99], [0x9f], [0x9e]]))
    }
  }

  vector(): void {
    const { random } = this
    const register = random.below(this.long ? 16 : 8)
    if (random.chance(30)) return this.rm([0x0f, random.pick([0x6f, 0x7f])], register, 32, true, 0xf3)
    if (random.chance(20)) return this.rm([0x0f, random.pick([0x6e, 0x7e])], register, 32, undefined, 0x66)
    const opcode = random.pick([
      0xef, 0xeb, 0xdb, 0xfc, 0xfd, 0xfe, 0xd4, 0xf8, 0xfa, 0x74, 0x76, 0x64, 0x60, 0x6c, 0xd5,
    ])
    const b = random.below(8)
    this.bytes.push(0x66, 0x0f, opcode, 0xc0 | ((register & 7) << 3) | b)
  }

  /** SSE arithmetic, comparisons and conversions; packed ones between registers, because of alignment. */
  float(): void {
    const { random } = this
    const register = random.below(this.long ? 16 : 8)
    const scalar = random.pick([0xf2, 0xf3])
    const opcode = random.pick([0x58, 0x59, 0x5c, 0x5e, 0x5d, 0x5f, 0x51, 0x5a])
    const kind = random.below(8)
    if (kind < 3) return this.rm([0x0f, opcode], register, 32, undefined, scalar)
    if (kind < 5) {
      const packed = random.pick([[], [0x66]])
      return void this.bytes.push(...packed, 0x0f, opcode, 0xc0 | ((register & 7) << 3) | random.below(8))
    }
    if (kind === 5) return this.rm([0x0f, 0x2a], register, this.long ? random.pick([32, 64]) : 32, undefined, scalar)
    if (kind === 6) return this.rm([0x0f, random.pick([0x2c, 0x2d])], this.register(), 32, undefined, scalar)
    this.bytes.push(...random.pick([[], [0x66]]), 0x0f, random.pick([0x2e, 0x2f]), 0xc0 | random.below(64))
  }

  x87(): void {
    const { random } = this
    const memory = random.pick([
      [0xd9, 0],
      [0xdd, 0],
      [0xdb, 0],
      [0xdf, 5],
      [0xd9, 3],
      [0xdd, 3],
      [0xdb, 3],
      [0xd8, 0],
      [0xdc, 1],
      [0xd8, 6],
    ])
    const register = random.pick([
      [0xd8, 0xc0],
      [0xd8, 0xc8],
      [0xdc, 0xe8],
      [0xde, 0xc0],
      [0xd9, 0xc0],
      [0xd9, 0xc8],
      [0xdd, 0xd8],
      [0xdb, 0xf0],
      [0xdf, 0xe8],
    ])
    if (random.chance(50)) this.rm([memory[0]!], memory[1]!, 32, true)
    else if (random.chance(70)) this.bytes.push(register[0]!, register[1]! | random.below(8))
    else this.bytes.push(0xd9, random.pick([0xe0, 0xe1, 0xe8, 0xee, 0xfa, 0xfc, 0xe4]))
  }

  /** A string instruction, perhaps repeated, that leaves its registers as they were. */
  string(): void {
    const { random } = this
    this.bytes.push(0x51, 0x56, 0x57, 0xb9, random.below(20), 0, 0, 0)
    this.bytes.push(...random.pick([[], [0xf2], [0xf3], [0xf3]]))
    this.bytes.push(...(this.long && random.chance(30) ? [0x48] : []))
    this.bytes.push(random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xa6, 0xa7, 0xae, 0xaf]), 0x5f, 0x5e, 0x59)
  }

  /** The address of the next instruction from a call, and a jump through a register. */
  place(): void {
    if (this.random.chance(50)) return void this.bytes.push(0xe8, 0, 0, 0, 0, 0x58 | this.random.below(4))
    const low = this.random.below(4)
    const after = Space.CODE + OFFSET + this.bytes.length + 7
    this.bytes.push(0xb8 | low, ...littleEndian(BigInt(after), 4), 0xff, 0xe0 | low)
  }

  stack(): void {
    const push = this.register() & 7
    const pop = this.register() & 3
    if (this.random.chance(30)) this.bytes.push(0x9c)
    else this.bytes.push(0x50 | (push === RSP ? 0 : push))
    if (this.random.chance(50)) this.arithmetic()
    this.bytes.push(0x58 | pop)
  }

  /** A conditional jump over what `body` writes. */
  skip(body: () => void): void {
    this.bytes.push(0x0f, 0x80 | this.random.below(16), 0, 0, 0, 0)
    const from = this.bytes.length
    body()
    this.patch(from, this.bytes.length)
  }

  patch(from: number, to: number): void {
    littleEndian(BigInt(to - from), 4).forEach((byte, i) => (this.bytes[from - 4 + i] = byte))
  }

  instruction(): void {
    const kind = this.random.below(100)
    if (kind < 60) this.arithmetic()
    else if (kind < 68) this.vector()
    else if (kind < 76) this.float()
    else if (kind < 80) this.x87()
    else if (kind < 83) this.string()
    else if (kind < 85) this.place()
    else if (kind < 91) this.stack()
    else this.skip(() => Array.from({ length: 1 + this.random.below(4) }, () => this.instruction()))
  }

  /** Count down and jump back to `to` unless it is the end. */
  repeat(to: number): void {
    if (this.long) this.bytes.push(0x41)
    this.bytes.push(0xff, 0xc8 | (this.counter & 7), 0x0f, 0x85, 0, 0, 0, 0)
    this.patch(this.bytes.length, to)
  }
}

/** Calls of functions that are not written yet: by the function's number, where the distance ends. */
type Calls = { to: number; from: number }[]

/** A call of function `to`, through a register sometimes; or a jump there, so that it returns for this one. */
function callOf(a: Assembler, calls: Calls, to: number, jump: boolean): void {
  if (a.random.chance(30)) {
    // The register's value is filled in like a distance, and made absolute by LEA or ADD.
    const low = a.random.below(4)
    if (a.long) a.bytes.push(0x48, 0x8d, 0x05 | (low << 3), 0, 0, 0, 0)
    else a.bytes.push(0xe8, 0, 0, 0, 0, 0x58 | low, 0x81, 0xc0 | low, 0, 0, 0, 0)
    // Without RIP-relative addresses it counts from the POP.
    calls.push({ to, from: a.long ? a.bytes.length : -a.bytes.length })
    a.bytes.push(0xff, (jump ? 0xe0 : 0xd0) | low)
    return
  }
  a.bytes.push(jump ? 0xe9 : 0xe8, 0, 0, 0, 0)
  calls.push({ to, from: a.bytes.length })
}

/** Code of a function: a body, perhaps with a loop whose counter is on the stack, and calls of later functions. */
function writeFunction(a: Assembler, calls: Calls, number: number, count: number): void {
  const { random } = a
  const looping = random.chance(40)
  if (looping) a.bytes.push(0x6a, 2 + random.below(6))
  const top = a.bytes.length
  for (let n = random.below(8); n > 0; n--) a.instruction()
  const later = number + 1 + random.below(3)
  if (later < count && random.chance(60)) callOf(a, calls, later, false)
  for (let n = random.below(4); n > 0; n--) a.instruction()
  if (looping) {
    a.bytes.push(0xff, 0x0c, 0x24, 0x0f, 0x85, 0, 0, 0, 0)
    a.patch(a.bytes.length, top)
    a.bytes.push(0x58 | random.below(4))
  }
  if (number + 1 < count && random.chance(20)) callOf(a, calls, number + 1, true)
  else if (random.chance(15)) a.bytes.push(0xc2, 0, 0)
  else a.bytes.push(0xc3)
}

/** Program `seed`. */
export function program(seed: string): Case {
  const random = new Random(seed)
  const long = random.chance(70)
  const a = new Assembler(random, long)
  const calls: Calls = []
  const count = random.pick([1, 1, 2, 4, 6])
  const gpr = BigUint64Array.from({ length: 16 }, () => (long ? integer(random) : integer(random) & 0xffffffffn))
  gpr[RSP] = BigInt(Space.DATA + 0x800)
  gpr[RSI] = BigInt(Space.DATA + random.pick([0x200, 0xff0, 0x1000, 0x1f40]))
  gpr[RDI] = BigInt(Space.DATA + random.pick([0x300, 0x400, 0xff8]))
  gpr[a.counter] = BigInt(60 + random.below(200))
  if (random.chance(70)) a.bytes.push(0xdb, 0xe3)
  const top = a.bytes.length
  for (let n = 3 + random.below(30); n > 0; n--) {
    a.instruction()
    if (random.chance(8)) callOf(a, calls, random.below(count), false)
  }
  if (random.chance(12)) {
    // The immediate of an instruction of this loop changes in each turn.
    const at = a.bytes.length + (long ? 8 : 6) + 1
    a.bytes.push(0x89, ...(long ? [0x04 | (random.below(4) << 3), 0x25] : [0x05 | (random.below(4) << 3)]))
    a.bytes.push(...littleEndian(BigInt(Space.CODE + OFFSET + at - (long ? 1 : 0)), 4), 0xb8)
    a.immediate(4)
  }
  a.repeat(top)
  a.bytes.push(0xcc)
  const starts: number[] = []
  const far = random.chance(40) ? random.below(count) : -1
  for (let number = 0; number < count; number++) {
    // This one and what follows are in the next page, or begin just before it.
    const end = 0x1000 - OFFSET - random.below(12)
    if (number === far) while (a.bytes.length < end) a.bytes.push(0xcc)
    starts.push(a.bytes.length)
    writeFunction(a, calls, number, count)
  }
  for (const { to, from } of calls) {
    const start = starts[to]!
    if (from > 0) a.patch(from, start)
    else littleEndian(BigInt(start - (-from - 7)), 4).forEach((byte, i) => (a.bytes[-from - 4 + i] = byte))
  }
  return {
    mode: long ? 64 : 32,
    selectors: [Selector.DATA, long ? Selector.CODE64 : Selector.CODE32, Selector.DATA, Selector.DATA, 0, 0],
    code: Uint8Array.from(a.bytes),
    offset: OFFSET,
    gpr,
    flags: 0x202 | (random.u32() & 0x8d5),
    fsBase: 0n,
    gsBase: 0n,
    fxsave: fxsave(random, random.pick(['int', 'f32', 'f64'])),
    window: Space.DATA,
    memory: new Uint8Array(0),
  }
}
