import { expect, test } from 'vitest'
import type { CoreHost } from '../cpu/core.ts'
import { ExitCounts } from './exits.ts'

test('what the host is asked is counted and answered as before', () => {
  const exits = new ExitCounts()
  const host = {
    portIn: (_: number, port: number) => port + 1,
    rdmsr: () => undefined,
    tsc: () => 7,
  } as unknown as CoreHost
  const over = exits.over(host)
  expect([over.portIn(0, 4, 1), over.portIn(0, 5, 1), over.rdmsr(0, 1), over.tsc(0)]).toEqual([5, 6, undefined, 7])
  expect(over.rdpmc).toBeUndefined()
  expect([...exits.counts].map(([reason, { count }]) => [reason, count])).toEqual([
    ['port in', 2],
    ['RDMSR', 1],
  ])
  for (const { milliseconds } of exits.counts.values()) expect(milliseconds).toBeGreaterThanOrEqual(0)
})

test('turns that end in HLT are, too, and the platform hears of all', () => {
  const exits = new ExitCounts()
  const heard: string[] = []
  const watcher = exits.watch({
    leave: (vcpu, halted) => void heard.push(`${vcpu} ${halted}`),
    start: (vcpu) => vcpu === 1,
  })
  watcher.leave!(0, true)
  watcher.leave!(1, false)
  watcher.enter!(0)
  expect(heard).toEqual(['0 true', '1 false'])
  expect(exits.counts.get('HLT')?.count).toBe(1)
  expect(watcher.start!(1)).toBe(true)
  expect(exits.watch({}).start).toBeUndefined()
})
