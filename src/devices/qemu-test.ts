/**
 * The devices by which test kernels written for QEMU talk to their harness: isa-debug-exit at port 0xf4, pc-testdev
 * (ports 0xe0 to 0xeb, interrupt lines at 0x2000, memory at 0xff000000) and as much of fw_cfg (ports 0x510, 0x511) as
 * says what machine this is. See QEMU's docs/specs/fw_cfg.rst and hw/misc/pc-testdev.c.
 */
import type { Mmio, MmioDevice, PortDevice, Ports } from '../machine/bus.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'

export interface QemuTestOptions {
  readonly ports: Ports
  readonly mmio: Mmio
  readonly cpus: number
  /** Bytes of RAM. */
  readonly memory: number
  readonly setIsaIrq: (irq: number, level: boolean) => void
  readonly onExit: (code: number) => void
}

const EXIT = 0xf4
const DATA = 0xe0
const FLUSH = 0xe4
const DATA_BYTES = 0xe8
const IRQ_LINES = 0x2000
const ISA_IRQS = 16
const MEMORY = 0xff000000
const MEMORY_SIZE = 0x10000
const FW_CFG = 0x510

/** Put them all into a PC; returns their state. */
export function addQemuTestDevices({ ports, mmio, cpus, memory, setIsaIrq, onExit }: QemuTestOptions): Stateful {
  ports.register(EXIT, EXIT + 3, { read: () => 0, write: (_, __, value) => onExit(((value << 1) | 1) & 0xff) }, 4)

  const data = new Memory(4)
  const dataPorts: PortDevice = {
    read: (port, size) => data.read(port & 3, size),
    write: (port, size, value) => data.write(port & 3, size, value),
  }
  ports.register(DATA, DATA + 3, dataPorts, 4)
  // The same word, whose device takes bytes only; a page flush has nothing to flush here.
  ports.register(DATA_BYTES, DATA_BYTES + 3, dataPorts)
  ports.register(FLUSH, FLUSH + 3, { read: () => 0, write: () => {} }, 4)

  const lines: PortDevice = {
    read: () => 0xff,
    write: (port, _, value) => setIsaIrq(port - IRQ_LINES, value !== 0),
  }
  ports.register(IRQ_LINES, IRQ_LINES + ISA_IRQS - 1, lines)
  const memoryDevice = new Memory(MEMORY_SIZE)
  mmio.register(MEMORY, MEMORY_SIZE, memoryDevice)

  const firmware = new FirmwareConfig(cpus, memory)
  ports.register(FW_CFG, FW_CFG + 1, firmware, 2)
  return {
    transfer: (state) => {
      state.part('data', data)
      state.part('memory', memoryDevice)
      state.part('firmware', firmware)
    },
  }
}

class Memory implements MmioDevice, Stateful {
  readonly #view: DataView

  constructor(size: number) {
    this.#view = new DataView(new ArrayBuffer(size))
  }

  transfer(state: Transfer): void {
    state.array('bytes', new Uint8Array(this.#view.buffer))
  }

  read(offset: number, size: number): number {
    if (size === 1) return this.#view.getUint8(offset)
    return size === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint32(offset, true)
  }

  write(offset: number, size: number, value: number): void {
    if (size === 1) this.#view.setUint8(offset, value)
    else if (size === 2) this.#view.setUint16(offset, value, true)
    else this.#view.setUint32(offset, value, true)
  }
}

/** Items are selected by a word to the first port and read byte by byte from the second; past their end are zeros. */
class FirmwareConfig implements PortDevice, Stateful {
  readonly #items: ReadonlyMap<number, Uint8Array>
  #selected: number | undefined
  #at = 0

  constructor(cpus: number, memory: number) {
    const number = (value: number, bytes: number) =>
      new Uint8Array(new BigUint64Array([BigInt(value)]).buffer).slice(0, bytes)
    this.#items = new Map([
      [0, new TextEncoder().encode('QEMU')], // signature
      [1, number(1, 4)], // id: the traditional interface
      [3, number(memory, 8)],
      [5, number(cpus, 2)],
      [0xf, number(cpus, 2)], // as many as there can be
    ])
  }

  transfer(state: Transfer): void {
    this.#selected = state.field('selected', this.#selected)
    this.#at = state.field('at', this.#at)
  }

  read(port: number): number {
    return port === FW_CFG ? 0 : (this.#items.get(this.#selected ?? -1)?.[this.#at++] ?? 0)
  }

  write(port: number, size: number, value: number): void {
    if (port !== FW_CFG || size !== 2) return
    this.#selected = value
    this.#at = 0
  }
}
