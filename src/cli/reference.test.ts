import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { commandLine } from './commands.ts'
import { reference } from './reference.ts'

const program = commandLine(() => {})

test('docs/cli.md is what `npm run docs` writes', () => {
  const document = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8')
  expect(document).toBe(reference(commandLine(() => {})))
})

test.each(program.commands.map((command) => [command.name(), command] as const))(
  '%s: everything is described',
  (_, command) => {
    expect(command.description()).not.toBe('')
    for (const { flags, description } of command.options) expect([flags, description]).not.toEqual([flags, ''])
    for (const { description } of command.registeredArguments) expect(description).not.toBe('')
  },
)
