/** Runs the cells of a matrix, so many at once, and makes the report of what came out. */
import { availableParallelism, freemem } from 'node:os'
import type { Progress } from './cell.ts'
import { judge, type Expectations } from './expectations.ts'
import type { CellPlan } from './plan.ts'
import { runInWorker } from './pool.ts'
import { blankCell, type Cell, type Report } from './report.ts'
import { referenceOf } from './view.ts'

export interface Watcher {
  started(plan: CellPlan): void
  progress(plan: CellPlan, progress: Progress): void
  ended(plan: CellPlan, cell: Cell): void
}

/** What a machine takes beside its guest's memory, of which a boot to user space touches about half. */
const OVERHEAD = 200 << 20

/** As many as there are processors and memory for. */
export function defaultJobs(memory: number): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(freemem() / (memory / 2 + OVERHEAD))))
}

/** In the order of `plans`. Rejects when `signal` aborts. */
export async function runCells(
  plans: readonly CellPlan[],
  jobs: number,
  watcher: Watcher,
  signal: AbortSignal,
): Promise<Cell[]> {
  const cells = plans.map(blankCell)
  let next = 0
  const lane = async () => {
    while (next < plans.length) {
      const i = next++
      const plan = plans[i]!
      watcher.started(plan)
      cells[i] = await runInWorker(plan, (progress) => watcher.progress(plan, progress), signal)
      watcher.ended(plan, cells[i])
    }
  }
  await Promise.all(Array.from({ length: Math.min(jobs, plans.length) }, lane))
  return cells
}

/** The report with verdicts by the expectations. */
export function judged(report: Report, expectations: Expectations | undefined): Report {
  const cells = report.kernels.flatMap((kernel) => {
    const own = report.cells.filter((cell) => cell.kernel === kernel)
    const ordered = report.platforms.flatMap((platform) => own.filter((cell) => cell.platform === platform))
    const reference = referenceOf(ordered)
    return ordered.map((cell) => judge(cell, cell === reference ? undefined : reference, expectations))
  })
  return { ...report, cells }
}
