/** Reports of several machines, each of a part of the matrix, as one. */
import { readFileSync } from 'node:fs'
import { InputError } from '../errors.ts'
import { fileProblem } from '../file-problem.ts'
import { issueText } from './expectations.ts'
import { reportSchema, type Report } from './report.ts'

export function readReport(path: string): Report {
  let json: unknown
  try {
    json = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new InputError(`--merge ${path}: ${fileProblem(error)}`)
  }
  const { data, error } = reportSchema.safeParse(json)
  if (!data) throw new InputError(`--merge ${path}: not a report of paravirt matrix --json: ${issueText(error)}`)
  return data
}

/** Throws InputError for parts that do not belong together. */
export function merge(reports: readonly Report[]): Report {
  const [first] = reports as [Report, ...Report[]]
  const key = ({ kernels, platforms, settings, shard }: Report) =>
    JSON.stringify([kernels, platforms, settings, shard?.count])
  for (const report of reports)
    if (key(report) !== key(first)) throw new InputError('--merge: these are parts of different matrices')
  const { shard: _, ...whole } = { ...first, cells: reports.flatMap(({ cells }) => cells) }
  const missing = whole.kernels.flatMap((kernel) =>
    whole.platforms
      .filter((platform) => !whole.cells.some((cell) => cell.kernel === kernel && cell.platform === platform))
      .map((platform) => `${kernel} on ${platform}`),
  )
  if (missing.length > 0) throw new InputError(`--merge: a part is missing: that with ${missing[0]}`)
  const boots = whole.cells.map(({ kernel, platform }) => `${kernel} on ${platform}`)
  const twice = boots.find((boot, i) => boots.indexOf(boot) !== i)
  if (twice !== undefined) throw new InputError(`--merge: ${twice} is in two of the files`)
  return whole
}
