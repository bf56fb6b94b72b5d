/** Commands in the guest: as streams, and with everything collected. */
import type { Agent, Signal } from './agent.ts'

/** What can be given as input or content. Text is UTF-8. */
export type Bytes = string | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>

export interface ExecOptions {
  /** Standard input; default: empty. */
  readonly stdin?: Bytes
  /** Milliseconds, from when the command is asked for. */
  readonly timeout?: number
  readonly signal?: AbortSignal
  /** How outputs are given; default `utf8`. */
  readonly encoding?: 'utf8' | 'bytes'
}

export interface ExecResult<Output> {
  readonly stdout: Output
  readonly stderr: Output
  /** 128 + n if it was ended by signal n. */
  readonly exitCode: number
}

/** A command that runs. Its outputs must be read: what waits is kept. */
export interface Process {
  readonly stdout: ReadableStream<Uint8Array>
  readonly stderr: ReadableStream<Uint8Array>
  /** Exit code; 128 + n for signal n. Rejects if the machine stops before. */
  readonly exitCode: Promise<number>
  /** To the command and all that it has started in its session. */
  kill(signal?: Signal): void
}

function output(): { stream: ReadableStream<Uint8Array>; controller: ReadableStreamDefaultController<Uint8Array> } {
  let controller!: ReadableStreamDefaultController<Uint8Array>
  const stream = new ReadableStream<Uint8Array>({ start: (own) => void (controller = own) })
  return { stream, controller }
}

/** A reader may have gone away: then nothing is left to do. */
function quietly(act: () => void): void {
  try {
    act()
  } catch {
    // The stream was cancelled.
  }
}

function pieces(input: Bytes): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (typeof input === 'string') return [new TextEncoder().encode(input)]
  return input instanceof Uint8Array ? [input] : input
}

export function spawn(agent: Agent, command: string, { stdin }: { readonly stdin?: Bytes | undefined }): Process {
  const [stdout, stderr] = [output(), output()]
  const ended = Promise.withResolvers<number>()
  let id: number | undefined
  let killed: Signal | undefined
  const close = (act: (controller: ReadableStreamDefaultController<Uint8Array>) => void) => {
    for (const { controller } of [stdout, stderr]) quietly(() => act(controller))
  }
  const lost = (error: Error) => {
    close((controller) => controller.error(error))
    ended.reject(error)
  }
  // Who reads only the outputs need not look at it.
  ended.promise.catch(() => {})
  const start = async () => {
    await agent.ready()
    id = agent.run(command, stdin !== undefined, {
      stdout: (bytes) => quietly(() => stdout.controller.enqueue(bytes)),
      stderr: (bytes) => quietly(() => stderr.controller.enqueue(bytes)),
      exit: (code) => {
        close((controller) => controller.close())
        ended.resolve(code)
      },
      lost,
    })
    if (killed) agent.kill(id, killed)
    if (stdin !== undefined) await agent.send(id, pieces(stdin))
  }
  start().catch((error: unknown) => {
    if (id !== undefined) agent.kill(id, 'KILL')
    lost(error as Error)
  })
  return {
    stdout: stdout.stream,
    stderr: stderr.stream,
    exitCode: ended.promise,
    kill: (signal = 'TERM') => {
      if (id === undefined) killed = signal
      else agent.kill(id, signal)
    },
  }
}

export async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of stream) parts.push(part)
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export async function execute(
  agent: Agent,
  command: string,
  { stdin, timeout, signal, encoding = 'utf8' }: ExecOptions,
): Promise<ExecResult<string | Uint8Array>> {
  const signals = AbortSignal.any(
    [signal, timeout === undefined ? undefined : AbortSignal.timeout(timeout)].filter((one) => one !== undefined),
  )
  signals.throwIfAborted()
  const running = spawn(agent, command, { stdin })
  const aborted = new Promise<never>((_, reject) =>
    signals.addEventListener('abort', () => {
      running.kill('KILL')
      reject(signals.reason as Error)
    }),
  )
  aborted.catch(() => {})
  const all = Promise.all([collect(running.stdout), collect(running.stderr), running.exitCode])
  all.catch(() => {})
  const [stdout, stderr, exitCode] = await Promise.race([all, aborted])
  if (encoding === 'bytes') return { stdout, stderr, exitCode }
  const text = new TextDecoder()
  return { stdout: text.decode(stdout), stderr: text.decode(stderr), exitCode }
}
