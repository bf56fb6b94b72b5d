/** What the encoder has to know about a row of the instruction table, for each mode and operand size it has. */
import type { Row } from '../../src/cpu/isa/row.ts'
import type { Form } from './encode.ts'
import type { Mode } from './segments.ts'

const prefixes: Record<Row['prefix'], number[]> = { none: [], NP: [], 66: [0x66], F2: [0xf2], F3: [0xf3] }
const maps = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]] as const
const widths: Record<string, number> = { b: 1, w: 2, d: 4, q: 8, x: 16, s: 1 }

/** Bytes of an operand at the operand size `size` (bits). */
function operandBytes(size: string, bits: number): number {
  if (size === 'v') return bits / 8
  if (size === 'z') return Math.min(bits, 32) / 8
  if (size === 'y') return bits === 64 ? 8 : 4
  return widths[size] ?? 16
}

function immediates(row: Row, bits: number, mode: Mode): Pick<Form, 'immediate' | 'immediates'> {
  const list: number[] = []
  let kind: Form['immediate'] = 'value'
  for (const operand of row.operands)
    switch (operand.where) {
      case 'I':
      case 'T':
        list.push(operandBytes(operand.size, bits))
        break
      case 'J':
        kind = 'relative'
        list.push(operand.size === 'b' ? 1 : mode === 64 ? 4 : operandBytes('z', bits))
        break
      case 'A':
        list.push(operandBytes('z', bits), 2)
        break
      case 'O':
        kind = 'offset'
        break
      default:
    }
  return { immediate: kind, immediates: list }
}

function registersOf(where: string | undefined, rm: boolean): number {
  if (where === 'S') return 6
  return rm && where === undefined ? 8 : 16
}

/** 66h has no effect beside REX.W, and on near branches in 64-bit code (Intel's way; AMD's differs). */
function ignored66(row: Row, size: number, wide: boolean, mode: Mode): number {
  if (row.prefix !== 'none') return 0
  if (mode === 64 && row.options.f64) return 10
  return wide && size === 64 ? 5 : 0
}

/** All forms of a row that 64-bit code or compatibility mode can execute. */
export function formsOf(row: Row, mode: Mode): Form[] {
  const { options } = row
  if (mode === 64 ? options.not64 : options.only64) return []
  if (mode !== 64 && row.rexW) return []
  if (options.address !== undefined && options.address === (mode === 64 ? 16 : 64)) return []
  const sized = options.sized || row.operands.some((o) => 'vyz'.includes(o.size) && o.size !== '')
  const wide = row.operands.some((o) => o.size === 'v' || o.size === 'z') || options.sized === true
  const sizes = row.sizes.filter((size) => {
    if (!sized) return true
    if (size === 64) return mode === 64
    if (mode === 64 && options.f64) return false
    return !(mode === 64 && options.d64 && size === 32)
  })
  const inModrm = row.operands.filter((o) => 'EMRWUQN'.includes(o.where))
  const inReg = row.operands.find((o) => 'GVPSCD'.includes(o.where))
  return sizes.map((size): Form => {
    const fixed = row.rm !== undefined
    const opcode = [...maps[row.map], row.opcode & 0xff]
    if (fixed) opcode.push(0xc0 | ((row.digit ?? 0) << 3) | (row.rm ?? 0))
    const bits = sized ? size : 32
    return {
      mode,
      mandatory: prefixes[row.prefix],
      opcode,
      plusRegister: row.plusR,
      modrm: fixed || !row.modrm ? undefined : (row.digit ?? 'r'),
      rm: row.mod === 'mem' ? 'memory' : row.mod === 'reg' ? 'register' : 'any',
      regs: registersOf(inReg?.where, false),
      rms: registersOf(inModrm[0]?.where, true),
      size: row.rexW ? 64 : sized && (size === 64 || wide) ? (size as 16 | 32 | 64) : undefined,
      default64: options.d64 === true || options.f64 === true,
      addressSize: options.address,
      ignored66: ignored66(row, size, wide, mode),
      bytes: inModrm[0] ? operandBytes(inModrm[0].size, bits) : bits / 8,
      ...immediates(row, bits, mode),
      lock: options.lock === true,
      alwaysLocked: row.name === 'xchg',
      repeat: options.string === true,
    }
  })
}
