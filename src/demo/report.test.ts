/** Reading what guests/pvops writes. */
import { expect, test } from 'vitest'
import { readReport } from './report.ts'

const good = `pvops: a 64-bit kernel
Booting paravirtualized kernel on VMware hypervisor
patched sites: 70 instructions, 14 nothing, 174 direct calls
ok   trap: a breakpoint
ok   lock: nobody counted twice
cost cpu.io_delay VMware hypervisor, nothing 2000 0
cost mmu.set_pte native, inline 0 1950
checks passed: 2 of 2
`

test('a run that went well', () => {
  expect(readReport(good)).toEqual({
    title: 'VMware hypervisor',
    sites: [70, 14, 174],
    checks: [
      { what: 'trap: a breakpoint', passed: true },
      { what: 'lock: nobody counted twice', passed: true },
    ],
    costs: [
      { op: 'cpu.io_delay', whose: 'VMware hypervisor', how: 'nothing', before: 2, after: undefined },
      { op: 'mmu.set_pte', whose: 'native', how: 'inline', before: undefined, after: 1.95 },
    ],
    passed: true,
  })
})

test.each([
  ['a check failed', good.replace('ok   trap', 'BAD  trap').replace('2 of 2', '1 of 2')],
  ['the end is missing', good.replace(/^checks.*\n/m, '')],
  ['a line is missing', good.replace(/^ok {3}trap.*\n/m, '')],
  ['nothing', ''],
])('%s: it did not pass', (_, text) => expect(readReport(text).passed).toBe(false))
