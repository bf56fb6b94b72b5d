/** One boot of the matrix: a kernel on a platform until user space, its end, or the time limit. */
import { readFileSync } from 'node:fs'
import { loadKernel } from '../boot/kernel.ts'
import type { Kernel } from '../boot/entries.ts'
import { execSinks } from '../cli/exec.ts'
import { guestPlan } from '../cli/guest.ts'
import { PanicWatcher } from '../cli/panic.ts'
import { cpuModels } from '../cpu/models.ts'
import { InputError } from '../errors.ts'
import { Machine } from '../machine/machine.ts'
import type { ExitReason } from '../machine/types.ts'
import { ConsoleLines } from './console-lines.ts'
import { inspectEnd } from './end.ts'
import { refusal } from '../platforms/refusal.ts'
import { parseRawLog } from '../symbols/printk.ts'
import type { CellPlan } from './plan.ts'
import { blankCell, verdictOf, type Cell, type OutcomeKind } from './report.ts'
import { RequestsLog } from './requests-log.ts'

/** What guests/init/init.sh prints first, and what a kernel says before it starts any other init. */
const USER_SPACE = /^paravirt: user space$|Run \S+ as init process/
const DETECTED = /Booting (?:paravirtualized )?kernel on (.+)$/
/** Between the command's output and the log. */
const SEPARATOR = '\x1eparavirt-log\n'

export interface Progress {
  /** The last line of the console. */
  readonly line: string
  readonly instructions: number
  readonly virtualNanoseconds: number
}

type Stop = { kind: 'command'; exitCode: number } | { kind: 'until' } | { kind: 'timeout' }

/** Never throws: what goes wrong is the cell's outcome. */
export async function runCell(plan: CellPlan, onProgress: (progress: Progress) => void): Promise<Cell> {
  const empty = blankCell(plan)
  const began = performance.now()
  const seconds = () => (performance.now() - began) / 1000
  try {
    const kernel = await loadKernel(plan.path, plan.kernel)
    empty.version = kernel.version.split(' ')[0]!
    const reason = refusal(kernel, plan.platform)
    if (reason !== undefined) return { ...empty, outcome: 'cannot-enter', detail: reason, seconds: seconds() }
    return { ...(await boot(plan, kernel, empty, onProgress)), seconds: seconds() }
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    // The kernel was read before, by whoever planned this: what is refused now is the way into it.
    const outcome = error instanceof InputError ? 'cannot-enter' : 'host-error'
    return { ...empty, outcome, detail, seconds: seconds() }
  }
}

