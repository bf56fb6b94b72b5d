/** What NAME.test.ts expects of an interface; each has a file of its own, so that they run beside each other. */
import { expect, test } from 'vitest'
import { scenarios } from './scenarios.ts'

/** So many requests against the interface's model; `npm run requests` plays more. */
export function testRequests(name: string, wanted = 100_000): void {
  test(`requests of ${name}`, { timeout: 300_000 }, () => {
    const { report, unreached } = (scenarios[name] as (typeof scenarios)[string])(wanted, 1)
    expect(unreached).toEqual([])
    expect(report.requests / report.sequences).toBeGreaterThanOrEqual(100)
    expect(report.succeeded / report.requests).toBeGreaterThan(0.5)
  })
}
