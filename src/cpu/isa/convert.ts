/** CBW CWDE CDQE, CWD CDQ CQO, MOVBE, MOVNTI, XLAT (SDM Vol. 2). */
import { S } from '../layout.ts'
import { byteSwapped } from './bit.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

row(
  'cbw',
  '98',
  '',
  (s) => {
    const half = s.size / 2
    s.setReg(S.RAX, s.signed(s.reg(S.RAX, half), half))
  },
  { sized: true },
)
row('cwd', '99', '', (s) => s.setReg(S.RDX, s.sar(s.signed(s.reg(S.RAX), s.size), s.size - 1)), { sized: true })

const movbe = (s: Semantics) => s.write(0, byteSwapped(s, s.read(1), s.size))
row('movbe', '0F 38 F0 /r', 'Gv,Mv', movbe)
row('movbe', '0F 38 F1 /r', 'Mv,Gv', movbe)

row('movnti', 'NP 0F C3 /r', 'My,Gy', (s) => s.write(0, s.read(1)))

for (const bits of [16, 32, 64] as const) {
  row(
    `xlat_${bits}`,
    'D7',
    '',
    (s) => {
      const base = s.toI64(s.reg(S.RBX, bits))
      const sum = s.add(base, s.toI64(s.reg(S.RAX, 8)))
      const offset = bits === 64 ? sum : s.and(sum, bits === 16 ? 0xffff : 0xffffffff)
      s.setReg(S.RAX, s.load(s.stringSource(offset), 8), 8)
    },
    { address: bits, string: true },
  )
}