async function boot(
  plan: CellPlan,
  kernel: Kernel,
  empty: Cell,
  onProgress: (progress: Progress) => void,
): Promise<Cell> {
  const { initrd, append, exec, until } = plan
  let machine: Machine | undefined
  let userSpace: Cell['userSpace']
  let detected: string | undefined
  let stop: Stop | undefined
  let output = ''
  const ending = new AbortController()
  const end = (why: Stop) => {
    stop ??= why
    ending.abort()
  }
  const panic = new PanicWatcher()
  const now = () => machine?.stats().virtualNanoseconds ?? 0
  const lines = new ConsoleLines(now, ({ t, text }) => {
    if (!userSpace && USER_SPACE.test(text)) userSpace = { t, instructions: machine!.stats().instructions }
    detected ??= DETECTED.exec(text)?.[1]
    if (until !== undefined && text.includes(until)) end({ kind: 'until' })
    const { instructions, virtualNanoseconds } = machine!.stats()
    onProgress({ line: text, instructions, virtualNanoseconds })
  })
  const decoder = new TextDecoder()
  const command = execSinks({
    stdout: (bytes) => (output += decoder.decode(bytes, { stream: true })),
    stderr: (bytes) => (output += decoder.decode(bytes, { stream: true })),
    ended: (exitCode) => end({ kind: 'command', exitCode }),
  })
  machine = await Machine.create({
    memory: plan.memory,
    cpus: plan.cpus,
    platform: plan.platform,
    cpu: cpuModels[0],
    census: plan.census === true,
    deterministic: plan.deterministic === true,
    boot: await guestPlan({
      kernel,
      platform: plan.platform,
      initrd: initrd === undefined ? undefined : readFileSync(initrd),
      exec: loggedScript(exec),
      append,
    }),
    serial: {
      com1(bytes) {
        panic.see(bytes)
        lines.see(bytes)
      },
      ...(initrd === undefined ? command : {}),
    },
    onReport: (report) => lines.see(new TextEncoder().encode(report.map((line) => `${line}\n`).join(''))),
  })
  const requests = new RequestsLog(plan.platform, machine.requests)
  const timer = setTimeout(() => end({ kind: 'timeout' }), plan.timeout)
  const reason = await machine.run(ending.signal).finally(() => clearTimeout(timer))
  const { outcome, detail } = outcomeOf({ reason, stop, panic: panic.finish(), reached: userSpace !== undefined, plan })
  const [written = '', rawLog = ''] = output.split(SEPARATOR)
  const found = inspectEnd(machine, kernel, outcome, plan)
  return {
    ...empty,
    ...requests.finish(),
    ...found,
    outcome,
    verdict: verdictOf(outcome),
    ...(detail === undefined ? {} : { detail }),
    ...(userSpace ? { userSpace } : {}),
    ...(detected === undefined ? {} : { detected }),
    instructions: machine.stats().instructions,
    virtualNanoseconds: machine.stats().virtualNanoseconds,
    messages: found.messages ?? (rawLog ? parseRawLog(rawLog) : unlevelled(lines)),
    console: lines.finish(),
    output: written,
  }
}

/** The log comes after the command's output, for kernels whose memory does not show it. */
const loggedScript = (exec = ':'): string =>
  `(\n${exec}\n)\ncode=$?\nprintf '\\036paravirt-log\\n'\ndmesg -r\nexit $code`

/** The console's lines as the log, without levels. */
function unlevelled(lines: ConsoleLines): Cell['messages'] {
  return lines.finish().map(({ t, text }) => ({ t, text: text.replace(/^\[ *\d+\.\d+\] /, '') }))
}

interface Ended {
  readonly reason: ExitReason
  readonly stop: Stop | undefined
  readonly panic: string | undefined
  /** User space. */
  readonly reached: boolean
  readonly plan: CellPlan
}

function outcomeOf({ reason, stop, panic, reached, plan }: Ended): { outcome: OutcomeKind; detail?: string } {
  if (stop?.kind === 'command')
    return stop.exitCode === 0
      ? { outcome: 'ok' }
      : { outcome: 'command-failed', detail: `the command ended with ${stop.exitCode}` }
  if (stop?.kind === 'until') return { outcome: 'ok' }
  if (panic !== undefined) return { outcome: 'panic', detail: panic }
  if (stop?.kind === 'timeout') {
    const where = reached ? 'in user space' : 'before user space'
    return { outcome: 'hang', detail: `still running after ${plan.timeout / 1000} s, ${where}` }
  }
  switch (reason.kind) {
    case 'power-off':
      // An initramfs of the user's own has done its work; ours would have told how the command ended.
      if (plan.initrd !== undefined && plan.until === undefined && reached) return { outcome: 'ok' }
      return { outcome: 'power-off', detail: `the guest powered off ${reached ? 'too early' : 'before user space'}` }
    case 'exit':
      return reason.code === 0 ? { outcome: 'ok' } : { outcome: 'command-failed', detail: `exit code ${reason.code}` }
    case 'triple-fault':
      return { outcome: 'triple-fault', detail: reason.detail }
    case 'crash':
      return { outcome: 'crash', detail: reason.detail }
    case 'halted':
      return { outcome: 'halted', detail: 'HLT with interrupts off, and nothing that could end it' }
    case 'reset':
      return { outcome: 'reset', detail: 'the guest reset itself' }
    case 'aborted':
      throw new Error('the machine was aborted, but by nobody')
  }
}
