/** Logs as kernels of three ages keep them, in a memory made by hand. */
import { describe, expect, test } from 'vitest'
import { GuestMemory } from './guest.ts'
import { parseRawLog, readLog } from './printk.ts'
import { SymbolTable } from './symbols.ts'

const BASE = 0xffffffff82000000n

class Memory {
  readonly bytes = new Uint8Array(1 << 16)
  readonly view = new DataView(this.bytes.buffer)
  readonly symbols: Record<string, number> = {}

  word(at: number, value: bigint | number): void {
    this.view.setBigUint64(at, BigInt(value), true)
  }

  text(at: number, text: string): void {
    new TextEncoder().encodeInto(text, this.bytes.subarray(at))
  }

  log() {
    const entries = Object.entries(this.symbols).map(([name, at]) => ({ name, type: 'd', address: BASE + BigInt(at) }))
    const read = (address: bigint, length: number) => {
      const at = Number(address - BASE)
      return at >= 0 && at + length <= this.bytes.length ? this.bytes.subarray(at, at + length) : undefined
    }
    return readLog(new GuestMemory(new SymbolTable(entries), 64, read))
  }
}

const COMMITTED = 1n << 62n
const FINAL = 2n << 62n
const REUSABLE = 3n << 62n

/** A ring of four descriptors and 64 bytes of text, in which the third record begins again at the start. */
function ring(extraWord: boolean): Memory {
  const memory = new Memory()
  const [DESCRIPTORS, INFOS, TEXT] = [0x1000, 0x2000, 0x3000]
  const text = extraWord ? 0x148 : 0x140
  memory.symbols['prb'] = 0x80
  memory.word(0x80, BASE + 0x118n)
  memory.word(0x118, 2)
  memory.word(0x120, BASE + BigInt(DESCRIPTORS))
  memory.word(0x128, BASE + BigInt(INFOS))
  memory.word(0x130, 7) // head
  memory.word(0x138, 4) // tail
  if (extraWord) memory.word(0x140, 9)
  memory.word(text, 6)
  memory.word(text + 8, BASE + BigInt(TEXT))
  const record = (id: number, state: bigint, begin: number, next: number, level: number, message: string) => {
    const at = DESCRIPTORS + (id % 4) * 24
    memory.word(at, state | BigInt(id))
    memory.word(at + 8, begin)
    memory.word(at + 16, next)
    const info = INFOS + (id % 4) * 88
    memory.word(info + 8, id * 1000)
    memory.view.setUint16(info + 16, message.length, true)
    memory.view.setUint8(info + 19, level << 5)
    const wraps = Math.floor(begin / 64) !== Math.floor((next - 1) / 64)
    if (message !== '') memory.text(TEXT + (wraps ? 0 : begin % 64) + 8, message)
  }
  record(4, FINAL, 72, 88, 6, 'first')
  record(5, FINAL, 88, 112, 4, 'second')
  record(6, REUSABLE, 112, 112, 3, '')
  record(7, COMMITTED, 120, 144, 2, 'wrapped')
  return memory
}

describe('the ring of descriptors', () => {
  test.each([
    ['5.10', false],
    ['6.8', true],
  ])('of %s', (_, extraWord) => {
    expect(ring(extraWord).log()).toEqual([
      { level: 6, t: 4000, text: 'first' },
      { level: 4, t: 5000, text: 'second' },
      { level: 2, t: 7000, text: 'wrapped' },
    ])
  })

  test('nonsense in the guest is no log, not an error', () => {
    const memory = ring(false)
    memory.word(0x128, 0x1234)
    expect(memory.log()).toBeUndefined()
    expect(new Memory().log()).toBeUndefined()
  })
})

test.each([16, 20])('the ring of records of 3.5 to 5.9, with a header of %i bytes', (header) => {
  const memory = new Memory()
  Object.assign(memory.symbols, { log_buf: 0, log_buf_len: 8, log_first_idx: 16, log_next_idx: 24 })
  memory.word(0, BASE + 0x1000n)
  memory.word(8, 256)
  const record = (at: number, level: number, text: string, dictionary: number, length: number) => {
    const start = 0x1000 + at
    memory.word(start, 1_000_000)
    memory.view.setUint16(start + 8, length, true)
    memory.view.setUint16(start + 10, text.length, true)
    memory.view.setUint16(start + 12, dictionary, true)
    memory.view.setUint8(start + 15, level << 5)
    memory.text(start + header, text)
  }
  record(100, 5, 'eight by', 4, header + 12)
  record(100 + header + 12, 3, 'odd', 0, header + 4)
  // A length of zero: it goes on at the beginning.
  record(0, 6, 'again', 0, header + 8)
  memory.word(16, 100)
  memory.word(24, header + 8)
  expect(memory.log()).toEqual([
    { level: 5, t: 1e6, text: 'eight by' },
    { level: 3, t: 1e6, text: 'odd' },
    { level: 6, t: 1e6, text: 'again' },
  ])
})

test('the ring of text of kernels before 3.5', () => {
  const memory = new Memory()
  Object.assign(memory.symbols, { log_buf: 0, log_buf_len: 8, log_end: 16, logged_chars: 24 })
  const text = '<6>[    0.500000] one\n<4>two\n'
  memory.word(0, BASE + 0x1000n)
  memory.word(8, 64)
  memory.word(16, 64 + 10)
  memory.word(24, text.length)
  for (const [i, character] of [...text].entries()) memory.text(0x1000 + ((64 + 10 - text.length + i) % 64), character)
  expect(memory.log()).toEqual([
    { level: 6, t: 5e8, text: 'one' },
    { level: 4, t: 0, text: 'two' },
  ])
})

test('dmesg -r', () => {
  expect(parseRawLog('junk\n<4>[   12.345678] a: b\r\n  more\n<30>x\n')).toEqual([
    { level: 4, t: 12.345678e9, text: 'a: b\n  more' },
    { level: 6, t: 0, text: 'x' },
  ])
})
