/** What devices and the caller tell the run loop: stop, pause, wake up. */
import type { ExitReason } from './types.ts'
import { turn } from './turn.ts'

export class RunState {
  reason: ExitReason | undefined
  /** Ends the running slice. */
  interrupt: (() => void) | undefined
  #wake: (() => void) | undefined
  /** Waits for the loop to rest; set while it shall. */
  #pausing: PromiseWithResolvers<void> | undefined
  #resuming = Promise.withResolvers<void>()

  stop(reason: ExitReason): void {
    this.reason ??= reason
    this.interrupt?.()
    this.wake()
    this.#resuming.resolve()
  }

  wake(): void {
    this.#wake?.()
  }

  /** Settles when no guest code runs: between two slices, wherever these end by themselves. */
  pause(running: boolean): Promise<void> {
    this.#pausing ??= Promise.withResolvers()
    if (!running) this.#pausing.resolve()
    this.wake()
    return this.#pausing.promise
  }

  resume(): void {
    this.#pausing = undefined
    this.#resuming.resolve()
    this.#resuming = Promise.withResolvers()
  }

  get paused(): boolean {
    return this.#pausing !== undefined
  }

  /** The loop rests until it is resumed or stopped. */
  async rest(): Promise<void> {
    while (this.#pausing && !this.reason) {
      this.#pausing.resolve()
      await this.#resuming.promise
    }
  }

  /** Sleep at most `ns`, less if something wakes the machine. Short waits spin: timers of the host are coarse. */
  async sleep(ns: number): Promise<void> {
    if (ns < 1e6) {
      await turn()
      return
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(Math.floor(ns / 1e6), 60_000))
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }
}
