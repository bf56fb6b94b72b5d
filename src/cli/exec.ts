/**
 * The host's end of --exec: guests/init/init.sh runs the command with its standard output on COM2, its standard error
 * on COM3, and when both have gone out writes its exit code and a newline to COM4.
 */
import type { SerialSinks } from '../machine/types.ts'

export interface ExecOutputs {
  stdout(bytes: Uint8Array): void
  stderr(bytes: Uint8Array): void
  /** The command has ended, and all its output was passed on. */
  ended(exitCode: number): void
}

export function execSinks({ stdout, stderr, ended }: ExecOutputs): SerialSinks {
  let code = ''
  return {
    com2: stdout,
    com3: stderr,
    com4(bytes) {
      for (const byte of bytes) {
        const character = String.fromCharCode(byte)
        if (/\d/.test(character) && code.length < 3) code += character
        else if (character === '\n' && code !== '') {
          ended(Number(code) & 0xff)
          code = ''
        }
      }
    },
  }
}
