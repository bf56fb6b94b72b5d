/** Which instructions have a fast path of their own: they can run inline in the dispatch loop, and be translated. */
import type { Effect } from '../isa/ir.ts'
import { procedures } from '../isa/procedures.ts'
import type { Mode } from '../isa/semantics.ts'
import type { Form, Variant } from '../isa/variants.ts'

/** Procedures without side effects. */
const pure = new Set(['getFlags', 'crc32', 'sseQuiet32', 'sseQuiet64', 'compareImplicit', 'compareExplicit'])

/**
 * Needs no procedure that does something but to the x87, nor one for a segment; `segmented`: an access through the
 * segment that the record names is no obstacle.
 */
export function fast(effects: readonly Effect[], segmented: boolean): boolean {
  return effects.every((e) => {
    if (e.kind === 'call') return pure.has(e.procedure) || procedures[e.procedure]?.inPlace === true
    if (e.kind === 'steady') return fast(e.effects, segmented)
    if (e.kind === 'if') return fast(e.then, segmented) && fast(e.else, segmented)
    if (e.kind === 'load' || e.kind === 'probe' || e.kind === 'store')
      return e.address.kind === 'flat' || (segmented && e.address.segment === undefined)
    return e.kind !== 'transfer' && e.kind !== 'repeat' && e.kind !== 'failed'
  })
}

/** A region asks itself whether a segment is a plain one; segmented code always needs procedures. */
export function canTranslate(effects: readonly Effect[], form: Form, mode: Mode): boolean {
  return mode !== 'seg' && form !== 't' && form !== 'q' && fast(effects, form === 's')
}

/** Whether a handler can be an arm of the dispatch loop. */
export function canInline(v: Variant): boolean {
  return v.form !== 's' && canTranslate(v.effects, v.form, v.mode)
}
