/** Random x87 states, one instruction, the host's CPU against the procedures. */
import { S, R, Mode } from '../../../src/cpu/layout.ts'
import { Case, Cases, Fx, hex } from './oracle.ts'
import type { Core } from './oracle.ts'
import { isIntel } from '../host.ts'
import { Random, f32, f64, f80, integer } from './values.ts'

export type Operand = 'f32' | 'f64' | 'f80' | 'i16' | 'i32' | 'i64' | 'bcd' | 'none'

export interface X87Op {
  /** The instruction; its memory operand, if any, is [rdi] (ModRM 00 reg 111). */
  code: number[]
  memory?: Operand
  /** Our side; the memory operand is in SCRATCH, `ea` its effective address. */
  run: (ea: bigint) => void
  /** What the state is made to be instead of random, and bits of FSW not to compare. */
  prepare?: (random: Random, view: DataView, at: number) => void
  ignoreStatus?: number
  /** Bytes of memory to compare, from one place on. */
  stores?: number
  storesFrom?: number
  /** How many units of the last place the registers may differ. */
  ulps?: bigint
}

/** An f80 into 10 bytes. */
function setF80(view: DataView, at: number, value: bigint): void {
  view.setBigUint64(at, value & 0xffffffffffffffffn, true)
  view.setUint16(at + 8, Number(value >> 64n), true)
}

function setOperand(random: Random, view: DataView, at: number, kind: Operand): void {
  for (let i = 0; i < 16; i += 4) view.setUint32(at + i, random.u32(), true)
  if (kind === 'f32') view.setUint32(at, f32(random), true)
  else if (kind === 'f64') view.setBigUint64(at, f64(random), true)
  else if (kind === 'f80') setF80(view, at, f80(random))
  else if (kind === 'i16') view.setInt16(at, Number(integer(random, 16)), true)
  else if (kind === 'i32') view.setInt32(at, Number(integer(random, 32)), true)
  else if (kind === 'i64') view.setBigInt64(at, integer(random, 64), true)
  else if (kind === 'bcd') for (let i = 0; i < 9; i++) view.setUint8(at + i, (random.below(10) << 4) | random.below(10))
}

/** Any rounding and precision; mostly all exceptions masked. */
function control(random: Random): number {
  const masks = random.chance(3) ? random.u32() & 0x3f : 0x3f
  return (random.u32() & 0xf00) | masks | 0x40
}

function randomState(random: Random, view: DataView, at: number): void {
  const fcw = control(random)
  // Rarely a pending exception; else only flags that are masked.
  const flags = random.chance(4) ? random.u32() & (random.chance(8) ? 0x3f : fcw & 0x3f) : 0
  const pending = (flags & ~fcw & 0x3f) !== 0 ? 0x8080 : 0
  view.setUint16(at + Fx.FCW, fcw, true)
  view.setUint16(at + Fx.FSW, (random.u32() & 0x7f40) | flags | pending, true)
  view.setUint8(at + Fx.FTW, random.chance(5) ? random.u32() & 0xff : random.pick([0xff, 0xff, 0x7f, 0x3e, 0x0f, 0xaa]))
  view.setUint16(at + Fx.FOP, random.u32() & 0x7ff, true)
  view.setBigUint64(at + Fx.FIP, 0x1234n, true)
  view.setBigUint64(at + Fx.FDP, 0x5678n, true)
  const near = random.chance(3)
  const exponent = near ? random.below(0x7fff) : 0
  for (let i = 0; i < 8; i++) {
    let value = f80(random)
    if (near && i < 2)
      value =
        (value & 0x8000ffffffffffffffffn) |
        ((BigInt(exponent + (i ? random.below(140) - 70 : 0)) & 0x7fffn) << 64n) |
        (1n << 63n)
    setF80(view, at + Fx.ST + i * 16, value)
  }
}

/** Makes the registers that TOP makes ST(0) and ST(`other`) full. */
export function fill(view: DataView, at: number, other: number): void {
  const top = (view.getUint16(at + Fx.FSW, true) >> 11) & 7
  view.setUint8(at + Fx.FTW, view.getUint8(at + Fx.FTW) | (1 << top) | (1 << ((top + other) & 7)))
}

/** FOP of an instruction. */
function opcode(code: readonly number[]): number {
  const first = code.findIndex((byte) => byte >= 0xd8 && byte <= 0xdf)
  return first < 0 ? 0 : ((code[first]! & 7) << 8) | code[first + 1]!
}

function describeState(cases: Cases, i: number): string {
  const at = i * Case.SIZE,
    { view, bytes } = cases
  return [
    `fcw ${view.getUint16(at + Fx.FCW, true).toString(16)} fsw ${view.getUint16(at + Fx.FSW, true).toString(16)}`,
    `ftw ${view.getUint8(at + Fx.FTW).toString(16)}`,
    ...[0, 1, 2].map((n) => `st${n} ${hex(bytes.subarray(at + Fx.ST + n * 16, at + Fx.ST + n * 16 + 10))}`),
    `mem ${hex(bytes.subarray(at + Case.MEM, at + Case.MEM + 10))}`,
  ].join(' ')
}

