/**
 * Recognises a line on the guest's console, such as a panic of a Linux kernel. The text arrives in pieces of any size,
 * so a line is kept until it ends; of a line that never ends only the beginning is.
 */
const PANIC = /Kernel panic - not syncing: .*/
const LONGEST_LINE = 1024

export class LineWatcher {
  /** What the first such line has of the pattern; undefined as long as there was none. */
  message: string | undefined
  readonly #pattern: RegExp
  #line = ''
  readonly #decoder = new TextDecoder('latin1')

  constructor(pattern: RegExp) {
    this.#pattern = pattern
  }

  see(bytes: Uint8Array): void {
    if (this.message !== undefined) return
    const lines = (this.#line + this.#decoder.decode(bytes)).split(/[\r\n]+/)
    this.#line = lines.pop()!.slice(0, LONGEST_LINE)
    for (const line of lines) this.message ??= this.#pattern.exec(line)?.[0]
  }

  /** The message, even if the machine stopped before its line was complete. */
  finish(): string | undefined {
    return this.message ?? this.#pattern.exec(this.#line)?.[0]
  }
}

/** For the message from "Kernel panic" to the end of its line. */
export class PanicWatcher extends LineWatcher {
  constructor() {
    super(PANIC)
  }
}
