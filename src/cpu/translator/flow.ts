/** How control leaves single instructions. */
import { R } from '../layout.ts'
import { pageOf } from './blocks.ts'
import type { Instruction, Outline, Places } from './blocks.ts'

/** A call of a place so near after itself only pushes an address. */
const NEAR = 16

export interface Flow {
  /** Place that it branches to. */
  readonly target: number | undefined
  /** Place that it calls. */
  readonly call: number | 'computed' | undefined
}

/** Place that an instruction branches to, if it is a direct branch. */
export function branchTarget(r: Pick<Places, 'word'>, i: Instruction<Outline>): number | undefined {
  const { form } = i.decoded
  if (form !== 'p' && form !== 'o') return undefined
  return pageOf(i.place) * 4096 + r.word(i.fields + R.IMM) + (form === 'o' ? r.word(i.fields + R.DISP) : 0)
}

export function flow(r: Pick<Places, 'word'>, i: Instruction<Outline>): Flow {
  const target = i.decoded.translatable ? branchTarget(r, i) : undefined
  if (!i.decoded.calls || !i.decoded.translatable) return { target, call: undefined }
  const after = i.place + i.length
  if (target !== undefined && target >= after && target < after + NEAR) return { target, call: undefined }
  return { target: undefined, call: target ?? 'computed' }
}

/** An instruction that a region can have: translated, or done by its function unless that ends the stream. */
export const fits = <Known extends Outline>(i: Instruction<Known> | number | undefined): i is Instruction<Known> =>
  typeof i === 'object' && (i.decoded.translatable || !i.decoded.ends)
