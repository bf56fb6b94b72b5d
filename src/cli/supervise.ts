/**
 * A machine while it runs: its serial ports joined to the terminal or to --exec's outputs, and every reason to end it
 * (Ctrl-A X, timeout, signals, a closed output, the command's end) turned into one abort. Returns the exit code.
 */
import type { Machine } from '../machine/machine.ts'
import type { GuestControl } from '../paravirt/platform.ts'
import type { MachineStats, SerialSinks } from '../machine/types.ts'
import { execSinks } from './exec.ts'
import { outcome } from './outcome.ts'
import type { Stop } from './outcome.ts'
import { LineWatcher, PanicWatcher } from './panic.ts'
import { saveTo, type SnapshotPlan } from './snapshot.ts'
import { attachTerminal } from './terminal.ts'

/** What is needed of a machine. */
interface Runnable extends Pick<Machine, 'pause' | 'resume' | 'save'> {
  run(signal: AbortSignal): Promise<Parameters<typeof outcome>[0]['reason']>
  readonly serial: readonly { send(bytes: Uint8Array): void }[]
  readonly control?: GuestControl | undefined
  stats(): MachineStats
}

export interface SuperviseOptions {
  readonly executing: boolean
  /** Milliseconds. */
  readonly timeout: number | undefined
  readonly stats: boolean
  /** A guest that resets itself begins again, unless it has panicked or was to run a command. */
  readonly reboot?: boolean
  readonly snapshot?: SnapshotPlan | undefined
  /** Somebody else than the terminal's user ends the machine. */
  readonly quit?: AbortSignal | undefined
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

export async function supervise(
  start: (serial: SerialSinks) => Promise<Runnable>,
  { executing, timeout, stats, reboot = false, snapshot, quit }: SuperviseOptions,
): Promise<number> {
  const began = performance.now()
  const ending = new AbortController()
  let stop: Stop | undefined
  const end = (why: Stop) => {
    stop ??= why
    ending.abort()
  }
  const panic = new PanicWatcher()
  // guests/init/init.sh, which then powers off.
  const refusal = new LineWatcher(/(?<=paravirt: )this kernel .*/)
  const stdout = (bytes: Uint8Array) => void process.stdout.write(bytes)
  const stderr = (bytes: Uint8Array) => void process.stderr.write(bytes)
  const ended = (exitCode: number) => end({ kind: 'executed', exitCode })
  const save = async (): Promise<string> => {
    if (!snapshot) return 'there is no file to save to: --snapshot FILE says one'
    return saveTo(machine, snapshot).then(
      (size) => `saved to ${snapshot.file} (${(size / 2 ** 20).toFixed(1)} MiB)`,
      (error: unknown) => (error as Error).message,
    )
  }
  const awaited =
    snapshot?.when === undefined
      ? undefined
      : new TextWatcher(snapshot.when, () => {
          void saveTo(machine, snapshot).then(
            () => end({ kind: 'quit' }),
            (error: unknown) => {
              failure = error
              end({ kind: 'quit' })
            },
          )
        })
  let failure: unknown
  const serial: SerialSinks = {
    com1(bytes) {
      panic.see(bytes)
      if (executing) refusal.see(bytes)
      else stdout(bytes)
      awaited?.see(bytes)
    },
    ...(executing ? execSinks({ stdout, stderr, ended }) : {}),
  }

  using cleanUp = new DisposableStack()
  for (const signal of SIGNALS) {
    const onSignal = () => end({ kind: 'signal', signal })
    process.on(signal, onSignal)
    cleanUp.defer(() => process.off(signal, onSignal))
  }
  // The reader of our output has gone: `paravirt run | head`.
  const onClosed = () => end({ kind: 'signal', signal: 'SIGPIPE' })
  process.stdout.on('error', onClosed)
  cleanUp.defer(() => process.stdout.off('error', onClosed))
  if (timeout !== undefined) {
    const timer = setTimeout(() => end({ kind: 'timeout', milliseconds: timeout }), timeout)
    cleanUp.defer(() => clearTimeout(timer))
  }

  const onQuit = () => end({ kind: 'quit' })
  quit?.addEventListener('abort', onQuit)
  cleanUp.defer(() => quit?.removeEventListener('abort', onQuit))

  let machine = await start(serial)
  if (!executing)
    cleanUp.use(
      attachTerminal({
        send: (bytes) => machine.serial[0]!.send(bytes),
        quit: () => end({ kind: 'quit' }),
        save,
        control: () => machine.control,
      }),
    )
  let reason = await machine.run(ending.signal)
  const again = () => reboot && !executing && reason.kind === 'reset' && !stop && panic.finish() === undefined
  while (again()) {
    machine = await start(serial)
    reason = await machine.run(ending.signal)
  }
  cleanUp.dispose()
  if (failure !== undefined) throw failure

  const { code, line } = outcome({ reason, stop, panic: panic.finish(), executing, refusal: refusal.finish() })
  if (line !== undefined) process.stderr.write(`paravirt: ${line}\n`)
  if (stats) printStats(machine.stats(), (performance.now() - began) / 1000)
  return code
}

/** Calls back once when a text has been seen, in pieces of any size. */
class TextWatcher {
  readonly #text: string
  readonly #found: () => void
  readonly #decoder = new TextDecoder('latin1')
  #seen: string | undefined = ''

  constructor(text: string, found: () => void) {
    this.#text = new TextDecoder('latin1').decode(new TextEncoder().encode(text))
    this.#found = found
  }

  see(bytes: Uint8Array): void {
    if (this.#seen === undefined) return
    const text = this.#seen + this.#decoder.decode(bytes)
    this.#seen = text.includes(this.#text) ? undefined : text.slice(-this.#text.length)
    if (this.#seen === undefined) this.#found()
  }
}

function printStats({ instructions, virtualNanoseconds, translation }: MachineStats, seconds: number): void {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage()
  const cpu = (userCPUTime + systemCPUTime) / 1e6
  process.stderr.write(
    `paravirt: ${instructions} instructions, ${seconds.toFixed(2)} s, ${(instructions / seconds / 1e6).toFixed(1)} MIPS; ` +
      `CPU ${cpu.toFixed(2)} s; guest's time ${(virtualNanoseconds / 1e9).toFixed(2)} s; peak ${Math.round(maxRSS / 1024)} MiB\n`,
  )
  if (translation) process.stderr.write(`paravirt: ${translationLine(translation)}\n`)
}

function translationLine({ regions, modules, bytes, pauses }: NonNullable<MachineStats['translation']>): string {
  const ms = (milliseconds: number) => `${milliseconds.toFixed(1)} ms`
  return (
    `${regions} regions translated in ${modules} modules of ${(bytes / 1024).toFixed(0)} KiB; ${pauses.count} pauses, ` +
    `${ms(pauses.milliseconds)} in all, 99.9 % within ${ms(pauses.percentile(0.999))}, longest ${ms(pauses.longest)}`
  )
}
