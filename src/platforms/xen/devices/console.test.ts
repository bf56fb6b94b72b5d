import * as fc from 'fast-check'
import { beforeEach, expect, test } from 'vitest'
import type { ConsolePort } from '../../../paravirt/effects.ts'
import { Observer } from '../../../paravirt/observe.ts'
import { traceLine } from '../../../paravirt/trace.ts'
import { testSignals, TestPage } from '../store/testing.ts'
import { ConsoleBackend } from './console.ts'

let page: TestPage
let raised: number
let notify: () => void
let port: ConsolePort
let shown: string
let backend: ConsoleBackend
let lines: string[]

beforeEach(() => {
  page = new TestPage()
  raised = 0
  shown = ''
  port = { connected: true, output: (bytes) => (shown += new TextDecoder('latin1').decode(bytes)), onInput: undefined }
  const signals = testSignals(
    (listener) => (notify = listener),
    () => raised++,
  )
  lines = []
  const observer = new Observer(() => 0)
  observer.listen((event) => lines.push(traceLine(event).trim()))
  backend = new ConsoleBackend({ page, signals, port: 2, console: port, rings: observer.rings, name: 'console/0' })
})

/** The guest writes text behind what it has written. */
function write(text: string): void {
  const producer = page.view.getUint32(0xc0c, true)
  for (const [i, byte] of new TextEncoder().encode(text).entries()) page.bytes[0x400 + ((producer + i) & 2047)] = byte
  page.view.setUint32(0xc0c, producer + text.length, true)
  notify()
}

/** It takes at most so many bytes of what was typed. */
function take(most: number): number[] {
  const consumer = page.view.getUint32(0xc00, true)
  const waiting = Math.min(most, page.view.getUint32(0xc04, true) - consumer)
  const bytes = Array.from({ length: waiting }, (_, i) => page.bytes[(consumer + i) & 1023] as number)
  page.view.setUint32(0xc00, consumer + waiting, true)
  notify()
  return bytes
}

test('output, around the end of the ring', () => {
  const text = Array.from({ length: 1500 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('')
  write(text)
  write(text)
  expect(shown).toBe(text + text)
  expect(page.view.getUint32(0xc08, true)).toBe(3000)
  expect(raised).toBe(2)
})

test('indices that are no ring are passed over', () => {
  page.view.setUint32(0xc0c, 5000, true)
  notify()
  expect(shown).toBe('')
  expect(page.view.getUint32(0xc08, true)).toBe(5000)
})

test('garbage in the ring: no more than a ring at a time is shown, and what is typed waits', () => {
  const step = fc.record({
    at: fc.constantFrom(0xc00, 0xc04, 0xc08, 0xc0c),
    value: fc.oneof(fc.nat(4096), fc.integer({ min: 0, max: 0xffffffff })),
    typed: fc.nat(40),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      for (const { at, value, typed } of steps) {
        const before = shown.length
        page.view.setUint32(at, value, true)
        port.onInput?.(new Uint8Array(typed).fill(65))
        notify()
        expect(shown.length - before).toBeLessThanOrEqual(2048)
      }
    }),
    { numRuns: 100 },
  )
  // The guest's indices as they should be, and all is well.
  for (const at of [0xc00, 0xc04, 0xc08, 0xc0c]) page.view.setUint32(at, 0, true)
  shown = ''
  write('on')
  expect(shown).toBe('on')
})

test('any amount of input arrives, as fast as the guest takes it', () => {
  const input = new Uint8Array(200_000).map((_, i) => (i * 7919) >> 4)
  port.onInput?.(input.subarray(0, 150_000))
  port.onInput?.(input.subarray(150_000))
  port.onInput?.(new Uint8Array())
  expect(page.view.getUint32(0xc04, true)).toBe(1024)
  const got: number[] = []
  for (let part = take(16); part.length > 0; part = take(1 + (got.length % 1000))) got.push(...part)
  expect(Buffer.compare(Uint8Array.from(got), input)).toBe(0)
})

test('closed, it leaves the user alone', () => {
  backend.close()
  expect(port.onInput).toBeUndefined()
})

test('what is shown is a request', () => {
  write('on\n')
  expect(lines).toEqual([String.raw`0.000000000  -  xencons_interface.out(device="console/0", text="on\n") = 3`])
})
