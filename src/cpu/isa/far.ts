/** Far JMP, CALL, RET; IRET; INT n, INT3, INTO, INT1; UD0 UD1 UD2, HLT (SDM Vol. 2). */
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

const UD = 6
const bytes = (s: Semantics) => s.k32(s.size / 8)

function goFar(s: Semantics, call: boolean, selector: Value, offset: Value): void {
  if (call) s.attempt('farCall', selector, offset, bytes(s), s.nextRip())
  else s.attempt('farJump', selector, offset, bytes(s))
  s.transfer()
}

/** Pointer in the instruction: the offset is in DISP, the selector in IMM. */
const direct = (call: boolean) => (s: Semantics) =>
  goFar(s, call, s.imm(), s.toI64(s.size === 16 ? s.and(s.imm2(), 0xffff) : s.imm2()))
row('jmp_far', 'EA', 'A', direct(false), { sized: true, not64: true })
row('call_far', '9A', 'A', direct(true), { sized: true, not64: true })

const indirect = (call: boolean) => (s: Semantics) => {
  const offset = s.toI64(s.load(s.ea(), s.size as 16 | 32 | 64))
  goFar(s, call, s.load(s.displaced(s.ea(), s.size / 8), 16), offset)
}
row('jmp_far_indirect', 'FF /5', 'M', indirect(false), { sized: true })
row('call_far_indirect', 'FF /3', 'M', indirect(true), { sized: true })

const farReturn = (s: Semantics) => {
  s.attempt('farReturn', bytes(s), s.operands.length ? s.read(0) : s.k32(0))
  s.transfer()
}
row('retf', 'CB', '', farReturn, { sized: true })
row('retf_n', 'CA', 'Iw', farReturn, { sized: true })
row(
  'iret',
  'CF',
  '',
  (s) => {
    s.attempt('iret', bytes(s))
    s.transfer()
  },
  { sized: true },
)

const interrupt = (s: Semantics, vector: Value) => {
  s.attempt('softInterrupt', vector, s.nextRip())
  s.transfer()
}
row('int3', 'CC', '', (s) => interrupt(s, s.k32(3)), { system: true })
row('int', 'CD', 'Ib', (s) => interrupt(s, s.read(0)), { system: true })
row('into', 'CE', '', (s) => s.if(s.condition(0), () => interrupt(s, s.k32(4))), { not64: true, system: true })
row(
  'int1',
  'F1',
  '',
  (s) => {
    s.attempt('int1', s.nextRip())
    s.transfer()
  },
  { system: true },
)

row('ud0', '0F FF /r', 'Gv,Ev', (s) => s.fault(undefined, UD))
row('ud1', '0F B9 /r', 'Gv,Ev', (s) => s.fault(undefined, UD))
row('ud2', '0F 0B', '', (s) => s.fault(undefined, UD))

row('hlt', 'F4', '', (s) => s.attempt('hlt'))
