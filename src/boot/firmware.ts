/** What firmware would leave in memory for a kernel that starts without: ACPI's tables and the MultiProcessor table. */
import { acpiTables, type PciTables } from './acpi.ts'
import type { BootOptions } from './layout.ts'
import { mpTable } from './mptable.ts'

/** The start of the BIOS area, where the RSDP is looked for. */
const ACPI_ADDRESS = 0xe0000
/** The last KiB of base memory. */
const MP_ADDRESS = 0x9fc00

export interface FirmwareOptions {
  readonly vcpus: number
  readonly serialPorts: number
  /** CPUID leaf 1, EAX and EDX. */
  readonly signature: number
  readonly features: number
  readonly pci?: PciTables | undefined
}

export function firmwareTables(options: FirmwareOptions): Required<Pick<BootOptions, 'rsdp' | 'tables'>> {
  return {
    rsdp: ACPI_ADDRESS,
    tables: [
      { address: ACPI_ADDRESS, bytes: acpiTables({ ...options, address: ACPI_ADDRESS }) },
      { address: MP_ADDRESS, bytes: mpTable({ ...options, address: MP_ADDRESS }) },
    ],
  }
}
