/** `paravirt ops`: what a kernel's own table of paravirtual operations is on each platform. */
import Table from 'cli-table3'
import { InputError } from '../errors.ts'
import { readSystemMap } from '../symbols/system-map.ts'
import { compareOps, type OpCell, type OpRow } from '../pvops/compare.ts'
import type { Cell } from '../matrix/report.ts'
import { bootCells, planCells, type PlanOptions } from './matrix-plan.ts'
import { ExitCode } from './exit-codes.ts'

export interface OpsOptions extends PlanOptions {
  readonly op?: string
  readonly count?: true
  readonly json?: true
  readonly systemMap?: string
}

/** Returns the exit code. */
export async function ops(kernel: string | undefined, options: OpsOptions): Promise<number> {
  const pattern = options.op === undefined ? undefined : parsePattern(options.op)
  if (options.systemMap !== undefined) readSystemMap(options.systemMap)
  const { plans, jobs } = await planCells(kernel === undefined ? [] : [kernel], options)
  const wanted = plans.map((plan) => ({
    ...plan,
    ops: true,
    census: options.count === true,
    ...(options.systemMap === undefined ? {} : { systemMap: options.systemMap }),
  }))
  const cells = await bootCells(wanted, jobs, false)
  const read = cells.flatMap((cell) => (cell.ops ? [[cell.platform, cell.ops] as const] : []))
  for (const cell of cells) if (!cell.ops) process.stderr.write(`paravirt: ${cell.platform}: ${reasonOf(cell)}\n`)
  const rows = compareOps(read).filter(({ op }) => pattern === undefined || pattern.test(op))
  if (read.length > 0 && rows.length === 0) throw new InputError(`--op ${options.op}: no operation's name matches`)
  if (options.json) process.stdout.write(`${JSON.stringify(rows)}\n`)
  else if (rows.length > 0) process.stdout.write(`${opsTable(rows)}\n`)
  return read.length > 0 ? ExitCode.OK : ExitCode.HOST_ERROR
}

const reasonOf = ({ opsError, detail, outcome }: Cell): string =>
  opsError ?? (outcome === 'cannot-enter' ? `cannot enter: ${detail}` : (detail ?? outcome))

function parsePattern(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new InputError(`--op: ${(error as Error).message}`)
  }
}

/** Platforms that are alike share a line. */
function opsTable(rows: readonly OpRow[]): string {
  const table = new Table({
    head: ['operation', 'platforms', 'function', 'call sites', 'at the host'],
    style: { head: [], border: [] },
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
  })
  for (const { op, platforms } of rows) {
    const kinds = new Map<string, OpCell[]>()
    for (const cell of platforms) {
      const key = JSON.stringify([cell.function, cell.sites, cell.arrived])
      kinds.set(key, [...(kinds.get(key) ?? []), cell])
    }
    for (const [i, cells] of [...kinds.values()].entries()) {
      const [{ function: held, sites, arrived }] = cells as [OpCell, ...OpCell[]]
      table.push([i === 0 ? op : '', cells.map(({ platform }) => platform).join(' '), held, sites, arrived])
    }
  }
  return table.toString()
}
