/** ADD OR ADC SBB AND SUB XOR CMP, TEST, INC DEC NEG NOT (SDM Vol. 2; opcode map rows 0-3, 8, A, F, FE/FF). */
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

type Binary = 'add' | 'or' | 'adc' | 'sbb' | 'and' | 'sub' | 'xor' | 'cmp'

/** Flags and result of a two-operand operation. */
function binary(s: Semantics, name: Binary, a: Value, b: Value): Value {
  switch (name) {
    case 'add':
    case 'sub':
    case 'cmp': {
      const res = name === 'add' ? s.add(a, b) : s.sub(a, b)
      s.flags(name === 'add' ? 'ADD' : 'SUB', res, b)
      return res
    }
    case 'adc':
    case 'sbb': {
      const carry = s.carry()
      const wide = a.ty === 'i64' ? s.toI64(carry) : carry
      const res = name === 'adc' ? s.add(s.add(a, b), wide) : s.sub(s.sub(a, b), wide)
      // The carry that came in decides which producer describes this result.
      s.if(
        carry,
        () => s.flags(name === 'adc' ? 'ADC1' : 'SBB1', res, b),
        () => s.flags(name === 'adc' ? 'ADD' : 'SUB', res, b),
      )
      return res
    }
    default: {
      const res = s.bin(name, a, b)
      s.flags('LOGIC', res)
      return res
    }
  }
}

const alu = (name: Binary) => (s: Semantics) => {
  if (name === 'cmp') binary(s, name, s.read(0), s.read(1))
  else {
    const b = s.read(1)
    s.write(0, binary(s, name, s.update(0), b))
  }
}

const binaries: Binary[] = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp']
binaries.forEach((name, n) => {
  const hex = (low: number) => (n * 8 + low).toString(16).toUpperCase().padStart(2, '0')
  const options = { lock: name !== 'cmp', ...(/and|or/.test(name) ? { undefinedFlags: 0x10 } : {}) }
  row(name, `${hex(0)} /r`, 'Eb,Gb', alu(name), options)
  row(name, `${hex(1)} /r`, 'Ev,Gv', alu(name), options)
  row(name, `${hex(2)} /r`, 'Gb,Eb', alu(name), { undefinedFlags: options.undefinedFlags ?? 0 })
  row(name, `${hex(3)} /r`, 'Gv,Ev', alu(name), { undefinedFlags: options.undefinedFlags ?? 0 })
  row(name, `${hex(4)}`, 'AL,Ib', alu(name), { undefinedFlags: options.undefinedFlags ?? 0 })
  row(name, `${hex(5)}`, 'rAX,Iz', alu(name), { undefinedFlags: options.undefinedFlags ?? 0 })
  row(name, `80 /${n}`, 'Eb,Ib', alu(name), options)
  row(name, `81 /${n}`, 'Ev,Iz', alu(name), options)
  row(name, `82 /${n}`, 'Eb,Ib', alu(name), { ...options, not64: true })
  row(name, `83 /${n}`, 'Ev,Is', alu(name), options)
})

const test = (s: Semantics) => s.flags('LOGIC', s.and(s.read(0), s.read(1)))
row('test', '84 /r', 'Eb,Gb', test, { undefinedFlags: 0x10 })
row('test', '85 /r', 'Ev,Gv', test, { undefinedFlags: 0x10 })
row('test', 'A8', 'AL,Ib', test, { undefinedFlags: 0x10 })
row('test', 'A9', 'rAX,Iz', test, { undefinedFlags: 0x10 })
for (const digit of [0, 1]) {
  row('test', `F6 /${digit}`, 'Eb,Ib', test, { undefinedFlags: 0x10 })
  row('test', `F7 /${digit}`, 'Ev,Iz', test, { undefinedFlags: 0x10 })
}

const step = (name: 'INC' | 'DEC') => (s: Semantics) => {
  const carry = s.carry()
  const a = s.update(0)
  const res = name === 'INC' ? s.add(a, 1) : s.sub(a, 1)
  s.flags(name, res, carry)
  s.write(0, res)
}
for (const [name, kind, digit] of [
  ['inc', 'INC', 0],
  ['dec', 'DEC', 1],
] as const) {
  row(name, `FE /${digit}`, 'Eb', step(kind), { lock: true })
  row(name, `FF /${digit}`, 'Ev', step(kind), { lock: true })
  row(name, `${digit ? '48' : '40'}+r`, 'Zv', step(kind), { not64: true })
}

const neg = (s: Semantics) => {
  const a = s.update(0)
  const res = s.sub(s.k(0), a)
  s.flags('SUB', res, a)
  s.write(0, res)
}
row('neg', 'F6 /3', 'Eb', neg, { lock: true })
row('neg', 'F7 /3', 'Ev', neg, { lock: true })

const not = (s: Semantics) => s.write(0, s.not(s.update(0)))
row('not', 'F6 /2', 'Eb', not, { lock: true })
row('not', 'F7 /2', 'Ev', not, { lock: true })
