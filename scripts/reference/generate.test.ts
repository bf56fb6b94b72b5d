import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { reference } from './generate.ts'

const root = join(import.meta.dirname, '../..')

test('docs/reference.md is what the sources say; if not: npm run docs', () => {
  expect(readFileSync(join(root, 'docs/reference.md'), 'utf8')).toBe(reference(root))
})

test('nothing private is in it, and everything public has a docstring or speaks for itself', () => {
  const text = reference(root)
  expect(text).not.toMatch(/@internal|#inner|constructor\(/)
  expect(text).toContain('Settles when the machine runs (or would, if `paused`)')
  expect(text).toContain('exec(command: string, options?: ExecOptions): Promise<ExecResult<string>>')
  expect(text).not.toContain('ExecResult<string | Uint8Array>>\n```')
})
