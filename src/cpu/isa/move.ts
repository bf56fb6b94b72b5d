/** MOV and its relatives, LEA, PUSH and POP of general registers, memory and immediates. */
import { S } from '../layout.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

const mov = (s: Semantics) => s.write(0, s.read(1))
row('mov', '88 /r', 'Eb,Gb', mov)
row('mov', '89 /r', 'Ev,Gv', mov)
row('mov', '8A /r', 'Gb,Eb', mov)
row('mov', '8B /r', 'Gv,Ev', mov)
row('mov', 'C6 /0', 'Eb,Ib', mov)
row('mov', 'C7 /0', 'Ev,Iz', mov)
row('mov', 'B0+r', 'Zb,Ib', mov)
row('mov_full', 'B8+r', 'Zv,Iv', (s) => s.write(0, s.size === 64 ? s.immFull() : s.read(1)))
row('mov', 'A0', 'AL,Ob', mov)
row('mov', 'A1', 'rAX,Ov', mov)
row('mov', 'A2', 'Ob,AL', mov)
row('mov', 'A3', 'Ov,rAX', mov)

const movzx = (s: Semantics) => s.write(0, s.fit(s.read(1), s.size))
row('movzx', '0F B6 /r', 'Gv,Eb', movzx)
row('movzx', '0F B7 /r', 'Gv,Ew', movzx)
const movsx = (bits: number) => (s: Semantics) => s.write(0, s.signed(s.read(1), bits))
row('movsx8', '0F BE /r', 'Gv,Eb', movsx(8))
row('movsx16', '0F BF /r', 'Gv,Ew', movsx(16))
// With a 66 prefix Intel's processors read 16 bits, AMD's 32.
row(
  'movsxd',
  '63 /r',
  'Gv,Ed',
  (s) => s.write(0, s.size === 64 ? s.signed64(s.read(1), 32) : s.read(1, s.size as 16 | 32)),
  { only64: true },
)

row('lea', '8D /r', 'Gv,M', (s) => s.write(0, s.size === 64 ? s.ea().value : s.toI32(s.ea().value)), {
  noSegment: true,
})

row('push', '50+r', 'Zv', (s) => s.push(s.read(0)), { d64: true })
row('push', 'FF /6', 'Ev', (s) => s.push(s.read(0)), { d64: true })
row('push', '68', 'Iz', (s) => s.push(s.read(0)), { d64: true })
row('push', '6A', 'Is', (s) => s.push(s.read(0)), { d64: true })

const pop = (s: Semantics) => {
  const sp = s.sp()
  const value = s.load(s.stackAt(sp), s.size as 16 | 32 | 64)
  const after = s.spAdd(sp, s.size / 8)
  if (s.isMem(0)) {
    s.write(0, value)
    s.setSp(after)
  } else {
    // POP RSP leaves the popped value.
    s.setSp(after)
    s.write(0, value)
  }
}
row('pop', '58+r', 'Zv', pop, { d64: true })
row('pop', '8F /0', 'Ev', pop, { d64: true, popBase: true })

row('nop', '90', '', () => {}, { noRexB: true })
row('nop', '0F 1F /r', 'Ev', (s) => {
  if (s.isMem(0)) s.ea()
})
row(
  'leave',
  'C9',
  '',
  (s) => {
    // The stack pointer comes from (R)BP, as wide as the stack is; then BP is popped by operand size.
    const frame = s.mode === '64' ? s.reg(S.RBP, 64) : s.spAdd(s.reg(S.RBP, 64), 0)
    const value = s.load(s.stackAt(frame), s.size as 16 | 32 | 64)
    s.setSp(s.spAdd(frame, s.size / 8))
    s.setReg(S.RBP, value)
  },
  { sized: true, d64: true },
)
