/** A serial port's output, gathered until the vCPUs pause. */
export class SerialOutput {
  readonly #sink: ((bytes: Uint8Array) => void) | undefined
  #bytes: number[] = []

  constructor(sink: ((bytes: Uint8Array) => void) | undefined) {
    this.#sink = sink
  }

  get connected(): boolean {
    return this.#sink !== undefined
  }

  push(byte: number): void {
    if (this.#sink) this.#bytes.push(byte)
  }

  flush(): void {
    if (this.#bytes.length === 0) return
    const bytes = Uint8Array.from(this.#bytes)
    this.#bytes = []
    this.#sink?.(bytes)
  }
}
