/** What is known of decoded instructions from their rows; recordings are made when they are needed, and once. */
import { withBails } from '../interpreter/bails.ts'
import { NO_ORIGIN, Trait, type Interpreter } from '../interpreter/build.ts'
import { canTranslate } from '../interpreter/inline.ts'
import type { Row } from '../isa/row.ts'
import { allRows } from '../isa/table.ts'
import { forms, modes, recordVariant, VARIANTS_PER_ROW } from '../isa/variants.ts'
import type { Decoded, Outline } from './blocks.ts'

/** Of the interpreter, its tables. */
export type Tables = Pick<Interpreter, 'handlers' | 'ends' | 'traits' | 'origins' | 'names'>

export class Facts {
  readonly #tables: Tables
  readonly #outlines: (Outline | undefined)[] = []
  readonly #decoded: (Decoded | undefined)[] = []
  /** Those whose recordings depend on the immediate: handler * 256 + immediate. */
  readonly #decodedBy = new Map<number, Decoded>()

  constructor(tables: Tables) {
    this.#tables = tables
  }

  /** Of a handler's instruction with the low byte of its immediate. */
  decoded(handler: number, immediate: number): Decoded {
    const known = this.#decoded[handler] ?? this.#decodedBy.get(handler * 256 + immediate)
    if (known) return known
    const { row, form, mode, size } = this.#variant(handler)
    const recording = recordVariant(row, size, form, mode, immediate)
    const effects = withBails(recording.effects, form)
    const made = {
      ...this.outline(handler),
      effects,
      translatable: canTranslate(effects, form, mode),
      enablesInterrupts: row.name === 'sti',
    }
    if (recording.immediateUsed) this.#decodedBy.set(handler * 256 + immediate, made)
    else this.#decoded[handler] = made
    return made
  }

  /** What of it needs no recording. */
  outline(handler: number): Outline {
    let known = this.#outlines[handler]
    if (!known) {
      const { row, form, own } = this.#variant(handler)
      const { ends, traits } = this.#tables
      known = {
        form,
        name: row.name,
        ends: ends[own] === 1,
        calls: ((traits[own] as number) & Trait.CALLS) !== 0,
        returns: row.name === 'ret' || row.name === 'ret_n',
        translatable: ((traits[own] as number) & Trait.TRANSLATED) !== 0,
      }
      this.#outlines[handler] = known
    }
    return known
  }

  #variant(handler: number) {
    const { handlers, names, origins } = this.#tables
    const origin = origins[handler] ?? NO_ORIGIN
    if (origin === NO_ORIGIN) throw new Error(`handler ${names[handler]} comes from no row`)
    const row = allRows()[Math.floor(origin / VARIANTS_PER_ROW)] as Row
    const variant = origin % VARIANTS_PER_ROW
    const size = [0, 16, 32, 64][Math.floor(variant / modes.length / forms.length)] as number
    return {
      row,
      mode: modes[variant % modes.length] as (typeof modes)[number],
      form: forms[Math.floor(variant / modes.length) % forms.length] as (typeof forms)[number],
      size: row.sizes.includes(size) ? size : (row.sizes[0] as number),
      own: handlers[origin] as number,
    }
  }
}
