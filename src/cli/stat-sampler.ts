/**
 * Which functions a guest is in: looks at the vCPUs' instruction pointers now and then, between slices. A function of
 * the kernel's is told by its symbol; a halted vCPU is found where it halted, as by any profiler that samples.
 */
import type { Core } from '../cpu/core.ts'
import { S } from '../cpu/layout.ts'
import type { SymbolTable } from '../symbols/symbols.ts'

const EVERY_MS = 3
/** Where processors wait that the kernel has not started. */
const RESET = 0xfff0n

export class Sampler implements Disposable {
  readonly #core: Core
  readonly #symbols: SymbolTable | undefined
  /** The kernel's code begins here; below are its per-CPU variables, whose addresses user space has, too. */
  readonly #first: bigint
  readonly #timer: NodeJS.Timeout
  #functions = new Map<string, number>()
  #samples = 0

  constructor(core: Core, symbols: SymbolTable | undefined) {
    this.#core = core
    this.#symbols = symbols
    this.#first = symbols?.address('_stext') ?? 0n
    this.#timer = setInterval(() => this.#sample(), EVERY_MS)
    this.#timer.unref()
  }

  /** What was found since the last time. */
  take(): { functions: [name: string, samples: number][]; samples: number } {
    const taken = { functions: [...this.#functions], samples: this.#samples }
    this.#functions = new Map()
    this.#samples = 0
    return taken
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #sample(): void {
    const { vcpus, u64, i32 } = this.#core
    for (const p of vcpus) {
      const rip = u64[(p + S.RIP) >> 3] as bigint
      const user = (i32[(p + S.CPL) >> 2] as number) === 3
      if (rip === RESET) continue
      const place = rip >= this.#first ? this.#symbols?.find(rip) : undefined
      const name = place?.name ?? (user ? '[user space]' : `0x${rip.toString(16)}`)
      this.#functions.set(name, (this.#functions.get(name) ?? 0) + 1)
      this.#samples++
    }
  }
}
