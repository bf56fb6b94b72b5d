/** docs/coverage.md is what the declarations say, and every declaration is whole. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { coverage } from '../paravirt/explain.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions } from './index.ts'

const all: readonly PlatformDefinition[] = Object.values(definitions)

test('the table in docs/ is up to date: npm run coverage', () => {
  expect(readFileSync(join(import.meta.dirname, '../../docs/coverage.md'), 'utf8')).toBe(coverage(all))
})

test.each(all)('$name: requests name features that exist, and no two are the same', ({ features, requests }) => {
  const seen = new Set<string>()
  for (const { kind, number, command, name, feature, summary, source } of requests) {
    // At a port, width and direction tell accesses apart, on a ring the device; the name tells of both.
    const key = kind === 'port' || kind === 'ring' ? `${kind} ${number} ${name}` : `${kind} ${number} ${command}`
    expect(seen.has(key), name).toBe(false)
    seen.add(key)
    expect(feature === undefined || Object.hasOwn(features, feature), name).toBe(true)
    expect(summary.length * source.length, name).toBeGreaterThan(0)
  }
})
