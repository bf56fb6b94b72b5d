/** The matrix in the Test Anything Protocol, version 14 (testanything.org): a test point for each cell. */
import type { Report } from './report.ts'
import { view } from './view.ts'

export function tapText(report: Report): string {
  const cells = view(report).flatMap((row) => row.cells)
  const lines = ['TAP version 14', `1..${cells.length}`]
  for (const [i, { cell, result, trouble, userSpace }] of cells.entries()) {
    const skip = cell.verdict === 'skip' ? ` # SKIP ${escaped(`${result}: ${cell.detail ?? ''}`)}` : ''
    const verdict = cell.verdict === 'bad' ? 'not ok' : 'ok'
    lines.push(`${verdict} ${i + 1} - ${escaped(`${cell.kernel} on ${cell.platform}`)}${skip}`)
    if (cell.verdict === 'skip') continue
    // JSON strings are YAML's, too.
    lines.push('  ---', `  result: ${JSON.stringify(result)}`, `  userSpace: ${JSON.stringify(userSpace)}`)
    lines.push(`  duration_ms: ${Math.round(cell.seconds * 1000)}`)
    if (trouble.length > 0) lines.push('  trouble:', ...trouble.map((line) => `    - ${JSON.stringify(line)}`))
    if (cell.backtrace) lines.push('  backtrace:', ...cell.backtrace.map((line) => `    - ${JSON.stringify(line)}`))
    lines.push('  ...')
  }
  return lines.join('\n')
}

/** `#` would begin a directive, a line break end the line. */
const escaped = (text: string): string => text.replace(/\\/g, '\\\\').replace(/#/g, '\\#').replace(/\s+/g, ' ').trim()
