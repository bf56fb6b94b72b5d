/** `paravirt stat`: a guest while it runs, in figures: requests, exits and what they cost, where its time goes. */
import { createLogUpdate } from 'log-update'
import { loadKernel } from '../boot/kernel.ts'
import { cpuModels } from '../cpu/models.ts'
import { InputError } from '../errors.ts'
import { ExitCounts } from '../machine/exits.ts'
import { Machine } from '../machine/machine.ts'
import { platforms } from '../platforms/index.ts'
import { decodeKallsyms } from '../symbols/kallsyms.ts'
import { guestPlan, readInitrd } from './guest.ts'
import { findKernelPath } from './kernel-path.ts'
import { parseCpus, parseMemory, parseName, parseTimeout } from './options.ts'
import { Sampler } from './stat-sampler.ts'
import { statLines, type Rates } from './stat-view.ts'
import { supervise } from './supervise.ts'

export interface StatOptions {
  readonly on: string
  readonly memory: string
  readonly cpus: string
  readonly append?: string
  readonly initrd?: string
  readonly exec?: string
  readonly timeout?: string
  readonly interval: string
}

/** Counts since the last time, and since the beginning. */
class Counter {
  #last = new Map<string, readonly [count: number, milliseconds: number]>()

  since(now: Iterable<readonly [name: string, count: number, milliseconds: number]>): Rates {
    const current = new Map([...now].map(([name, count, ms]) => [name, [count, ms] as const]))
    const rows = [...current].map(([name, [count, ms]]) => {
      const [before, msBefore] = this.#last.get(name) ?? [0, 0]
      return [name, count - before, ms - msBefore] as const
    })
    this.#last = current
    return { rows }
  }
}

/** Returns the exit code, which is that of `run`. */
export async function stat(name: string | undefined, options: StatOptions): Promise<number> {
  const { append, exec, initrd } = options
  const memory = parseMemory(options.memory)
  const cpus = parseCpus(options.cpus)
  const platform = parseName('platform', options.on, platforms)
  const timeout = options.timeout === undefined ? undefined : parseTimeout(options.timeout)
  const interval = parseInterval(options.interval)
  if (exec !== undefined && initrd !== undefined)
    throw new InputError('--exec needs the default initramfs; leave out --initrd')
  const given = initrd === undefined ? undefined : await readInitrd(initrd, memory)
  const { path, source } = await findKernelPath(name)
  const kernel = await loadKernel(path, source)
  const boot = await guestPlan({ kernel, platform, initrd: given, exec: exec ?? ':', append, quiet: true })
  const symbols = kernel.elf && decodeKallsyms(kernel.elf)
  const exits = new ExitCounts()
  using cleanUp = new DisposableStack()
  let show: ((last: boolean) => void) | undefined

  const code = await supervise(
    async (serial) => {
      const machine = await Machine.create({ memory, cpus, platform, cpu: cpuModels[0], boot, serial, exits })
      const sampler = cleanUp.use(new Sampler(machine.core, symbols))
      show = statShower(machine, exits, sampler, `${source} on ${platform}`)
      const timer = setInterval(() => show?.(false), interval)
      cleanUp.defer(() => clearInterval(timer))
      return machine
    },
    { executing: true, timeout, stats: false },
  )
  cleanUp.dispose()
  show?.(true)
  return code
}

/** On a terminal each interval takes the place of the last; elsewhere they follow one another. The end is the whole. */
function statShower(machine: Machine, exits: ExitCounts, sampler: Sampler, what: string): (last: boolean) => void {
  const live = process.stderr.isTTY ? createLogUpdate(process.stderr) : undefined
  const requests = new Counter()
  const reasons = new Counter()
  const whole = new Map<string, number>()
  const began = performance.now()
  let samplesOfAll = 0
  let before = began
  let instructions = 0
  const requestCounts = () =>
    [...machine.requests.counts].map(([request, count]) => [`${request.kind} ${request.name}`, count, 0] as const)
  const exitCounts = () =>
    [...exits.counts].map(([reason, { count, milliseconds }]) => [reason, count, milliseconds] as const)
  return (last) => {
    const now = performance.now()
    const { functions, samples } = sampler.take()
    for (const [name, count] of functions) whole.set(name, (whole.get(name) ?? 0) + count)
    samplesOfAll += samples
    const stats = machine.stats()
    const seconds = (now - (last ? began : before)) / 1000
    const made = stats.instructions - (last ? 0 : instructions)
    const title =
      `${what}: ${last ? 'the whole run, ' : ''}${(stats.virtualNanoseconds / 1e9).toFixed(1)} s of the guest's time, ` +
      `${(made / seconds / 1e6).toFixed(0)} million instructions a second`
    const lines = statLines({
      title,
      seconds,
      requests: last ? { rows: requestCounts() } : requests.since(requestCounts()),
      exits: last ? { rows: exitCounts() } : reasons.since(exitCounts()),
      functions: last ? [...whole] : functions,
      samples: last ? samplesOfAll : samples,
    })
    before = now
    instructions = stats.instructions
    const text = lines.join('\n')
    if (live) {
      live(text)
      if (last) live.done()
    } else process.stderr.write(`${text}\n\n`)
  }
}

/** Milliseconds. */
function parseInterval(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : 0
  if (seconds < 0.1 || seconds > 3600) throw new InputError(`--interval '${text}' is not from 0.1 to 3600 seconds`)
  return seconds * 1000
}
