/** Kernels and options of `matrix` and its like made into boots, and these carried out. */
import { constants } from 'node:os'
import { loadKernel } from '../boot/kernel.ts'
import { InputError } from '../errors.ts'
import type { CellPlan } from '../matrix/plan.ts'
import type { Cell } from '../matrix/report.ts'
import { defaultJobs, runCells } from '../matrix/run.ts'
import { DEFAULT_KERNEL } from '../packages/debian.ts'
import { platforms, type PlatformName } from '../platforms/index.ts'
import { signalExitCode } from './exit-codes.ts'
import { readInitrd } from './guest.ts'
import { findKernelPath } from './kernel-path.ts'
import { lineProgress, liveProgress } from './matrix-progress.ts'
import { parseCpus, parseJobs, parseMemory, parseName, parseTimeout } from './options.ts'

/** As commander gives them. */
export interface PlanOptions {
  readonly platforms?: string
  readonly memory: string
  readonly cpus: string
  readonly append?: string
  readonly initrd?: string
  readonly exec?: string
  readonly until?: string
  readonly timeout: string
  readonly deterministic?: true
  readonly jobs?: string
}

/** A kernel that cannot be had: a bisection goes on with another commit. */
export class KernelError extends InputError {}

export interface Planned {
  readonly plans: readonly CellPlan[]
  readonly jobs: number
  readonly kernels: readonly string[]
  readonly chosen: readonly PlatformName[]
  readonly memory: number
  readonly cpus: number
  readonly timeout: number
}

/** Throws InputError, for kernels KernelError. */
export async function planCells(names: readonly string[], options: PlanOptions): Promise<Planned> {
  const { append, initrd, exec, until, deterministic = false } = options
  const memory = parseMemory(options.memory)
  const cpus = parseCpus(options.cpus)
  const timeout = parseTimeout(options.timeout)
  const jobs = options.jobs === undefined ? defaultJobs(memory) : parseJobs(options.jobs)
  const chosen = options.platforms === undefined ? platforms : parsePlatforms(options.platforms)
  if (exec !== undefined && initrd !== undefined)
    throw new InputError(
      '--exec needs the default initramfs; leave out --initrd, or say with --until what ends the boot',
    )
  if (initrd !== undefined) await readInitrd(initrd, memory)
  const kernels = [...new Set(names.length > 0 ? names : [DEFAULT_KERNEL])]
  const paths = new Map<string, string>()
  for (const name of kernels) paths.set(name, await kernelPath(name))
  const plans = kernels.flatMap((kernel) =>
    chosen.map((platform): CellPlan => {
      const path = paths.get(kernel)!
      return { kernel, path, platform, memory, cpus, append, initrd, exec, until, timeout, deterministic }
    }),
  )
  return { plans, jobs, kernels, chosen, memory, cpus, timeout }
}

/** Ended by a signal. */
export class Ended extends Error {
  readonly code: number

  constructor(signal: NodeJS.Signals) {
    super(signal)
    this.code = signalExitCode(constants.signals[signal])
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

/** Boots them, with progress on stderr. Throws Ended. */
export async function bootCells(plans: readonly CellPlan[], jobs: number, several: boolean): Promise<Cell[]> {
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
    const { path } = await findKernelPath(name)
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
