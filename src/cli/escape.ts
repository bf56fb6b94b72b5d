/**
 * QEMU's console escapes: Ctrl-A is the prefix. X ends the machine, H prints this help, Ctrl-A sends Ctrl-A itself.
 * W writes a snapshot; P, R and S ask the guest for something, where its hypervisor can; after any other key nothing happens, as in QEMU.
 */
const CTRL_A = 0x01

export const escapeHelp = [
  'Ctrl-A H    this help',
  'Ctrl-A X    end the virtual machine',
  'Ctrl-A W    write a snapshot to the file that --snapshot says',
  'Ctrl-A P    ask the guest to power itself off (Xen)',
  'Ctrl-A R    ask the guest to reboot (Xen)',
  'Ctrl-A S KEY    a magic SysRq key (Xen)',
  'Ctrl-A Ctrl-A    send Ctrl-A',
]

export interface EscapeActions {
  send(bytes: Uint8Array): void
  quit(): void
  save(): void
  help(): void
  shutdown(request: 'poweroff' | 'reboot'): void
  sysrq(key: string): void
}

/** Returns a function that takes what was typed, in pieces of any size. */
export function escapeParser(actions: EscapeActions): (typed: Uint8Array) => void {
  let afterPrefix: 'no' | 'prefix' | 'sysrq' = 'no'
  return (typed) => {
    const plain: number[] = []
    const flush = () => {
      if (plain.length > 0) actions.send(Uint8Array.from(plain.splice(0)))
    }
    for (const byte of typed) {
      if (afterPrefix === 'no') {
        if (byte === CTRL_A) afterPrefix = 'prefix'
        else plain.push(byte)
        continue
      }
      const key = String.fromCharCode(byte).toLowerCase()
      if (afterPrefix === 'sysrq') {
        afterPrefix = 'no'
        flush()
        actions.sysrq(key)
        continue
      }
      afterPrefix = key === 's' ? 'sysrq' : 'no'
      if (byte === CTRL_A) plain.push(CTRL_A)
      else if (key === 'x') {
        flush()
        actions.quit()
        return
      } else if (key === 'w') {
        flush()
        actions.save()
      } else if (key === 'p' || key === 'r') {
        flush()
        actions.shutdown(key === 'p' ? 'poweroff' : 'reboot')
      } else if (key === 'h' || key === '?') {
        flush()
        actions.help()
      }
    }
    flush()
  }
}
