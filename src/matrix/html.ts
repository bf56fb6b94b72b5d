/** The matrix as one self-contained page: table, boot timelines side by side, logs. Nothing is fetched, nothing runs. */
import { h, type ComponentChild } from 'preact'
import { renderToStaticMarkup } from 'preact-render-to-string'
import type { Report } from './report.ts'
import { css } from './html-style.ts'
import { kernelTitle } from './table.ts'
import { phaseNames, phases } from './timeline.ts'
import { usedGroups, view, type CellView, type Row } from './view.ts'

export function htmlPage(report: Report): string {
  const rows = view(report).filter(({ cells }) => cells.length > 0)
  const { settings } = report
  const facts = [
    `${settings.memory >>> 20} MiB`,
    settings.cpus === 1 ? '1 vCPU' : `${settings.cpus} vCPUs`,
    ...(settings.append ? [`command line: ${settings.append}`] : []),
    ...(settings.exec ? [`command: ${settings.exec}`] : []),
  ]
  const page = h(
    'html',
    { lang: 'en' },
    h(
      'head',
      {},
      h('meta', { charSet: 'utf-8' }),
      h('meta', { name: 'viewport', content: 'width=device-width, initial-scale=1' }),
      h('title', {}, 'paravirt matrix'),
      h('style', { dangerouslySetInnerHTML: { __html: css } }),
    ),
    h('body', {}, h('h1', {}, 'paravirt matrix'), h('p', {}, facts.join(' · ')), table(rows), ...rows.flatMap(kernel)),
  )
  return `<!doctype html>\n${renderToStaticMarkup(page)}\n`
}

/** Names the part of the page where a cell is told in full. */
const anchor = ({ cell }: CellView): string => `${cell.kernel}-${cell.platform}`.replace(/[^\w.-]/g, '-')

function table(rows: readonly Row[]): ComponentChild {
  const groups = usedGroups(rows)
  const heads = ['platform', 'result', 'user space', 'instructions', 'kernel says', ...groups, 'first divergence']
  const body = rows.flatMap(({ kernel: name, version, cells }) => [
    h('tr', {}, h('th', { colSpan: heads.length, class: 'kernel', scope: 'rowgroup' }, kernelTitle(name, version))),
    ...cells.map((shown) => {
      const { cell, result, userSpace, instructions, requests, trouble } = shown
      const entered = cell.outcome !== 'cannot-enter'
      return h(
        'tr',
        {},
        h('th', { scope: 'row' }, entered ? h('a', { href: `#${anchor(shown)}` }, cell.platform) : cell.platform),
        h('td', { class: cell.verdict }, result),
        h('td', { class: 'number' }, userSpace),
        h('td', { class: 'number' }, instructions),
        h('td', {}, cell.detected ?? ''),
        ...groups.map((group) => h('td', { class: 'number' }, entered ? String(requests[group]) : '')),
        h('td', {}, trouble[0] ?? ''),
      )
    }),
  ])
  const head = h('tr', {}, ...heads.map((text) => h('th', { scope: 'col' }, text)))
  return h('table', {}, h('thead', {}, head), h('tbody', {}, ...body))
}

function kernel({ kernel: name, version, cells }: Row): ComponentChild[] {
  const entered = cells.filter(({ cell }) => cell.outcome !== 'cannot-enter')
  return [
    h('h2', {}, kernelTitle(name, version)),
    ...(entered.length > 0 ? [timelines(entered)] : []),
    ...entered.map(details),
  ]
}

const WIDTH = 900
const LABEL = 110
const BAR = 16
const ACTIVITY = 22
const ROW = BAR + ACTIVITY + 10
const AXIS = 20

