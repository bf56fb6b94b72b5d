/** The `paravirt` command as a process: its exit code, and one line on stderr for what is wrong. */
import { CommanderError } from 'commander'
import { InputError } from '../errors.ts'
import { MatrixExit } from '../matrix/verdict.ts'
import { commandLine } from './commands.ts'
import { ExitCode } from './exit-codes.ts'
import { fromQemu } from './qemu.ts'

/** Errors are one line on stderr. */
function complain(message: string): void {
  process.stderr.write(`paravirt: ${message.trim().replace(/\s*\n\s*/g, ' ')}\n`)
}

/** Commander's words, and where the right ones stand. */
function usageProblem({ message }: CommanderError, command: string | undefined): string {
  const problem = message.replace(/^error: /, '').replace(/\.$/, '')
  if (problem.includes('Did you mean')) return problem
  const known = commandLine(() => {}).commands.some((each) => each.name() === command)
  return `${problem}; see paravirt ${known ? `${command} ` : ''}--help`
}

async function main(args: readonly string[]): Promise<number> {
  let code: number = ExitCode.OK
  try {
    await commandLine((result) => (code = result)).parseAsync(fromQemu(args), { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return ExitCode.OK
      // Without any word commander has printed the help instead.
      if (error.code !== 'commander.help') complain(usageProblem(error, args[0]))
      return args[0] === 'matrix' ? MatrixExit.USAGE : ExitCode.USAGE
    }
    if (error instanceof InputError) {
      complain(error.message)
      return ExitCode.USAGE
    }
    complain(`internal error: ${error instanceof Error ? error.message : String(error)}`)
    if (process.env['PARAVIRT_DEBUG'] && error instanceof Error) process.stderr.write(`${error.stack}\n`)
    return ExitCode.HOST_ERROR
  }
}

// A reader that has gone away is supervise's business; without a listener it would be an exception.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

// Handles that are still open (a pipe on stdin) must not keep the command alive, but its output must be out.
const flush = (stream: NodeJS.WriteStream) => new Promise<void>((done) => stream.write('', () => done()))
void main(process.argv.slice(2)).then(async (code) => {
  await Promise.all([flush(process.stdout), flush(process.stderr)])
  process.exit(code)
})
