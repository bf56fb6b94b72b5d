/** 100,000 requests of each interface against its model; `npm run requests` plays more. */
import { expect, test } from 'vitest'
import { scenarios } from './scenarios.ts'

test.each(Object.keys(scenarios))(
  '%s',
  (name) => {
    const { report, unreached } = (scenarios[name] as (typeof scenarios)[string])(100_000, 1)
    expect(unreached).toEqual([])
    expect(report.requests / report.sequences).toBeGreaterThanOrEqual(100)
    expect(report.succeeded / report.requests).toBeGreaterThan(0.5)
  },
  300_000,
)
