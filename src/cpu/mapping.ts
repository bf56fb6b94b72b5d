/** Where a linear address is, for whoever only looks: the guest's page tables are read, and nothing changes. */
import type { AbsentPages } from './absent.ts'
import { M, S } from './layout.ts'

const PRESENT = 1n
const LARGE = 0x80n
const FRAME = 0x000ffffffffff000n
const CR0_PG = 0x80000000n
const CR4_PAE = 0x20n
const EFER_LMA = 0x400n

/** The core's memory: vCPU state blocks and guest RAM. */
export interface MemoryView {
  readonly u8: Uint8Array
  readonly u64: BigUint64Array
  readonly ramBytes: number
  readonly absent: AbsentPages
}

/** Guest-physical address of `linear`, undefined where nothing is mapped. Rights are not looked at. */
export function physicalAddress(
  { u8, u64, ramBytes, absent }: MemoryView,
  p: number,
  linear: bigint,
): bigint | undefined {
  const wide = (offset: number) => u64[(p + offset) >> 3] as bigint
  if (!(wide(S.CR0) & CR0_PG)) return linear
  const long = (wide(S.EFER) & EFER_LMA) !== 0n
  const pae = (wide(S.CR4) & CR4_PAE) !== 0n
  const bits = pae ? 9n : 10n
  const size = pae ? 8 : 4
  let shift = long ? 39n : pae ? 30n : 22n
  let table = wide(S.CR3) & (long || !pae ? FRAME : 0xffffffe0n)
  for (;;) {
    const at = table + ((linear >> shift) & ((1n << bits) - 1n)) * BigInt(size)
    if (at >= BigInt(ramBytes)) return undefined
    absent.need(Number(at), size)
    const place = M.RAM + Number(at)
    const entry = u8.subarray(place, place + size).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
    if (!(entry & PRESENT)) return undefined
    if (shift === 12n || (entry & LARGE && shift <= 30n && (long || shift < 30n))) {
      const offset = (1n << shift) - 1n
      return (entry & FRAME & ~offset) | (linear & offset)
    }
    table = entry & FRAME
    shift -= bits
  }
}

/** `count` bytes of RAM from `linear` on, as far as they are there. */
export function bytesAt(core: MemoryView, p: number, linear: bigint, count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  for (let i = 0; i < count; i++) {
    const at = physicalAddress(core, p, linear + BigInt(i))
    if (at === undefined || at >= BigInt(core.ramBytes)) return bytes.subarray(0, i)
    core.absent.need(Number(at), 1)
    bytes[i] = core.u8[M.RAM + Number(at)] as number
  }
  return bytes
}
