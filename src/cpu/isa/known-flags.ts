/** Conditions made from the instruction that is known to have made the flags, where that is short. */
import { FlagsKind } from '../layout.ts'
import type { Code } from '../wasm/module.ts'

/** The flags' producer: its kind, operand size, and the locals (i64) with result and second operand. */
export interface KnownFlags {
  readonly kind: number
  readonly bytes: number
  readonly res: number
  /** Absent where the kind has none. */
  readonly b?: number | undefined
  /** The locals with the operands of a comparison. */
  readonly operands?: { readonly ty: 'i32' | 'i64'; readonly a: number; readonly b: number } | undefined
}

/** Put the condition of an even code on the stack (i32); false, and nothing done, if there is no short way. */
export function directCondition(c: Code, f: KnownFlags, code: number): boolean {
  const zero = (compare: string) => {
    c.get(f.res).i64(0n).op(`i64.${compare}`)
    return true
  }
  if (f.kind === FlagsKind.EXPLICIT) {
    const bit = ({ 0: 0x800n, 2: 1n, 4: 0x40n, 6: 0x41n, 8: 0x80n, 10: 4n } as Record<number, bigint>)[code]
    if (bit === undefined) return false
    c.get(f.res).i64(bit).op('i64.and').i64(0n).op('i64.ne')
    return true
  }
  if (code === 4) return zero('eq')
  if (code === 8) return zero('lt_s')
  if (f.kind === FlagsKind.LOGIC) {
    if (code === 0 || code === 2) {
      c.i32(0)
      return true
    }
    if (code === 6) return zero('eq')
    if (code === 12) return zero('lt_s')
    if (code === 14) return zero('le_s')
    return false
  }
  if (f.b === undefined) return false
  const compare = ({ 2: 'lt_u', 6: 'le_u', 12: 'lt_s', 14: 'le_s' } as Record<number, string>)[code]
  if (f.kind === FlagsKind.SUB && compare) {
    if (f.operands) {
      const { ty, a, b } = f.operands
      c.get(a).get(b).op(`${ty}.${compare}`)
      return true
    }
    const shift = BigInt(64 - 8 * f.bytes)
    const top = () => {
      if (shift) c.i64(shift).op('i64.shl')
    }
    c.get(f.res).get(f.b).op('i64.add')
    top()
    c.get(f.b)
    top()
    c.op(`i64.${compare}`)
    return true
  }
  if (code === 2 && (f.kind === FlagsKind.RES || f.kind === FlagsKind.INC || f.kind === FlagsKind.DEC)) {
    c.get(f.b).op('i32.wrap_i64').i32(1).op('i32.and')
    return true
  }
  return false
}
