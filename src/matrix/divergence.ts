/** What one platform makes a kernel say that another does not. */
import { knownMessages } from './known.ts'
import type { Cell } from './report.ts'

const WARNING = 4
/** Of a log without levels (no symbols, no user space) only such lines count. */
const TROUBLE = /\b(BUG|WARNING|Oops|panic|error|fail(ed|ure)?|unable|unexpected|unchecked|unstable|bad|corrupt\w*)\b/i

/** A message without what differs from boot to boot: times, addresses, counts, the number of the CPU or process. */
export function normalised(text: string): string {
  return text
    .replace(/\b0x[\da-f]+\b/gi, '#')
    .replace(/\b[\da-f]{8,}\b/gi, '#')
    .replace(/\+#\/#/g, '')
    .replace(/\d+/g, '#')
    .replace(/\s+/g, ' ')
    .trim()
}

type Logged = Pick<Cell, 'messages'>

/** Warnings and worse, without those that are known, by their normalised text. */
function warnings({ messages }: Logged): { text: string; key: string }[] {
  return messages
    .filter(({ level, text }) => (level === undefined ? TROUBLE.test(text) : level <= WARNING))
    .map(({ text }) => ({ text: text.split('\n')[0]!.trim() }))
    .filter(({ text }) => text !== '' && !knownMessages.some(({ pattern }) => pattern.test(text)))
    .map(({ text }) => ({ text, key: normalised(text) }))
}

/** The first warning or worse of `cell` that `reference` lacks. */
export function firstDivergence(cell: Logged, reference: Logged): string | undefined {
  const known = new Set(warnings(reference).map(({ key }) => key))
  return warnings(cell).find(({ key }) => !known.has(key))?.text
}
