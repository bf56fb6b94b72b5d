/**
 * The PC around the processors: every device at its place; or (`bare`) nothing but local APICs, as hypervisors build
 * machines for guests that know them. A reset of the machine is a new PC.
 */
import { AcpiPm, PM1_EVENT, PM_TIMER } from '../devices/acpi-pm.ts'
import { I8042 } from '../devices/i8042.ts'
import type { ApicCpu } from '../devices/lapic/lapic.ts'
import { addQemuTestDevices } from '../devices/qemu-test.ts'
import { PciHost, type PciSlot } from '../devices/pci/host.ts'
import { Pit } from '../devices/pit/pit.ts'
import { Rtc } from '../devices/rtc.ts'
import { SystemControl } from '../devices/system-control.ts'
import { Uart } from '../devices/uart.ts'
import type { Stateful, Transfer } from '../snapshot/stateful.ts'
import { Mmio, Ports } from './bus.ts'
import type { Clock } from './clock.ts'
import { Interrupts, SCI_IRQ } from './interrupts.ts'

/** COM1 to COM4. */
export const SERIAL_PORTS = [
  { port: 0x3f8, irq: 4 },
  { port: 0x2f8, irq: 3 },
  { port: 0x3e8, irq: 4 },
  { port: 0x2e8, irq: 3 },
]

export interface PcOptions {
  readonly clock: Clock
  /** One for each vCPU; the first is the boot processor. */
  readonly cpus: readonly ApicCpu[]
  /** MAXPHYADDR, as CPUID says. */
  readonly physicalBits: number
  /** CPUID has x2APIC. */
  readonly x2apic: boolean
  /** The I/O APIC's destinations have more than 8 bits. */
  readonly extendedIds?: boolean | undefined
  /** Default 24. */
  readonly ioapicPins?: number | undefined
  /** What is on the PCI bus beside the host bridge. */
  readonly pci?: readonly PciSlot[] | undefined
  /** Local APICs only. */
  readonly bare?: boolean | undefined
  /** Where the bytes of COM1 and of as many further ports as there are go; at most four. */
  readonly serial: readonly ((byte: number) => void)[]
  /** Ports whose peer is faster than their speed. */
  readonly fastSerial?: readonly boolean[]
  /** Unix time at power-on, in milliseconds, for the real-time clock. */
  readonly epoch: number
  /** Called in the middle of the guest's access; `reason` says by which register. */
  readonly onReset: (reason: string) => void
  readonly onPowerOff: () => void
  /** The devices of QEMU's that test kernels use, and what they need to know. */
  readonly testDevices?:
    | { readonly cpus: number; readonly memory: number; readonly onExit: (code: number) => void }
    | undefined
}

export interface Pc extends Stateful {
  readonly ports: Ports
  readonly mmio: Mmio
  readonly interrupts: Interrupts
  readonly systemControl: SystemControl | undefined
  readonly uarts: readonly Uart[]
}

export function createPc(options: PcOptions): Pc {
  const { clock, cpus, physicalBits, x2apic, extendedIds, ioapicPins, bare, onReset } = options
  const ports = new Ports()
  const mmio = new Mmio()
  const features = { physicalBits, x2apic }
  const interrupts = new Interrupts({ clock, ports, mmio, cpus, features, extendedIds, ioapicPins, bare })
  const addTestDevices = () => {
    const setIsaIrq = (irq: number, level: boolean) => interrupts.setIsaIrq(irq, level)
    return options.testDevices && addQemuTestDevices({ ports, mmio, setIsaIrq, ...options.testDevices })
  }
  if (bare) {
    const testDevices = addTestDevices()
    const transfer = (state: Transfer) => {
      if (testDevices) state.part('testDevices', testDevices)
      state.part('interrupts', interrupts)
    }
    return { ports, mmio, interrupts, systemControl: undefined, uarts: [], transfer }
  }

  const pit = new Pit(
    clock,
    (level) => interrupts.setIsaIrq(0, level),
    () => interrupts.timerWaits(),
  )
  interrupts.attachTimer(pit)
  ports.register(0x40, 0x43, pit)

  const systemControl = new SystemControl({ pit, setFpuIrq: (level) => interrupts.setIsaIrq(13, level), onReset })
  for (const port of [0x61, 0x80, 0x92, 0xf0, 0xf1]) ports.register(port, port, systemControl)

  // Ports that share an interrupt line drive it together: it is high while any of them asks.
  const asking = new Map<number, number>()
  const uarts = options.serial.map((onTransmit, index) => {
    const { port, irq } = SERIAL_PORTS[index]
    const setIrq = (level: boolean) => {
      const others = (asking.get(irq) ?? 0) & ~(1 << index)
      asking.set(irq, others | (Number(level) << index))
      interrupts.setIsaIrq(irq, level || others !== 0)
    }
    const uart = new Uart({ clock, onTransmit, setIrq, fast: options.fastSerial?.[index] })
    ports.register(port, port + 7, uart)
    return uart
  })

  const rtc = new Rtc({ clock, epoch: options.epoch, setIrq: (level) => interrupts.setIsaIrq(8, level) })
  ports.register(0x70, 0x71, rtc)

  const acpiPm = new AcpiPm({
    clock,
    setSci: (level) => interrupts.setIsaIrq(SCI_IRQ, level),
    onPowerOff: options.onPowerOff,
  })
  ports.register(PM1_EVENT, PM1_EVENT + 5, acpiPm, 2)
  ports.register(PM_TIMER, PM_TIMER + 3, acpiPm, 4)

  const keyboard = new I8042({
    setKeyboardIrq: (level) => interrupts.setIsaIrq(1, level),
    setAuxIrq: (level) => interrupts.setIsaIrq(12, level),
    onReset,
  })
  for (const port of [0x60, 0x64]) ports.register(port, port, keyboard)

  const pci = new PciHost(systemControl, options.pci)
  ports.register(0xcf8, 0xcff, pci, 4)

  const testDevices = addTestDevices()
  const transfer = (state: Transfer) => {
    state.part('pit', pit)
    state.part('systemControl', systemControl)
    state.parts('uarts', uarts)
    state.map('asking', asking)
    state.part('rtc', rtc)
    state.part('acpiPm', acpiPm)
    state.part('keyboard', keyboard)
    state.part('pci', pci)
    if (testDevices) state.part('testDevices', testDevices)
    // Last: what the devices above do to their lines while they are loaded is not what happened.
    state.part('interrupts', interrupts)
  }
  return { ports, mmio, interrupts, systemControl, uarts, transfer }
}
