/**
 * How rows of the instruction table are written in Intel syntax (as binutils does) where name and operands do not say it.
 *
 * By default a row is its name up to the first `_` and its operands. A text here is a mnemonic, or a mnemonic and
 * operands: {0} is the row's first operand, {0:v/w} the same in other sizes for a register / for memory (n: the mode's own, t f o: 80, 48, 128 bits, -: none); {i} ST(i);
 * {a} the accumulator; {si} {di} {bx} memory at these registers. Where it depends on the operand size, a text for each.
 */
import type { Row } from '../isa/row.ts'

export type Assembly = string | { readonly [size: number]: string }

const conditions: Record<string, string> = { nb: 'ae', z: 'e', nz: 'ne', nbe: 'a', nl: 'ge', nle: 'g' }

const texts: Record<string, Assembly> = {
  mov_full: { 16: 'mov', 32: 'mov', 64: 'movabs' },
  mov_from_seg: 'mov {0:/w},{1}',
  mov_to_seg: 'mov {0},{1:n/}',
  smsw: 'smsw {0:/w}',
  sldt: 'sldt {0:/w}',
  str: 'str {0:/w}',
  lar: 'lar {0},{1:v/}',
  lsl: 'lsl {0},{1:v/}',
  movsx8: 'movsx',
  movsx16: 'movsx',
  imul2: 'imul',
  imul3: 'imul',
  cbw: { 16: 'cbw', 32: 'cwde', 64: 'cdqe' },
  cwd: { 16: 'cwd', 32: 'cdq', 64: 'cqo' },
  jcxz_32: 'jecxz',
  jcxz_64: 'jrcxz',
  cmpxchg16b: 'cmpxchg16b {0:/o}',
  bound: { 16: 'bound {0},{1:/d}', 32: 'bound {0},{1:/q}' },
  invlpg: 'invlpg {0:/b}',
  inb: 'in al,{0}',
  inb_dx: 'in al,dx',
  in: 'in {a},{0}',
  in_dx: 'in {a},dx',
  outb: 'out {0},al',
  outb_dx: 'out dx,al',
  out: 'out {0},{a}',
  out_dx: 'out dx,{a}',
  movs: 'movs {di},{si}',
  stos: 'stos {di},{a}',
  lods: 'lods {a},{si}',
  cmps: 'cmps {si},{di}',
  scas: 'scas {a},{di}',
  ins: 'ins {di},dx',
  outs: 'outs dx,{si}',
  xlat: 'xlat {bx}',

  movd: { 32: 'movd', 64: 'movq' },
  pextrd: { 32: 'pextrd', 64: 'pextrq' },
  pinsrd: { 32: 'pinsrd', 64: 'pinsrq' },
  pextrb: 'pextrb {0:/b},{1},{2}',
  pextrw: 'pextrw {0:/w},{1},{2}',
  pinsrb: 'pinsrb {0},{1:/b},{2}',
  pinsrw: 'pinsrw {0},{1:/w},{2}',
  lddqu: 'lddqu {0},{1:/-}',
  pblendvb: 'pblendvb {0},{1},xmm0',
  blendvps: 'blendvps {0},{1},xmm0',
  blendvpd: 'blendvpd {0},{1},xmm0',
  pcmpestrm: { 32: 'pcmpestrm', 64: 'pcmpestrmq' },
  pcmpestri: { 32: 'pcmpestri', 64: 'pcmpestriq' },
  'movu NP 0F 10 /r': 'movups',
  'movu NP 0F 11 /r': 'movups',
  'movu 66 0F 10 /r': 'movupd',
  'movu 66 0F 11 /r': 'movupd',
  'movu F3 0F 6F /r': 'movdqu',
  'movu F3 0F 7F /r': 'movdqu',
  'movnt_store NP 0F 2B /r': 'movntps',
  'movnt_store 66 0F 2B /r': 'movntpd',
  'movnt_store 66 0F E7 /r': 'movntdq',
  'movlp NP 0F 12 /r': 'movlps',
  'movlp_store NP 0F 13 /r': 'movlps',
  'movlp 66 0F 12 /r': 'movlpd',
  'movlp_store 66 0F 13 /r': 'movlpd',
  'movhp NP 0F 16 /r': 'movhps',
  'movhp_store NP 0F 17 /r': 'movhps',
  'movhp 66 0F 16 /r': 'movhpd',
  'movhp_store 66 0F 17 /r': 'movhpd',

  fld_f80: 'fld {0:/t}',
  fstp_f80: 'fstp {0:/t}',
  fbld: 'fbld {0:/t}',
  fbstp: 'fbstp {0:/t}',
  fnstsw_ax: 'fnstsw ax',
  'fnop_old DB E0': 'fneni(8087 only)',
  'fnop_old DB E1': 'fndisi(8087 only)',
  'fnop_old DB E4': 'fnsetpm(287 only)',
}
for (const name of ['les', 'lds', 'lss', 'lfs', 'lgs'])
  texts[name] = { 16: `${name} {0},{1:/d}`, 32: `${name} {0},{1:/f}`, 64: `${name} {0},{1:/f}` }
