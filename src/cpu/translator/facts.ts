/** What is known of decoded instructions from their rows; recordings are made when they are needed, and once. */
import type { Interpreter } from '../interpreter/build.ts'
import { canTranslate } from '../interpreter/inline.ts'
import type { Row } from '../isa/row.ts'
import { allRows } from '../isa/table.ts'
import { endsStream, forms, modes, recordVariant, VARIANTS_PER_ROW } from '../isa/variants.ts'
import { R } from '../layout.ts'
import { withBails } from './bails.ts'
import type { Decoded, Outline } from './blocks.ts'

export class Facts {
  readonly #u8: Uint8Array
  readonly #u16: Uint16Array
  readonly #interpreter: Interpreter
  readonly #origins: (number | undefined)[]
  readonly #outlines: (Outline | undefined)[] = []
  readonly #decoded: (Decoded | undefined)[] = []
  /** Those whose recordings depend on the immediate: handler * 256 + immediate. */
  readonly #decodedBy = new Map<number, Decoded>()

  constructor(memory: WebAssembly.Memory, interpreter: Interpreter) {
    this.#u8 = new Uint8Array(memory.buffer)
    this.#u16 = new Uint16Array(memory.buffer)
    this.#interpreter = interpreter
    this.#origins = handlerOrigins(interpreter)
  }

  /** Of the instruction whose fields are in a record. */
  decoded(fields: number): Decoded {
    const handler = this.#u16[(fields + R.HANDLER) >> 1] as number
    const immediate = this.#u8[fields + R.IMM] as number
    const known = this.#decoded[handler] ?? this.#decodedBy.get(handler * 256 + immediate)
    if (known) return known
    const { row, form, mode, size } = this.#variant(handler)
    const recording = recordVariant(row, size, form, mode, immediate)
    const effects = withBails(recording.effects)
    const made = {
      effects,
      form,
      translatable: canTranslate(effects, form, mode),
      name: row.name,
      ends: endsStream(recording.effects),
      returns: row.name === 'ret' || row.name === 'ret_n',
      enablesInterrupts: row.name === 'sti',
      calls: effects.some((e) => e.kind === 'nextRip'),
    }
    if (recording.immediateUsed) this.#decodedBy.set(handler * 256 + immediate, made)
    else this.#decoded[handler] = made
    return made
  }

  /** What of it needs no recording. */
  outline(fields: number): Outline {
    const handler = this.#u16[(fields + R.HANDLER) >> 1] as number
    let known = this.#outlines[handler]
    if (!known) {
      const { row, form, own } = this.#variant(handler)
      known = { form, ends: this.#interpreter.ends[own] === 1, calls: row.name === 'call' }
      this.#outlines[handler] = known
    }
    return known
  }

  #variant(handler: number) {
    const origin = this.#origins[handler]
    if (origin === undefined) throw new Error(`handler ${this.#interpreter.names[handler]} comes from no row`)
    const row = allRows()[Math.floor(origin / VARIANTS_PER_ROW)] as Row
    const variant = origin % VARIANTS_PER_ROW
    const size = [0, 16, 32, 64][Math.floor(variant / modes.length / forms.length)] as number
    return {
      row,
      mode: modes[variant % modes.length] as (typeof modes)[number],
      form: forms[Math.floor(variant / modes.length) % forms.length] as (typeof forms)[number],
      size: row.sizes.includes(size) ? size : (row.sizes[0] as number),
      own: this.#interpreter.handlers[origin] as number,
    }
  }
}

/** For each handler a variant that it (a pair: its first instruction) serves, as row * VARIANTS_PER_ROW + variant. */
function handlerOrigins(interpreter: Interpreter): (number | undefined)[] {
  const origins: (number | undefined)[] = []
  interpreter.handlers.forEach((handler, i) => {
    if (handler !== 0xffff) origins[handler] ??= i
  })
  for (const [key, pair] of interpreter.pairs) origins[pair] = origins[key >>> 16]
  return origins
}
