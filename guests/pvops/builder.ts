/** What the kernel's pieces are made with: call sites, strings, labels; see `kernel.ts` for the pieces. */
import { type Op, opsOf } from './ops.ts'

export interface Site {
  readonly label: string
  readonly op: Op
}

export class Builder {
  readonly bits: 32 | 64
  readonly long: boolean
  /** Bytes of a pointer. */
  readonly word: number
  readonly ops: readonly Op[]
  readonly sites: Site[] = []
  readonly #strings = new Map<string, string>()
  #count = 0

  constructor(bits: 32 | 64) {
    this.bits = bits
    this.long = bits === 64
    this.word = bits / 8
    this.ops = opsOf(bits)
  }

  /** Bytes of a call site, and of any other: CALL or JMP through the table. */
  get siteBytes(): number {
    return this.long ? 7 : 6
  }

  /** Place of an operation in the table. */
  index(name: string): number {
    const index = this.ops.findIndex((op) => op.name === name)
    if (index < 0) throw new Error(`there is no operation ${name}`)
    return index
  }

  /** A call site: through the table, until it is patched. Its address goes to the list of sites. */
  op(name: string): string {
    const op = this.ops[this.index(name)] as Op
    const label = this.unique('site')
    this.sites.push({ label, op })
    return `${label}: ${op.jump ? 'jmp' : 'call'} xword ptr [pv_ops+${this.index(name) * this.word}]`
  }

  unique(stem: string): string {
    return `.${stem}${this.#count++}`
  }

  /** The label of a text, which ends with 0. */
  string(text: string): string {
    const label = this.#strings.get(text) ?? this.unique('text')
    this.#strings.set(text, label)
    return label
  }

  print(text: string): string {
    return `mov xax, ${this.string(text)}\ncall print`
  }

  /** A line `ok WHAT`, or `BAD WHAT` unless the flags say `condition`. */
  check(what: string, condition: string): string {
    return `set${condition} al\nmovzx eax, al\nmov xdx, ${this.string(what)}\ncall report`
  }

  strings(): string {
    return [...this.#strings].map(([text, label]) => `${label}: db ${quoted(text)}, 0`).join('\n')
  }
}

const quoted = (text: string): string =>
  text
    .split('\n')
    .map((line) => `"${line}"`)
    .join(', 10, ')
    .replaceAll('"", ', '')
    .replaceAll(', ""', '')