for (const name of ['jmp', 'call'])
  texts[`${name}_far_indirect`] = { 16: `${name} {0:/d}`, 32: `${name} {0:/f}`, 64: `${name} {0:/f}` }
for (const name of ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sar']) texts[`${name}_1`] = `${name} {0},1`
for (const name of ['fxsave', 'fxrstor', 'xsave', 'xrstor', 'xsaveopt']) texts[name] = { 32: name, 64: `${name}64` }
for (const name of ['fadd', 'fmul', 'fsub', 'fsubr', 'fdiv', 'fdivr']) {
  texts[name] = `${name} st,{i}`
  texts[`${name}_to`] = `${name} {i},st`
  texts[`${name}p`] = `${name}p {i},st`
  for (const kind of ['int', 'int16']) texts[`${name}_${kind}`] = `fi${name.slice(1)} {0}`
}
for (const name of ['fcom', 'fcomp'])
  for (const kind of ['int', 'int16']) texts[`${name}_${kind}`] = `fi${name.slice(1)} {0}`
for (const name of ['fcom', 'fcomp', 'fucom', 'fucomp', 'fxch', 'ffree', 'ffreep', 'fstpnce'])
  texts[name] = `${name} {i}`
for (const name of ['fld', 'fst', 'fstp']) texts[`${name}_st`] = `${name} {i}`
for (const name of ['fucomi', 'fcomi', 'fucomip', 'fcomip']) texts[name] = `${name} st,{i}`
for (const cc of ['b', 'nb', 'e', 'ne', 'be', 'nbe', 'u', 'nu']) texts[`fcmov${cc}`] = `fcmov${cc} st,{i}`
for (const name of ['fist', 'fistp', 'fisttp', 'fild']) for (const bits of [16, 32, 64]) texts[`${name}${bits}`] = name

/** Instructions without a sized operand: another size than the mode's own is a suffix. */
const suffixed = /^(call|jmp|ret|retf|pushf?|popf|pusha|popa|iret|enter|leave|fnstenv|fldenv|fnsave|frstor)(_n)?$/
const segmentStack = /^(push|pop)_[c-gs]s$/
/** These always have one outside 64-bit code, or always in it. */
const outside64 = /^[ls][gi]dt$/
const inside64 = /^sys(ret|exit)$/

const suffixes: Record<number, string> = { 16: 'w', 32: 'd', 64: 'q' }

/** The text of a row at an operand size; `usual` is the size that it has without prefixes. */
export function assembly(row: Row, size: number, usual: number, long: boolean): string {
  const short = row.name.replace(/_(16|32|64)$/, '')
  const stem = short.replace(/(_mmx)?(_store)?$/, '')
  const own = texts[`${row.name} ${row.encoding}`] ?? texts[row.name] ?? texts[short] ?? texts[stem]
  const implicit = texts[short.replace(/b$/, '')]
  if (own === undefined && row.options.string && implicit) return implicit as string
  if (own !== undefined) {
    if (typeof own !== 'string') return own[size] ?? Object.values(own)[0]!
    return own
  }
  const [, family = '', cc = ''] = /^(j|set|cmov)(.*)$/.exec(row.name) ?? []
  if (family && conditions[cc]) return family + conditions[cc]
  if (segmentStack.test(row.name)) return row.name.replace('_', size === usual ? ' ' : `${suffixes[size]} `)
  let mnemonic = row.name.replace(/_.*/, '')
  const plain = row.name !== 'push' || row.operands[0]!.where === 'I'
  if ((suffixed.test(row.name) && plain && size !== usual) || (long ? inside64 : outside64).test(row.name))
    mnemonic += suffixes[size]!
  return mnemonic
}

const predicates = ['eq', 'lt', 'le', 'unord', 'neq', 'nlt', 'nle', 'ord']
const halves: Record<number, string> = { 0: 'lql', 1: 'hql', 16: 'lqh', 17: 'hqh' }

/** Instructions whose last immediate is in their name if it has one. */
export function named(mnemonic: string, immediate: number): string | undefined {
  const compare = /^cmp([ps][sd])$/.exec(mnemonic)
  if (compare && immediate < 8) return `cmp${predicates[immediate]}${compare[1]}`
  if (mnemonic === 'pclmulqdq' && halves[immediate] !== undefined) return `pclmul${halves[immediate]}qdq`
  return undefined
}

const prefetches: Record<number, readonly string[]> = {
  0x18: ['prefetchnta', 'prefetcht0', 'prefetcht1', 'prefetcht2'],
  0x0d: ['prefetch', 'prefetchw', 'prefetchwt1'],
}

/** Hints, which are rows of NOP to us. */
export function hint(row: Row, modrm: number, repeat: boolean): string | undefined {
  if (row.name !== 'nop' || row.map !== 1) return undefined
  if (repeat && row.opcode === 0x1e && modrm === 0xfa) return 'endbr64 '
  if (repeat && row.opcode === 0x1e && modrm === 0xfb) return 'endbr32 '
  const name = modrm < 0xc0 ? prefetches[row.opcode]?.[(modrm >> 3) & 7] : undefined
  return name && `${name} {0:/b}`
}
