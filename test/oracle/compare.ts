/** Compares what two processors made of one case, and prints a difference for the person who has to find its cause. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FXSAVE_USED, ripOf, TIMEOUT, type Case, type Result } from './native.ts'
import { Selector } from './segments.ts'
import { Space } from './space.ts'
import { Fxsave } from './state.ts'

/** What may differ in one case, and why it may is said where the value comes from (exceptions.ts, the table). */
export interface Tolerance {
  /** EFLAGS bits that the SDM leaves undefined. */
  flags: number
  /** FSW bits that it leaves undefined. */
  fsw: number
  /** Parts that are not compared. */
  ignore: ReadonlySet<string>
}

export interface Difference {
  what: string
  before: string
  native: string
  ours: string
}

export const generalRegisters = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
]
const exceptionNames = new Map([
  [0, '#DE'],
  [1, '#DB'],
  [3, 'end'],
  [4, '#OF'],
  [5, '#BR'],
  [6, '#UD'],
  [7, '#NM'],
  [8, '#DF'],
  [10, '#TS'],
  [11, '#NP'],
  [12, '#SS'],
  [13, '#GP'],
  [14, '#PF'],
  [16, '#MF'],
  [17, '#AC'],
  [19, '#XM'],
  [TIMEOUT, 'endless'],
])
/** Saved as 1 by faults, in ways that differ between processors and are no part of an instruction's result. */
const RF = 0x10000

const fxsaveFields: (readonly [string, number, number])[] = [
  ['fcw', Fxsave.FCW, 2],
  ['fsw', Fxsave.FSW, 2],
  ['ftw', Fxsave.FTW, 1],
  ['fop', Fxsave.FOP, 2],
  ['fip', Fxsave.FIP, 8],
  ['fdp', Fxsave.FDP, 8],
  ['mxcsr', Fxsave.MXCSR, 4],
  ...Array.from({ length: 8 }, (_, i) => [`st${i}`, Fxsave.ST + i * 16, 10] as const),
  ...Array.from({ length: 16 }, (_, i) => [`xmm${i}`, Fxsave.XMM + i * 16, 16] as const),
]

