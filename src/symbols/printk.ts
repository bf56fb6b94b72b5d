/**
 * A kernel's message log, read from its memory: whatever is on the console, with levels, even when the kernel has
 * stopped. Three forms: the ring of descriptors (5.10 and newer, kernel/printk/printk_ringbuffer.h), the ring of
 * records (3.5 to 5.9, struct printk_log) and the ring of text (older).
 */
import type { GuestMemory } from './guest.ts'

export interface Message {
  /** As syslog(3): 3 is an error, 4 a warning. Undefined: not known. */
  readonly level?: number | undefined
  /** Nanoseconds of the kernel's own clock. */
  readonly t: number
  readonly text: string
}

const LARGEST = 1 << 26

/** Undefined: the kernel's symbols do not show where its log is, or it is not there yet. */
export function readLog(memory: GuestMemory): Message[] | undefined {
  try {
    const { symbols } = memory
    if (symbols.address('prb') !== undefined) return readDescriptors(memory)
    if (symbols.address('log_first_idx') !== undefined) return readRecords(memory)
    if (symbols.address('log_end') !== undefined) return readText(memory)
    return undefined
  } catch (error) {
    // What a guest has in its memory is its own business.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

const latin1 = new TextDecoder('latin1')

function readDescriptors(memory: GuestMemory): Message[] {
  const w = memory.wordSize
  const ring = memory.word(memory.symbol('prb'))
  const at = (words: number) => ring + BigInt(words * w)
  const count = 1 << (memory.u32(ring) & 31)
  const descriptors = memory.word(at(1))
  const infos = memory.word(at(2))
  const head = memory.word(at(3))
  // 6.8 put last_finalized_seq before the text's ring, whose second word is a pointer.
  const isPointer = (value: bigint) => value >> BigInt(8 * w - 2) !== 0n
  const text = isPointer(memory.word(at(6))) ? at(5) : at(6)
  const size = 2 ** (memory.u32(text) & 31)
  if (count > 1 << 20 || size > LARGEST) throw new RangeError('not a ring')
  const data = memory.view(memory.word(text + BigInt(w)), size)
  const states = memory.view(descriptors, count * 3 * w)
  const records = memory.view(infos, count * INFO)
  const word = (view: DataView, offset: number) =>
    w === 8 ? view.getBigUint64(offset, true) : BigInt(view.getUint32(offset, true))
  const stateShift = BigInt(8 * w - 2)
  const idMask = (1n << stateShift) - 1n

  const messages: Message[] = []
  let id = memory.word(at(4)) & idMask
  for (let i = 0; i < count; i++, id = (id + 1n) & idMask) {
    const index = Number(id % BigInt(count))
    const state = word(states, index * 3 * w)
    const committed = state >> stateShift === 1n || state >> stateShift === 2n
    if ((state & idMask) === id && committed) {
      const begin = word(states, (index * 3 + 1) * w)
      const next = word(states, (index * 3 + 2) * w)
      const info = index * INFO
      const length = records.getUint16(info + 16, true)
      messages.push({
        level: records.getUint8(info + 19) >> 5,
        t: Number(records.getBigUint64(info + 8, true)),
        text: blockText(data, begin, next, length, w),
      })
    }
    if (id === (head & idMask)) break
  }
  return messages
}

/** struct printk_info */
const INFO = 88

/** A block is its id, then the text; one that would cross the end of the ring lies at its beginning instead. */
function blockText(data: DataView, begin: bigint, next: bigint, length: number, wordSize: number): string {
  // Odd positions: there is no text.
  if (begin & 1n) return ''
  const size = BigInt(data.byteLength)
  const wraps = begin / size !== (next - 1n) / size
  const start = (wraps ? 0 : Number(begin % size)) + wordSize
  if (start + length > data.byteLength) throw new RangeError('not a block')
  return latin1.decode(new Uint8Array(data.buffer, data.byteOffset + start, length))
}

/** struct printk_log: ts_nsec, len, text_len, dict_len, facility, flags and level, [caller_id], then the text. */
function readRecords(memory: GuestMemory): Message[] {
  const buffer = memory.word(memory.symbol('log_buf'))
  const size = memory.u32(memory.symbol('log_buf_len'))
  if (size > LARGEST) throw new RangeError('not a log')
  const data = memory.view(buffer, size)
  const end = memory.u32(memory.symbol('log_next_idx'))
  const places: number[] = []
  let header = Infinity
  for (let at = memory.u32(memory.symbol('log_first_idx')); at !== end && places.length < size / 16; ) {
    const length = at + 16 <= size ? data.getUint16(at + 8, true) : 0
    if (length === 0) {
      if (at === 0) break
      at = 0
      continue
    }
    places.push(at)
    // The record is padded at its end, so the least that is left over is the header.
    header = Math.min(header, length - data.getUint16(at + 10, true) - data.getUint16(at + 12, true))
    at += length
  }
  header -= header % 4
  return places.map((at) => ({
    level: data.getUint8(at + 15) >> 5,
    t: Number(data.getBigUint64(at, true)),
    text: latin1.decode(new Uint8Array(data.buffer, data.byteOffset + at + header, data.getUint16(at + 10, true))),
  }))
}

function readText(memory: GuestMemory): Message[] {
  const buffer = memory.word(memory.symbol('log_buf'))
  const size = memory.u32(memory.symbol('log_buf_len'))
  if (size > LARGEST || size === 0) throw new RangeError('not a log')
  const data = memory.view(buffer, size)
  const end = memory.u32(memory.symbol('log_end'))
  const count = Math.min(memory.u32(memory.symbol('logged_chars')), size)
  const bytes = Uint8Array.from({ length: count }, (_, i) => data.getUint8((end - count + i + size) % size))
  return parseRawLog(latin1.decode(bytes))
}

/** What `dmesg -r` prints: `<6>[    0.000000] text`. Lines without a prefix belong to the one before. */
export function parseRawLog(text: string): Message[] {
  const messages: { level: number | undefined; t: number; text: string }[] = []
  for (const line of text.split(/\r?\n/)) {
    const match = /^<(\d+)>(?:\[ *(\d+)\.(\d+)\] ?)?(.*)$/.exec(line)
    if (match) {
      const [, priority, seconds = '0', fraction = '0', rest = ''] = match
      messages.push({ level: Number(priority) & 7, t: Number(`${seconds}.${fraction}`) * 1e9, text: rest })
    } else if (line !== '' && messages.length > 0) messages.at(-1)!.text += `\n${line}`
  }
  return messages
}
