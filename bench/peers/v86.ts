/**
 * `node bench/peers/v86.ts BZIMAGE INITRD MEMORY APPEND`: the npm package v86 boots a kernel; the console goes to stdout.
 * Its BIOS is that of the Debian package seabios.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { V86 } from 'v86'
import { parseMemory } from '../../src/cli/options.ts'

const [image, initrd, memory, cmdline] = process.argv.slice(2) as [string, string, string, string]
const build = dirname(createRequire(import.meta.url).resolve('v86'))

function file(path: string): { buffer: ArrayBuffer } {
  return { buffer: new Uint8Array(readFileSync(path)).buffer }
}

const emulator = new V86({
  wasm_path: join(build, 'v86.wasm'),
  bios: file('/usr/share/seabios/bios.bin'),
  vga_bios: file('/usr/share/seabios/vgabios-stdvga.bin'),
  bzimage: file(image),
  initrd: file(initrd),
  cmdline,
  memory_size: parseMemory(memory),
  vga_memory_size: 8 << 20,
  acpi: true,
  autostart: true,
})
let waiting: number[] = []
emulator.add_listener('serial0-output-byte', (byte: number) => {
  waiting.push(byte)
  if (byte !== 10) return
  process.stdout.write(Uint8Array.from(waiting))
  waiting = []
})
