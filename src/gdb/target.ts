/**
 * The processor as GDB sees it: its standard features of x86 (GDB manual, "i386 Features"), and control registers in one
 * of our own. Numbers of registers are their places here.
 */
import type { Core } from '../cpu/core.ts'
import { S } from '../cpu/layout.ts'

export interface GdbRegister {
  readonly name: string
  readonly bits: number
  readonly type: string
  readonly read: (core: Core, p: number) => bigint
  /** Undefined: it can only be read. */
  readonly write?: (core: Core, p: number, value: bigint) => void
}

interface Feature {
  readonly name: string
  readonly registers: readonly GdbRegister[]
}

export interface Target {
  readonly xml: string
  readonly registers: readonly GdbRegister[]
}

const word = (core: Core, at: number) => BigInt((core.i32[at >> 2] as number) >>> 0)
const wide = (core: Core, at: number) => core.u64[at >> 3] as bigint

/** Arithmetic flags, which the core keeps apart. */
const ARITHMETIC = 0x8d5
const FLAG_BIT_1 = 2

const general = (name: string, slot: number, bits: number, type: string): GdbRegister => ({
  name,
  bits,
  type,
  read: (core, p) => BigInt.asUintN(bits, wide(core, p + slot)),
  write: (core, p, value) => void (core.u64[(p + slot) >> 3] = value),
})

const words = (names: readonly string[], read: (core: Core, p: number, index: number) => bigint, type = 'int') =>
  names.map((name, index): GdbRegister => ({ name, bits: 32, type, read: (core, p) => read(core, p, index) }))

const eflags: GdbRegister = {
  name: 'eflags',
  bits: 32,
  type: 'i386_eflags',
  read: (core, p) => BigInt(core.system.readEflags(p) >>> 0),
  write: (core, p, value) => {
    const bits = Number(value)
    core.i32[(p + S.SYSFLAGS) >> 2] = (bits & ~ARITHMETIC) | FLAG_BIT_1
    core.system.setFlags(p, bits & ARITHMETIC)
    core.system.refreshState(p)
  },
}

/** Places of SEG_SELECTOR: ES CS SS DS FS GS. */
const SELECTORS = [1, 2, 3, 0, 4, 5]
const selectors = words(['cs', 'ss', 'ds', 'es', 'fs', 'gs'], (core, p, index) =>
  word(core, p + S.SEG_SELECTOR + 4 * (SELECTORS[index] as number)),
)

const TOP_SHIFT = 11
const stack = Array.from({ length: 8 }, (_, index): GdbRegister => {
  const place = (core: Core, p: number) => {
    const top = ((core.i32[(p + S.FSW) >> 2] as number) >> TOP_SHIFT) & 7
    return p + S.FPR + 16 * ((top + index) & 7)
  }
  return {
    name: `st${index}`,
    bits: 80,
    type: 'i387_ext',
    read: (core, p) => {
      const at = place(core, p)
      return wide(core, at) | ((wide(core, at + 8) & 0xffffn) << 64n)
    },
    write: (core, p, value) => {
      const at = place(core, p)
      core.u64[at >> 3] = BigInt.asUintN(64, value)
      core.u64[(at + 8) >> 3] = value >> 64n
    },
  }
})

/** Two bits for each register: 0 valid, 3 empty. */
function tagWord(core: Core, p: number): bigint {
  const used = core.i32[(p + S.FTW) >> 2] as number
  let tags = 0
  for (let i = 0; i < 8; i++) if (((used >> i) & 1) === 0) tags |= 3 << (2 * i)
  return BigInt(tags)
}

const fpu = words(['fctrl', 'fstat', 'ftag', 'fiseg', 'fioff', 'foseg', 'fooff', 'fop'], (core, p, index) =>
  index === 2
    ? tagWord(core, p)
    : word(core, p + ([S.FCW, S.FSW, 0, S.FCS, S.FIP, S.FDS, S.FDP, S.FOP][index] as number)),
)

const vectors = (count: number): GdbRegister[] =>
  Array.from({ length: count }, (_, index) => {
    const at = S.VEC0 + 16 * index
    return {
      name: `xmm${index}`,
      bits: 128,
      type: 'vec128',
      read: (core, p) => wide(core, p + at) | (wide(core, p + at + 8) << 64n),
      write: (core, p, value) => {
        core.u64[(p + at) >> 3] = BigInt.asUintN(64, value)
        core.u64[(p + at + 8) >> 3] = value >> 64n
      },
    }
  })

