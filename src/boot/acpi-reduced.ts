/**
 * ACPI tables for a machine that is nothing but processors and memory, as Xen's toolstack makes them for PVH guests: a
 * FADT that says "hardware reduced", a MADT with local APICs and nothing else, a DSDT with a processor for each.
 */
import { Image, rsdpTable, table } from './acpi.ts'
import { LAPIC_BASE } from '../devices/lapic/lapic.ts'
import { device, integer, name, scope } from './aml.ts'
import { ascii, join, u16, u32, u64, zeros } from './bytes.ts'
import type { Bytes } from './bytes.ts'

/** Hardware-reduced, WBINVD, no fixed power or sleep button. */
const FLAGS = 0x100031
/** Neither VGA nor real-time clock; nor legacy devices. */
const BOOT_FLAGS = 0x24
const FADT_BYTES = 268
const HEADER = 36

/** `address`: of the image, a multiple of 64; the RSDP is first. */
export function reducedAcpiTables(address: number, vcpus: number): Uint8Array {
  const image = new Image(address)
  const rsdp = image.reserve(36)
  const dsdt = image.append(table('DSDT', 2, dsdtBody(vcpus)))
  const fadt = image.append(table('FACP', 5, fadtBody(dsdt)))
  const madt = image.append(table('APIC', 2, madtBody(vcpus)))
  const xsdt = image.append(table('XSDT', 1, join(u64(fadt), u64(madt))))
  image.put(rsdp, rsdpTable(xsdt))
  return image.bytes()
}

/** Registers that do not exist have address 0 (ACPI Specification 5.0, 5.2.9). */
function fadtBody(dsdt: number): Bytes {
  const body = [...zeros(FADT_BYTES - HEADER)]
  const put = (offset: number, bytes: Bytes) => body.splice(offset - HEADER, bytes.length, ...bytes)
  put(40, u32(dsdt))
  put(109, u16(BOOT_FLAGS))
  put(112, u32(FLAGS))
  put(140, u64(dsdt))
  return body
}

function madtBody(vcpus: number): Bytes {
  const lapics = Array.from({ length: vcpus }, (_, id) => join(0, 8, id, id, u32(1)))
  return join(u32(LAPIC_BASE), u32(0), ...lapics)
}

const PROCESSOR = name('_HID', join(0x0d, ascii('ACPI0007'), 0))

function dsdtBody(vcpus: number): Bytes {
  const processors = Array.from({ length: vcpus }, (_, id) =>
    device(`P${id.toString(16).toUpperCase().padStart(3, '0')}`, PROCESSOR, name('_UID', integer(id))),
  )
  return scope('\\_SB', ...processors)
}
