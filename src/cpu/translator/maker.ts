/**
 * Has modules made and compiled in another thread, which all machines of this one share. It is started by the first
 * machine, and lives as long as the process or page.
 */
import { startThread } from '#thread'
import type { Interpreter } from '../interpreter/build.ts'
import type { FromMaker, Thread } from './serve.ts'
import type { Snapshot } from './snapshot.ts'

/** A module, its bytes, and those of each region in it (0: none could be made). */
export interface Compiled {
  readonly module: WebAssembly.Module
  readonly bytes: number
  readonly sizes: readonly number[]
}

interface Job {
  resolve(made: Compiled | undefined): void
  reject(error: Error): void
}

class Maker {
  #thread: Thread | undefined
  readonly #interpreters = new Map<Interpreter, number>()
  readonly #jobs = new Map<number, Job>()
  #next = 0
  #failed = false

  /** Start the thread, which takes longer than the first region: it is there when that is asked for. */
  prepare(interpreter: Interpreter): void {
    this.#tablesOf(interpreter)
  }

  /** Undefined where there can be no such thread. */
  async make(interpreter: Interpreter, snapshots: Snapshot[]): Promise<Compiled | undefined> {
    const { thread, number } = this.#tablesOf(interpreter)
    if (this.#failed) return undefined
    const job = this.#next++
    return new Promise((resolve, reject) => {
      this.#jobs.set(job, { resolve, reject })
      thread.post({ kind: 'make', job, interpreter: number, snapshots })
    })
  }

  /** The thread, and the number by which it knows an interpreter's tables. */
  #tablesOf(interpreter: Interpreter): { thread: Thread; number: number } {
    const thread = (this.#thread ??= this.#start())
    let number = this.#interpreters.get(interpreter)
    if (number === undefined) {
      this.#interpreters.set(interpreter, (number = this.#interpreters.size))
      const { handlers, ends, traits, origins, names } = interpreter
      thread.post({ kind: 'tables', interpreter: number, tables: { handlers, ends, traits, origins, names } })
    }
    return { thread, number }
  }

  #start(): Thread {
    return startThread(
      (message) => this.#take(message),
      () => this.#fail(),
    )
  }

  #take(message: FromMaker): void {
    const job = this.#jobs.get(message.job)
    this.#jobs.delete(message.job)
    if ('error' in message) job?.reject(new Error(message.error))
    else job?.resolve(message)
  }

  #fail(): void {
    this.#failed = true
    for (const { resolve } of this.#jobs.values()) resolve(undefined)
    this.#jobs.clear()
  }
}

export const maker = new Maker()
