/** Control and debug registers, descriptor tables, MSRs and the rest of SDM Vol. 2's system instructions. */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

const UD = 6
const CS = 1
const bytes = (s: Semantics) => s.k32(s.size / 8)

/** Operands are 64 bits wide in 64-bit mode and 32 elsewhere, whatever the prefixes. */
const widths = [
  ['q', { only64: true, anyMod: true }],
  ['d', { not64: true, anyMod: true }],
] as const
for (const [letter, options] of widths) {
  for (const [register, name, opcode] of [
    ['C', 'Cr', 0x20],
    ['D', 'Dr', 0x21],
  ] as const) {
    const hex = (n: number) => `0F ${n.toString(16).toUpperCase()} /r`
    row(
      `mov_from_${name}`,
      hex(opcode),
      `R${letter},${register}`,
      (s) => s.attempt(`movFrom${name}`, s.number(1), s.number(0)),
      options,
    )
    row(
      `mov_to_${name}`,
      hex(opcode + 2),
      `${register},R${letter}`,
      (s) => s.attempt(`movTo${name}`, s.number(0), s.toI64(s.read(1))),
      options,
    )
  }
}
row('clts', '0F 06', '', (s) => s.attempt('clts'))
row('lmsw', '0F 01 /6', 'Ew', (s) => {
  s.attempt('needCpl0')
  s.attempt('lmsw', s.read(0))
})

/** A register operand gets all of `value`, memory its low 16 bits. */
function storeWord(s: Semantics, value: Value): void {
  if (s.isMem(0)) s.store(s.ea(), s.toI32(value), 2)
  else s.write(0, s.size === 64 ? s.toI64(value) : s.toI32(value))
}
row('smsw', '0F 01 /4', 'Ev', (s) => {
  s.attempt('checkUmip')
  storeWord(s, s.state(S.CR0, 64))
})

// Descriptor tables: a limit of 16 bits, then the base, 32 bits wide or in 64-bit mode 64.
const tables = { sized: true, f64: true } as const
for (const [name, digit] of [
  ['lgdt', 2],
  ['lidt', 3],
] as const) {
  row(
    name,
    `0F 01 /${digit}`,
    'M',
    (s) => {
      s.attempt('needCpl0')
      s.attempt(name, s.linear(s.ea(), s.size === 64 ? 10 : 6), bytes(s))
    },
    tables,
  )
}
for (const [name, digit, base, limit] of [
  ['sgdt', 0, S.GDTR_BASE, S.GDTR_LIMIT],
  ['sidt', 1, S.IDTR_BASE, S.IDTR_LIMIT],
] as const) {
  row(
    name,
    `0F 01 /${digit}`,
    'M',
    (s) => {
      s.attempt('checkUmip')
      s.probe(s.ea(), s.size === 64 ? 10 : 6)
      s.store(s.ea(), s.state(limit), 2)
      s.store(s.displaced(s.ea(), 2), s.state(base, s.size === 64 ? 64 : 32), s.size === 64 ? 8 : 4)
    },
    tables,
  )
}

for (const [name, digit, seg] of [
  ['sldt', 0, 6],
  ['str', 1, 7],
] as const) {
  row(name, `0F 00 /${digit}`, 'Ev', (s) => {
    s.attempt('checkUmipProtected')
    storeWord(s, s.state(S.SEG_SELECTOR + 4 * seg))
  })
}
for (const [name, digit] of [
  ['lldt', 2],
  ['ltr', 3],
] as const) {
  row(name, `0F 00 /${digit}`, 'Ew', (s) => {
    s.attempt('needProtectedCpl0')
    s.attempt(name, s.read(0))
  })
}
for (const [name, digit] of [
  ['verr', 4],
  ['verw', 5],
] as const)
  row(name, `0F 00 /${digit}`, 'Ew', (s) => s.attempt(name, s.read(0)))
for (const [name, opcode] of [
  ['lar', '02'],
  ['lsl', '03'],
] as const)
  row(name, `0F ${opcode} /r`, 'Gv,Ew', (s) => s.attempt(name, s.read(1), s.number(0), bytes(s)))

