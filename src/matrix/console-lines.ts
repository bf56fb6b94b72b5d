/** A console's bytes as lines, each with the time at which it ended. */

const LONGEST_LINE = 4096
/** A guest that prints without end does not fill the host's memory: the first and the last lines are kept. */
const KEPT_AT_EACH_END = 5000

export interface ConsoleLine {
  readonly t: number
  readonly text: string
}

export class ConsoleLines {
  readonly #first: ConsoleLine[] = []
  readonly #last: ConsoleLine[] = []
  readonly #decoder = new TextDecoder('utf-8')
  readonly #onLine: (line: ConsoleLine) => void
  readonly #now: () => number
  #dropped = 0
  #partial = ''

  constructor(now: () => number, onLine: (line: ConsoleLine) => void) {
    this.#now = now
    this.#onLine = onLine
  }

  see(bytes: Uint8Array): void {
    const lines = (this.#partial + this.#decoder.decode(bytes, { stream: true })).split(/\r*\n/)
    this.#partial = lines.pop()!.slice(0, LONGEST_LINE)
    for (const line of lines) this.#end(line.slice(0, LONGEST_LINE))
  }

  /** All lines, the unfinished one last. */
  finish(): ConsoleLine[] {
    if (this.#partial !== '') this.#end(this.#partial)
    this.#partial = ''
    const gap = this.#dropped > 0 ? [{ t: this.#last[0]!.t, text: `[${this.#dropped} lines left out]` }] : []
    return [...this.#first, ...gap, ...this.#last]
  }

  #end(text: string): void {
    const line = { t: this.#now(), text: text.replace(/\r/g, '') }
    if (this.#first.length < KEPT_AT_EACH_END) this.#first.push(line)
    else {
      this.#last.push(line)
      if (this.#last.length > KEPT_AT_EACH_END) {
        this.#last.shift()
        this.#dropped++
      }
    }
    this.#onLine(line)
  }
}
