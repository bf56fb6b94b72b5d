/**
 * The ACPI tables that describe the PC of `machine/pc.ts` (ACPI Specification 6.0, chapter 5): RSDP, XSDT, FADT, FACS,
 * MADT and a DSDT with the devices that an operating system does not find by itself.
 */
import { PM1_CONTROL, PM1_EVENT, PM_TIMER, SLP_TYP_S5 } from '../devices/acpi-pm.ts'
import { LAPIC_BASE } from '../devices/lapic/lapic.ts'
import { RTC_CENTURY } from '../devices/rtc.ts'
import { IOAPIC_BASE, SCI_IRQ } from '../machine/interrupts.ts'
import { SERIAL_PORTS } from '../machine/pc.ts'
import { ARG0, busNumbers, device, eisaId, integer, io, ioWindow, irq, memoryWindow, method, name } from './aml.ts'
import { packageOf, reference, resources, returned, scope, store, when } from './aml.ts'
import { ascii, checksum, join, u16, u32, u64, zeros } from './bytes.ts'
import type { Bytes } from './bytes.ts'

const RESET_REGISTER = 0xcf9
const RESET_VALUE = 6
/** Above any RAM, below the I/O APIC: where PCI devices would lie. */
const PCI_MEMORY = { first: 0xc0000000, last: 0xfebfffff }

/** Where the interrupt pin (0: INTA) of a device on bus 0 goes, with and without I/O APIC. */
interface PciRoute {
  readonly device: number
  readonly pin: number
  readonly gsi: number
  readonly isa: number
}

/** Devices on the PCI bus: where their memory begins, and their interrupts. */
export interface PciTables {
  readonly memory: number
  readonly routes: readonly PciRoute[]
}

export interface AcpiOptions {
  /** Physical address of the image, a multiple of 64; the RSDP is first. BIOS-area scans find it from 0xe0000 on. */
  readonly address: number
  readonly vcpus: number
  /** How many of COM1 to COM4 exist. */
  readonly serialPorts: number
  readonly pci?: PciTables | undefined
}

export function acpiTables(options: AcpiOptions): Uint8Array {
  const image = new Image(options.address)
  const rsdp = image.reserve(36)
  const facs = image.append(facsTable(), 64)
  const dsdt = image.append(table('DSDT', 2, dsdtBody(options)))
  const fadt = image.append(table('FACP', 6, fadtBody(facs, dsdt)))
  const madt = image.append(table('APIC', 4, madtBody(options.vcpus)))
  const xsdt = image.append(table('XSDT', 1, join(u64(fadt), u64(madt))))
  image.put(rsdp, rsdpTable(xsdt))
  return image.bytes()
}

export class Image {
  readonly #address: number
  readonly #bytes: number[] = []

  constructor(address: number) {
    this.#address = address
  }

  reserve(length: number, alignment = 16): number {
    while (this.#bytes.length % alignment !== 0) this.#bytes.push(0)
    const address = this.#address + this.#bytes.length
    for (let i = 0; i < length; i++) this.#bytes.push(0)
    return address
  }

  put(address: number, bytes: Bytes): void {
    for (const [i, byte] of bytes.entries()) this.#bytes[address - this.#address + i] = byte
  }

  append(bytes: Bytes, alignment = 16): number {
    const address = this.reserve(bytes.length, alignment)
    this.put(address, bytes)
    return address
  }

  bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes)
  }
}

/** A table with the common header. */
export function table(signature: string, revision: number, body: Bytes): Bytes {
  const oem = join(ascii('PARAVT'), ascii('PARAVIRT'), u32(1), ascii('PVRT'), u32(1))
  const bytes = join(ascii(signature), u32(36 + body.length), revision, 0, oem, body)
  bytes[9] = checksum(bytes)
  return bytes
}

export function rsdpTable(xsdt: number): Bytes {
  const bytes = join(ascii('RSD PTR '), 0, ascii('PARAVT'), 2, u32(0), u32(36), u64(xsdt), zeros(4))
  bytes[8] = checksum(bytes.slice(0, 20))
  bytes[32] = checksum(bytes)
  return bytes
}

function facsTable(): Bytes {
  const version = 2
  return join(ascii('FACS'), u32(64), zeros(24), version, zeros(31))
}

// FADT

/** Generic address of an I/O port; `access` 1 byte, 2 word, 3 dword. */
const port = (address: number, bits: number, access: number): Bytes => join(1, bits, 0, access, u64(address))
const NO_REGISTER = zeros(12)

