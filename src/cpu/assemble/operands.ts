/**
 * Operands of Intel syntax, read: registers, numbers and labels, memory, far pointers.
 *
 *     eax  xdi  cr3  fs  5  label+8*2  [rbx+rcx*4-8]  dword ptr fs:[0x10]  [rip+label]  8:label
 *
 * Names with `x` in front (xax, xsp, xword ptr) are as wide as the code: one source serves 32 and 64 bits.
 */

/** A number; `symbolic`: made with a label, so that its size must not depend on its value. */
export interface Value {
  readonly value: bigint
  readonly symbolic: boolean
}

export type RegisterKind = 'general' | 'segment' | 'control' | 'debug' | 'vector'

export interface Register {
  readonly kind: RegisterKind
  readonly number: number
  readonly bits: number
  /** AH, CH, DH, BH, which exist without REX only. */
  readonly high: boolean
  /** SPL, BPL, SIL, DIL, which exist with REX only. */
  readonly low: boolean
}

export interface Memory {
  /** Bits of what lies there; 0: not said. */
  readonly bits: number
  readonly base: Register | undefined
  readonly index: Register | undefined
  readonly scale: number
  readonly displacement: Value
  readonly segment: number | undefined
  /** The displacement is a target, to be reached from the next instruction. */
  readonly relative: boolean
}

export type Operand =
  | { readonly register: Register }
  | { readonly immediate: Value }
  | { readonly memory: Memory }
  | { readonly far: { readonly selector: Value; readonly offset: Value } }

export interface Context {
  readonly bits: 16 | 32 | 64
  /** The value of a label; throws for one that does not exist. */
  readonly symbol: (name: string) => bigint
}

const words = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di']
const lowBytes = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil']
const highBytes = ['ah', 'ch', 'dh', 'bh']
const segments = ['es', 'cs', 'ss', 'ds', 'fs', 'gs']

const registers = new Map<string, Register>()
const define = (name: string, kind: RegisterKind, number: number, bits: number, more = {}) =>
  registers.set(name, { kind, number, bits, high: false, low: false, ...more })
for (const [i, name] of words.entries()) {
  define(name, 'general', i, 16)
  define(`e${name}`, 'general', i, 32)
  define(`r${name}`, 'general', i, 64)
}
for (const [i, name] of lowBytes.entries()) define(name, 'general', i, 8, { low: i > 3 })
for (const [i, name] of highBytes.entries()) define(name, 'general', 4 + i, 8, { high: true })
for (let i = 8; i < 16; i++)
  for (const [suffix, bits] of [
    ['b', 8],
    ['w', 16],
    ['d', 32],
    ['', 64],
  ] as const)
    define(`r${i}${suffix}`, 'general', i, bits)
for (const [i, name] of segments.entries()) define(name, 'segment', i, 16)
for (let i = 0; i < 16; i++) {
  define(`cr${i}`, 'control', i, 0)
  define(`dr${i}`, 'debug', i, 0)
  define(`xmm${i}`, 'vector', i, 128)
}

function registerNamed(name: string, bits: number): Register | undefined {
  const natural = /^x(ax|cx|dx|bx|sp|bp|si|di)$/.exec(name)
  return registers.get(natural ? `${bits === 64 ? 'r' : 'e'}${natural[1]}` : name)
}

const sizes: Readonly<Record<string, number>> = { byte: 8, word: 16, dword: 32, fword: 48, qword: 64, xmmword: 128 }

export function parseOperand(text: string, context: Context): Operand {
  const { bits } = context
  const sized = /^(?:(\w+) ptr )?\s*(?:([c-gs]s):)?\s*\[(.*)\]$/.exec(text)
  if (sized) {
    const [, size, segment, inner] = sized
    const width = size === undefined ? 0 : size === 'xword' ? bits : sizes[size]
    if (width === undefined) throw new SyntaxError(`no size '${size}'`)
    const override = segment === undefined ? undefined : segments.indexOf(segment)
    return { memory: parseMemory(inner as string, width, override, context) }
  }
  const register = registerNamed(text, bits)
  if (register) return { register }
  const far = /^(.*[^:]):([^:].*)$/.exec(text)
  if (far)
    return { far: { selector: evaluate(far[1] as string, context), offset: evaluate(far[2] as string, context) } }
  return { immediate: evaluate(text, context) }
}

function parseMemory(text: string, bits: number, segment: number | undefined, context: Context): Memory {
  let base: Register | undefined
  let index: Register | undefined
  let scale = 1
  let relative = false
  const rest: string[] = []
  for (const [, sign = '', term = ''] of text.replaceAll(' ', '').matchAll(/([+-]?)((?:\([^)]*\)|[^+-])+)/g)) {
    const scaled = /^(\w+)\*([1248])$/.exec(term)
    const register = registerNamed(scaled ? (scaled[1] as string) : term, context.bits)
    if (term === 'rip') relative = true
    else if (!register) rest.push(`${sign || '+'}${term}`)
    else if (scaled) {
      index = register
      scale = Number(scaled[2])
    } else if (base) index = register
    else base = register
  }
  const displacement =
    rest.length > 0 ? evaluate(rest.join('').replace(/^\+/, ''), context) : { value: 0n, symbolic: false }
  return { bits, base, index, scale, displacement, segment, relative }
}

/** Numbers, labels, characters; + - * | & << >> from left to right by the usual ranks; parentheses. */
export function evaluate(text: string, { symbol }: Pick<Context, 'symbol'>): Value {
  const tokens = text.match(/'[^']'|0x[\da-f_]+|\d+|[.\w]+|<<|>>|[-+*|&()~]/gi) ?? []
  let at = 0
  let symbolic = false
  const fail = (): never => {
    throw new SyntaxError(`'${text}' is no number`)
  }
  const primary = (): bigint => {
    const token = tokens[at++] ?? fail()
    if (token === '-') return -primary()
    if (token === '~') return ~primary()
    if (token === '(') {
      const value = rank(0)
      return tokens[at++] === ')' ? value : fail()
    }
    if (token.startsWith("'")) return BigInt(token.codePointAt(1) as number)
    if (/^\d/.test(token)) return BigInt(token.replaceAll('_', ''))
    if (!/^[.\w]/.test(token)) return fail()
    symbolic = true
    return symbol(token)
  }
  const ranks: readonly Readonly<Record<string, (a: bigint, b: bigint) => bigint>>[] = [
    { '|': (a, b) => a | b },
    { '&': (a, b) => a & b },
    { '<<': (a, b) => a << b, '>>': (a, b) => a >> b },
    { '+': (a, b) => a + b, '-': (a, b) => a - b },
    { '*': (a, b) => a * b },
  ]
  function rank(n: number): bigint {
    const operators = ranks[n]
    if (!operators) return primary()
    let value = rank(n + 1)
    for (let operator = operators[tokens[at] ?? '']; operator; operator = operators[tokens[at] ?? '']) {
      at++
      value = operator(value, rank(n + 1))
    }
    return value
  }
  const value = rank(0)
  if (at !== tokens.length || tokens.join('') !== text.replaceAll(' ', '')) fail()
  return { value, symbolic }
}
