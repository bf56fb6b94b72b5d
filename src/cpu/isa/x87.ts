/**
 * x87 (SDM Vol. 2; opcodes D8-DF, FWAIT). The rows fetch and store operands, procedures of `../system/x87-*.ts` do the
 * rest. The record's IMM holds the eleven opcode bits, as FOP wants them; its low three are i of ST(i).
 */
import { S } from '../layout.ts'
import { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'
import {
  arithmetic,
  changeSign,
  copy,
  duplicate,
  exchange,
  load,
  partsOfFloat,
  partsOfInteger,
  storeGoes,
} from './x87-short.ts'

/** Bits of FPU_TRAP; WAIT heeds TS only with MP, and EM not at all. */
const EM = 1
const TS = 2
const WAIT = 4

type Fetch = (s: Semantics) => Value
const st = (s: Semantics) => s.and(s.imm(), 7)
/** The memory operand for FDP: a linear address as it is, an offset in a segment with bit 62 set. */
const effective = (s: Semantics) => {
  const { kind, value } = s.ea()
  return kind === 'flat' ? value : s.or(value, 1n << 62n)
}
const hex = (byte: number) => byte.toString(16).toUpperCase()

/** #NM where CR0 says so by the bits `trap` of FPU_TRAP. */
const available = (s: Semantics, trap: number) =>
  s.steady(S.FPU_TRAP, () => s.fault(s.and(s.state(S.FPU_TRAP), trap), 7))
const ES = 0x80
/**
 * #MF for a pending unmasked exception. With CR0.NE = 0 hardware asserts FERR#, for the PIC's IRQ 13; #MF is delivered
 * here whatever NE says.
 */
const pending = (s: Semantics) => s.fault(s.and(s.state(S.FSW), ES), 16)

/** A row that first waits for pending exceptions. */
const waiting = (body: (s: Semantics) => void) => (s: Semantics) => {
  available(s, EM | TS)
  pending(s)
  body(s)
}

// ---- arithmetic and comparison with ST(0) -----------------------------------------------------------------------

const int32: Fetch = (s) => s.op('i64.extend_i32_s', [s.read(0, 32)])
const int16: Fetch = (s) => s.op('i64.extend16_s', [s.toI64(s.read(0, 16))])
const memoryForms: [number, string, string, Fetch][] = [
  // opcode, operand, suffix of the procedure, operand's value
  [0xd8, 'Md', 'F32', (s) => s.read(0, 32)],
  [0xdc, 'Mq', 'F64', (s) => s.read(0, 64)],
  [0xda, 'Md', 'Int', int32],
  [0xde, 'Mw', 'Int', int16],
]
/** ST(to) = ST(to) op ST(from). */
function between(s: Semantics, op: number, to: Value | number, from: Value | number, pops: boolean): void {
  const number = (i: Value | number) => (i instanceof Value ? i : s.k32(i))
  arithmetic(s, op, to, { register: from }, pops, () => {
    s.call('x87Arith', [s.k32(op), number(to), number(from), s.k32(pops ? 1 : 0)])
  })
}
const operations = ['fadd', 'fmul', 'fcom', 'fcomp', 'fsub', 'fsubr', 'fdiv', 'fdivr']
operations.forEach((name, op) => {
  const compares = op === 2 || op === 3
  for (const [opcode, operand, kind, fetch] of memoryForms)
    row(
      `${name}_${kind.toLowerCase()}${operand === 'Mw' ? '16' : ''}`,
      `${hex(opcode)} /${op}`,
      operand,
      waiting((s) => {
        const value = fetch(s)
        if (compares) s.call(`x87Compare${kind}`, [value, s.k32(op - 2), effective(s)])
        else {
          const parts = kind === 'Int' ? partsOfInteger(s, value) : partsOfFloat(s, value)
          const slow = () => void s.call(`x87Arith${kind}`, [s.k32(op), value, effective(s)])
          arithmetic(s, op, 0, { parts, ready: parts.normal }, false, slow)
        }
      }),
    )
  const modrm = (at: number) => hex(0xc0 + at * 8)
  if (compares) {
    row(
      name,
      `D8 ${modrm(op)}+i`,
      '',
      waiting((s) => s.call('x87Compare', [st(s), s.k32(0), s.k32(op - 2)])),
    )
    // Undocumented aliases, which every processor has.
    row(
      name,
      `DC ${modrm(op)}+i`,
      '',
      waiting((s) => s.call('x87Compare', [st(s), s.k32(0), s.k32(op - 2)])),
    )
    return
  }
  row(
    name,
    `D8 ${modrm(op)}+i`,
    '',
    waiting((s) => between(s, op, 0, st(s), false)),
  )
  // With ST(i) as destination the encodings of SUB and SUBR, DIV and DIVR are exchanged.
  const swapped = op >= 4 ? op ^ 1 : op
  row(
    `${name}_to`,
    `DC ${modrm(swapped)}+i`,
    '',
    waiting((s) => between(s, op, st(s), 0, false)),
  )
  row(
    `${name}p`,
    `DE ${modrm(swapped)}+i`,
    '',
    waiting((s) => between(s, op, st(s), 0, true)),
  )
})
row(
  'fcomp',
  'DE D0+i',
  '',
  waiting((s) => s.call('x87Compare', [st(s), s.k32(0), s.k32(1)])),
)
row(
  'fcompp',
  'DE D9',
  '',
  waiting((s) => s.call('x87Compare', [s.k32(1), s.k32(0), s.k32(2)])),
)
row(
  'fucom',
  'DD E0+i',
  '',
  waiting((s) => s.call('x87Compare', [st(s), s.k32(1), s.k32(0)])),
)
row(
  'fucomp',
  'DD E8+i',
  '',
  waiting((s) => s.call('x87Compare', [st(s), s.k32(1), s.k32(1)])),
)
row(
  'fucompp',
  'DA E9',
  '',
  waiting((s) => s.call('x87Compare', [s.k32(1), s.k32(1), s.k32(2)])),
)
for (const [name, encoding, quiet, pops] of [
  ['fucomi', 'DB E8', 1, 0],
  ['fcomi', 'DB F0', 0, 0],
  ['fucomip', 'DF E8', 1, 1],
  ['fcomip', 'DF F0', 0, 1],
] as const)
  row(
    name,
    `${encoding}+i`,
    '',
    waiting((s) => s.setFlags(s.compute('x87CompareFlags', st(s), s.k32(quiet), s.k32(pops)))),
  )

// ---- one operand ------------------------------------------------------------------------------------------------

const plain: [string, string, string, number[]][] = [
  ['ftst', 'D9 E4', 'x87Test', []],
  ['fxam', 'D9 E5', 'x87Examine', []],
  ['fxtract', 'D9 F4', 'x87Extract', []],
  ['fprem1', 'D9 F5', 'x87Remainder', [1]],
  ['fprem', 'D9 F8', 'x87Remainder', [0]],
  ['fdecstp', 'D9 F6', 'x87Turn', [7]],
  ['fincstp', 'D9 F7', 'x87Turn', [1]],
  ['fsqrt', 'D9 FA', 'x87Sqrt', []],
  ['frndint', 'D9 FC', 'x87RoundInt', []],
  ['fscale', 'D9 FD', 'x87Scale', []],
  ['fnop', 'D9 D0', 'x87Nop', []],
  ['f2xm1', 'D9 F0', 'x87Power', []],
  ['fyl2x', 'D9 F1', 'x87Logarithm', [0]],
  ['fyl2xp1', 'D9 F9', 'x87Logarithm', [1]],
  ['fptan', 'D9 F2', 'x87Tangent', [2]],
  ['fsincos', 'D9 FB', 'x87Tangent', [0]],
  ['fpatan', 'D9 F3', 'x87Arctangent', []],
  ['fsin', 'D9 FE', 'x87Sine', [0]],
  ['fcos', 'D9 FF', 'x87Sine', [1]],
]
for (const [name, encoding, procedure, args] of plain)
  row(
    name,
    encoding,
    '',
    waiting((s) =>
      s.call(
        procedure,
        args.map((a) => s.k32(a)),
      ),
    ),
  )
for (const [name, encoding, n] of [
  ['fchs', 'D9 E0', 0],
  ['fabs', 'D9 E1', 1],
] as const)
  row(
    name,
    encoding,
    '',
    waiting((s) =>
      changeSign(
        s,
        (x) => (n === 0 ? s.xor(x, 0x8000) : s.and(x, 0x7fff)),
        () => s.call('x87Sign', [s.k32(n)]),
      ),
    ),
  )
;['fld1', 'fldl2t', 'fldl2e', 'fldpi', 'fldlg2', 'fldln2', 'fldz'].forEach((name, n) =>
  row(
    name,
    `D9 ${hex(0xe8 + n)}`,
    '',
    waiting((s) => s.call('x87LoadConstant', [s.k32(n)])),
  ),
)

// ---- loads ------------------------------------------------------------------------------------------------------

const loads: [string, string, string, string, Fetch][] = [
  ['fld_f32', 'D9 /0', 'Md', 'x87LoadF32', (s) => s.read(0, 32)],
  ['fld_f64', 'DD /0', 'Mq', 'x87LoadF64', (s) => s.read(0, 64)],
  ['fild16', 'DF /0', 'Mw', 'x87LoadInt', int16],
  ['fild32', 'DB /0', 'Md', 'x87LoadInt', int32],
  ['fild64', 'DF /5', 'Mq', 'x87LoadInt', (s) => s.read(0, 64)],
]
for (const [name, encoding, operand, procedure, fetch] of loads)
  row(
    name,
    encoding,
    operand,
    waiting((s) => {
      const value = fetch(s)
      const parts = procedure === 'x87LoadInt' ? partsOfInteger(s, value) : partsOfFloat(s, value)
      load(s, parts, parts.normal, () => s.call(procedure, [value, effective(s)]))
    }),
  )
for (const [name, encoding, procedure] of [
  ['fld_f80', 'DB /5', 'x87LoadExtended'],
  ['fbld', 'DF /4', 'x87LoadBcd'],
] as const)
  row(
    name,
    encoding,
    'M',
    waiting((s) => {
      const low = s.load(s.ea(), 64)
      const high = s.load(s.displaced(s.ea(), 8), 16)
      const slow = () => void s.call(procedure, [low, high, effective(s)])
      if (procedure === 'x87LoadExtended') load(s, { m: low, s: high }, s.k32(1), slow)
      else slow()
    }),
  )
row(
  'fld_st',
  'D9 C0+i',
  '',
  waiting((s) => duplicate(s, st(s), () => s.call('x87LoadRegister', [st(s)]))),
)

// ---- stores -----------------------------------------------------------------------------------------------------

/** `x87StoreGoes` says whether memory is written; only then may the access fault. */
const store = (compute: Fetch, bytes: 2 | 4 | 8, pops: number) =>
  waiting((s) => {
    const value = compute(s)
    s.if(storeGoes(s), () => s.store(s.ea(), bytes === 8 ? value : s.toI32(value), bytes))
    s.call('x87Stored', [s.k32(pops), effective(s)])
  })
const toInt =
  (bits: number, chop: number): Fetch =>
  (s) =>
    s.compute('x87ToInt', s.k32(bits), s.k32(chop))
const f32: Fetch = (s) => s.compute('x87ToF32')
const f64: Fetch = (s) => s.compute('x87ToF64')
row('fst_f32', 'D9 /2', 'Md', store(f32, 4, 0))
row('fstp_f32', 'D9 /3', 'Md', store(f32, 4, 1))
row('fst_f64', 'DD /2', 'Mq', store(f64, 8, 0))
row('fstp_f64', 'DD /3', 'Mq', store(f64, 8, 1))
row('fist16', 'DF /2', 'Mw', store(toInt(16, 0), 2, 0))
row('fistp16', 'DF /3', 'Mw', store(toInt(16, 0), 2, 1))
row('fist32', 'DB /2', 'Md', store(toInt(32, 0), 4, 0))
row('fistp32', 'DB /3', 'Md', store(toInt(32, 0), 4, 1))
row('fistp64', 'DF /7', 'Mq', store(toInt(64, 0), 8, 1))
row('fisttp16', 'DF /1', 'Mw', store(toInt(16, 1), 2, 1))
row('fisttp32', 'DB /1', 'Md', store(toInt(32, 1), 4, 1))
row('fisttp64', 'DD /1', 'Mq', store(toInt(64, 1), 8, 1))
for (const [name, encoding, procedure] of [
  ['fstp_f80', 'DB /7', 'x87ToExtended'],
  ['fbstp', 'DF /6', 'x87ToBcd'],
] as const)
  row(
    name,
    encoding,
    'M',
    waiting((s) => {
      const low = s.compute(procedure)
      const high = s.compute(`${procedure}High`)
      s.if(storeGoes(s), () => {
        const rest = s.displaced(s.ea(), 8)
        const first = s.probe(s.ea(), 8)
        const second = s.probe(rest, 2)
        s.store(s.ea(), low, 8, first)
        s.store(rest, high, 2, second)
      })
      s.call('x87Stored', [s.k32(1), effective(s)])
    }),
  )
row(
  'fst_st',
  'DD D0+i',
  '',
  waiting((s) => copy(s, st(s), false, () => s.call('x87StoreRegister', [st(s), s.k32(0)]))),
)
row(
  'fstpnce',
  'D9 D8+i',
  '',
  waiting((s) => s.call('x87StoreUnchecked', [st(s)])),
)
for (const encoding of ['DD D8+i', 'DF D0+i', 'DF D8+i'])
  row(
    'fstp_st',
    encoding,
    '',
    waiting((s) => copy(s, st(s), true, () => s.call('x87StoreRegister', [st(s), s.k32(1)]))),
  )

// ---- registers --------------------------------------------------------------------------------------------------

for (const encoding of ['D9 C8+i', 'DD C8+i', 'DF C8+i'])
  row(
    'fxch',
    encoding,
    '',
    waiting((s) => exchange(s, st(s), () => s.call('x87Exchange', [st(s)]))),
  )
row(
  'ffree',
  'DD C0+i',
  '',
  waiting((s) => s.call('x87Free', [st(s), s.k32(0)])),
)
row(
  'ffreep',
  'DF C0+i',
  '',
  waiting((s) => s.call('x87Free', [st(s), s.k32(1)])),
)
;[2, 4, 6, 10].forEach((condition, n) => {
  for (const [name, opcode, negated] of [
    ['fcmov', 'DA', 0],
    ['fcmovn', 'DB', 1],
  ] as const)
    row(
      `${name}${['b', 'e', 'be', 'u'][n]}`,
      `${opcode} ${hex(0xc0 + n * 8)}+i`,
      '',
      waiting((s) => s.call('x87Move', [st(s), s.condition(condition + negated)])),
    )
})

// ---- control ----------------------------------------------------------------------------------------------------

const unwaiting = (body: (s: Semantics) => void) => (s: Semantics) => {
  available(s, EM | TS)
  body(s)
}
row('fwait', '9B', '', (s) => {
  available(s, WAIT)
  pending(s)
})
row(
  'fninit',
  'DB E3',
  '',
  unwaiting((s) => s.call('x87Init', [])),
)
row(
  'fnclex',
  'DB E2',
  '',
  unwaiting((s) => s.call('x87ClearExceptions', [])),
)
row(
  'fnstsw_ax',
  'DF E0',
  '',
  unwaiting((s) => s.setReg(S.RAX, s.state(S.FSW), 16)),
)
row(
  'fnstsw',
  'DD /7',
  'Mw',
  unwaiting((s) => s.write(0, s.state(S.FSW))),
)
row(
  'fnstcw',
  'D9 /7',
  'Mw',
  unwaiting((s) => s.write(0, s.state(S.FCW))),
)
row(
  'fldcw',
  'D9 /5',
  'Mw',
  waiting((s) => s.call('x87LoadControl', [s.read(0)])),
)
// 8087 and 80287 leftovers: no operation.
for (const encoding of ['DB E0', 'DB E1', 'DB E4'])
  row(
    'fnop_old',
    encoding,
    '',
    unwaiting(() => {}),
  )
