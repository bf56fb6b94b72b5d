/** Which instructions have a fast path of their own: they can run inline in the dispatch loop, and be translated. */
import type { Effect } from '../isa/ir.ts'
import { procedures } from '../isa/procedures.ts'
import type { Mode } from '../isa/semantics.ts'
import type { Form, Variant } from '../isa/variants.ts'

/** Procedures without side effects. */
const pure = new Set(['getFlags', 'crc32', 'sseQuiet32', 'sseQuiet64', 'compareImplicit', 'compareExplicit'])

/** Needs no procedure that does something but to the x87, nor one for a segment. */
export function fast(effects: readonly Effect[]): boolean {
  return effects.every((e) => {
    if (e.kind === 'call') return pure.has(e.procedure) || procedures[e.procedure]?.inPlace === true
    if (e.kind === 'steady') return fast(e.effects)
    if (e.kind === 'if') return fast(e.then) && fast(e.else)
    if (e.kind === 'load' || e.kind === 'probe' || e.kind === 'store') return e.address.kind === 'flat'
    return e.kind !== 'transfer' && e.kind !== 'repeat' && e.kind !== 'failed'
  })
}

/** Segmented code and memory always need procedures. */
export function canTranslate(effects: readonly Effect[], form: Form, mode: Mode): boolean {
  return mode !== 'seg' && form !== 's' && form !== 't' && form !== 'q' && fast(effects)
}

/** Whether a handler can be an arm of the dispatch loop. */
export function canInline(v: Variant): boolean {
  return canTranslate(v.effects, v.form, v.mode)
}
