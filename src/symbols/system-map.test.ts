import { expect, test } from 'vitest'
import { parseSystemMap } from './system-map.ts'

test('addresses, types and names; modules are no part of the kernel', () => {
  const table = parseSystemMap(
    'ffffffff81000000 T _text\nffffffff81000010 t do_it\nffffffffc0000000 t other\t[module]\nc1000000 D old\n',
    'x',
  )
  expect(table.size).toBe(3)
  expect(table.address('do_it')).toBe(0xffffffff81000010n)
  expect(table.find(0xffffffff8100001fn)).toEqual({ name: 'do_it', offset: 15 })
})

test.each([
  ['', /x: not a System\.map.*-dbg package$/],
  ['ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package', /not a System\.map/],
  ['0000000000000000 T _text\n0000000000000000 T _stext\n', /all its addresses are zero; take it as root/],
])('%j is refused', (text, message) => expect(() => parseSystemMap(text, 'x')).toThrow(message))
