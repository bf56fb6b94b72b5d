/**
 * The MultiProcessor table (MultiProcessor Specification 1.4, chapter 4), for kernels that start without ACPI: the
 * floating pointer and the configuration table right behind it. They are looked for in the last KiB of base memory.
 */
import { LAPIC_BASE } from '../devices/lapic/lapic.ts'
import { IOAPIC_BASE } from '../machine/interrupts.ts'
import { ascii, checksum, join, u16, u32, zeros } from './bytes.ts'
import type { Bytes } from './bytes.ts'

const PROCESSOR = 0
const BUS = 1
const IO_APIC = 2
const IO_INTERRUPT = 3
const LOCAL_INTERRUPT = 4

const INT = 0
const NMI = 1
const EXTINT = 3

const PCI_BUS = 0
const ISA_BUS = 1

export interface MpTableOptions {
  /** Physical address, a multiple of 16. */
  readonly address: number
  readonly vcpus: number
  /** CPUID leaf 1, EAX and EDX. */
  readonly signature: number
  readonly features: number
}

export function mpTable(options: MpTableOptions): Uint8Array {
  const pointer = join(ascii('_MP_'), u32(options.address + 16), 1, 4, zeros(6))
  pointer[10] = checksum(pointer)
  return Uint8Array.from(join(pointer, configuration(options)))
}

function configuration({ vcpus, signature, features }: MpTableOptions): Bytes {
  const processors = Array.from({ length: vcpus }, (_, id) =>
    join(PROCESSOR, id, 0x14, id === 0 ? 3 : 1, u32(signature), u32(features), zeros(8)),
  )
  // IRQ 0 is pin 2; IRQ 2 is the cascade of the 8259 pair.
  const interrupts = Array.from({ length: 16 }, (_, irq) => irq)
    .filter((irq) => irq !== 2)
    .map((irq) => join(IO_INTERRUPT, INT, u16(0), ISA_BUS, irq, 0, irq === 0 ? 2 : irq))
  const entries = [
    ...processors,
    join(BUS, PCI_BUS, ascii('PCI', 6)),
    join(BUS, ISA_BUS, ascii('ISA', 6)),
    join(IO_APIC, 0, 0x20, 1, u32(IOAPIC_BASE)),
    ...interrupts,
    join(LOCAL_INTERRUPT, EXTINT, u16(0), ISA_BUS, 0, 0, 0),
    join(LOCAL_INTERRUPT, NMI, u16(0), ISA_BUS, 0, 0xff, 1),
  ]
  const body = entries.flat()
  const bytes = join(
    join(ascii('PCMP'), u16(44 + body.length), 4, 0),
    join(ascii('PARAVIRT', 8), ascii('PARAVIRT', 12)),
    join(u32(0), u16(0), u16(entries.length), u32(LAPIC_BASE), u32(0)),
    body,
  )
  bytes[7] = checksum(bytes)
  return bytes
}
