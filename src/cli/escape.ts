/**
 * QEMU's console escapes: Ctrl-A is the prefix. X ends the machine, H prints this help, Ctrl-A sends Ctrl-A itself;
 * after any other key nothing happens, as in QEMU.
 */
const CTRL_A = 0x01

export const escapeHelp = [
  'Ctrl-A H    this help',
  'Ctrl-A X    end the virtual machine',
  'Ctrl-A Ctrl-A    send Ctrl-A',
]

export interface EscapeActions {
  send(bytes: Uint8Array): void
  quit(): void
  help(): void
}

/** Returns a function that takes what was typed, in pieces of any size. */
export function escapeParser(actions: EscapeActions): (typed: Uint8Array) => void {
  let afterPrefix = false
  return (typed) => {
    const plain: number[] = []
    const flush = () => {
      if (plain.length > 0) actions.send(Uint8Array.from(plain.splice(0)))
    }
    for (const byte of typed) {
      if (!afterPrefix) {
        if (byte === CTRL_A) afterPrefix = true
        else plain.push(byte)
        continue
      }
      afterPrefix = false
      const key = String.fromCharCode(byte).toLowerCase()
      if (byte === CTRL_A) plain.push(CTRL_A)
      else if (key === 'x') {
        flush()
        actions.quit()
        return
      } else if (key === 'h' || key === '?') {
        flush()
        actions.help()
      }
    }
    flush()
  }
}