const mxcsr: GdbRegister = {
  name: 'mxcsr',
  bits: 32,
  type: 'i386_mxcsr',
  read: (core, p) => word(core, p + S.MXCSR),
}

const readOnly = (name: string, slot: number, bits: number): GdbRegister => ({
  name,
  bits,
  type: `uint${bits}`,
  read: (core, p) => BigInt.asUintN(bits, wide(core, p + slot)),
})

const SLOTS = { rax: S.RAX, rbx: S.RBX, rcx: S.RCX, rdx: S.RDX, rsi: S.RSI, rdi: S.RDI, rbp: S.RBP, rsp: S.RSP }
const pointer = (name: string) => /^[re](?:ip|sp|bp)$/.test(name)

function target(long: boolean): Target {
  const bits = long ? 64 : 32
  const order = long
    ? (['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'] as const)
    : (['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'] as const)
  const named = (name: string) => (long ? name : name.replace(/^r/, 'e'))
  const type = (name: string) => (pointer(name) ? (name.endsWith('ip') ? 'code_ptr' : 'data_ptr') : `int${bits}`)
  const generals = order.map((name) => general(named(name), SLOTS[name], bits, type(named(name))))
  const extra = long ? Array.from({ length: 8 }, (_, i) => general(`r${8 + i}`, S.R8 + 8 * i, 64, 'int64')) : []
  const ip = general(named('rip'), S.RIP, bits, 'code_ptr')
  const bases = long
    ? [general('fs_base', S.SEG_BASE + 8 * 4, 64, 'int64'), general('gs_base', S.SEG_BASE + 8 * 5, 64, 'int64')]
    : []
  const control = [
    ...(long ? [readOnly('k_gs_base', S.KERNEL_GS_BASE, 64)] : []),
    ...[['cr0', S.CR0] as const, ['cr2', S.CR2] as const, ['cr3', S.CR3] as const, ['cr4', S.CR4] as const].map(
      ([name, slot]) => readOnly(name, slot, bits),
    ),
    readOnly('efer', S.EFER, 64),
  ]
  const features: Feature[] = [
    { name: 'org.gnu.gdb.i386.core', registers: [...generals, ...extra, ip, eflags, ...selectors, ...stack, ...fpu] },
    { name: 'org.gnu.gdb.i386.sse', registers: [...vectors(long ? 16 : 8), mxcsr] },
    ...(long ? [{ name: 'org.gnu.gdb.i386.segments', registers: bases }] : []),
    { name: 'org.paravirt.x86.control', registers: control },
  ]
  return { xml: xml(long, features), registers: features.flatMap(({ registers }) => registers) }
}

function xml(long: boolean, features: readonly Feature[]): string {
  const flags = [
    ['CF', 0],
    ['', 1],
    ['PF', 2],
    ['AF', 4],
    ['ZF', 6],
    ['SF', 7],
    ['TF', 8],
    ['IF', 9],
    ['DF', 10],
    ['OF', 11],
    ['NT', 14],
    ['RF', 16],
    ['VM', 17],
    ['AC', 18],
    ['VIF', 19],
    ['VIP', 20],
    ['ID', 21],
  ] as const
  const field = ([name, bit]: readonly [string, number]) => `<field name="${name}" start="${bit}" end="${bit}"/>`
  const types: Readonly<Record<string, string>> = {
    'org.gnu.gdb.i386.core': `<flags id="i386_eflags" size="4">${flags.map(field).join('')}</flags>`,
    'org.gnu.gdb.i386.sse':
      '<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>' +
      '<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>' +
      '<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>' +
      '<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>' +
      '<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>' +
      '<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>' +
      '<flags id="i386_mxcsr" size="4"><field name="IE" start="0" end="0"/><field name="DE" start="1" end="1"/>' +
      '<field name="ZE" start="2" end="2"/><field name="OE" start="3" end="3"/><field name="UE" start="4" end="4"/>' +
      '<field name="PE" start="5" end="5"/><field name="DAZ" start="6" end="6"/></flags>',
  }
  const register = ({ name, bits, type }: GdbRegister) => `<reg name="${name}" bitsize="${bits}" type="${type}"/>`
  const parts = features.map(
    ({ name, registers }) =>
      `<feature name="${name}">${types[name] ?? ''}${registers.map(register).join('')}</feature>`,
  )
  const architecture = long ? 'i386:x86-64' : 'i386'
  return (
    '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">' +
    `<target><architecture>${architecture}</architecture>${parts.join('')}</target>`
  )
}

/** For kernels of 64 and of 32 bits. */
export const targets: Readonly<Record<64 | 32, Target>> = { 64: target(true), 32: target(false) }
