/** How values of requests look to people: addresses in hexadecimal, flags and choices by name, counts in decimal. */
import type { Argument, ArgumentType, ArgumentValue } from './requests.ts'

/** Longer texts are cut. */
const LONGEST = 80

const hex = (value: bigint) => `0x${value.toString(16)}`

export function formatValue(type: ArgumentType, value: ArgumentValue): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, LONGEST)) + (value.length > LONGEST ? '...' : '')
  switch (type.kind) {
    case 's64':
      return BigInt.asIntN(64, value).toString()
    case 'vcpu':
      return value.toString()
    case 'flags':
      return formatFlags(type.bits, value)
    case 'choice': {
      const name = Object.entries(type.values).find(([, number]) => BigInt(number) === value)?.[0]
      return name ?? hex(value)
    }
    case 'fields':
      return `{${type.fields.map(([name, bit, width]) => `${name}=${small((value >> BigInt(bit)) & ((1n << BigInt(width)) - 1n))}`).join(', ')}}`
    case 'gpa':
    case 'linear':
    case 'vector':
      return hex(value)
    default:
      return small(value)
  }
}

/** Small numbers are counts, large ones are masks or addresses. */
function small(value: bigint): string {
  return value < 4096n ? value.toString() : hex(value)
}

function formatFlags(bits: Readonly<Record<string, number>>, value: bigint): string {
  const names: string[] = []
  let rest = value
  for (const [name, bit] of Object.entries(bits)) {
    const mask = 1n << BigInt(bit)
    if (!(value & mask)) continue
    names.push(name)
    rest &= ~mask
  }
  if (rest !== 0n || names.length === 0) names.unshift(hex(rest))
  return names.join('|')
}

/** `name=value, ...`; values without a declared argument are numbered. */
export function formatArguments(args: readonly Argument[], values: readonly ArgumentValue[]): string {
  return values
    .map((value, i) => {
      const declared = args[i]
      return declared
        ? `${declared.name}=${formatValue(declared.type, value)}`
        : `arg${i}=${formatValue({ kind: 'linear' }, value)}`
    })
    .join(', ')
}
