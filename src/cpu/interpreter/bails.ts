/**
 * Recordings as a region has them: an arm of an `if` that needs a procedure leaves for the interpreter instead, which
 * does the whole instruction. That is right where nothing was committed before.
 */
import { fast } from './inline.ts'
import type { Effect } from '../isa/ir.ts'
import { procedures } from '../isa/procedures.ts'
import type { Form } from '../isa/variants.ts'

const BAIL: readonly Effect[] = [{ kind: 'fault', when: undefined, vector: 0, error: undefined }]

const commits = (e: Effect): boolean =>
  e.kind === 'set' ||
  e.kind === 'poke' ||
  e.kind === 'store' ||
  e.kind === 'flags' ||
  (e.kind === 'call' && procedures[e.procedure]?.inPlace === true) ||
  (e.kind === 'if' && [...e.then, ...e.else].some(commits))

/** The effects with their slow arms replaced, for an addressing form. */
export function withBails(effects: readonly Effect[], form: Form): readonly Effect[] {
  const isFast = (some: readonly Effect[]) => fast(some, form === 's')
  const result: Effect[] = []
  for (const e of effects) {
    if (e.kind !== 'if' || isFast([e]) || result.some(commits)) result.push(e)
    else {
      const [then, otherwise] = [withBails(e.then, form), withBails(e.else, form)]
      if (!isFast(then) && !isFast(otherwise)) result.push(e)
      else result.push({ ...e, then: isFast(then) ? then : BAIL, else: isFast(otherwise) ? otherwise : BAIL })
    }
  }
  return result
}
