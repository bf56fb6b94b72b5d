/**
 * The matrix as JUnit XML, in the form that Jenkins, GitLab and GitHub's reporters read: a suite for each kernel, a
 * case for each platform. Times are the host's seconds.
 */
import { XMLBuilder } from 'fast-xml-parser'
import type { Report } from './report.ts'
import { kernelTitle } from './table.ts'
import { view, type CellView } from './view.ts'

/** XML 1.0 has no place for other control characters. */
// oxlint-disable-next-line no-control-regex
const printable = (text: string): string => text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '?')

export function junitXml(report: Report): string {
  const builder = new XMLBuilder({ ignoreAttributes: false, attributeNamePrefix: '@', format: true })
  const suites = view(report)
    .filter(({ cells }) => cells.length > 0)
    .map(({ kernel, version, cells }) => ({
      '@name': printable(kernelTitle(kernel, version)),
      ...totals(cells),
      testcase: cells.map((shown) => testCase(kernel, shown)),
    }))
  const all = view(report).flatMap(({ cells }) => cells)
  const document = {
    '?xml': { '@version': '1.0', '@encoding': 'UTF-8' },
    testsuites: { '@name': 'paravirt matrix', ...totals(all), testsuite: suites },
  }
  return String(builder.build(document))
}

function totals(cells: readonly CellView[]): Record<string, string> {
  const count = (wanted: (shown: CellView) => boolean) => String(cells.filter(wanted).length)
  return {
    '@tests': String(cells.length),
    '@failures': count(({ cell }) => cell.verdict === 'bad'),
    '@errors': count(({ cell }) => cell.outcome === 'host-error'),
    '@skipped': count(({ cell }) => cell.outcome === 'cannot-enter'),
    '@time': cells.reduce((sum, { cell }) => sum + cell.seconds, 0).toFixed(3),
  }
}

function testCase(kernel: string, { cell, result, trouble }: CellView): object {
  const message = printable(trouble[0] ?? result)
  const text = printable([...trouble, ...(cell.backtrace ?? [])].join('\n'))
  const fault = { '@message': message, '@type': cell.outcome, '#text': text }
  const { outcome, verdict } = cell
  return {
    '@name': cell.platform,
    '@classname': printable(kernel),
    '@time': cell.seconds.toFixed(3),
    ...(verdict === 'bad' ? { failure: fault } : {}),
    ...(outcome === 'host-error' ? { error: fault } : {}),
    ...(outcome === 'cannot-enter' ? { skipped: { '@message': message } } : {}),
    'system-out': printable(cell.console.map((line) => line.text).join('\n')),
  }
}
