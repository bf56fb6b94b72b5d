/** `paravirt matrix`: the same kernel on every platform, told as a table or for machines. */
import { writeFileSync } from 'node:fs'
import { InputError } from '../errors.ts'
import { fileProblem } from '../file-problem.ts'
import { readExpectations } from '../matrix/expectations.ts'
import { htmlPage } from '../matrix/html.ts'
import { junitXml } from '../matrix/junit.ts'
import { merge, readReport } from '../matrix/merge.ts'
import { cellsOf, parseShard } from '../matrix/plan.ts'
import { REPORT_VERSION, type Report } from '../matrix/report.ts'
import { judged } from '../matrix/run.ts'
import { tableText } from '../matrix/table.ts'
import { tapText } from '../matrix/tap.ts'
import { exitCode, MatrixExit } from '../matrix/verdict.ts'
import { definitions } from '../platforms/index.ts'
import { bootCells, Ended, KernelError, planCells, type PlanOptions } from './matrix-plan.ts'

export interface MatrixOptions extends PlanOptions {
  readonly expect?: string
  readonly shard?: string
  readonly merge?: true
  readonly tap?: true
  readonly json?: true
  readonly junit?: string
  readonly html?: string
}

/** Returns the exit code; usage errors are InputErrors. */
export async function matrix(names: readonly string[], options: MatrixOptions): Promise<number> {
  try {
    if (options.tap && options.json) throw new InputError('--tap and --json both write to stdout; choose one')
    const requests = Object.fromEntries(
      Object.values(definitions).map(({ name, requests: all }) => [name, all.map((request) => request.name)]),
    )
    const expectations = options.expect === undefined ? undefined : readExpectations(options.expect, requests)
    const report = judged(await (options.merge ? merged(names) : booted(names, options)), expectations)
    output(report, options)
    return exitCode(report.cells)
  } catch (error) {
    if (error instanceof Ended) return error.code
    if (!(error instanceof InputError)) throw error
    process.stderr.write(`paravirt: ${error.message}\n`)
    return error instanceof KernelError ? MatrixExit.SKIP : MatrixExit.USAGE
  }
}

function merged(files: readonly string[]): Report {
  if (files.length === 0) throw new InputError('--merge needs the files that --json wrote')
  return merge(files.map(readReport))
}

async function booted(names: readonly string[], options: MatrixOptions): Promise<Report> {
  const { append, exec } = options
  const shard = options.shard === undefined ? undefined : parseShard(options.shard)
  if (options.junit !== undefined) checkWritable('--junit', options.junit)
  if (options.html !== undefined) checkWritable('--html', options.html)
  const { plans, jobs, kernels, chosen, memory, cpus, timeout } = await planCells(names, options)
  const cells = await bootCells(cellsOf(plans, shard), jobs, kernels.length > 1)
  return {
    paravirtMatrix: REPORT_VERSION,
    platforms: [...chosen],
    kernels: [...kernels],
    settings: {
      memory,
      cpus,
      timeout,
      ...(append === undefined ? {} : { append }),
      ...(exec === undefined ? {} : { exec }),
    },
    ...(shard ? { shard } : {}),
    cells,
  }
}

/** Before minutes of work, not after. */
function checkWritable(option: string, path: string): void {
  try {
    writeFileSync(path, '', { flag: 'a' })
  } catch (error) {
    throw new InputError(`${option} ${path}: ${fileProblem(error, 'write')}`)
  }
}

function output(report: Report, { tap, json, junit, html }: MatrixOptions): void {
  if (junit !== undefined) writeFileSync(junit, junitXml(report))
  if (html !== undefined) writeFileSync(html, htmlPage(report))
  const text = json
    ? JSON.stringify(report)
    : tap
      ? tapText(report)
      : tableText(report, process.stdout.isTTY === true && process.stdout.hasColors())
  process.stdout.write(`${text}\n`)
}
