/**
 * Arithmetic flags that nobody can see: those that another instruction replaces before anything reads them or could
 * leave the region. Within a block most cost nothing, because their locals are dead; but a rotation merges its flags
 * with the old ones, which is a call, and where several blocks lead the flags are in the state block.
 */
import type { Address, Effect, Value } from '../isa/ir.ts'
import { endPage, pageOf, type Block, type Instruction } from './blocks.ts'
import { successors } from './dominators.ts'

/** The blocks in which somebody may see the flags from before. `looks`: those before which control may leave. */
export function flagsNeeded(blocks: readonly Block[], looks: ReadonlyMap<Block, unknown>): Set<Block> {
  const needed = new Set<Block>()
  const seesOld = new Map(blocks.map((b) => [b, sees(b)]))
  for (let changed = true; changed; ) {
    changed = false
    for (const b of blocks.toReversed()) {
      if (needed.has(b) || !(seesOld.get(b) ?? !deadAfter(b, needed, looks))) continue
      needed.add(b)
      changed = true
    }
  }
  return needed
}

/** Whether nobody sees the flags at a block's end. */
export function deadAfter(b: Block, needed: ReadonlySet<Block>, looks: ReadonlyMap<Block, unknown>): boolean {
  if (b.call !== undefined || b.targets.length > 0) return false
  const page = endPage(b)
  const edges = [b.taken, b.next].filter((e) => e !== undefined)
  return (
    edges.length > 0 &&
    edges.every((e) => 'block' in e && pageOf(e.block.place) === page) &&
    successors(b).every((next) => !needed.has(next) && !looks.has(next))
  )
}

/** Whether a block sees the flags from before, or undefined if it does nothing to flags. */
function sees(b: Block): boolean | undefined {
  for (const i of b.instructions) {
    const { translatable, enablesInterrupts, effects } = i.decoded
    if (!translatable || enablesInterrupts || i.crosses !== undefined || !isQuiet(effects)) return true
    if (effects.some(({ kind }) => kind === 'flags')) return false
  }
  return undefined
}

/** The effects of each instruction without those that only make dead flags. */
export function withoutDeadFlags(instructions: readonly Instruction[], deadAtEnd = false): (readonly Effect[])[] {
  const result: (readonly Effect[])[] = []
  let dead = deadAtEnd
  for (let n = instructions.length - 1; n >= 0; n--) {
    const i = instructions[n] as Instruction
    const { translatable, enablesInterrupts, effects } = i.decoded
    const kept = dead && translatable ? withoutFlags(effects) : effects
    result[n] = kept
    if (!translatable || enablesInterrupts || i.crosses !== undefined || !isQuiet(kept)) dead = false
    else if (kept.some(({ kind }) => kind === 'flags')) dead = true
  }
  return result
}

const QUIET = new Set<Effect['kind']>(['let', 'get', 'set', 'immediate', 'address', 'nextRip', 'flags'])

/** Neither reads flags nor can leave. */
export function isQuiet(effects: readonly Effect[]): boolean {
  return effects.every((e) => QUIET.has(e.kind) || (e.kind === 'if' && isQuiet(e.then) && isQuiet(e.else)))
}

const stripped = new WeakMap<readonly Effect[], readonly Effect[]>()

function withoutFlags(effects: readonly Effect[]): readonly Effect[] {
  let known = stripped.get(effects)
  if (!known) {
    const gone = new Set<Value>()
    const rest = strip(effects, gone)
    known = uses(rest, gone) ? effects : rest
    stripped.set(effects, known)
  }
  return known
}

/** Without flags, the reads of old ones, and what is computed from those; `gone` collects the values. */
function strip(effects: readonly Effect[], gone: Set<Value>): readonly Effect[] {
  const rest: Effect[] = []
  for (const e of effects) {
    if (e.kind === 'flags') continue
    if (e.kind === 'call' && e.procedure === 'getFlags' && e.result) gone.add(e.result)
    else if (e.kind === 'let' && dependsOn(e.result, gone)) gone.add(e.result)
    else if (e.kind === 'if') {
      const [then, otherwise] = [strip(e.then, gone), strip(e.else, gone)]
      if (then.length > 0 || otherwise.length > 0 || e.merge) rest.push({ ...e, then, else: otherwise })
    } else rest.push(e)
  }
  return rest
}

function dependsOn(value: Value, gone: ReadonlySet<Value>): boolean {
  if (gone.has(value)) return true
  const { definition } = value
  return definition.kind === 'pure' && definition.args.some((argument) => dependsOn(argument, gone))
}

/** Whether anything that is left needs a value that has gone. */
function uses(effects: readonly Effect[], gone: ReadonlySet<Value>): boolean {
  if (gone.size === 0) return false
  return effects.some((e) => {
    if (e.kind === 'if')
      return (
        dependsOn(e.condition, gone) ||
        [e.merge?.then, e.merge?.else].some((value) => value && dependsOn(value, gone)) ||
        uses(e.then, gone) ||
        uses(e.else, gone)
      )
    return operands(e).some((value) => dependsOn(value, gone))
  })
}

/** The values that an effect takes. */
function operands(e: Effect): Value[] {
  const found: Value[] = []
  const add = (x: unknown): void => {
    if (x && typeof x === 'object' && 'definition' in x) found.push(x as Value)
  }
  for (const [name, field] of Object.entries(e) as [string, unknown][]) {
    if (name === 'result') continue
    if (Array.isArray(field)) for (const x of field) add(x)
    else add(field)
    if (name === 'address') add((field as Address).value)
  }
  return found
}
