/** Which handlers can run inline in the dispatch loop: those with a fast path of their own. */
import type { Effect } from '../isa/ir.ts'
import type { Variant } from '../isa/variants.ts'

/** Procedures without side effects. */
const pure = new Set(['getFlags', 'mulHigh', 'mulHighSigned', 'crc32'])

function fast(effects: readonly Effect[]): boolean {
  return effects.every((e) => {
    if (e.kind === 'call') return pure.has(e.procedure)
    if (e.kind === 'if') return fast(e.then) && fast(e.else)
    return e.kind !== 'transfer' && e.kind !== 'repeat' && e.kind !== 'failed'
  })
}

/** Segmented code and memory always need procedures. */
export function canInline(v: Variant): boolean {
  return v.mode !== 'seg' && v.form !== 's' && v.form !== 't' && fast(v.effects)
}
