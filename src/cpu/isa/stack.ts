/** PUSHA POPA ENTER, PUSH and POP of segment registers, LES LDS LSS LFS LGS, BOUND, ARPL (SDM Vol. 2). */
import { S } from '../layout.ts'
import type { Address } from './ir.ts'
import { row, type RowOptions } from './row.ts'
import type { Semantics } from './semantics.ts'

const BR = 5
const UD = 6
type Width = 16 | 32 | 64

const registers = [S.RAX, S.RCX, S.RDX, S.RBX, S.RSP, S.RBP, S.RSI, S.RDI]

row(
  'pusha',
  '60',
  '',
  (s) => {
    const bytes = (s.size / 8) as 2 | 4
    const sp = s.sp()
    const slots = registers.map((_, i) => s.stackAt(s.spAdd(sp, -(i + 1) * bytes)))
    const probes = slots.map((slot) => s.probe(slot, bytes))
    registers.forEach((register, i) => s.store(slots[i] as Address, s.reg(register), bytes, probes[i]))
    s.setSp(s.spAdd(sp, -8 * bytes))
  },
  { sized: true, not64: true },
)
row(
  'popa',
  '61',
  '',
  (s) => {
    // Registers are written as they are read: a fault leaves the first of them changed, as on hardware.
    const bytes = s.size / 8
    const sp = s.sp()
    for (let i = 7; i >= 0; i--) {
      const register = registers[i] as number
      const value = s.load(s.stackAt(s.spAdd(sp, (7 - i) * bytes)), s.size as Width)
      if (register !== S.RSP) s.setReg(register, value)
    }
    s.setSp(s.spAdd(sp, 8 * bytes))
  },
  { sized: true, not64: true },
)

row(
  'enter',
  'C8',
  'Iw,Ib',
  (s) => {
    const both = s.imm()
    s.attempt('enter', s.and(both, 0xffff), s.and(s.shr(both, 16), 31), s.k32(s.size / 8))
  },
  { sized: true, d64: true },
)

/** Segment registers by number, and how they are pushed and popped. */
const pushes: [number, string, string, string | undefined, RowOptions][] = [
  [0, 'es', '06', '07', { not64: true }],
  [1, 'cs', '0E', undefined, { not64: true }],
  [2, 'ss', '16', '17', { not64: true }],
  [3, 'ds', '1E', '1F', { not64: true }],
  [4, 'fs', '0F A0', '0F A1', { d64: true }],
  [5, 'gs', '0F A8', '0F A9', { d64: true }],
]
for (const [number, name, push, pop, options] of pushes) {
  row(
    `push_${name}`,
    push,
    '',
    (s) => {
      // A doubleword push writes and a pop of any size reads only the selector's two bytes, as Intel's processors do.
      const sp = s.spAdd(s.sp(), -s.size / 8)
      const selector = s.state(S.SEG_SELECTOR + 4 * number)
      if (s.size === 64) s.store(s.stackAt(sp), s.toI64(selector), 8)
      else s.store(s.stackAt(sp), selector, 2)
      s.setSp(sp)
    },
    { ...options, sized: true },
  )
  if (pop !== undefined) {
    row(
      `pop_${name}`,
      pop,
      '',
      (s) => {
        const sp = s.sp()
        const selector = s.load(s.stackAt(sp), 16)
        // As wide as the stack was before SS changed.
        const after = s.wholeSp(s.spAdd(sp, s.size / 8))
        s.attempt('loadSegment', s.k32(number), selector)
        s.setReg(S.RSP, after, 64)
      },
      { ...options, sized: true },
    )
  }
}

/** A far pointer from memory: offset to a general register, selector to a segment register. */
const loadFar = (segment: number) => (s: Semantics) => {
  const bytes = s.size / 8
  const offset = s.load(s.ea(), s.size as Width)
  const selector = s.load(s.displaced(s.ea(), bytes), 16)
  s.attempt('loadSegmentFar', s.k32(segment), selector)
  s.write(0, offset)
}
row('les', 'C4 /r', 'Gv,M', loadFar(0), { not64: true })
row('lds', 'C5 /r', 'Gv,M', loadFar(3), { not64: true })
row('lss', '0F B2 /r', 'Gv,M', loadFar(2))
row('lfs', '0F B4 /r', 'Gv,M', loadFar(4))
row('lgs', '0F B5 /r', 'Gv,M', loadFar(5))

row(
  'bound',
  '62 /r',
  'Gv,M',
  (s) => {
    const at = s.signed(s.read(0), s.size)
    s.fault(s.ltS(at, s.signed(s.load(s.ea(), s.size as Width), s.size)), BR)
    const upper = s.load(s.displaced(s.ea(), s.size / 8), s.size as Width)
    s.fault(s.bin('gt_s', at, s.signed(upper, s.size)), BR)
  },
  { not64: true },
)

row(
  'arpl',
  '63 /r',
  'Ew,Gw',
  (s) => {
    s.fault(s.isZero(s.and(s.state(S.CR0), 1)), UD)
    const wanted = s.and(s.read(1), 3)
    const selector = s.read(0)
    const raise = s.ltU(s.and(selector, 3), wanted)
    s.if(raise, () => s.write(0, s.or(s.and(selector, ~3), wanted)))
    s.setFlags(s.or(s.and(s.getFlags(), ~0x40), s.shl(raise, 6)))
  },
  { not64: true },
)
