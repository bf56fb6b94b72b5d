/** DAA DAS AAA AAS AAM AAD: decimal arithmetic, not in 64-bit mode (SDM Vol. 2). */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

const AH = S.RAX + 1
const DE = 0

const bit = (s: Semantics, v: Value, n: number) => s.and(s.shr(v, n), 1)

/** The lower digit needs adjusting: above 9, or AF. */
const lowerDigit = (s: Semantics, al: Value, flags: Value) => s.or(s.gtU(s.and(al, 15), 9), bit(s, flags, 4))

const decimalAdjust = (add: boolean) => (s: Semantics) => {
  const al = s.reg(S.RAX, 8)
  const flags = s.getFlags()
  const lower = lowerDigit(s, al, flags)
  const upper = s.or(s.gtU(al, 0x99), s.and(flags, 1))
  const by = s.add(s.mul(lower, 6), s.mul(upper, 0x60))
  const res = s.and(add ? s.add(al, by) : s.sub(al, by), 0xff)
  // DAS also borrows when the lower digit's adjustment does.
  const carry = add ? upper : s.or(upper, s.and(lower, s.ltU(al, 6)))
  s.flags('RES', res, s.or(carry, s.shl(lower, 4)), 8)
  s.setReg(S.RAX, res, 8)
}
row('daa', '27', '', decimalAdjust(true), { not64: true, undefinedFlags: 0x800 })
row('das', '2F', '', decimalAdjust(false), { not64: true, undefinedFlags: 0x800 })

const asciiAdjust = (add: boolean) => (s: Semantics) => {
  const ax = s.reg(S.RAX, 16)
  const adjust = lowerDigit(s, ax, s.getFlags())
  const by = s.mul(adjust, 0x106)
  const res = s.and(add ? s.add(ax, by) : s.sub(ax, by), 0xff0f)
  s.flags('RES', s.and(res, 0xff), s.or(adjust, s.shl(adjust, 4)), 8)
  s.setReg(S.RAX, res, 16)
}
row('aaa', '37', '', asciiAdjust(true), { not64: true, undefinedFlags: 0x8c4 })
row('aas', '3F', '', asciiAdjust(false), { not64: true, undefinedFlags: 0x8c4 })

/** CF, AF and OF are undefined; ZF SF PF are of AL. */
function setAx(s: Semantics, al: Value, ah: Value): void {
  s.flags('LOGIC', al, undefined, 8)
  s.setReg(S.RAX, s.or(al, s.shl(ah, 8)), 16)
}

row(
  'aam',
  'D4',
  'Ib',
  (s) => {
    const base = s.read(0)
    s.fault(s.isZero(base), DE)
    const al = s.reg(S.RAX, 8)
    setAx(s, s.bin('rem_u', al, base), s.bin('div_u', al, base))
  },
  { not64: true, undefinedFlags: 0x811 },
)
row(
  'aad',
  'D5',
  'Ib',
  (s) => {
    const tens = s.mul(s.reg(AH, 8), s.read(0))
    setAx(s, s.and(s.add(s.reg(S.RAX, 8), tens), 0xff), s.k32(0))
  },
  { not64: true, undefinedFlags: 0x811 },
)
row('salc', 'D6', '', (s) => s.setReg(S.RAX, s.sub(s.k32(0), s.carry()), 8), { not64: true })
