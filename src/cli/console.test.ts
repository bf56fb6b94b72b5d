import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { escapeParser } from './escape.ts'
import { PanicWatcher } from './panic.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

function typed(...pieces: string[]): string {
  let log = ''
  const parse = escapeParser({
    send: (sent) => (log += new TextDecoder().decode(sent)),
    quit: () => (log += '<quit>'),
    save: () => (log += '<save>'),
    help: () => (log += '<help>'),
    shutdown: (request) => (log += `<${request}>`),
    sysrq: (key) => (log += `<sysrq ${key}>`),
  })
  for (const piece of pieces) parse(bytes(piece))
  return log
}

describe('Ctrl-A', () => {
  test('plain text and other control characters pass', () => expect(typed('ls\r', '\x03')).toBe('ls\r\x03'))
  test('X quits, in either case, after what was typed before', () => {
    expect(typed('ab\x01x')).toBe('ab<quit>')
    expect(typed('\x01X')).toBe('<quit>')
  })
  test('the prefix and its key may come in two pieces', () => expect(typed('\x01', 'x')).toBe('<quit>'))
  test('nothing after X in the same piece is sent', () => expect(typed('\x01xabc')).toBe('<quit>'))
  test('H helps, and typing goes on', () => expect(typed('a\x01hb')).toBe('a<help>b'))
  test('W saves, and typing goes on', () => expect(typed('a\x01wb\x01W')).toBe('a<save>b<save>'))
  test('Ctrl-A Ctrl-A sends one', () => expect(typed('a\x01\x01b')).toBe('a\x01b'))
  test('P, R and S ask the guest', () => {
    expect(typed('a\x01pb\x01R')).toBe('a<poweroff>b<reboot>')
    expect(typed('\x01s', 'Bx\x01sp')).toBe('<sysrq b>x<sysrq p>')
  })
  test('another key does nothing', () => expect(typed('a\x01qb')).toBe('ab'))
})

/** Text and the places to cut it, so that it arrives in pieces. */
const inPieces = (alphabet: string[]) =>
  fc
    .record({ text: fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 40 }), at: fc.nat(), then: fc.nat() })
    .map(({ text, at, then }) => {
      const [from = 0, to = 0] = [at % (text.length + 1), then % (text.length + 1)].toSorted((a, b) => a - b)
      return { text, pieces: [text.slice(0, from), text.slice(from, to), text.slice(to)] }
    })

describe('where the pieces of a stream end changes nothing', () => {
  test('for escapes', () => {
    fc.assert(
      fc.property(inPieces(['\x01', 'h', 'a', 'q', 's', 'p']), ({ text, pieces }) => typed(...pieces) === typed(text)),
    )
  })

  test('for panics', () => {
    const words = ['Kernel panic - not ', 'syncing: ', 'oh no', '\n', '\r', ' ']
    const seen = (...texts: string[]) => {
      const watcher = new PanicWatcher()
      for (const text of texts) watcher.see(bytes(text))
      return watcher.finish()
    }
    fc.assert(fc.property(inPieces(words), ({ text, pieces }) => seen(...pieces) === seen(text)))
  })
})

describe('panic on the console', () => {
  test('is found across pieces, with its message', () => {
    const watcher = new PanicWatcher()
    watcher.see(bytes('[    1.2] Kernel pan'))
    watcher.see(bytes('ic - not syncing: VFS: Unable to mount root fs\r'))
    expect(watcher.message).toBe('Kernel panic - not syncing: VFS: Unable to mount root fs')
  })

  test('is found in a line that never ends', () => {
    const watcher = new PanicWatcher()
    watcher.see(bytes('boot\n[    1.2] Kernel panic - not syncing: Attempted to kill init!'))
    expect(watcher.message).toBeUndefined()
    expect(watcher.finish()).toBe('Kernel panic - not syncing: Attempted to kill init!')
  })

  test('the first one counts, and other text is none', () => {
    const watcher = new PanicWatcher()
    watcher.see(bytes('no panic here\n'))
    expect(watcher.finish()).toBeUndefined()
    watcher.see(bytes('Kernel panic - not syncing: one\nKernel panic - not syncing: two\n'))
    expect(watcher.finish()).toBe('Kernel panic - not syncing: one')
  })

  test('an endless line keeps bounded memory and is still searched', () => {
    const watcher = new PanicWatcher()
    for (let i = 0; i < 100; i++) watcher.see(new Uint8Array(65536).fill(0x61))
    watcher.see(bytes('\nKernel panic - not syncing: late\n'))
    expect(watcher.message).toBe('Kernel panic - not syncing: late')
  })
})
