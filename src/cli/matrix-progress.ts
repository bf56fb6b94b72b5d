/** How a matrix gets on: a live list on a terminal, a line for each end elsewhere. All of it on stderr. */
import { Listr, ListrLogger, ProcessOutput, type ListrDefaultRendererLogLevels } from 'listr2'
import type { Watcher } from '../matrix/run.ts'
import type { CellPlan } from '../matrix/plan.ts'
import type { Cell } from '../matrix/report.ts'

const nameOf = ({ kernel, platform }: CellPlan, several: boolean) => (several ? `${kernel} on ${platform}` : platform)

function endText({ outcome, userSpace, detail, seconds }: Cell): string {
  const when = userSpace ? `, user space after ${(userSpace.t / 1e9).toFixed(2)} s` : ''
  const why = outcome !== 'ok' && detail !== undefined ? `: ${detail}` : ''
  return `${outcome.replaceAll('-', ' ')}${why}${when} (${seconds.toFixed(1)} s)`
}

/** Plain lines. */
export function lineProgress(several: boolean, write: (line: string) => void): Watcher {
  return {
    started: (plan) => write(`${nameOf(plan, several)}: booting`),
    progress: () => {},
    ended: (plan, cell) => write(`${nameOf(plan, several)}: ${endText(cell)}`),
  }
}

export interface LiveProgress extends Watcher {
  /** Draws until all have ended, or until stopped. */
  readonly drawn: Promise<unknown>
}

export function liveProgress(plans: readonly CellPlan[], several: boolean): LiveProgress {
  interface Handle {
    title: string
    output: string
  }
  const waiting = new Map(plans.map((plan) => [plan, Promise.withResolvers<Cell>()]))
  const handles = new Map<CellPlan, Handle>()
  // stdout is the report's.
  const processOutput = new ProcessOutput(process.stderr, process.stderr)
  const list = new Listr(
    plans.map((plan) => ({
      title: `${nameOf(plan, several)}: waiting`,
      task: async (_: unknown, task: Handle) => {
        handles.set(plan, task)
        const cell = await waiting.get(plan)!.promise
        task.title = `${nameOf(plan, several)}: ${endText(cell)}`
        if (cell.verdict === 'bad') throw new Error(task.title)
      },
    })),
    {
      concurrent: true,
      exitOnError: false,
      registerSignalListeners: false,
      forceTTY: true,
      rendererOptions: {
        logger: new ListrLogger<ListrDefaultRendererLogLevels>({ useIcons: true, processOutput }),
        showErrorMessage: false,
        collapseErrors: false,
      },
    },
  )
  return {
    started(plan) {
      const task = handles.get(plan)
      if (task) task.title = `${nameOf(plan, several)}: booting`
    },
    progress(plan, { line, instructions, virtualNanoseconds }) {
      const task = handles.get(plan)
      if (!task) return
      const seconds = (virtualNanoseconds / 1e9).toFixed(1)
      task.title = `${nameOf(plan, several)}: ${seconds} s, ${Math.round(instructions / 1e6)} M instructions`
      task.output = line
    },
    ended: (plan, cell) => waiting.get(plan)!.resolve(cell),
    drawn: list.run(),
  }
}
