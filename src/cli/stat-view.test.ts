import { expect, test } from 'vitest'
import { statLines } from './stat-view.ts'

test('most frequent first, the rest summed up; mean cost in microseconds', () => {
  const many = Array.from({ length: 14 }, (_, i) => [`msr M${i}`, 20 + i] as const)
  const lines = statLines({
    title: 'k on kvm',
    seconds: 2,
    requests: { rows: [...many, ['msr none', 0]] },
    exits: {
      rows: [
        ['WRMSR', 4, 0.01],
        ['HLT', 2, 0],
      ],
    },
    functions: [
      ['do_idle', 3],
      ['memset', 9],
    ],
    samples: 12,
  })
  expect(lines.slice(0, 4)).toEqual(['k on kvm', '', ' per second  request', '         17  msr M13'])
  expect(lines).toContain('         21  and 2 more')
  expect(lines.slice(-7)).toEqual([
    ' per second   mean µs  exit',
    '        2.0      2.50  WRMSR',
    '        1.0         -  HLT',
    '',
    '    samples  function',
    '      75.0%  memset',
    '      25.0%  do_idle',
  ])
  expect(lines.join('\n')).not.toContain('none')
})

test('nothing yet', () => {
  const nothing = { rows: [] }
  const lines = statLines({ title: '', seconds: 0, requests: nothing, exits: nothing, functions: [], samples: 0 })
  expect(lines.filter((line) => line.trim() === '-')).toHaveLength(3)
})
