/**
 * The Xen platform PCI device (5853:0001) as QEMU's xen_platform is: fixed ports, a window of ports that has the same
 * flags and log, a window of memory in which guests put Xen's pages, and an interrupt pin for events.
 */
import { PciFunction } from '../../../devices/pci/function.ts'
import type { PciSlot } from '../../../devices/pci/host.ts'
import type { Effects } from '../../../paravirt/effects.ts'
import type { Observer } from '../../../paravirt/observe.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { ones } from '../../../machine/bus.ts'
import { intxRoute } from './event-line.ts'
import { isPlatformPort, portRead, portWrite, ROM_LOCK, type PlatformPorts } from './ports.ts'

const XEN = 0x5853
const PLATFORM = 0x0001
const CLASS_OTHER = 0xff8000
export const DEVICE = 3
/** Registers of configuration space. */
const Register = { COMMAND: 4, BAR0: 0x10, BAR1: 0x14, SUBSYSTEM: 0x2c, INTERRUPT_LINE: 0x3c, INTERRUPT_PIN: 0x3d }
const Command = { IO: 1, MEMORY: 2, WRITABLE: 0x507 }
const IO_BASE = 0xc000
const IO_BYTES = 0x100
/** Old drivers' way to have emulated devices taken away. */
const UNPLUG: readonly number[] = [4, 8]
export const WINDOW_BYTES = 16 << 20
/** 0xc0000 to 0xfffff. */
const ROMS = { first: 0xc0, count: 0x40 }

export class PlatformDevice implements PlatformPorts, Stateful {
  readonly slot: PciSlot
  readonly #effects: Effects
  readonly #observer: Observer
  #flags = 0

  /** `window`: the physical address of its memory. */
  constructor(effects: Effects, observer: Observer, window: number) {
    this.#effects = effects
    this.#observer = observer
    const pci = new PciFunction(XEN, PLATFORM, CLASS_OTHER, 1)
    pci.define(Register.COMMAND, 2, Command.IO | Command.MEMORY, Command.WRITABLE)
    pci.define(Register.BAR0, 4, IO_BASE | 1, ~(IO_BYTES - 1))
    // Prefetchable.
    pci.define(Register.BAR1, 4, window | 8, ~(WINDOW_BYTES - 1))
    pci.define(Register.SUBSYSTEM, 2, XEN)
    pci.define(Register.SUBSYSTEM + 2, 2, PLATFORM)
    pci.define(Register.INTERRUPT_LINE, 1, intxRoute(DEVICE, 0).isa, 0xff)
    pci.define(Register.INTERRUPT_PIN, 1, 1)
    this.slot = { devfn: DEVICE << 3, function: pci }
  }

  transfer(state: Transfer): void {
    this.#flags = state.field('flags', this.#flags)
  }

  get flags(): number {
    return this.#flags
  }

  set flags(value: number) {
    this.#flags = value
    const { memory } = this.#effects
    for (let i = 0; i < ROMS.count; i++) memory.setKind(ROMS.first + i, value & ROM_LOCK ? 'rom' : 'ram')
  }

  log(byte: number): void {
    this.#effects.consoles[0]?.output(Uint8Array.of(byte))
  }

  /** Undefined: not a port of the device's. */
  in(vcpu: number, port: number, bytes: number): number | undefined {
    if (!isPlatformPort(port)) {
      const offset = this.#offset(port)
      return offset === undefined ? undefined : offset === 0 && bytes === 1 ? this.#flags : ones(bytes)
    }
    const request = portRead(port, bytes)
    const value = request?.read?.(this)
    if (request === undefined || value === undefined) return ones(bytes)
    this.#observer.note(vcpu, request, 'call', () => [], BigInt(value))
    return value
  }

  /** False: not a port of the device's. */
  out(vcpu: number, port: number, bytes: number, value: number): boolean {
    if (!isPlatformPort(port)) {
      const offset = this.#offset(port)
      if (offset === undefined) return false
      if (bytes === 1 && offset === 0) this.flags = value & ROM_LOCK
      else if (bytes === 1 && !UNPLUG.includes(offset)) this.log(value)
      return true
    }
    const request = portWrite(port, bytes)
    if (!request) return true
    request.write?.(this, value)
    this.#observer.note(vcpu, request, 'call', () => [BigInt(value >>> 0)], 0n)
    return true
  }

  /** Where in the window of ports, if the guest has it on. */
  #offset(port: number): number | undefined {
    const pci = this.slot.function
    if (!(pci.read(Register.COMMAND, 1) & Command.IO)) return undefined
    const offset = port - (pci.read(Register.BAR0, 4) & ~3)
    return offset >= 0 && offset < IO_BYTES ? offset : undefined
  }
}
