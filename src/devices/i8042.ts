/**
 * i8042 keyboard controller at ports 0x60 and 0x64 with a keyboard and an auxiliary port, nothing plugged into either
 * (IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device Controller"). What is sent to an empty port times out:
 * 0xfe with the time-out bit.
 */
import type { PortDevice } from '../machine/bus.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

const STATUS_OBF = 1
const STATUS_SYSTEM = 4
const STATUS_COMMAND = 8
const STATUS_UNLOCKED = 0x10
const STATUS_AUX = 0x20
const STATUS_TIMEOUT = 0x40

const CONFIG_KEYBOARD_IRQ = 1
const CONFIG_AUX_IRQ = 2
const CONFIG_SYSTEM = 4
const CONFIG_KEYBOARD_OFF = 0x10
const CONFIG_AUX_OFF = 0x20
const CONFIG_TRANSLATE = 0x40

const OUTPUT_NOT_RESET = 1
const OUTPUT_A20 = 2

const RESEND = 0xfe
/** What a guest that never reads can pile up. */
const MAX_QUEUED = 16

export interface I8042Options {
  readonly setKeyboardIrq: (level: boolean) => void
  readonly setAuxIrq: (level: boolean) => void
  readonly onReset: (reason: string) => void
}

export class I8042 implements PortDevice, Stateful {
  readonly #options: I8042Options
  readonly #ram = new Uint8Array(32)
  /** Bytes for port 0x60, each with its status bits above it. */
  readonly #output: number[] = []
  #lastOutput = 0
  /** What port 0x64 was last written, while its parameter is expected on port 0x60; else -1. */
  #command = -1
  #lastWasCommand = false
  #outputPort = OUTPUT_NOT_RESET | OUTPUT_A20

  constructor(options: I8042Options) {
    this.#options = options
    // As firmware leaves it that found no mouse.
    this.#ram[0] = CONFIG_TRANSLATE | CONFIG_AUX_OFF | CONFIG_SYSTEM | CONFIG_KEYBOARD_IRQ
  }

  transfer(state: Transfer): void {
    state.array('ram', this.#ram)
    state.list('output', this.#output)
    this.#lastOutput = state.field('lastOutput', this.#lastOutput)
    this.#command = state.field('command', this.#command)
    this.#lastWasCommand = state.field('lastWasCommand', this.#lastWasCommand)
    this.#outputPort = state.field('outputPort', this.#outputPort)
  }

  read(port: number): number {
    if (port === 0x64) {
      const head = this.#output.length > 0 ? STATUS_OBF | (this.#output[0] >> 8) : 0
      return head | STATUS_UNLOCKED | (this.#ram[0] & STATUS_SYSTEM) | (this.#lastWasCommand ? STATUS_COMMAND : 0)
    }
    if (this.#output.length > 0) {
      this.#lastOutput = this.#output.shift()! & 0xff
      // The next byte is a new edge.
      this.#options.setKeyboardIrq(false)
      this.#options.setAuxIrq(false)
      this.#update()
    }
    return this.#lastOutput
  }

  write(port: number, _size: number, value: number): void {
    this.#lastWasCommand = port === 0x64
    if (port === 0x64) {
      this.#command = -1
      this.#execute(value)
    } else if (this.#command >= 0) {
      const command = this.#command
      this.#command = -1
      this.#parameter(command, value)
    } else this.#put(RESEND, STATUS_TIMEOUT)
    this.#update()
  }

  #put(value: number, status: number): void {
    if (this.#output.length < MAX_QUEUED) this.#output.push((status << 8) | value)
  }

  #execute(command: number): void {
    if (command < 0x20) return
    if (command < 0x40) {
      this.#put(this.#ram[command & 31], 0)
      return
    }
    if (command >= 0xf0) {
      // Pulse the output port's low lines whose bit is 0.
      if ((command & OUTPUT_NOT_RESET) === 0) this.#options.onReset('keyboard controller')
      return
    }
    switch (command) {
      case 0xa4: // password installed? no
        this.#put(0xf1, 0)
        break
      case 0xa7:
        this.#ram[0] |= CONFIG_AUX_OFF
        break
      case 0xa8:
        this.#ram[0] &= ~CONFIG_AUX_OFF
        break
      case 0xa9: // test of the auxiliary, 0xab of the keyboard port: passed
      case 0xab:
        this.#put(0, 0)
        break
      case 0xaa: // self-test passed
        this.#ram[0] |= CONFIG_SYSTEM
        this.#put(0x55, 0)
        break
      case 0xad:
        this.#ram[0] |= CONFIG_KEYBOARD_OFF
        break
      case 0xae:
        this.#ram[0] &= ~CONFIG_KEYBOARD_OFF
        break
      case 0xc0: // input port: not inhibited
        this.#put(0x80, 0)
        break
      case 0xd0:
        this.#put(this.#outputPort | (this.#output.length > 0 ? 0x10 : 0), 0)
        break
      default:
        if ((command >= 0x60 && command < 0x80) || (command >= 0xd1 && command <= 0xd4)) this.#command = command
    }
  }

  #parameter(command: number, value: number): void {
    switch (command) {
      case 0xd1:
        this.#outputPort = value & (OUTPUT_NOT_RESET | OUTPUT_A20)
        if ((value & OUTPUT_NOT_RESET) === 0) this.#options.onReset('keyboard controller')
        break
      case 0xd2: // as if the keyboard had sent it
        this.#put(value, 0)
        break
      case 0xd3: // as if the auxiliary device had sent it
        this.#put(value, STATUS_AUX)
        break
      case 0xd4:
        this.#put(RESEND, STATUS_AUX | STATUS_TIMEOUT)
        break
      default:
        this.#ram[command & 31] = value
    }
  }

  #update(): void {
    const full = this.#output.length > 0
    const aux = full && (this.#output[0] & (STATUS_AUX << 8)) !== 0
    this.#options.setKeyboardIrq(full && !aux && (this.#ram[0] & CONFIG_KEYBOARD_IRQ) !== 0)
    this.#options.setAuxIrq(aux && (this.#ram[0] & CONFIG_AUX_IRQ) !== 0)
  }
}
