/**
 * The user's terminal as the guest's console: raw while the machine runs, restored whatever ends it. What is no
 * terminal (a pipe, a file) is passed on byte by byte, without escapes.
 */
import type { GuestControl } from '../paravirt/platform.ts'
import { escapeHelp, escapeParser } from './escape.ts'

export interface TerminalEvents {
  /** Bytes for the guest. */
  send(bytes: Uint8Array): void
  /** Ctrl-A X. */
  quit(): void
  /** Ctrl-A W: what to tell the user. */
  save(): Promise<string>
  /** What the guest can be asked for, once it runs. */
  control(): GuestControl | undefined
}

/** Connects stdin; dispose of the result to restore the terminal. */
export function attachTerminal({ send, quit, save, control }: TerminalEvents, input = process.stdin): Disposable {
  const raw = input.isTTY === true
  const say = (...lines: string[]) => process.stderr.write(lines.map((line) => `\r\n${line}`).join(''))
  const actions = {
    send,
    quit() {
      // The guest may have left the cursor anywhere.
      say('')
      quit()
    },
    save: () => void save().then((line) => say(line, '')),
    help: () => say(...escapeHelp, ''),
    shutdown(request: 'poweroff' | 'reboot') {
      const guest = control()
      if (!guest) say('paravirt: this platform has no way to ask its guest', '')
      else if (!guest.shutdown(request)) say('paravirt: the guest does not listen yet', '')
    },
    sysrq(key: string) {
      const guest = control()
      if (guest) guest.sysrq(key)
      else say('paravirt: this platform has no way to ask its guest', '')
    },
  }
  const onData = raw ? escapeParser(actions) : send
  const restore = () => {
    if (raw) input.setRawMode(false)
  }
  if (raw) {
    // An uncaught exception and process.exit end up here; signals end the machine, then dispose.
    process.once('exit', restore)
    input.setRawMode(true)
  }
  input.on('data', onData)
  // An unreadable or closed pipe ends the input, not the machine.
  input.on('error', () => {})
  input.resume()
  return {
    [Symbol.dispose]() {
      process.off('exit', restore)
      input.off('data', onData)
      input.pause()
      // A paused pipe would still keep the process alive.
      input.unref?.()
      restore()
    },
  }
}
