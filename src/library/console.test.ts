import { expect, test } from 'vitest'
import { Console } from './console.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = async (stream: ReadableStream<Uint8Array>) =>
  new TextDecoder().decode(Buffer.concat(await Array.fromAsync(stream)))

test('waits for text in pieces, each time after what was found before', async () => {
  const console = new Console(() => {})
  const first = console.waitFor('login: ')
  console.receive(bytes('Debian\nlog'))
  console.receive(bytes('in: root\nlogin: '))
  expect((await first).text).toBe('Debian\nlogin: ')
  expect((await console.waitFor(/(\w+)\nlog/)).match).toEqual(['root\nlog', 'root'])
  expect((await console.waitFor('in: ')).text).toBe('in: ')
  expect(console.text).toBe('Debian\nlogin: root\nlogin: ')
})

test('characters of several bytes may come in pieces', async () => {
  const console = new Console(() => {})
  const [one, two] = [bytes('grün').subarray(0, 3), bytes('grün').subarray(3)]
  console.receive(one)
  console.receive(two)
  expect((await console.waitFor('grün')).text).toBe('grün')
})

test('gives up at a timeout, by a signal, and when the machine stops', async () => {
  const console = new Console(() => {})
  await expect(console.waitFor('x', { timeout: 5 })).rejects.toThrow('timeout')
  const ending = new AbortController()
  const waiting = console.waitFor('x', { signal: ending.signal })
  ending.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  const last = console.waitFor('x')
  console.end(new Error('the machine has stopped: power-off'))
  await expect(last).rejects.toThrow('power-off')
  await expect(console.waitFor('x')).rejects.toThrow('power-off')
})

test('streams to several readers, from when they came, and ends with the machine', async () => {
  const console = new Console(() => {})
  const all = text(console.readable)
  console.receive(bytes('one '))
  const late = text(console.readable)
  const gone = console.readable
  await gone.cancel()
  console.receive(bytes('two'))
  console.end(new Error('off'))
  expect([await all, await late, await text(console.readable)]).toEqual(['one two', 'two', ''])
})

test('what is written is typed', async () => {
  const typed: string[] = []
  const console = new Console((input) => typed.push(new TextDecoder().decode(input)))
  console.write('ls\n')
  const writer = console.writable.getWriter()
  await writer.write(bytes('pwd\n'))
  await writer.write('exit\n')
  expect(typed).toEqual(['ls\n', 'pwd\n', 'exit\n'])
})
