/** Instructions about EFLAGS: CLC STC CMC CLD STD CLI STI LAHF SAHF PUSHF POPF, CLAC STAC (SDM Vol. 2). */
import { S } from '../layout.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

const DF = 0x400

row('clc', 'F8', '', (s) => s.mergeFlags(1, s.k32(0)))
row('stc', 'F9', '', (s) => s.mergeFlags(1, s.k32(1)))
row('cmc', 'F5', '', (s) => s.setFlags(s.xor(s.getFlags(), 1)))
row('cld', 'FC', '', (s) => s.setState(S.SYSFLAGS, 32, s.and(s.state(S.SYSFLAGS), ~DF)))
row('std', 'FD', '', (s) => s.setState(S.SYSFLAGS, 32, s.or(s.state(S.SYSFLAGS), DF)))
row('cli', 'FA', '', (s) => s.attempt('cli'))
row('sti', 'FB', '', (s) => s.attempt('sti'))
row('clac', 'NP 0F 01 CA', '', (s) => s.attempt('clac'))
row('stac', 'NP 0F 01 CB', '', (s) => s.attempt('stac'))

const AH = S.RAX + 1
row('lahf', '9F', '', (s) => s.setReg(AH, s.or(s.and(s.getFlags(), 0xd5), 2), 8))
row('sahf', '9E', '', (s) => s.setFlags(s.or(s.and(s.getFlags(), 0x800), s.and(s.reg(AH, 8), 0xd5))))

/** An image as wide as the operand. */
const image = (s: Semantics) => {
  const flags = s.compute('pushfImage')
  return s.size === 64 ? s.toI64(flags) : flags
}
row('pushf', '9C', '', (s) => s.push(image(s)), { sized: true, d64: true })
row(
  'popf',
  '9D',
  '',
  (s) => {
    const sp = s.sp()
    const value = s.load(s.stackAt(sp), s.size as 16 | 32 | 64)
    s.attempt('popf', s.toI64(value), s.k32(s.size / 8))
    s.setSp(s.spAdd(sp, s.size / 8))
  },
  { sized: true, d64: true },
)
