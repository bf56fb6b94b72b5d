/** The kernel's command line. What the user appends comes last, where it counts. */

const SERIAL = 'ttyS0,115200'

/** Console on the first serial port; a panic resets the machine at once instead of stopping it. */
export const DEFAULT_COMMAND_LINE = `console=${SERIAL} panic=-1`

export interface CommandLineOptions {
  /** The console that the user sees, if it is not the first serial port. */
  readonly console?: string | undefined
  readonly append?: string | undefined
  /** With --exec nobody reads the console: boot messages on it only take time. */
  readonly quiet?: boolean | undefined
  /** The user's window; the default init sets the console to its size. */
  readonly window?: { readonly rows: number; readonly columns: number } | undefined
}

export function kernelCommandLine({ console = SERIAL, append, quiet, window }: CommandLineOptions): string {
  const words = [DEFAULT_COMMAND_LINE.replace(SERIAL, console)]
  if (quiet) words.push('quiet')
  // Words with an equals sign that the kernel does not know become init's environment.
  if (window) words.push(`LINES=${window.rows} COLUMNS=${window.columns}`)
  if (append) words.push(append)
  return words.join(' ')
}
