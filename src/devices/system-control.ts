/**
 * The PC's odd ports: 0x61 (system control B: counter 2's gate, OUT and the refresh toggle), 0x92 (system control A:
 * fast reset, A20), 0x80 (POST code), 0xf0 and 0xf1 (FPU: clear IRQ 13), 0xcf9 (reset control).
 */
import type { PortDevice } from '../machine/bus.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'
import type { Pit } from './pit/pit.ts'

export interface SystemControlOptions {
  readonly pit: Pit
  readonly setFpuIrq: (level: boolean) => void
  readonly onReset: (reason: string) => void
}

const FAST_RESET = 1
const RESET_CPU = 4

export class SystemControl implements PortDevice, Stateful {
  readonly #options: SystemControlOptions
  #portB = 0
  /** A20 is a latch here: the processor has no A20M# pin, as none has since 2013. */
  #portA = 2
  #post = 0
  #resetControl = 0

  constructor(options: SystemControlOptions) {
    this.#options = options
  }

  transfer(state: Transfer): void {
    this.#portB = state.field('portB', this.#portB)
    this.#portA = state.field('portA', this.#portA)
    this.#post = state.field('post', this.#post)
    this.#resetControl = state.field('resetControl', this.#resetControl)
  }

  /** The processor's FERR#, for kernels that take x87 errors as IRQ 13. */
  fpuError(): void {
    this.#options.setFpuIrq(true)
  }

  read(port: number): number {
    switch (port) {
      case 0x61: {
        const { pit } = this.#options
        return this.#portB | (pit.refresh() ? 0x10 : 0) | (pit.out2() ? 0x20 : 0)
      }
      case 0x80:
        return this.#post
      case 0x92:
        return this.#portA
      case 0xcf9:
        return this.#resetControl
      default:
        return 0xff
    }
  }

  write(port: number, _size: number, value: number): void {
    switch (port) {
      case 0x61:
        this.#portB = value & 0xf
        this.#options.pit.setGate2((value & 1) !== 0)
        break
      case 0x80:
        this.#post = value
        break
      case 0x92:
        if (value & ~this.#portA & FAST_RESET) this.#options.onReset('port 0x92')
        this.#portA = value & 3
        break
      case 0xf0:
      case 0xf1:
        this.#options.setFpuIrq(false)
        break
      case 0xcf9: {
        // Resets when bit 2 goes from 0 to 1; bits 1 and 3 say how far.
        const rising = value & ~this.#resetControl & RESET_CPU
        this.#resetControl = value & 0xe
        if (rising) this.#options.onReset('port 0xcf9')
        break
      }
    }
  }
}
