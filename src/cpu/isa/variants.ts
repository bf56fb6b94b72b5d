/**
 * The variants of a row: one for each operand size, addressing form and mode, each with its recording. The decoder
 * asks for them by number, the interpreter makes a handler of each.
 *
 * Forms: r no memory operand; b base + displacement, x base + index + segment base (64-bit code); d flat 32-bit;
 * s segmented, any address size; q an absolute 64-bit address. Branches: p to a place in the same page, o to another
 * page, t any (segmented or 16-bit code).
 */
import type { Effect } from './ir.ts'
import type { OperandSpec, Row } from './row.ts'
import { Semantics, type Mode, type Operand } from './semantics.ts'
import { S } from '../layout.ts'

export const forms = ['r', 'b', 'x', 'd', 's', 'q', 'p', 'o', 't'] as const
export type Form = (typeof forms)[number]
export const modes = ['64', '32', 'seg'] as const
const sizeIndex: Record<number, number> = { 0: 0, 8: 0, 16: 1, 32: 2, 64: 3 }
export const VARIANTS_PER_ROW = 4 * forms.length * modes.length

/** Number of a variant within its row. */
export function variantIndex(size: number, form: number, mode: number): number {
  return ((sizeIndex[size] ?? 0) * forms.length + form) * modes.length + mode
}

export interface Variant {
  row: Row
  size: number
  form: Form
  mode: Mode
  /** Unique text of what the handler does; rows that share it share the handler. */
  key: string
  effects: readonly Effect[]
  /** All modes for which this recording serves. */
  modes: readonly Mode[]
}

const widths: Record<string, number> = { b: 8, w: 16, d: 32, q: 64, x: 128 }

function operandBits(spec: OperandSpec, size: number): number {
  switch (spec.size) {
    case 'v':
      return size
    case 'y':
      return size === 64 ? 64 : 32
    case 'z':
      return size === 64 ? 64 : size
    case 's':
      return size
    default:
      return widths[spec.size] ?? 0
  }
}

const fixedRegisters: Record<string, { offset: number; bits: number }> = {
  AL: { offset: S.RAX, bits: 8 },
  CL: { offset: S.RCX, bits: 8 },
  AX: { offset: S.RAX, bits: 16 },
  EAX: { offset: S.RAX, bits: 32 },
  RAX: { offset: S.RAX, bits: 64 },
  DX: { offset: S.RDX, bits: 16 },
}

function operandsOf(row: Row, size: number, memory: boolean): Operand[] {
  const fields = ['A', 'B', 'C'] as const
  let next = 0
  const field = () => fields[next++] as 'A' | 'B' | 'C'
  return row.operands.map((spec): Operand => {
    const bits = operandBits(spec, size)
    switch (spec.where) {
      case 'fixed':
        if (spec.text === '1') return { kind: 'imm', bits: 8 }
        return { kind: 'fixed', class: 'g', ...fixedRegisters[spec.text] } as Operand
      case 'rAX':
        return { kind: 'reg', class: 'g', field: field(), bits }
      case 'J':
        return { kind: 'imm', bits: 0 } // short and near branches share their handler
      case 'I':
      case 'A':
      case 'T':
        return { kind: 'imm', bits }
      case 'O':
      case 'M':
        return { kind: 'mem', bits }
      case 'E':
        return memory ? { kind: 'mem', bits } : { kind: 'reg', class: 'g', field: field(), bits }
      case 'W':
        return memory ? { kind: 'mem', bits } : { kind: 'reg', class: 'v', field: field(), bits }
      case 'Q':
        return memory
          ? { kind: 'mem', bits: bits || 64 }
          : { kind: 'reg', class: 'm', field: field(), bits: bits || 64 }
      case 'V':
      case 'U':
        return { kind: 'reg', class: 'v', field: field(), bits }
      case 'P':
      case 'N':
        return { kind: 'reg', class: 'm', field: field(), bits: bits || 64 }
      case 'S':
      case 'C':
      case 'D':
        return { kind: 'reg', class: 'n', field: field(), bits: bits || 16 }
      default:
        return { kind: 'reg', class: 'g', field: field(), bits } // G Z R
    }
  })
}

/** The addressing forms that a row can have; `plain` says whether a b form is wanted besides x. */
function formsOf(row: Row): Form[] {
  if (row.operands.some((s) => s.where === 'J')) return ['p', 'o', 't']
  if (row.operands.some((s) => s.where === 'O')) return ['x', 'd', 's', 'q']
  const memory: Form[] = ['b', 'x', 'd', 's']
  const hasRm = row.operands.some((s) => 'EWQ'.includes(s.where))
  if (row.operands.some((s) => s.where === 'M')) return memory
  if (!hasRm || row.mod === 'reg') return ['r']
  return row.mod === 'mem' ? memory : ['r', ...memory]
}

const formModes: Record<Form, readonly Mode[]> = {
  r: modes,
  b: ['64'],
  x: ['64'],
  d: ['32'],
  s: modes,
  q: ['64'],
  p: ['64', '32'],
  o: ['64', '32'],
  t: ['32', 'seg'],
}

function signature(operands: readonly Operand[]): string {
  return operands
    .map((o) =>
      o.kind === 'reg' ? `${o.class}${o.bits}` : o.kind === 'fixed' ? `f${o.offset}:${o.bits}` : `${o.kind}${o.bits}`,
    )
    .join(',')
}

/** Record one variant of a row; `immediate`: for records with this immediate byte only. */
export function recordVariant(row: Row, size: number, form: Form, mode: Mode, immediate?: number): Semantics {
  const memory = 'bxdsq'.includes(form)
  const s = new Semantics({ size, mode, operands: operandsOf(row, size, memory), form, immediate })
  if (memory) s.ea()
  row.semantics(s)
  return s
}

/** All variants of a row, recorded. */
export function variantsOf(row: Row): Variant[] {
  const result: Variant[] = []
  for (const size of row.sizes) {
    for (const form of formsOf(row)) {
      const allowed = formModes[form].filter((mode) =>
        mode === '64' ? !row.options.not64 : !row.options.only64 && (size !== 64 || row.sizes.length === 1),
      )
      for (const mode of allowed) {
        const s = recordVariant(row, size, form, mode)
        const key = `${row.name}.${size}.${form}${s.modeUsed ? mode : ''}(${signature(s.operands)})`
        result.push({ row, size, form, mode, key, effects: s.effects, modes: s.modeUsed ? [mode] : allowed })
        if (!s.modeUsed) break
      }
    }
  }
  return result
}

/** True when control never reaches the next record after these effects. */
export function endsStream(effects: readonly Effect[]): boolean {
  const last = effects.at(-1)
  if (!last) return false
  if (last.kind === 'transfer' || last.kind === 'jump') return true
  if (last.kind === 'branch' || last.kind === 'fault') return !last.when
  return last.kind === 'if' && endsStream(last.then) && endsStream(last.else)
}
