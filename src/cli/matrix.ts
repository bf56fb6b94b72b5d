/** `paravirt matrix`: the same kernel on every platform, told as a table or for machines. */
import { existsSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { loadKernel } from '../boot/kernel.ts'
import { InputError } from '../errors.ts'
import { readExpectations } from '../matrix/expectations.ts'
import { htmlPage } from '../matrix/html.ts'
import { junitXml } from '../matrix/junit.ts'
import { merge, readReport } from '../matrix/merge.ts'
import { cellsOf, parseShard, type CellPlan } from '../matrix/plan.ts'
import { REPORT_VERSION, type Report } from '../matrix/report.ts'
import { defaultJobs, judged, runCells } from '../matrix/run.ts'
import { tableText } from '../matrix/table.ts'
import { tapText } from '../matrix/tap.ts'
import { exitCode, MatrixExit } from '../matrix/verdict.ts'
import { DEFAULT_KERNEL, isKernelPackage, kernelFile } from '../packages/debian.ts'
import { definitions, platforms, type PlatformName } from '../platforms/index.ts'
import { signalExitCode } from './exit-codes.ts'
import { readInitrd } from './guest.ts'
import { lineProgress, liveProgress } from './matrix-progress.ts'
import { parseCpus, parseJobs, parseMemory, parseName, parseTimeout } from './options.ts'

export interface MatrixOptions {
  readonly platforms?: string
  readonly memory: string
  readonly cpus: string
  readonly append?: string
  readonly initrd?: string
  readonly exec?: string
  readonly until?: string
  readonly timeout: string
  readonly jobs?: string
  readonly expect?: string
  readonly shard?: string
  readonly merge?: true
  readonly tap?: true
  readonly json?: true
  readonly junit?: string
  readonly html?: string
}

/** A kernel that cannot be had: a bisection goes on with another commit. */
class KernelError extends InputError {}

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
  const { append, initrd, exec, until } = options
  const memory = parseMemory(options.memory)
  const cpus = parseCpus(options.cpus)
  const timeout = parseTimeout(options.timeout)
  const shard = options.shard === undefined ? undefined : parseShard(options.shard)
  const jobs = options.jobs === undefined ? defaultJobs(memory) : parseJobs(options.jobs)
  const chosen = options.platforms === undefined ? platforms : parsePlatforms(options.platforms)
  if (exec !== undefined && initrd !== undefined)
    throw new InputError(
      '--exec needs the default initramfs; leave out --initrd, or say with --until what ends the boot',
    )
  for (const file of [options.junit, options.html]) if (file !== undefined) checkWritable(file)
  if (initrd !== undefined) await readInitrd(initrd, memory)
  const kernels = [...new Set(names.length > 0 ? names : [DEFAULT_KERNEL])]
  const paths = new Map<string, string>()
  for (const name of kernels) paths.set(name, await kernelPath(name))

  const all = kernels.flatMap((kernel) =>
    chosen.map((platform): CellPlan => {
      const path = paths.get(kernel)!
      return { kernel, path, platform, memory, cpus, append, initrd, exec, until, timeout }
    }),
  )
  const cells = await run(cellsOf(all, shard), jobs, kernels.length > 1)
  return {
    paravirtMatrix: REPORT_VERSION,
    platforms: chosen,
    kernels,
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

/** Ended by a signal. */
class Ended extends Error {
  readonly code: number

  constructor(signal: NodeJS.Signals) {
    super(signal)
    this.code = signalExitCode(constants.signals[signal])
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

async function run(plans: readonly CellPlan[], jobs: number, several: boolean) {
  const ending = new AbortController()
  using cleanUp = new DisposableStack()
  for (const signal of SIGNALS) {
    const onSignal = () => ending.abort(new Ended(signal))
    process.on(signal, onSignal)
    cleanUp.defer(() => process.off(signal, onSignal))
  }
  if (!process.stderr.isTTY) {
    const watcher = lineProgress(several, (line) => process.stderr.write(`${line}\n`))
    return runCells(plans, jobs, watcher, ending.signal)
  }
  const live = liveProgress(plans, several)
  const cells = await runCells(plans, jobs, live, ending.signal)
  await live.drawn
  return cells
}

/** A file that holds a kernel. Throws KernelError. */
async function kernelPath(name: string): Promise<string> {
  try {
    const path = !existsSync(name) && isKernelPackage(name) ? await kernelFile(name) : name
    // Read here, so that each worker finds it unpacked in the cache, and what is no kernel is refused before any boots.
    await loadKernel(path, name)
    return path
  } catch (error) {
    if (error instanceof InputError) throw new KernelError(error.message)
    throw error
  }
}

function parsePlatforms(text: string): PlatformName[] {
  return [...new Set(text.split(',').map((word) => parseName('platform', word.trim(), platforms)))]
}

/** Before minutes of work, not after. */
function checkWritable(path: string): void {
  try {
    writeFileSync(path, '', { flag: 'a' })
  } catch (error) {
    throw new InputError(`${path}: ${(error as Error).message}`)
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
