import { expect, test } from 'vitest'
import { readFileSync } from 'node:fs'
import { definitions } from '../platforms/index.ts'
import { firstDivergence, normalised } from './divergence.ts'
import { knownErrors, knownMessages } from './known.ts'

const log = (...lines: [level: number | undefined, text: string][]) => ({
  messages: lines.map(([level, text], t) => ({ level, t, text })),
})

test('what differs from boot to boot is no difference', () => {
  expect(normalised('WARNING: CPU: 3 PID: 17 at kernel/x.c:12 do_it+0x1f/0x80')).toBe(
    normalised('WARNING: CPU: 0 PID: 1 at kernel/x.c:12 do_it+0x2c/0x90'),
  )
  expect(normalised('mapped ffff888001234567')).toBe(normalised('mapped ffff88800fedcba9'))
  expect(normalised('took 12 ms')).not.toBe(normalised('lost 12 ms'))
})

test('the first warning that the reference lacks', () => {
  const reference = log([4, 'common 0x1234'], [6, 'information'])
  const cell = log([6, 'other information'], [4, 'common 0x9999'], [3, 'own\nmore'], [4, 'second'])
  expect(firstDivergence(cell, reference)).toBe('own')
  expect(firstDivergence(reference, cell)).toBeUndefined()
})

test('known lines are left out', () => {
  const line = 'tsc: Marking TSC unstable due to running on Hyper-V'
  expect(firstDivergence(log([4, line]), log())).toBeUndefined()
  expect(firstDivergence(log([4, `${line} 2.0`]), log())).toBe(`${line} 2.0`)
})

test('of a log without levels, lines that tell of trouble', () => {
  const cell = log([undefined, 'all is well'], [undefined, 'x: failed to start'])
  expect(firstDivergence(cell, log())).toBe('x: failed to start')
})

test('the document lists what is left out', () => {
  const document = readFileSync(new URL('../../docs/matrix.md', import.meta.url), 'utf8')
  for (const { pattern, why } of knownMessages) {
    expect(document).toContain(pattern.source.replaceAll('|', '\\|'))
    expect(document).toContain(why)
  }
  for (const { request, why } of knownErrors) {
    expect(document).toContain(request)
    expect(document).toContain(why)
  }
})

test('known errors are of requests that exist', () => {
  for (const { platform, request } of knownErrors) {
    const definition = Object.values(definitions).find(({ name }) => name === platform)
    expect(definition?.requests.map(({ name }) => name)).toContain(request)
  }
})
