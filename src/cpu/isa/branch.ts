/** Near JMP, Jcc, CALL, RET, LOOP, JCXZ, SETcc, CMOVcc. */
import { S } from '../layout.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

row('jmp', 'EB', 'Jb', (s) => s.branch(), { f64: true, sized: true })
row('jmp', 'E9', 'Jz', (s) => s.branch(), { f64: true })
const target = (s: Semantics) => s.toI64(s.read(0))
row('jmp_indirect', 'FF /4', 'Ev', (s) => s.jump(target(s)), { f64: true })

const call = (s: Semantics, to?: ReturnType<typeof target>) => {
  const next = s.nextRip()
  const bytes = (s.size / 8) as 2 | 4 | 8
  const sp = s.spAdd(s.sp(), -bytes)
  const probe = s.probe(s.stackAt(sp), bytes)
  s.aim(to)
  s.store(s.stackAt(sp), s.size === 64 ? next : s.toI32(next), bytes, probe)
  s.setSp(sp)
  if (to) s.jump(to)
  else s.branch()
}
row('call', 'E8', 'Jz', (s) => call(s), { f64: true })
row('call_indirect', 'FF /2', 'Ev', (s) => call(s, target(s)), { f64: true })

const ret = (s: Semantics) => {
  const sp = s.sp()
  const to = s.toI64(s.load(s.stackAt(sp), s.size as 16 | 32 | 64))
  s.aim(to)
  const after = s.spAdd(sp, s.size / 8)
  s.setSp(s.operands.length ? s.spAdd(after, s.toI64(s.read(0, 16))) : after)
  s.jump(to)
}
row('ret', 'C3', '', ret, { sized: true, f64: true })
row('ret_n', 'C2', 'Iw', ret, { sized: true, f64: true })

const names = ['o', 'no', 'b', 'nb', 'z', 'nz', 'be', 'nbe', 's', 'ns', 'p', 'np', 'l', 'nl', 'le', 'nle']
names.forEach((cc, code) => {
  const hex = (base: number) => (base + code).toString(16).toUpperCase()
  row(`j${cc}`, hex(0x70), 'Jb', (s) => s.branch(s.condition(code)), { f64: true, sized: true })
  row(`j${cc}`, `0F ${hex(0x80)}`, 'Jz', (s) => s.branch(s.condition(code)), { f64: true })
  row(`set${cc}`, `0F ${hex(0x90)} /r`, 'Eb', (s) => s.write(0, s.condition(code)))
  row(`cmov${cc}`, `0F ${hex(0x40)} /r`, 'Gv,Ev', (s) => {
    const a = s.read(0)
    const b = s.read(1)
    s.write(0, s.select(s.condition(code), b, a))
  })
})

/** LOOP, LOOPE, LOOPNE, JCXZ count in CX, ECX or RCX by address size; the decoder picks the row by it. */
for (const bits of [16, 32, 64] as const) {
  const suffix = `_${bits}`
  const loop = (condition?: number) => (s: Semantics) => {
    const count = s.sub(s.reg(S.RCX, bits), s.k(1, bits === 64 ? 'i64' : 'i32'))
    const left = s.ne(bits === 16 ? s.and(count, 0xffff) : count, 0)
    const taken = condition === undefined ? left : s.and(left, s.condition(condition))
    s.aim(undefined, taken)
    s.setReg(S.RCX, count, bits)
    s.branch(taken)
  }
  const options = { f64: true, sized: true, address: bits }
  row(`loopne${suffix}`, 'E0', 'Jb', loop(5), options)
  row(`loope${suffix}`, 'E1', 'Jb', loop(4), options)
  row(`loop${suffix}`, 'E2', 'Jb', loop(), options)
  row(`jcxz${suffix}`, 'E3', 'Jb', (s) => s.branch(s.isZero(s.reg(S.RCX, bits))), options)
}
