/** XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B (SDM Vol. 2). */
import { S } from '../layout.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

const GP = 13

const xchg = (s: Semantics) => {
  const a = s.update(0)
  const b = s.read(1)
  s.write(0, b)
  s.write(1, a)
}
row('xchg', '86 /r', 'Eb,Gb', xchg, { lock: true })
row('xchg', '87 /r', 'Ev,Gv', xchg, { lock: true })
row('xchg', '90+r', 'Zv,rAX', xchg)

const xadd = (s: Semantics) => {
  const a = s.update(0)
  const b = s.read(1)
  const sum = s.add(a, b)
  s.flags('ADD', sum, b)
  s.write(1, a)
  s.write(0, sum)
}
row('xadd', '0F C0 /r', 'Eb,Gb', xadd, { lock: true })
row('xadd', '0F C1 /r', 'Ev,Gv', xadd, { lock: true })

/** Memory is written in any case, of the registers only one: a 32-bit write would clear the other's upper half. */
const cmpxchg = (s: Semantics) => {
  const accumulator = s.reg(S.RAX)
  const source = s.read(1)
  const a = s.update(0)
  const same = s.eq(accumulator, a)
  s.flags('SUB', s.sub(accumulator, a), a)
  if (s.isMem(0)) s.write(0, s.select(same, source, a))
  s.if(
    same,
    () => {
      if (!s.isMem(0)) s.write(0, source)
    },
    () => s.setReg(S.RAX, a),
  )
}
row('cmpxchg', '0F B0 /r', 'Eb,Gb', cmpxchg, { lock: true })
row('cmpxchg', '0F B1 /r', 'Ev,Gv', cmpxchg, { lock: true })

/** Only ZF changes. */
function setZero(s: Semantics, zero: ReturnType<Semantics['eq']>): void {
  s.setFlags(s.or(s.and(s.getFlags(), ~0x40), s.shl(zero, 6)))
}

row(
  'cmpxchg8b',
  'W0 0F C7 /1',
  'Mq',
  (s) => {
    const pair = (low: number, high: number) => s.or(s.toI64(s.reg(low, 32)), s.shl(s.toI64(s.reg(high, 32)), 32))
    const a = s.update(0)
    const same = s.eq(pair(S.RAX, S.RDX), a)
    s.write(0, s.select(same, pair(S.RBX, S.RCX), a))
    s.if(
      same,
      () => {},
      () => {
        s.setReg(S.RAX, s.toI32(a), 32)
        s.setReg(S.RDX, s.toI32(s.shr(a, 32)), 32)
      },
    )
    setZero(s, same)
  },
  { lock: true },
)

row(
  'cmpxchg16b',
  'REX.W 0F C7 /1',
  'Mx',
  (s) => {
    const linear = s.linear(s.ea(), 16, true)
    s.fault(s.toI32(s.and(linear, 15)), GP, 0)
    const address = s.at(linear)
    const probe = s.probe(address, 16)
    const a = s.load(address, 'v128')
    const low = s.op('i64x2.extract_lane', [a], [0])
    const high = s.op('i64x2.extract_lane', [a], [1])
    const same = s.and(s.eq(low, s.reg(S.RAX, 64)), s.eq(high, s.reg(S.RDX, 64)))
    const lanes = s.op('i64x2.replace_lane', [s.op('i64x2.splat', [s.reg(S.RBX, 64)]), s.reg(S.RCX, 64)], [1])
    s.store(address, s.select(same, lanes, a), 16, probe)
    s.if(
      same,
      () => {},
      () => {
        s.setReg(S.RAX, low, 64)
        s.setReg(S.RDX, high, 64)
      },
    )
    setZero(s, same)
  },
  { lock: true, only64: true },
)
