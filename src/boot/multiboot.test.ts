/** Multiboot headers that are kernels' and those that are not, and the information that a kernel gets. */
import { expect, test } from 'vitest'
import { isMultiboot, multibootInfo } from './multiboot.ts'

function file(flags: number, { at = 64, checksum = -(0x1badb002 + flags) } = {}): Uint8Array {
  const bytes = new Uint8Array(0x4000)
  const view = new DataView(bytes.buffer)
  view.setUint32(at, 0x1badb002, true)
  view.setUint32(at + 4, flags, true)
  view.setUint32(at + 8, checksum, true)
  return bytes
}

test('a header is three words with a right sum in the first 8 KiB', () => {
  expect(isMultiboot(file(3), 'k')).toBe(true)
  expect(isMultiboot(file(3, { at: 8192 - 12 }), 'k')).toBe(true)
  expect(isMultiboot(file(3, { at: 8192 }), 'k')).toBe(false)
  expect(isMultiboot(file(3, { at: 62 }), 'k')).toBe(false)
  expect(isMultiboot(file(3, { checksum: 1 }), 'k')).toBe(false)
  expect(isMultiboot(new Uint8Array(4), 'k')).toBe(false)
})

test.each([
  [4, 'asks for a video mode'],
  [8, 'asks for something unknown (flags 0x8)'],
  [0x10000, 'load addresses of its own'],
])('demands that cannot be met: %i', (flags, message) => expect(() => isMultiboot(file(flags), 'k')).toThrow(message))

test('the information structure', () => {
  const ranges = [
    { address: 0, size: 0x9fc00, type: 1 },
    { address: 0xe0000, size: 0x20000, type: 2 },
    { address: 0x100000, size: 0x700000, type: 1 },
  ] as const
  const info = multibootInfo({ at: 0x9e000, cmdline: 0x9f000, initrd: { address: 0x200000, size: 0x123 }, ranges })
  const view = new DataView(info.buffer)
  const word = (at: number) => view.getUint32(at, true)
  expect([word(0), word(4), word(8), word(16)]).toEqual([0x24d, 639, 7168, 0x9f000])
  expect([word(20), word(24)]).toEqual([1, 0x9e000 + 120])
  expect([word(120), word(124)]).toEqual([0x200000, 0x200123])
  const text = (at: number) => new TextDecoder().decode(info.subarray(at, info.indexOf(0, at)))
  expect(text(word(64) - 0x9e000)).toBe('paravirt')
  expect(text(word(128) - 0x9e000)).toBe('')
  expect([word(44), word(48) - 0x9e000]).toEqual([72, 160])
  const entries = [0, 1, 2].map((i) => [0, 4, 12, 20].map((field) => word(160 + i * 24 + field)))
  expect(entries).toEqual(ranges.map(({ address, size, type }) => [20, address, size, type]))
  const none = multibootInfo({ at: 0x9e000, cmdline: 0x9f000, initrd: { address: 0, size: 0 }, ranges })
  expect(new DataView(none.buffer).getUint32(0, true)).toBe(0x245)
})
