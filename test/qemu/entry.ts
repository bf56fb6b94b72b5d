/**
 * A boot layout for QEMU: its pieces are loaded into memory, and a ROM of a few instructions in the firmware's place
 * brings the processor into the entry state.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Boot, EntryState } from '../../src/boot/layout.ts'

/** QEMU's arguments for `boot`; `folder` gets the files that they name. */
export function bootArguments(boot: Boot, folder: string): string[] {
  const rom = join(folder, 'rom')
  writeFileSync(rom, entryRom(boot.entry))
  const pieces = boot.pieces.flatMap(({ address, bytes }, i) => {
    const file = join(folder, `piece${i}`)
    writeFileSync(file, bytes)
    return ['-device', `loader,file=${file},addr=0x${address.toString(16)},force-raw=on`]
  })
  return ['-bios', rom, ...pieces]
}

const SIZE = 0x10000
const BASE = 0xffff0000

/** 64 KiB that end at 4 GiB. */
export function entryRom({ cr0, cr3, cr4, efer, gdtr, cs, data, rbx, rsi, rip }: EntryState): Uint8Array {
  const word = (value: number) => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
  const gdtPointer = 0x100
  const flat = 0x200
  const rom = new Uint8Array(SIZE)
  rom.set(
    [
      [0xfa, 0x66, 0x2e, 0x0f, 0x01, 0x16, gdtPointer & 0xff, gdtPointer >> 8], // cli; lgdtl %cs:gdtPointer
      [0x66, 0xb8, ...word(cr4), 0x0f, 0x22, 0xe0], // mov $cr4, %eax; mov %eax, %cr4
      [0x66, 0xb8, ...word(cr3), 0x0f, 0x22, 0xd8], // mov $cr3, %eax; mov %eax, %cr3
      [0x66, 0xb9, ...word(0xc0000080), 0x66, 0xb8, ...word(efer), 0x66, 0x31, 0xd2, 0x0f, 0x30], // wrmsr EFER
      [0x66, 0xb8, ...word(cr0), 0x0f, 0x22, 0xc0], // mov $cr0, %eax; mov %eax, %cr0
      [0x66, 0xea, ...word(BASE + flat), cs.selector, 0], // ljmpl $cs, $flat
    ].flat(),
  )
  rom.set([gdtr.limit, 0, ...word(gdtr.base)], gdtPointer)
  // The same bytes in 32-bit and 64-bit mode.
  rom.set(
    [
      [0xb8, data.selector, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8], // mov %eax, %ds ...
      [0xbb, ...word(0xfee00000)], // As firmware does: the local APIC on, LINT0 open for the 8259's interrupts.
      [0xc7, 0x83, ...word(0xf0), ...word(0x1ff), 0xc7, 0x83, ...word(0x350), ...word(0x700)],
      [0xbb, ...word(rbx), 0xbe, ...word(rsi), 0x31, 0xff, 0x31, 0xed], // mov $rbx, %ebx; mov $rsi, %esi; 0 in EDI, EBP
      [0xb8, ...word(Number(rip)), 0xff, 0xe0], // mov $rip, %eax; jmp *%eax
    ].flat(),
    flat,
  )
  rom.set([0xe9, 0x0d, 0x00], SIZE - 16) // The reset vector: jmp to the ROM's start.
  return rom
}