/** For each boot its phases, and beneath them the requests that it made, on one scale of virtual time. */
function timelines(cells: readonly CellView[]): ComponentChild {
  const end = Math.max(1, ...cells.map(({ cell }) => cell.virtualNanoseconds))
  const x = (t: number) => LABEL + (Math.min(t, end) / end) * (WIDTH - LABEL)
  const most = Math.max(1, ...cells.flatMap(({ cell }) => cell.activity.counts))
  const height = cells.length * ROW + AXIS
  const marks = cells.map(({ cell }, row) => {
    const top = row * ROW
    const { binNanoseconds, counts } = cell.activity
    const bars = phases(cell).map(({ name, from, to }) =>
      h(
        'rect',
        {
          x: x(from),
          y: top,
          width: Math.max(1, x(to) - x(from)),
          height: BAR,
          class: `phase${phaseNames.indexOf(name)}`,
        },
        h('title', {}, `${name}: ${seconds(from)} to ${seconds(to)}`),
      ),
    )
    // A logarithm, so that a few requests are seen beside many.
    const requests = counts.flatMap((count, bin) => {
      if (count === 0) return []
      const tall = (ACTIVITY * Math.log1p(count)) / Math.log1p(most)
      const from = bin * binNanoseconds
      const place = {
        x: x(from),
        y: top + BAR + ACTIVITY - tall,
        width: Math.max(0.5, x(from + binNanoseconds) - x(from)),
      }
      return [
        h(
          'rect',
          { ...place, height: tall, class: 'requests' },
          h('title', {}, `${count} requests at ${seconds(from)}`),
        ),
      ]
    })
    return h('g', {}, h('text', { x: 0, y: top + BAR - 3 }, cell.platform), ...bars, ...requests)
  })
  const step = stepFor(end)
  const ticks: ComponentChild[] = []
  for (let t = 0; t <= end; t += step)
    ticks.push(
      h('line', { x1: x(t), x2: x(t), y1: 0, y2: height - AXIS, class: 'tick' }),
      h('text', { x: x(t) + 2, y: height - 5, class: 'axis' }, seconds(t)),
    )
  const legend = phaseNames.map((name, i) =>
    h(
      'span',
      {},
      h('svg', { width: 12, height: 12 }, h('rect', { width: 12, height: 12, class: `phase${i}` })),
      ` ${name}`,
    ),
  )
  return h(
    'figure',
    {},
    h('svg', { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-label': 'boot timelines' }, ...ticks, ...marks),
    h('figcaption', {}, ...legend, h('span', {}, 'beneath: requests to the host, on a logarithmic scale')),
  )
}

const seconds = (t: number): string => `${(t / 1e9).toFixed(2)} s`

/** Some eight ticks at round times. */
function stepFor(end: number): number {
  const rough = end / 8
  const power = 10 ** Math.floor(Math.log10(rough))
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough)!
}

function details(shown: CellView): ComponentChild {
  const { cell, result, trouble } = shown
  const requests = cell.requests.map(({ name, kind, count, groups }) =>
    h(
      'tr',
      {},
      h('td', { class: 'number' }, String(count)),
      h('td', {}, `${kind} ${name}`),
      h('td', {}, groups.join(', ')),
    ),
  )
  const log = cell.console.map(({ t, text }) => `${(t / 1e9).toFixed(6).padStart(12)}  ${text}`).join('\n')
  return h(
    'section',
    { id: anchor(shown) },
    h('h3', {}, `${cell.platform}: `, h('span', { class: cell.verdict }, result)),
    ...(trouble.length > 0 ? [h('ul', {}, ...trouble.map((line) => h('li', {}, line)))] : []),
    ...block('backtrace', cell.backtrace?.join('\n')),
    ...block('last requests', cell.lastRequests.map(({ text }) => text).join('\n')),
    ...(requests.length > 0
      ? [h('details', {}, h('summary', {}, 'requests'), h('table', {}, h('tbody', {}, ...requests)))]
      : []),
    ...block("the command's output", cell.output),
    ...block('console', log),
  )
}

function block(title: string, text: string | undefined): ComponentChild[] {
  return text ? [h('details', {}, h('summary', {}, title), h('pre', {}, text))] : []
}
