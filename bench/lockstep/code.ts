/** Guest code for the reader: bytes at a linear address, disassembled where there is objdump. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Core } from '../../src/cpu/core.ts'
import { Mode, S } from '../../src/cpu/layout.ts'

const LONGEST = 15
const PRESENT = 1n
const LARGE = 0x80n
const FRAME = 0x000ffffffffff000n
const CR0_PG = 0x80000000n
const CR4_PAE = 0x20n
const EFER_LMA = 0x400n

/** Physical address of `linear`, undefined where nothing is mapped or it is not in RAM. */
function physical(core: Core, p: number, linear: bigint): number | undefined {
  const wide = (offset: number) => core.u64[(p + offset) >> 3]!
  const inRam = (address: bigint) => (address < BigInt(core.ramBytes) ? Number(address) : undefined)
  if (!(wide(S.CR0) & CR0_PG)) return inRam(linear)
  const long = (wide(S.EFER) & EFER_LMA) !== 0n
  const pae = (wide(S.CR4) & CR4_PAE) !== 0n
  const bits = pae ? 9n : 10n
  let shift = long ? 39n : pae ? 30n : 22n
  let table = wide(S.CR3) & FRAME
  for (;;) {
    const at = inRam(table + ((linear >> shift) & ((1n << bits) - 1n)) * (pae ? 8n : 4n))
    if (at === undefined) return undefined
    const bytes = core.ram(at, pae ? 8 : 4)
    const entry = bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
    if (!(entry & PRESENT)) return undefined
    if (shift === 12n || (entry & LARGE && shift <= 30n && (pae || shift === 22n))) {
      const offset = (1n << shift) - 1n
      return inRam((entry & FRAME & ~offset) | (linear & offset))
    }
    table = entry & FRAME
    shift -= bits
  }
}

/** `count` bytes from `linear` on, as far as they are there. */
function bytesAt(core: Core, p: number, linear: bigint, count: number): number[] {
  const bytes: number[] = []
  for (let i = 0; i < count; i++) {
    const at = physical(core, p, linear + BigInt(i))
    if (at === undefined) break
    bytes.push(core.ram(at, 1)[0]!)
  }
  return bytes
}

/** The instruction at RIP `rip` in decode mode `mode`, as one line. `folder` is for scratch files. */
export function disassemble(core: Core, p: number, rip: bigint, mode: number, folder: string): string {
  const base = mode & Mode.LONG ? 0n : core.u64[(p + S.SEG_BASE + 8) >> 3]!
  const bytes = bytesAt(core, p, rip + base, LONGEST)
  const hex = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
  const file = join(folder, 'code')
  writeFileSync(file, Uint8Array.from(bytes))
  const machine = mode & Mode.LONG ? 'i386:x86-64' : mode & Mode.D ? 'i386' : 'i8086'
  const { stdout } = spawnSync(
    'objdump',
    ['-D', '-b', 'binary', '-m', machine, '--adjust-vma', `0x${rip.toString(16)}`, file],
    { encoding: 'utf8' },
  )
  const first = /^ *[0-9a-f]+:\t.*$/m.exec(stdout ?? '')
  return first ? first[0].trim().replaceAll('\t', '  ') : `${rip.toString(16)}: ${hex}`
}
