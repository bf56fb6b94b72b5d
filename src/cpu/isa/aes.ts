/** AES and carry-less multiplication (SDM Vol. 2). */
import type { Value } from './ir.ts'
import { row } from './row.ts'
import { addressOf } from './sse-lanes.ts'
import { aligned, lane, simd } from './vector.ts'

for (const [name, opcode, procedure, last] of [
  ['aesenc', 'DC', 'aesEncrypt', 0],
  ['aesenclast', 'DD', 'aesEncrypt', 1],
  ['aesdec', 'DE', 'aesDecrypt', 0],
  ['aesdeclast', 'DF', 'aesDecrypt', 1],
] as const)
  row(name, `66 0F 38 ${opcode} /r`, 'Vx,Wx', (s) => {
    simd(s)
    const key = aligned(s, 1)
    s.call(procedure, [s.slotAddress(0), s.slotAddress(0), addressOf(s, 1, key), s.k32(last)])
  })
row('aesimc', '66 0F 38 DB /r', 'Vx,Wx', (s) => {
  simd(s)
  const a = aligned(s, 1)
  s.call('aesInverseMix', [s.slotAddress(0), addressOf(s, 1, a)])
})
row('aeskeygenassist', '66 0F 3A DF /r', 'Vx,Wx,Ib', (s) => {
  simd(s)
  const a = aligned(s, 1)
  s.call('aesKey', [s.slotAddress(0), addressOf(s, 1, a), s.read(2)])
})
row('pclmulqdq', '66 0F 3A 44 /r', 'Vx,Wx,Ib', (s) => {
  simd(s)
  const b = aligned(s, 1)
  const a = s.read(0)
  const imm = s.read(2)
  const half = (v: Value, bit: number) =>
    s.select(s.and(imm, bit), lane(s, 'i64x2.extract_lane', v, 1), lane(s, 'i64x2.extract_lane', v, 0))
  s.call('carrylessMultiply', [s.slotAddress(0), half(a, 1), half(b, 16)])
})