function hex(value: bigint | number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

function ten(image: Uint8Array, at: number): string {
  return `${[...image.subarray(at + 8, at + 10)]
    .reverse()
    .map((b) => hex(b, 2))
    .join('')}:${wide(image, at, 8)}`
}

function wide(image: Uint8Array, at: number, bytes: number): string {
  return [...image.subarray(at, at + bytes)]
    .reverse()
    .map((b) => hex(b, 2))
    .join('')
}

const flagNames: [number, string][] = [
  [1, 'CF'],
  [4, 'PF'],
  [0x10, 'AF'],
  [0x40, 'ZF'],
  [0x80, 'SF'],
  [0x100, 'TF'],
  [0x200, 'IF'],
  [0x400, 'DF'],
  [0x800, 'OF'],
  [0x4000, 'NT'],
  [RF, 'RF'],
  [0x40000, 'AC'],
  [0x200000, 'ID'],
]

function flagsText(flags: number): string {
  return `${hex(flags, 6)} ${flagNames
    .filter(([bit]) => flags & bit)
    .map(([, name]) => name)
    .join(' ')}`
}

function trapText(r: Result): string {
  return exceptionNames.get(r.trap) ?? `vector ${r.trap}`
}

/** Width of the registers that are compared: upper halves mean nothing in compatibility mode, where some cases end. */
function registerBits(c: Case, r: Result): 64 | 32 {
  return c.mode === 64 && r.selectors[1] === Selector.CODE64 ? 64 : 32
}

/** The part of a result that has to be the same everywhere, as bytes. */
export function canonical(c: Case, r: Result, tolerance: Tolerance): Uint8Array {
  if (r.trap === TIMEOUT) return Uint8Array.of(TIMEOUT)
  const words = tolerance.ignore.has('memory') ? [] : [...r.changed].sort(([a], [b]) => a - b)
  const bytes = new Uint8Array(256 + FXSAVE_USED + words.length * 16)
  const view = new DataView(bytes.buffer)
  const bits = registerBits(c, r)
  for (let i = 0; i < (c.mode === 64 ? 16 : 8); i++)
    if (!tolerance.ignore.has(generalRegisters[i]!)) view.setBigUint64(i * 8, BigInt.asUintN(bits, r.gpr[i]!), true)
  view.setUint32(128, r.flags & ~(tolerance.flags | RF), true)
  if (!tolerance.ignore.has('trap')) view.setUint32(132, r.trap, true)
  if (!tolerance.ignore.has('error')) view.setUint32(136, r.error, true)
  view.setBigUint64(144, r.rip, true)
  if (!tolerance.ignore.has('cr2')) view.setBigUint64(152, r.cr2, true)
  view.setBigUint64(160, r.fsBase, true)
  view.setBigUint64(168, r.gsBase, true)
  r.selectors.forEach((selector, i) => view.setUint16(176 + i * 2, selector, true))
  bytes.set(r.fxsave, 256)
  bytes.fill(0, 256 + Fxsave.MXCSR_MASK, 256 + Fxsave.ST)
  for (let i = 0; i < 8; i++) bytes.fill(0, 256 + Fxsave.ST + i * 16 + 10, 256 + Fxsave.ST + i * 16 + 16)
  view.setUint16(256 + Fxsave.FSW, view.getUint16(256 + Fxsave.FSW, true) & ~tolerance.fsw, true)
  for (const [name, at, size] of fxsaveFields) if (tolerance.ignore.has(name)) bytes.fill(0, 256 + at, 256 + at + size)
  words.forEach(([offset, value], i) => {
    view.setBigUint64(256 + FXSAVE_USED + i * 16, BigInt(offset), true)
    view.setBigUint64(256 + FXSAVE_USED + i * 16 + 8, value, true)
  })
  return bytes
}

/** Every difference that the tolerance does not cover. */
export function compare(c: Case, native: Result, ours: Result, tolerance: Tolerance): Difference[] {
  const differences: Difference[] = []
  // Endless loops are stopped anywhere.
  if (native.trap === TIMEOUT && ours.trap === TIMEOUT) return differences
  const add = (what: string, before: string, a: string, b: string): void => {
    if (a !== b && !tolerance.ignore.has(what.split(' ')[0]!)) differences.push({ what, before, native: a, ours: b })
  }
  add('trap', '', trapText(native), trapText(ours))
  add('error', '', hex(native.error, 1), hex(ours.error, 1))
  add('rip', hex(ripOf(c), 8), hex(native.rip, 8), hex(ours.rip, 8))
  add('cr2', '', hex(native.cr2, 8), hex(ours.cr2, 8))
  const registers = c.mode === 64 ? 16 : 8
  const bits = registerBits(c, native)
  for (let r = 0; r < registers; r++) {
    const text = (g: BigUint64Array): string => hex(BigInt.asUintN(bits, g[r]!), bits / 4)
    if (BigInt.asUintN(bits, native.gpr[r]! ^ ours.gpr[r]!) !== 0n)
      add(generalRegisters[r]!, text(c.gpr), text(native.gpr), text(ours.gpr))
  }
  const careless = tolerance.flags | RF
  if ((native.flags ^ ours.flags) & ~careless)
    add('flags', flagsText(c.flags), flagsText(native.flags & ~careless), flagsText(ours.flags & ~careless))
  for (const base of ['fsBase', 'gsBase'] as const) add(base, hex(c[base], 1), hex(native[base], 1), hex(ours[base], 1))
  const selectors = (r: Result): string => [...r.selectors].map((s) => hex(s, 1)).join(' ')
  add('es cs ss ds fs gs', '', selectors(native), selectors(ours))
  compareFxsave(c, native, ours, tolerance, add)
  for (const offset of new Set([...native.changed.keys(), ...ours.changed.keys()])) {
    const text = (r: Result): string => {
      const value = r.changed.get(offset)
      return value === undefined ? 'unchanged' : hex(value, 16)
    }
    add(`memory ${hex(Space.DATA + offset, 8)}`, '', text(native), text(ours))
  }
  return differences
}

function compareFxsave(
  c: Case,
  native: Result,
  ours: Result,
  tolerance: Tolerance,
  add: (what: string, before: string, a: string, b: string) => void,
): void {
  const a = native.fxsave,
    b = ours.fxsave
  const same = (at: number, bytes: number): boolean => {
    for (let i = at; i < at + bytes; i++) if (a[i] !== b[i]) return false
    return true
  }
  for (const [what, at, bytes] of fxsaveFields) {
    if (same(at, bytes)) continue
    if (what === 'fsw') {
      const fsw = (image: Uint8Array): string => hex((image[2]! | (image[3]! << 8)) & ~tolerance.fsw, 4)
      add(what, fsw(c.fxsave), fsw(a), fsw(b))
    } else if (what.startsWith('st')) add(what, ten(c.fxsave, at), ten(a, at), ten(b, at))
    else add(what, wide(c.fxsave, at, bytes), wide(a, at, bytes), wide(b, at, bytes))
  }
}

/** The code's bytes, with objdump's reading of them where there is an objdump. */
function disassemble(c: Case): string {
  const bytes = [...c.code].map((b) => hex(b, 2)).join(' ')
  const folder = mkdtempSync(join(tmpdir(), 'oracle-'))
  try {
    const file = join(folder, 'code')
    writeFileSync(file, c.code)
    const machine = c.mode === 64 ? 'i386:x86-64' : c.mode === 16 ? 'i8086' : 'i386'
    const run = spawnSync(
      'objdump',
      ['-D', '-b', 'binary', '-m', machine, '-Mintel', '--no-show-raw-insn', `--adjust-vma=${ripOf(c)}`, file],
      { encoding: 'utf8' },
    )
    const lines = [...(run.stdout ?? '').matchAll(/^ *[0-9a-f]+:\t(.*)$/gm)].map((match) => match[1])
    return `${bytes}   ${lines.join('; ').replace(/\s+/g, ' ')}`
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A failed case as text. */
export function explain(title: string, c: Case, address: bigint | undefined, differences: Difference[]): string {
  const lines = [title, `  ${disassemble(c)}`]
  const registers = [...c.gpr].slice(0, c.mode === 64 ? 16 : 8).map((g) => (c.mode === 64 ? g : g & 0xffffffffn))
  const inputs = registers.map((value, r) => `${generalRegisters[r]}=${hex(value, 1)}`)
  const segments = c.selectors.map((s) => hex(s, 1)).join(' ')
  lines.push(`  in  ${inputs.join(' ')}`, `      flags=${flagsText(c.flags)}  es cs ss ds fs gs ${segments}`)
  const view = new DataView(c.fxsave.buffer, c.fxsave.byteOffset)
  lines.push(
    `      fcw=${hex(view.getUint16(Fxsave.FCW, true), 4)} fsw=${hex(view.getUint16(Fxsave.FSW, true), 4)}` +
      ` ftw=${hex(c.fxsave[Fxsave.FTW]!, 2)} mxcsr=${hex(view.getUint32(Fxsave.MXCSR, true), 4)}`,
  )
  if (address !== undefined) {
    const at = Number(address) - c.window
    const inside = at >= 0 && at + 16 <= c.memory.length
    const content = inside ? wide(c.memory, at, 16) : 'outside the window'
    lines.push(`      memory operand at ${hex(address, 8)}: ${content}`)
  }
  for (const d of differences)
    lines.push(`  ${d.what.padEnd(16)} ${d.before ? `was ${d.before}  ` : ''}native ${d.native}  ours ${d.ours}`)
  return lines.join('\n')
}
