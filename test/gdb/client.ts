/** The real GDB, fed with commands. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

export interface GdbRun {
  readonly port: number
  /** With the symbols. */
  readonly file?: string
  readonly commands: readonly string[]
}

/** What it prints for each command. */
export async function gdb({ port, file, commands }: GdbRun): Promise<string[]> {
  const script = ['set pagination off', 'set confirm off', `target remote 127.0.0.1:${port}`]
  const args = [...script, ...commands.flatMap((command) => [`echo \\n=====\\n`, command])].flatMap((c) => ['-ex', c])
  // What monitor prints goes to its standard error.
  const shell = ['-c', 'exec gdb "$@" 2>&1', 'gdb', '-nx', '-batch', ...args, ...(file ? [file] : [])]
  const { stdout } = await promisify(execFile)('sh', shell, { timeout: 100_000 })
  return stdout
    .split('\n=====\n')
    .slice(1)
    .map((part) => part.trim())
}
