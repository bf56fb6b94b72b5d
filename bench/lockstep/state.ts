/** A processor's registers as QEMU's log has them (`-d cpu`), read from its text. */

export const gprNames = 'RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15'.split(' ')

/** ES CS SS DS FS GS LDT TR, as in SEG_SELECTOR. */
export const segmentNames = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDT', 'TR']

export interface Segment {
  readonly selector: number
  readonly base: bigint
  readonly limit: number
  /** As in SEG_ATTR. */
  readonly attributes: number
}

/** What seldom changes. */
export interface SystemState {
  readonly segments: readonly Segment[]
  readonly gdtr: { readonly base: bigint; readonly limit: number }
  readonly idtr: { readonly base: bigint; readonly limit: number }
  readonly cr0: bigint
  readonly cr2: bigint
  readonly cr3: bigint
  readonly cr4: bigint
  readonly dr6: bigint
  readonly dr7: bigint
}

export interface QemuState {
  /** 16 registers, low and high words, in the order of `gprNames`. */
  readonly gpr: Int32Array
  readonly rip: bigint
  readonly eflags: number
  readonly cpl: number
  readonly efer: number
  readonly system: SystemState
}

/** Place in `gpr` of the registers in the order in which QEMU prints them. */
const PRINTED = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15]

function hex32(text: string, at: number): number {
  let value = 0
  for (let i = at; i < at + 8; i++) {
    const code = text.charCodeAt(i)
    value = (value << 4) | (code < 58 ? code - 48 : code - 87)
  }
  return value
}

function hex64(text: string, at: number): bigint {
  return (BigInt(hex32(text, at) >>> 0) << 32n) | BigInt(hex32(text, at + 8) >>> 0)
}

let lastTail = ''
let lastSystem: SystemState | undefined

/** The state in `text` from `at` on. */
export function parseState(text: string, at: number): QemuState {
  const gpr = new Int32Array(32)
  const long = text[at] === 'R'
  const width = long ? 16 : 8
  const count = long ? 16 : 8
  let from = at + 4
  for (let i = 0; i < count; i++, from += width + 5) {
    const register = 2 * PRINTED[i]!
    if (long) {
      gpr[register + 1] = hex32(text, from)
      gpr[register] = hex32(text, from + 8)
    } else gpr[register] = hex32(text, from)
  }
  const rip = long ? hex64(text, from) : BigInt(hex32(text, from) >>> 0)
  const eflags = hex32(text, from + width + 5)
  const cpl = text.charCodeAt(text.indexOf('CPL=', from) + 4) - 48
  const tailStart = text.indexOf('\nES =', from)
  const tailEnd = text.indexOf('\nCCS=', tailStart)
  const tail = text.slice(tailStart, tailEnd)
  if (tail !== lastTail || lastSystem === undefined) {
    lastTail = tail
    lastSystem = parseSystem(tail)
  }
  const efer = hex32(text, text.indexOf('EFER=', tailEnd) + 13)
  return { gpr, rip, eflags, cpl, efer, system: lastSystem }
}

function parseSystem(text: string): SystemState {
  const number = (pattern: string): bigint[] => {
    const match = new RegExp(pattern).exec(text)
    if (!match) throw new Error(`QEMU's log has no ${pattern}`)
    return match.slice(1).map((digits) => BigInt(`0x${digits}`))
  }
  const segment = (name: string): Segment => {
    const [selector, base, limit, flags] = number(`\n${name.padEnd(3)}=(\\w+) (\\w+) (\\w+) (\\w+)`) as bigint[]
    const bits = Number(flags)
    const attributes = ((bits >>> 8) & 0xff) | ((bits >>> 12) & 0xf00)
    return { selector: Number(selector), base: base!, limit: Number(limit), attributes }
  }
  const table = (name: string) => {
    const [base, limit] = number(`\n${name}= +(\\w+) (\\w+)`)
    return { base: base!, limit: Number(limit) }
  }
  const [cr0, cr2, cr3, cr4] = number('CR0=(\\w+) CR2=(\\w+) CR3=(\\w+) CR4=(\\w+)') as [bigint, bigint, bigint, bigint]
  const [dr6, dr7] = number('DR6=(\\w+) DR7=(\\w+)') as [bigint, bigint]
  return {
    segments: segmentNames.map(segment),
    gdtr: table('GDT'),
    idtr: table('IDT'),
    cr0,
    cr2,
    cr3,
    cr4,
    dr6,
    dr7,
  }
}
