/** A worker thread of the matrix: boots one cell and posts how it goes. */
import { parentPort, workerData } from 'node:worker_threads'
import { runCell } from './cell.ts'
import type { Progress } from './cell.ts'
import type { CellPlan } from './plan.ts'
import type { Cell } from './report.ts'

export type FromWorker = { readonly progress: Progress } | { readonly cell: Cell }

/** Console lines come faster than anyone can read them. */
const EVERY_MS = 100

let last = 0
// oxlint-disable-next-line unicorn/require-post-message-target-origin
const post = (message: FromWorker) => parentPort!.postMessage(message)
const cell = await runCell(workerData as CellPlan, (progress) => {
  const now = performance.now()
  if (now - last < EVERY_MS) return
  last = now
  post({ progress })
})
post({ cell })
