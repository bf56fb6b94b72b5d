/**
 * Boots a guest once through the command, as a user would, runs many named shell commands in it and returns what each
 * printed. One boot takes long, the commands do not.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const paravirt = fileURLToPath(new URL('../../bin/paravirt.cjs', import.meta.url))

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** `paravirt ARGS` as a process of its own, with `input` on its stdin. */
export function command(args: readonly string[], input = ''): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [paravirt, ...args])
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (piece: string) => (stdout += piece))
    child.stderr.setEncoding('utf8').on('data', (piece: string) => (stderr += piece))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
    child.stdin.end(input)
  })
}

export interface Result {
  readonly code: number
  readonly output: string
}

/** Separates the commands' outputs; never part of one. */
const MARK = '=====8<====='

/**
 * Runs `commands` in one guest that is booted with `args`; stdout and stderr of each together. `onStderr` gets what
 * paravirt itself has to say.
 */
export async function inGuest<Name extends string>(
  args: readonly string[],
  commands: Readonly<Record<Name, string>>,
  onStderr?: (text: string) => void,
): Promise<Readonly<Record<Name, Result>>> {
  const names = Object.keys(commands) as Name[]
  const script = names.map((name) => `( ${commands[name]}\n) 2>&1; echo "${MARK} $?"`).join('\n')
  const { code, stdout, stderr } = await command(['run', ...args, '--timeout', '1800', '--exec', script])
  const pieces = stdout.split(new RegExp(`${MARK} (\\d+)\n`))
  if (code !== 0 || pieces.length !== 2 * names.length + 1)
    throw new Error(`the guest ended early (${code}): ${stderr}\n${stdout.slice(-2000)}`)
  onStderr?.(stderr)
  const results = names.map((name, i) => [name, { output: pieces[2 * i]!, code: Number(pieces[2 * i + 1]) }])
  return Object.fromEntries(results) as Record<Name, Result>
}
