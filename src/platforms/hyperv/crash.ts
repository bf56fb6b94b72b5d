/** The guest's last words (TLFS, "Partition Crash Enlightenment"): five parameters, and perhaps a message. */
import type { Effects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const NOTIFY = 1n << 63n
const MESSAGE = 1n << 62n
const LONGEST_MESSAGE = 4096n

export class Crash implements Stateful {
  readonly parameters = [0n, 0n, 0n, 0n, 0n]
  readonly #effects: Pick<Effects, 'machine' | 'memory'>

  constructor(effects: Pick<Effects, 'machine' | 'memory'>) {
    this.#effects = effects
  }

  transfer(state: Transfer): void {
    state.list('parameters', this.parameters)
  }

  /** What can be asked for. */
  get control(): bigint {
    return NOTIFY | MESSAGE
  }

  write(value: bigint): void {
    if ((value & NOTIFY) === 0n) return
    const words = this.parameters.map((word, i) => `P${i}=0x${word.toString(16)}`).join(' ')
    this.#effects.machine.report([`crash: ${words}`, ...(value & MESSAGE ? this.#message() : [])])
  }

  /** P3 and P4 are where it lies and how long it is. */
  #message(): string[] {
    const [, , , address, size] = this.parameters as [bigint, bigint, bigint, bigint, bigint]
    const length = size < LONGEST_MESSAGE ? size : LONGEST_MESSAGE
    const bytes = this.#effects.memory.read(address, Number(length))
    if (!bytes) return []
    const text = new TextDecoder('latin1').decode(bytes)
    // It may go to a terminal: nothing but text.
    const lines = text.split(/\r?\n|\0/).map((line) => line.replace(/[^\t\x20-\x7e]/g, '.'))
    return lines.filter((line) => line !== '')
  }
}
