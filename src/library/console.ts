/** The guest's console for programs: streams of bytes, and waiting for what it says. */

/** Text that is kept for those who wait for what was said before they asked. */
const KEPT = 1 << 20

export interface WaitOptions {
  /** Milliseconds. */
  readonly timeout?: number
  readonly signal?: AbortSignal
}

/** What the console said, up to and with what was waited for. */
export interface Found {
  readonly text: string
  /** Of the pattern: the whole match, then its groups. */
  readonly match: readonly (string | undefined)[]
}

interface Waiter {
  readonly pattern: RegExp
  readonly resolve: (found: Found) => void
  readonly reject: (error: Error) => void
}

/** The guest's first serial port (or the console of its platform). */
export class Console {
  readonly #send: (bytes: Uint8Array) => void
  readonly #readers = new Set<ReadableStreamDefaultController<Uint8Array>>()
  readonly #waiters = new Set<Waiter>()
  readonly #decoder = new TextDecoder()
  #text = ''
  /** Of `#text`: what the last `waitFor` has not seen. */
  #seen = 0
  #ended: Error | undefined

  /** @internal */
  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send
  }

  /**
   * A new stream of what the guest writes from now on. It ends with the machine. Several can be read at the same time;
   * what nobody reads is not kept.
   */
  get readable(): ReadableStream<Uint8Array> {
    let own: ReadableStreamDefaultController<Uint8Array>
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        own = controller
        if (this.#ended) controller.close()
        else this.#readers.add(controller)
      },
      cancel: () => void this.#readers.delete(own),
    })
  }

  /** What is written to it is typed at the guest. */
  get writable(): WritableStream<Uint8Array | string> {
    return new WritableStream({ write: (piece) => this.write(piece) })
  }

  /** Type at the guest: Enter is `\n`. */
  write(input: string | Uint8Array): void {
    this.#send(typeof input === 'string' ? new TextEncoder().encode(input) : input)
  }

  /** All that the guest has written, or the last MiB of it. */
  get text(): string {
    return this.#text
  }

  /**
   * Wait until the guest has written this text, or something that the pattern matches, after what the last `waitFor`
   * found. Rejects with an Error when the machine ends before, and with the signal's reason or a TimeoutError.
   */
  async waitFor(pattern: string | RegExp, { timeout, signal }: WaitOptions = {}): Promise<Found> {
    const wanted =
      typeof pattern === 'string'
        ? new RegExp(pattern.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''))
    const signals = [signal, timeout === undefined ? undefined : AbortSignal.timeout(timeout)].filter((one) => !!one)
    const any = AbortSignal.any(signals)
    any.throwIfAborted()
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { pattern: wanted, resolve, reject }
      if (this.#offer(waiter)) return
      if (this.#ended) return reject(this.#ended)
      this.#waiters.add(waiter)
      any.addEventListener('abort', () => {
        if (this.#waiters.delete(waiter)) reject(any.reason as Error)
      })
    })
  }

  #offer({ pattern, resolve }: Waiter): boolean {
    const match = pattern.exec(this.#text.slice(this.#seen))
    if (!match) return false
    const end = match.index + match[0].length
    resolve({ text: this.#text.slice(this.#seen, this.#seen + end), match: [...match] })
    this.#seen += end
    return true
  }

  /** @internal */
  receive(bytes: Uint8Array): void {
    for (const reader of this.#readers) reader.enqueue(bytes)
    this.#text += this.#decoder.decode(bytes, { stream: true })
    for (const waiter of this.#waiters) if (this.#offer(waiter)) this.#waiters.delete(waiter)
    const surplus = this.#text.length - KEPT
    if (surplus <= 0) return
    this.#text = this.#text.slice(surplus)
    this.#seen = Math.max(0, this.#seen - surplus)
  }

  /** @internal */
  end(error: Error): void {
    this.#ended = error
    for (const reader of this.#readers) reader.close()
    this.#readers.clear()
    for (const waiter of this.#waiters) waiter.reject(error)
    this.#waiters.clear()
  }
}
