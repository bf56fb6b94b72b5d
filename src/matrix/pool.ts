/** Runs a cell in a worker thread of its own, and ends the worker whatever happens. */
import { Worker } from 'node:worker_threads'
import type { Progress } from './cell.ts'
import type { CellPlan } from './plan.ts'
import { blankCell, type Cell } from './report.ts'
import type { FromWorker } from './worker.ts'

/** Published code is JavaScript. */
const workerUrl = new URL(`./worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
/** The worker keeps the time limit; one that does not has failed. */
const GRACE_MS = 30_000

/** Never rejects, except when `signal` aborts. */
export function runInWorker(
  plan: CellPlan,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<Cell> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error)
    const worker = new Worker(workerUrl, { workerData: plan })
    const watchdog = setTimeout(() => fail('the worker did not keep its time limit'), plan.timeout + GRACE_MS)
    const abort = () => {
      finish()
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', abort)
    const finish = () => {
      clearTimeout(watchdog)
      signal.removeEventListener('abort', abort)
      void worker.terminate()
    }
    const fail = (detail: string) => {
      finish()
      resolve({ ...blankCell(plan), detail })
    }
    worker.on('message', (message: FromWorker) => {
      if ('progress' in message) return onProgress(message.progress)
      finish()
      resolve(message.cell)
    })
    worker.on('error', (error) => fail(error instanceof Error ? error.message : String(error)))
    worker.on('exit', (code) => fail(`the worker ended with ${code}`))
  })
}
