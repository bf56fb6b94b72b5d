/** docs/cli.md, made of the commands as `--help` shows them. */
import type { Command } from 'commander'

export function reference(program: Command): string {
  const lines = [
    '# The command',
    '',
    'Made by `npm run docs` from `src/cli/commands.ts`. `paravirt COMMAND --help` says the same. Exit codes are in the',
    '[README](../README.md), those of `matrix` in [matrix.md](matrix.md).',
  ]
  for (const command of program.commands) lines.push(...section(command))
  return `${lines.join('\n')}\n`
}

function section(command: Command): string[] {
  const name = `paravirt ${command.name()}`
  const lines = ['', `## ${name}`, '', `    ${name} ${command.usage()}`, '', `${sentence(command.description())}`]
  const rows = [
    ...command.registeredArguments.map((argument) => [argument.name(), argument.description, undefined] as const),
    ...command.options
      .filter(({ hidden }) => !hidden)
      .map(({ flags, description, defaultValue }) => [flags, description, defaultValue as string | undefined] as const),
  ]
  if (rows.length > 0) lines.push('', '| | | default |', '|---|---|---|')
  for (const [flags, description, value] of rows)
    lines.push(
      `| \`${flags}\` | ${description.replaceAll('|', '\\|')} | ${value === undefined ? '' : `\`${value}\``} |`,
    )
  const examples = helpAfter(command)
  if (examples.length > 0) lines.push('', '```sh', ...examples, '```')
  return lines
}

const sentence = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}.`

/** The examples at the end of the command's help. */
function helpAfter(command: Command): string[] {
  let text = ''
  command.configureOutput({ writeOut: (piece) => (text += piece) }).outputHelp()
  const at = text.indexOf('\nExamples:\n')
  return at < 0
    ? []
    : text
        .slice(at)
        .trim()
        .split('\n')
        .slice(1)
        .map((line) => line.trim())
}
