/** A page's side of what runs in a worker. */
import type { Demo, Demonstrated, Ended, FromWorker, Start, ToWorker } from './protocol.ts'

type Last = Ended | Demonstrated

/** A worker, and how it ends; `output` takes the bytes of the first serial port. */
function startWorker(output: (bytes: Uint8Array) => void) {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })
  const tell = (message: ToWorker) => worker.postMessage(message, [])
  const last = new Promise<Last>((resolve, reject) => {
    worker.addEventListener('error', (event) => reject(new Error(event.message)))
    worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
      if (data.kind === 'output') return output(data.bytes)
      worker.terminate()
      if (data.kind === 'failed') reject(new Error(data.message))
      else resolve(data)
    })
  })
  return { tell, last }
}

export class WebMachine {
  readonly #tell: (message: ToWorker) => void
  /** Settles when the machine stops. */
  readonly ended: Promise<Ended>

  constructor(start: Omit<Start, 'kind'>, output: (bytes: Uint8Array) => void) {
    const { tell, last } = startWorker(output)
    this.#tell = tell
    this.ended = last as Promise<Ended>
    tell({ kind: 'start', ...start })
  }

  send(bytes: Uint8Array): void {
    this.#tell({ kind: 'input', bytes })
  }

  stop(): void {
    this.#tell({ kind: 'stop' })
  }
}

/** The project's own kernel on the platforms in turn, each with a line about it; whether all was as it must be. */
export async function runDemo(demo: Omit<Demo, 'kind'>, output: (bytes: Uint8Array) => void): Promise<boolean> {
  const { tell, last } = startWorker(output)
  tell({ kind: 'demo', ...demo })
  return ((await last) as Demonstrated).passed
}