/** How many f80 numbers lie between two of the same sign, given in hexadecimal. */
function distance(a: string, b: string): bigint {
  const rank = (text: string): bigint => {
    const bits = BigInt(`0x${text}`)
    return ((bits >> 64n) << 63n) | (bits & 0x7fffffffffffffffn)
  }
  const difference = rank(a) - rank(b)
  return difference < 0n ? -difference : difference
}

/** What differs from the host's CPU in `count` random cases of `op`. */
export function differences(core: Core, op: X87Op, count = 1500, seed = 1): string {
  const random = new Random(
    Math.imul(
      op.code.reduce((sum, byte) => sum * 257 + byte, seed),
      0x9e3779b1,
    ),
  )
  const cases = new Cases(count)
  for (let i = 0; i < count; i++) {
    const at = i * Case.SIZE
    cases.init(i, op.code)
    randomState(random, cases.view, at)
    if (op.memory) setOperand(random, cases.view, at + Case.MEM, op.memory)
    cases.view.setUint32(at + Case.FLAGS, 0x202 | (random.u32() & 0x8d5), true)
    cases.view.setUint32(at + Case.RAX, 0, true)
    op.prepare?.(random, cases.view, at)
  }
  const native = cases.run()
  const { p, view } = core
  const bad: string[] = []
  for (let i = 0; i < count && bad.length < 6; i++) {
    const at = i * Case.SIZE
    core.load(cases, i)
    const record = p + S.SCRATCH_RECORDS
    view.setUint32(p + S.MODE, Mode.LONG | Mode.D, true)
    view.setUint32(p + S.RECORD, record, true)
    view.setUint16(record + R.OFFSET_LENGTH, op.code.length, true)
    view.setUint32(record + R.IMM, opcode(op.code), true)
    view.setBigUint64(p + S.PAGE_LINEAR, native.view.getBigUint64(at + Case.CODE_AT, true), true)
    view.setUint32(p + S.FOP, cases.view.getUint16(at + Fx.FOP, true), true)
    view.setBigUint64(p + S.FIP, cases.view.getBigUint64(at + Fx.FIP, true), true)
    view.setBigUint64(p + S.FDP, cases.view.getBigUint64(at + Fx.FDP, true), true)
    view.setUint32(p + S.FLAGS_KIND, 0, true)
    view.setBigUint64(p + S.FLAGS_RES, cases.view.getBigUint64(at + Case.FLAGS, true) & 0x8d5n, true)
    op.run(native.view.getBigUint64(at + Case.MEM_AT, true))

    const show = (
      trap: number,
      fcw: number,
      fsw: number,
      ftw: number,
      fop: number,
      fip: bigint,
      fdp: bigint,
      flags: bigint,
      st: string[],
      memory: Uint8Array,
    ): string =>
      `trap ${trap} fcw ${fcw.toString(16)} fsw ${(fsw & ~(op.ignoreStatus ?? 0)).toString(16)} ftw ${ftw.toString(16)} ` +
      (isIntel ? `fop ${fop.toString(16)} fip ${fip.toString(16)} fdp ${fdp.toString(16)} ` : '') +
      `flags ${(flags & 0x8d5n).toString(16)} ` +
      `${st.join(' ')} mem ${hex(memory)}`
    const nv = native.view,
      registers = [0, 1, 2, 3, 4, 5, 6, 7]
    const want = show(
      nv.getUint32(at + Case.TRAP, true),
      nv.getUint16(at + Fx.FCW, true),
      nv.getUint16(at + Fx.FSW, true),
      nv.getUint8(at + Fx.FTW),
      nv.getUint16(at + Fx.FOP, true),
      nv.getBigUint64(at + Fx.FIP, true),
      nv.getBigUint64(at + Fx.FDP, true),
      nv.getBigUint64(at + Case.FLAGS, true),
      registers.map((n) => hex(native.bytes.subarray(at + Fx.ST + n * 16, at + Fx.ST + n * 16 + 10))),
      native.bytes.subarray(at + Case.MEM + (op.storesFrom ?? 0), at + Case.MEM + (op.stores ?? 0)),
    )
    const fsw = core.u32(S.FSW),
      top = fsw >> 11
    const got = show(
      core.trap(),
      core.u32(S.FCW),
      fsw,
      core.u32(S.FTW),
      core.u32(S.FOP),
      core.u64(S.FIP),
      core.u64(S.FDP),
      core.u64(S.FLAGS_RES),
      registers.map((n) => {
        const register = p + S.FPR + ((top + n) & 7) * 16
        const theirs = hex(native.bytes.subarray(at + Fx.ST + n * 16, at + Fx.ST + n * 16 + 10))
        const ours = hex(core.bytes.subarray(register, register + 10))
        return op.ulps && distance(ours, theirs) <= op.ulps ? theirs : ours
      }),
      core.bytes.subarray(p + S.SCRATCH + (op.storesFrom ?? 0), p + S.SCRATCH + (op.stores ?? 0)),
    )
    if (got !== want)
      bad.push(
        `${op.code.map((byte) => byte.toString(16)).join(' ')} ${describeState(cases, i)}\n  want ${want}\n  got  ${got}`,
      )
    else if (core.u32(S.FP_FLAGS) !== 0) bad.push('FP_FLAGS is left set')
  }
  return bad.join('\n')
}
