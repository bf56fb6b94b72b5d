/**
 * Recognises a panic of a Linux kernel on its console. The text arrives in pieces of any size, so a line is kept until
 * it ends; of a line that never ends only the beginning is.
 */
const PANIC = /Kernel panic - not syncing: .*/
const LONGEST_LINE = 1024

export class PanicWatcher {
  /** The message, from "Kernel panic" to the end of its line; undefined as long as there was none. */
  message: string | undefined
  #line = ''
  readonly #decoder = new TextDecoder('latin1')

  see(bytes: Uint8Array): void {
    if (this.message !== undefined) return
    const lines = (this.#line + this.#decoder.decode(bytes)).split(/[\r\n]+/)
    this.#line = lines.pop()!.slice(0, LONGEST_LINE)
    for (const line of lines) this.message ??= PANIC.exec(line)?.[0]
  }

  /** The message, even if the machine stopped before its line was complete. */
  finish(): string | undefined {
    return this.message ?? PANIC.exec(this.#line)?.[0]
  }
}