/** WBINVD, C1, no fixed sleep button nor RTC wake-up, 32-bit timer, reset register. */
const FADT_FLAGS = 0x565
/** Legacy devices and an 8042 are there, VGA is not. */
const BOOT_FLAGS = 0x0007
/** C2 and C3 are not there. */
const NO_LATENCY = 0xffff

function fadtBody(facs: number, dsdt: number): Bytes {
  const lengths = [4, 2, 0, 4, 0, 0, 0, 0]
  return join(
    join(u32(facs), u32(dsdt), zeros(2), u16(SCI_IRQ)),
    zeros(8), // no SMI command port: always in ACPI mode
    join(u32(PM1_EVENT), u32(0), u32(PM1_CONTROL), u32(0), u32(0), u32(PM_TIMER)),
    zeros(8), // no general-purpose events
    lengths,
    join(u16(NO_LATENCY), u16(NO_LATENCY), zeros(8)),
    join(RTC_CENTURY, u16(BOOT_FLAGS), 0, u32(FADT_FLAGS)),
    join(port(RESET_REGISTER, 8, 1), RESET_VALUE, zeros(3)),
    join(u64(0), u64(dsdt)), // the FACS is in the 32-bit field
    join(port(PM1_EVENT, 32, 2), NO_REGISTER, port(PM1_CONTROL, 16, 2), NO_REGISTER),
    join(NO_REGISTER, port(PM_TIMER, 32, 3), NO_REGISTER, NO_REGISTER),
    join(NO_REGISTER, NO_REGISTER, u64(0)), // sleep registers of reduced hardware, hypervisor
  )
}

// MADT

/** Polarity and trigger: active high, level. */
const LEVEL_HIGH = 0x000d

function madtBody(vcpus: number): Bytes {
  const lapics = Array.from({ length: vcpus }, (_, id) => join(0, 8, id, id, u32(1)))
  return join(
    join(u32(LAPIC_BASE), u32(1)), // 1: an 8259 pair is there too
    ...lapics,
    join(1, 12, 0, 0, u32(IOAPIC_BASE), u32(0)),
    join(2, 10, 0, 0, u32(2), u16(0)),
    join(2, 10, 0, SCI_IRQ, u32(SCI_IRQ), u16(LEVEL_HIGH)),
    join(4, 6, 0xff, u16(0), 1), // NMI is every processor's LINT1
  )
}

// DSDT

const pnp = (path: string, id: string, ...rest: Bytes[]): Bytes => device(path, name('_HID', eisaId(id)), ...rest)

/** _PRT by what _PIC has been told: the I/O APIC's inputs, or the 8259s' with the links as firmware has set them. */
function routing(routes: readonly PciRoute[]): Bytes {
  const entries = (input: (route: PciRoute) => number) =>
    packageOf(
      ...routes.map((route) =>
        packageOf(integer(route.device * 0x10000 + 0xffff), integer(route.pin), integer(0), integer(input(route))),
      ),
    )
  return join(
    name(
      'PRTA',
      entries(({ gsi }) => gsi),
    ),
    name(
      'PRTP',
      entries(({ isa }) => isa),
    ),
    method('_PRT', 0, when(reference('PICD'), returned(reference('PRTA'))), returned(reference('PRTP'))),
  )
}

function dsdtBody({ serialPorts, pci }: AcpiOptions): Bytes {
  const serial = SERIAL_PORTS.slice(0, serialPorts).map(({ port: first, irq: line }, index) =>
    pnp(`COM${index + 1}`, 'PNP0501', name('_UID', integer(index + 1)), resources(io(first, 8), irq(line, true))),
  )
  return join(
    ...(pci ? [name('PICD', integer(0)), method('\\_PIC', 1, store(ARG0, 'PICD'))] : []),
    name('\\_S5', packageOf(integer(SLP_TYP_S5), integer(SLP_TYP_S5), integer(0), integer(0))),
    scope(
      '\\_SB',
      pnp(
        'PCI0',
        'PNP0A03',
        name('_UID', integer(0)),
        resources(
          busNumbers(0, 0),
          io(0xcf8, 8),
          ioWindow(0, 0xcf7),
          ioWindow(0xd00, 0xffff),
          memoryWindow(pci?.memory ?? PCI_MEMORY.first, PCI_MEMORY.last),
        ),
        ...(pci ? [routing(pci.routes)] : []),
      ),
      pnp('RTC', 'PNP0B00', resources(io(0x70, 2), irq(8))),
      pnp('KBD', 'PNP0303', resources(io(0x60, 1), io(0x64, 1), irq(1))),
      pnp('MOU', 'PNP0F13', resources(irq(12))),
      ...serial,
    ),
  )
}
