/** Where a linear address is, for whoever only looks: the guest's page tables are read, and nothing changes. */
import type { AbsentPages } from './absent.ts'
import { M, S } from './layout.ts'

const PRESENT = 1n
const LARGE = 0x80n
const FRAME = 0x000ffffffffff000n
const CR0_PG = 0x80000000n
const CR4_PSE = 0x10n
const CR4_PAE = 0x20n
const EFER_LMA = 0x400n
const LOW = 0xffffffffn
const PAGE = 4096n
/** The vCPU's PV when its domain has 32 bits. */
const PV32 = 2

/** The core's memory: vCPU state blocks and guest RAM. */
export interface MemoryView {
  readonly u8: Uint8Array
  readonly u64: BigUint64Array
  readonly ramBytes: number
  readonly absent: AbsentPages
}

/** A tree of tables: the root, log2 of what one of its entries maps, bytes of an entry. */
interface Tree {
  readonly root: bigint
  readonly shift: bigint
  readonly size: 4 | 8
  /** log2 of the largest page. */
  readonly largest: bigint
}

/** By the vCPU's paging mode (SDM Vol. 3A, 4.3 to 4.5); undefined: paging is off. */
function treeOf({ u8, u64 }: MemoryView, p: number): Tree | undefined {
  const wide = (offset: number) => u64[(p + offset) >> 3] as bigint
  if (!(wide(S.CR0) & CR0_PG)) return undefined
  const cr3 = wide(S.CR3)
  const cr4 = wide(S.CR4)
  if (wide(S.EFER) & EFER_LMA)
    // CR3 of a 32-bit Xen PV guest is its L3 table (system/walk.ts).
    return { root: cr3 & FRAME, shift: u8[p + S.PV] === PV32 ? 30n : 39n, size: 8, largest: 30n }
  if (cr4 & CR4_PAE) return { root: cr3 & 0xffffffe0n, shift: 30n, size: 8, largest: 21n }
  return { root: cr3 & 0xfffff000n, shift: 22n, size: 4, largest: cr4 & CR4_PSE ? 22n : 12n }
}

/** Guest-physical address of `linear`, undefined where nothing is mapped. Rights are not looked at. */
export function physicalAddress(memory: MemoryView, p: number, linear: bigint): bigint | undefined {
  const { u8, ramBytes, absent } = memory
  const tree = treeOf(memory, p)
  if (!tree) return linear & LOW
  const { size, largest } = tree
  const bits = size === 8 ? 9n : 10n
  // Outside long mode, and in a 32-bit PV guest, there are four such entries.
  const address = tree.shift === 39n ? linear : linear & LOW
  let { root: table, shift } = tree
  for (;;) {
    const at = table + ((address >> shift) & ((1n << bits) - 1n)) * BigInt(size)
    if (at + BigInt(size) > BigInt(ramBytes)) return undefined
    absent.need(Number(at), size)
    const place = M.RAM + Number(at)
    const entry = u8.subarray(place, place + size).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
    if (!(entry & PRESENT)) return undefined
    if (shift === 12n || (entry & LARGE && shift <= largest)) {
      const offset = (1n << shift) - 1n
      // Bits 39:32 of a 4 MiB page are bits 20:13 of its entry (PSE-36).
      const high = shift === 22n ? ((entry >> 13n) & 0xffn) << 32n : 0n
      return high | (entry & FRAME & ~offset) | (address & offset)
    }
    table = entry & FRAME
    shift -= bits
  }
}

/** `count` bytes of RAM from `linear` on, as far as they are there. */
export function bytesAt(core: MemoryView, p: number, linear: bigint, count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  for (let done = 0; done < count; ) {
    const next = BigInt.asUintN(64, linear + BigInt(done))
    const piece = Math.min(count - done, Number(PAGE - (next % PAGE)))
    const at = physicalAddress(core, p, next)
    if (at === undefined || at >= BigInt(core.ramBytes)) return bytes.subarray(0, done)
    core.absent.need(Number(at), piece)
    const place = M.RAM + Number(at)
    bytes.set(core.u8.subarray(place, place + piece), done)
    done += piece
  }
  return bytes
}