row('mov_from_seg', '8C /r', 'Ev,S', (s) => storeWord(s, s.compute('selectorOf', s.number(1))))
row('mov_to_seg', '8E /r', 'S,Ew', (s) => {
  const segment = s.number(0)
  s.fault(s.eq(segment, CS), UD)
  s.attempt('loadSegment', segment, s.read(1))
})

row('invlpg', '0F 01 /7', 'M', (s) => {
  s.attempt('needCpl0')
  s.attempt('invlpg', s.linear(s.ea(), 1))
})
row(
  'invpcid',
  '66 0F 38 82 /r',
  'Gy,M',
  (s) => {
    s.attempt('needCpl0')
    s.attempt('invpcid', s.toI64(s.read(0)), s.linear(s.ea(), 16))
  },
  { f64: true },
)
row('invd', '0F 08', '', (s) => s.attempt('needCpl0'))
row('wbinvd', '0F 09', '', (s) => s.attempt('wbinvd'))

row('wrmsr', '0F 30', '', (s) => s.attempt('wrmsr'))
row('rdtsc', '0F 31', '', (s) => s.attempt('rdtsc'))
row('rdmsr', '0F 32', '', (s) => s.attempt('rdmsr'))
row('rdpmc', '0F 33', '', (s) => s.attempt('rdpmc'))
row('rdtscp', '0F 01 F9', '', (s) => s.attempt('rdtscp'))
for (const [operand, options] of [
  ['Rq', { only64: true }],
  ['Rd', { not64: true }],
] as const)
  row('rdpid', 'F3 0F C7 /7', operand, (s) => s.write(0, s.state(S.TSC_AUX, s.size as 32 | 64)), options)
row('cpuid', '0F A2', '', (s) => {
  s.call('cpuid', [])
})
row('xgetbv', 'NP 0F 01 D0', '', (s) => s.attempt('xgetbv'))
row('xsetbv', 'NP 0F 01 D1', '', (s) => s.attempt('xsetbv'))
/** XSAVE areas: the legacy region and the header, 576 bytes. */
for (const [name, digit] of [
  ['xsave', 4],
  ['xrstor', 5],
  ['xsaveopt', 6],
] as const)
  row(
    name,
    `NP 0F AE /${digit}`,
    'M',
    (s) => {
      const save = name !== 'xrstor'
      s.attempt('checkXsave')
      s.attempt(save ? 'xsave' : 'xrstor', s.linear(s.ea(), 576, save), s.k32(s.size === 64 ? 1 : 0))
    },
    { sizes: [32, 64] },
  )
row('vmcall', 'NP 0F 01 C1', '', (s) => s.attempt('hypercall', s.k32(0)))
row('vmmcall', 'NP 0F 01 D9', '', (s) => s.attempt('hypercall', s.k32(1)))

row(
  'syscall',
  '0F 05',
  '',
  (s) => {
    s.attempt('syscall', s.nextRip())
    s.transfer()
  },
  { system: true },
)
row(
  'sysenter',
  '0F 34',
  '',
  (s) => {
    s.attempt('sysenter')
    s.transfer()
  },
  { system: true },
)
for (const [name, opcode] of [
  ['sysret', '07'],
  ['sysexit', '35'],
] as const) {
  row(
    name,
    `0F ${opcode}`,
    '',
    (s) => {
      s.attempt(name, bytes(s))
      s.transfer()
    },
    { sized: true, sizes: [32, 64], system: true },
  )
}
row('swapgs', '0F 01 F8', '', (s) => s.attempt('swapgs'), { only64: true })
for (const [name, seg, read, write] of [
  ['fs', 4, 0, 2],
  ['gs', 5, 1, 3],
] as const) {
  row(`rd${name}base`, `F3 0F AE /${read}`, 'Ry', (s) => s.attempt('readBase', s.k32(seg), s.number(0), bytes(s)), {
    only64: true,
  })
  row(`wr${name}base`, `F3 0F AE /${write}`, 'Ry', (s) => s.attempt('writeBase', s.k32(seg), s.toI64(s.read(0))), {
    only64: true,
  })
}
for (const [name, digit] of [
  ['rdrand', 6],
  ['rdseed', 7],
] as const)
  row(name, `0F C7 /${digit}`, 'Rv', (s) => {
    s.call('rdrand', [s.number(0), bytes(s)])
  })
