/**
 * The host's end of guests/init/agent.sh: commands in the guest, beside its shell. Lines go over one port in both
 * directions, the bytes of standard inputs over another one. Commands run at the same time; each one's input flows as
 * fast as it reads.
 */
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

/** Bytes of a chunk of standard input, and chunks that may wait in the guest. */
const CHUNK = 16 << 10
const WINDOW = 4

export interface AgentPorts {
  /** Lines. */
  control(bytes: Uint8Array): void
  /** Bytes of standard inputs. */
  data(bytes: Uint8Array): void
}

export interface ProcessEvents {
  stdout(bytes: Uint8Array): void
  stderr(bytes: Uint8Array): void
  /** 128 + n for signal n. */
  exit(code: number): void
  /** The machine is gone. */
  lost(error: Error): void
}

interface Running extends ProcessEvents {
  /** Chunks sent, and taken by the command. */
  sent: number
  taken: number
  wake: (() => void) | undefined
}

export type Signal = 'HUP' | 'INT' | 'TERM' | 'KILL'

export class Agent implements Stateful {
  readonly #ports: AgentPorts
  readonly #running = new Map<number, Running>()
  /** Wait for the guest's end. */
  readonly #waiting: { resolve(): void; reject(error: Error): void }[] = []
  #ready = false
  #next = 1
  #line: string[] = []
  #lost: Error | undefined

  constructor(ports: AgentPorts) {
    this.#ports = ports
  }

  /** What runs in the guest when a snapshot is taken is nobody's in the restored machine. */
  transfer(state: Transfer): void {
    this.#ready = state.field('ready', this.#ready)
    this.#next = state.field('next', this.#next)
  }

  /** Settles when commands can run. */
  async ready(): Promise<void> {
    if (this.#lost) throw this.#lost
    if (this.#ready) return
    await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /** Ask the guest's end whether it is there. */
  greet(): void {
    this.#say('hello')
  }

  /** Nothing more will come. */
  lose(error: Error): void {
    this.#lost ??= error
    for (const { reject } of this.#waiting.splice(0)) reject(error)
    for (const [id, running] of this.#running) {
      this.#running.delete(id)
      running.wake?.()
      running.lost(error)
    }
  }

  /** Start a command; its number. `input`: it will be sent, and ended. */
  run(command: string, input: boolean, events: ProcessEvents): number {
    const id = this.#next++
    this.#running.set(id, { ...events, sent: 0, taken: 0, wake: undefined })
    this.#say(`run ${id} ${Number(input)} ${quoted(command)}`)
    return id
  }

  /** Settles when all of it was sent, or when the command has ended. */
  async send(id: number, input: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    for await (const piece of input)
      for (let at = 0; at < piece.length; at += CHUNK) {
        const chunk = piece.subarray(at, at + CHUNK)
        for (;;) {
          const running = this.#running.get(id)
          if (!running) return
          if (running.sent - running.taken < WINDOW) {
            this.#say(`in ${id} ${++running.sent} ${chunk.length}`)
            this.#ports.data(chunk)
            break
          }
          await new Promise<void>((resolve) => (running.wake = resolve))
        }
      }
    if (this.#running.has(id)) this.#say(`end ${id}`)
  }

  kill(id: number, signal: Signal): void {
    if (this.#running.has(id)) this.#say(`kill ${id} ${signal}`)
  }

  /** Bytes of the control port. */
  receive(bytes: Uint8Array): void {
    const text = latin1.decode(bytes)
    const lines = text.split('\n')
    const rest = lines.pop() as string
    for (const line of lines) {
      this.#line.push(line)
      this.#hear(this.#line.join(''))
      this.#line = []
    }
    if (rest !== '') this.#line.push(rest)
  }

  #say(line: string): void {
    this.#ports.control(new TextEncoder().encode(`${line}\n`))
  }

  #hear(line: string): void {
    const [word, id, rest = ''] = line.split(' ')
    if (word === 'ready') {
      this.#ready = true
      for (const { resolve } of this.#waiting.splice(0)) resolve()
    }
    const running = this.#running.get(Number(id))
    if (!running) return
    switch (word) {
      case 'out':
        return running.stdout(fromBase64(rest))
      case 'err':
        return running.stderr(fromBase64(rest))
      case 'took':
        running.taken++
        break
      case 'exit':
        this.#running.delete(Number(id))
        running.exit(Number(rest) & 0xff)
        break
      default:
    }
    running.wake?.()
    running.wake = undefined
  }
}

const latin1 = new TextDecoder('latin1')

/** A word for the guest's shell, in one line. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`).replaceAll('\n', `'"$newline"'`)}'`
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text)
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i)
  return bytes
}
