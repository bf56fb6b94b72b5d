/**
 * The two structures that tell a kernel what it was started with: Linux's boot_params (the "zero page",
 * Documentation/arch/x86/zero-page.rst) and PVH's hvm_start_info, version 1.
 */
/** Type 1 is RAM, 2 reserved, 3 ACPI's tables: e820's and PVH's numbers agree. */
export interface MemoryRange {
  address: number
  size: number
  type: 1 | 2 | 3
}

interface Contents {
  /** Physical address of the command line. */
  cmdline: number
  /** Where the initrd is; size 0 if there is none. */
  initrd: { address: number; size: number }
  rsdp: number
  ranges: readonly MemoryRange[]
}

/** `setupHeader` is the kernel image's, from 0x1f1 on; an ELF kernel has none. */
export function bootParams(contents: Contents & { setupHeader: Uint8Array | undefined }): Uint8Array {
  const { setupHeader, cmdline, initrd, rsdp, ranges } = contents
  const page = new Uint8Array(4096)
  const view = new DataView(page.buffer)
  if (setupHeader) page.set(setupHeader, 0x1f1)
  else {
    view.setUint16(0x1fe, 0xaa55, true) // boot_flag
    view.setUint32(0x202, 0x53726448, true) // header
    view.setUint16(0x206, 0x20c, true) // version
  }
  view.setUint32(0x070, rsdp, true) // acpi_rsdp_addr
  view.setUint8(0x1e8, ranges.length) // e820_entries
  view.setUint8(0x210, 0xff) // type_of_loader: one without a number of its own
  view.setUint8(0x211, view.getUint8(0x211) | 1) // loadflags: LOADED_HIGH
  view.setUint32(0x218, initrd.size && initrd.address, true) // ramdisk_image
  view.setUint32(0x21c, initrd.size, true) // ramdisk_size
  view.setUint32(0x228, cmdline, true) // cmd_line_ptr
  for (const [i, { address, size, type }] of ranges.entries()) {
    const at = 0x2d0 + i * 20 // e820_table
    view.setUint32(at, address, true)
    view.setUint32(at + 8, size, true)
    view.setUint32(at + 16, type, true)
  }
  return page
}

/** `at` is where the structure will lie; its module list and memory map follow it. */
export function startInfo(contents: Contents & { at: number }): Uint8Array {
  const { at, cmdline, initrd, rsdp, ranges } = contents
  const MODULES = 64
  const MEMMAP = 96
  const page = new Uint8Array(MEMMAP + ranges.length * 24)
  const view = new DataView(page.buffer)
  view.setUint32(0, 0x336ec578, true) // magic: "xEn3" with bit 31 set
  view.setUint32(4, 1, true) // version
  view.setUint32(12, initrd.size > 0 ? 1 : 0, true) // nr_modules
  view.setUint32(16, initrd.size > 0 ? at + MODULES : 0, true) // modlist_paddr
  view.setUint32(24, cmdline, true) // cmdline_paddr
  view.setUint32(32, rsdp, true) // rsdp_paddr
  view.setUint32(40, at + MEMMAP, true) // memmap_paddr
  view.setUint32(48, ranges.length, true) // memmap_entries
  if (initrd.size > 0) {
    view.setUint32(MODULES, initrd.address, true)
    view.setUint32(MODULES + 8, initrd.size, true)
  }
  for (const [i, { address, size, type }] of ranges.entries()) {
    view.setUint32(MEMMAP + i * 24, address, true)
    view.setUint32(MEMMAP + i * 24 + 8, size, true)
    view.setUint32(MEMMAP + i * 24 + 16, type, true)
  }
  return page
}
