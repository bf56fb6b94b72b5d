import { expect, test } from 'vitest'
import { structMembers } from './btf.ts'

type Type = readonly [
  name: string,
  kind: number,
  size: number,
  members?: readonly (readonly [string, number, number])[],
]

/** BTF of types numbered from 1; members are [name, type, offset in bits]. */
function btf(types: readonly Type[], bitfields = false): Uint8Array {
  let strings = '\0'
  const string = (text: string) => {
    const at = strings.length
    strings += `${text}\0`
    return at
  }
  const words: number[] = []
  for (const [name, kind, size, members = []] of types) {
    const flag = bitfields && kind === 4 ? 0x80000000 : 0
    words.push(string(name), ((kind << 24) | members.length | flag) >>> 0, size)
    if (kind === 1) words.push(32)
    for (const [member, type, offset] of members) words.push(string(member), type, offset)
  }
  const typeBytes = words.length * 4
  const out = new Uint8Array(24 + typeBytes + strings.length)
  const view = new DataView(out.buffer)
  view.setUint16(0, 0xeb9f, true)
  view.setUint8(2, 1)
  for (const [i, word] of [24, 0, typeBytes, typeBytes, strings.length].entries()) view.setUint32(4 + 4 * i, word, true)
  for (const [i, word] of words.entries()) view.setUint32(24 + 4 * i, word, true)
  new TextEncoder().encodeInto(strings, out.subarray(24 + typeBytes))
  return out
}

const types: readonly Type[] = [
  ['int', 1, 4],
  ['', 2, 1],
  ['callee_save', 4, 8, [['func', 2, 0]]],
  [
    'mmu_ops',
    4,
    24,
    [
      ['read', 3, 0],
      ['write', 2, 64],
      ['lazy', 7, 128],
    ],
  ],
  [
    'table',
    4,
    40,
    [
      ['irq', 3, 0],
      ['mmu', 6, 64],
    ],
  ],
  ['mmu_t', 8, 4],
  [
    'lazy',
    4,
    16,
    [
      ['enter', 2, 0],
      ['leave', 2, 64],
    ],
  ],
]

test.each([false, true])('members of nested structs, with flags for bit fields: %s', (bitfields) => {
  expect(structMembers(btf(types, bitfields), 'table')).toEqual([
    { name: 'irq', offset: 0 },
    { name: 'mmu.read', offset: 8 },
    { name: 'mmu.write', offset: 16 },
    { name: 'mmu.lazy.enter', offset: 24 },
    { name: 'mmu.lazy.leave', offset: 32 },
  ])
})

test('what is not there', () => {
  expect(structMembers(btf(types), 'none')).toBeUndefined()
  expect(structMembers(new Uint8Array(10), 'table')).toBeUndefined()
  const whole = btf(types)
  for (let length = 0; length < whole.length; length++)
    expect(() => structMembers(whole.subarray(0, length), 'table')).not.toThrow()
})
