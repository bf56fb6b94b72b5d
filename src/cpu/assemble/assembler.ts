/**
 * An assembler made from the instruction table: Intel syntax, one statement a line, `;` begins a comment.
 *
 *     label:            dd 1, label      db "text", 0     dx label (a pointer)
 *     bits 32           align 16         zero 4096        mov eax, [label+rbx*4]
 *
 * Two passes: the first finds out how long everything is, so lengths never depend on what a label's value is.
 */
import { allRows } from '../isa/table.ts'
import { type Bits, encode, type Form, formsOf, type Instruction } from './encode.ts'
import { type Context, evaluate, parseOperand } from './operands.ts'

export interface Assembled {
  readonly bytes: Uint8Array
  /** Addresses of the labels. */
  readonly labels: ReadonlyMap<string, number>
}

const prefixes: Readonly<Record<string, number>> = { lock: 0xf0, rep: 0xf3, repe: 0xf3, repne: 0xf2 }
const dataBytes: Readonly<Record<string, number>> = { db: 1, dw: 2, dd: 4, dq: 8 }
/** Conditions that the disassembler writes otherwise. */
const conditions: Readonly<Record<string, string>> = {
  z: 'e',
  nz: 'ne',
  c: 'b',
  nc: 'ae',
  nae: 'b',
  nb: 'ae',
  na: 'be',
  nbe: 'a',
  nge: 'l',
  nl: 'ge',
  ng: 'le',
  nle: 'g',
  pe: 'p',
  po: 'np',
}

const forms = new Map<Bits, ReadonlyMap<string, readonly Form[]>>()
function formsNamed(mnemonic: string, bits: Bits): readonly Form[] {
  const known = forms.get(bits) ?? formsOf(allRows(), bits)
  forms.set(bits, known)
  return known.get(mnemonic) ?? []
}

/** At commas outside quotes and brackets. */
function splitOperands(text: string): string[] {
  return (text.match(/("[^"]*"|'[^']'|\[[^\]]*\]|[^,])+/g) ?? []).map((piece) => piece.trim())
}

/** Strings without an operand in the text: MOVSB, STOSQ, ... */
function encodeString(mnemonic: string, front: readonly number[], bits: Bits): number[] | undefined {
  const match = /^(movs|stos|lods|cmps|scas)([bwdq])$/.exec(mnemonic)
  if (!match) return undefined
  const [, stem, letter = ''] = match
  const size = { b: 8, w: 16, d: 32, q: 64 }[letter] as number
  const row = allRows().find(({ name }) => name === `${stem}${size === 8 ? 'b' : ''}_${bits}`)
  if (!row) return undefined
  const narrow = size === (bits === 16 ? 32 : 16) ? [0x66] : []
  return [...front, ...narrow, ...(size === 64 ? [0x48] : []), row.opcode]
}

function encodeInstruction(text: string, bits: Bits, here: bigint, symbol: Context['symbol']): number[] {
  const front: number[] = []
  let [, mnemonic = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(text) ?? []
  while (prefixes[mnemonic] !== undefined) {
    front.push(prefixes[mnemonic] as number)
    ;[, mnemonic = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(rest) ?? []
  }
  if (mnemonic === 'xiret') mnemonic = bits === 64 ? 'iretq' : 'iret'
  mnemonic = mnemonic.replace(/^(j|set|cmov)([a-z]+)$/, (_, stem: string, condition: string) => {
    return stem + (conditions[condition] ?? condition)
  })
  const own = rest === '' ? encodeString(mnemonic, front, bits) : undefined
  if (own) return own
  const operands = splitOperands(rest).map((operand) => parseOperand(operand, { bits, symbol }))
  const instruction: Instruction = { operands, prefixes: front }
  let best: number[] | undefined
  for (const form of formsNamed(mnemonic, bits)) {
    const found = encode(form, instruction, bits, here)
    if (found && (!best || found.length < best.length)) best = found
  }
  if (!best) throw new SyntaxError(`no instruction in ${bits}-bit code`)
  return best
}

class Pass {
  readonly bytes: number[] = []
  readonly labels = new Map<string, number>()
  readonly #known: ReadonlyMap<string, number> | undefined
  readonly #origin: number
  #bits: Bits

  constructor(origin: number, bits: Bits, known?: ReadonlyMap<string, number>) {
    this.#origin = origin
    this.#bits = bits
    this.#known = known
  }

  get here(): number {
    return this.#origin + this.bytes.length
  }

  statement(text: string): void {
    const label = /^([.\w]+):\s*/.exec(text)
    if (label) {
      const name = label[1] as string
      if (this.labels.has(name)) throw new SyntaxError(`the label ${name} exists already`)
      this.labels.set(name, this.here)
      text = text.slice(label[0].length)
    }
    if (text === '') return
    const [, word = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(text) ?? []
    const size = word === 'dx' ? this.#bits / 8 : dataBytes[word]
    if (size !== undefined) for (const item of splitOperands(rest)) this.#data(item, size)
    else if (word === 'bits') this.#bits = Number(rest) as Bits
    else if (word === 'align') while (this.here % Number(rest) !== 0) this.bytes.push(0)
    else if (word === 'zero') for (let i = Number(rest); i > 0; i--) this.bytes.push(0)
    else this.bytes.push(...encodeInstruction(text, this.#bits, BigInt(this.here), (name) => this.#symbol(name)))
  }

  #data(item: string, size: number): void {
    if (item.startsWith('"')) return void this.bytes.push(...new TextEncoder().encode(item.slice(1, -1)))
    const { value } = evaluate(item, { symbol: (name) => this.#symbol(name) })
    for (let i = 0; i < size; i++) this.bytes.push(Number((value >> BigInt(8 * i)) & 0xffn))
  }

  #symbol(name: string): bigint {
    if (!this.#known) return BigInt(this.#origin)
    const value = this.#known.get(name)
    if (value === undefined) throw new SyntaxError(`there is no label ${name}`)
    return BigInt(value)
  }
}

/** Throws SyntaxError, with the line, for what is no assembly. */
export function assemble(source: string, options: { origin: number; bits: Bits }): Assembled {
  const lines = source.split('\n').map((line) => line.replace(/;.*$/, '').trim())
  const run = (known?: ReadonlyMap<string, number>): Pass => {
    const pass = new Pass(options.origin, options.bits, known)
    for (const [i, line] of lines.entries())
      try {
        pass.statement(line)
      } catch (error) {
        throw new SyntaxError(`line ${i + 1}, '${line}': ${(error as Error).message}`, { cause: error })
      }
    return pass
  }
  const { labels } = run()
  return { bytes: Uint8Array.from(run(labels).bytes), labels }
}
