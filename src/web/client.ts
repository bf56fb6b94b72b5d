/** A page's side of a machine that runs in a worker. */
import type { Ended, FromWorker, Start, ToWorker } from './protocol.ts'

export class WebMachine {
  readonly #worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })
  /** Settles when the machine stops. */
  readonly ended: Promise<Ended>

  /** `output` takes the bytes of the first serial port. */
  constructor(start: Omit<Start, 'kind'>, output: (bytes: Uint8Array) => void) {
    this.ended = new Promise((resolve, reject) => {
      this.#worker.addEventListener('error', (event) => reject(new Error(event.message)))
      this.#worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
        if (data.kind === 'output') return output(data.bytes)
        this.#worker.terminate()
        if (data.kind === 'ended') resolve(data)
        else reject(new Error(data.message))
      })
    })
    this.#tell({ kind: 'start', ...start })
  }

  send(bytes: Uint8Array): void {
    this.#tell({ kind: 'input', bytes })
  }

  stop(): void {
    this.#tell({ kind: 'stop' })
  }

  #tell(message: ToWorker): void {
    this.#worker.postMessage(message, [])
  }
}
