/** The matrix for a terminal: a table, and beneath it what is wrong. */
import { styleText } from 'node:util'
import Table from 'cli-table3'
import type { Verdict, Report } from './report.ts'
import { usedGroups, view, type CellView } from './view.ts'

const colours = { good: 'green', bad: 'red', skip: 'dim' } as const satisfies Record<Verdict, string>

export function tableText(report: Report, colour: boolean): string {
  const paint = (format: Parameters<typeof styleText>[0], text: string) =>
    colour ? styleText(format, text, { validateStream: false }) : text
  const rows = view(report).filter(({ cells }) => cells.length > 0)
  const several = rows.length > 1
  const groups = usedGroups(rows)
  const table = new Table({
    head: [
      ...(several ? ['kernel'] : []),
      'platform',
      'result',
      'user space',
      'instructions',
      'kernel says',
      ...groups,
    ],
    colAligns: [
      ...(several ? ['left' as const] : []),
      'left',
      'left',
      'right',
      'right',
      'left',
      ...groups.map(() => 'right' as const),
    ],
    style: { head: colour ? ['bold'] : [], border: colour ? ['grey'] : [] },
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
  })
  const trouble: string[] = []
  for (const { kernel, version, cells } of rows)
    for (const [i, shown] of cells.entries()) {
      const { cell, result, userSpace, instructions, requests } = shown
      const counts = groups.map((group) => (cell.outcome === 'cannot-enter' ? '' : String(requests[group])))
      const told = paint(colours[cell.verdict], result)
      const title = several ? [i === 0 ? kernelTitle(kernel, version) : ''] : []
      table.push([...title, cell.platform, told, userSpace, instructions, cell.detected ?? '-', ...counts])
      trouble.push(...troubleLines(shown, several ? `${kernel} on ` : ''))
    }
  const shard = report.shard ? [`part ${report.shard.index} of ${report.shard.count}`] : []
  const title = several ? [] : rows.map(({ kernel, version }) => paint('bold', kernelTitle(kernel, version)))
  return [...shard, ...title, table.toString(), ...trouble].join('\n')
}

export const kernelTitle = (kernel: string, version: string): string =>
  kernel.includes(version) ? kernel : `${kernel} (${version})`

function troubleLines({ cell, trouble }: CellView, prefix: string): string[] {
  if (trouble.length === 0) return []
  const backtrace = (cell.backtrace ?? []).map((line) => `    ${line}`)
  return [`${prefix}${cell.platform}:`, ...trouble.map((line) => `  ${line}`), ...backtrace]
}
