/** A report as all outputs show it: rows with their cells, each told in words. */
import { firstDivergence } from './divergence.ts'
import { byGroup, groups, type Cell, type Group, type Report } from './report.ts'

export interface CellView {
  readonly cell: Cell
  /** `ok`, `panic`, `cannot enter`, ... */
  readonly result: string
  /** Virtual seconds to user space. */
  readonly userSpace: string
  readonly instructions: string
  readonly requests: Readonly<Record<Group, number>>
  /** The first warning that the reference lacks; undefined: none, or it is the reference. */
  readonly divergence: string | undefined
  /** Lines that say what is wrong, most important first. */
  readonly trouble: readonly string[]
}

export interface Row {
  readonly kernel: string
  readonly version: string
  readonly cells: readonly CellView[]
}

export function view({ kernels, platforms, cells }: Report): Row[] {
  return kernels.map((kernel) => {
    const own = cells.filter((cell) => cell.kernel === kernel)
    const ordered = platforms.flatMap((platform) => own.filter((cell) => cell.platform === platform))
    const reference = referenceOf(ordered)
    const version = ordered.find((cell) => cell.version !== 'unknown')?.version ?? 'unknown'
    return { kernel, version, cells: ordered.map((cell) => cellView(cell, reference)) }
  })
}

/** What the others are compared with: the first platform on which the kernel came to user space. */
export function referenceOf(cells: readonly Cell[]): Cell | undefined {
  return cells.find(({ userSpace }) => userSpace !== undefined)
}

/** Groups in which anything was asked, for the columns. */
export function usedGroups(rows: readonly Row[]): Group[] {
  return groups.filter((group) => rows.some(({ cells }) => cells.some(({ requests }) => requests[group] > 0)))
}

function cellView(cell: Cell, reference: Cell | undefined): CellView {
  const { userSpace, instructions, unmet = [], detail, firstError, lastRequests, outcome, verdict } = cell
  const divergence = reference && reference !== cell ? firstDivergence(cell, reference) : undefined
  const trouble = [
    ...unmet.map((line) => `expected otherwise: ${line}`),
    ...(detail === undefined ? [] : [detail]),
    ...(divergence === undefined ? [] : [`first warning of its own: ${divergence}`]),
    ...(firstError ? [`first unexpected error: ${firstError.text}`] : []),
    ...(verdict === 'bad' && lastRequests.length > 0 ? [`last request: ${lastRequests.at(-1)!.text}`] : []),
  ]
  return {
    cell,
    result: verdict === 'bad' && outcome === 'ok' ? 'unmet' : outcome.replaceAll('-', ' '),
    userSpace: userSpace ? `${(userSpace.t / 1e9).toFixed(2)} s` : '-',
    instructions: outcome === 'cannot-enter' ? '-' : millions(userSpace?.instructions ?? instructions),
    requests: byGroup(cell),
    divergence,
    trouble,
  }
}

const millions = (count: number): string => `${Math.round(count / 1e6).toLocaleString('en-US')} M`
