import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { fileProblem } from './file-problem.ts'

const thrown = (does: () => unknown): unknown => {
  try {
    return does()
  } catch (error) {
    return error
  }
}

test.each([
  [() => readFileSync('/nowhere'), 'read', 'no such file'],
  [() => readFileSync('/'), 'read', 'a folder'],
  [() => writeFileSync('/nowhere/x', ''), 'write', 'no such folder'],
  [() => writeFileSync('/', ''), 'write', 'a folder; give a file'],
  [() => JSON.parse('junk'), 'read', expect.stringMatching(/^not JSON: /)],
] as const)('%s to %s', (does, to, words) => {
  expect(fileProblem(thrown(does), to)).toEqual(words)
})
