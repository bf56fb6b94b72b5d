/**
 * Guest memory by linear address, as a debugger reads it: through the vCPU's page tables, but without setting accessed
 * bits, without faults and whatever its privilege level. SDM Vol. 3A, 4.3 to 4.5.
 */
import type { Core } from '../cpu/core.ts'
import { S } from '../cpu/layout.ts'

const CR0_PG = 1n << 31n
const CR4_PSE = 1n << 4n
const CR4_PAE = 1n << 5n
const CR4_LA57 = 1n << 12n
const EFER_LMA = 1n << 10n
const PRESENT = 1n
const LARGE = 1n << 7n
/** Bits 51:12 of an entry. */
const FRAME = 0x000ffffffffff000n
const PAGE = 4096n

/** The guest-physical address, or undefined where nothing is mapped. */
function physicalAddress(core: Core, vcpu: number, linear: bigint): bigint | undefined {
  const register = (offset: number) => core.u64[((core.vcpus[vcpu] as number) + offset) >> 3] as bigint
  const cr0 = register(S.CR0)
  const cr3 = register(S.CR3)
  const cr4 = register(S.CR4)
  if (!(cr0 & CR0_PG)) return linear & 0xffffffffn
  if (register(S.EFER) & EFER_LMA) return walk(core, cr3 & FRAME, linear, cr4 & CR4_LA57 ? 5 : 4, 8)
  const linear32 = linear & 0xffffffffn
  if (!(cr4 & CR4_PAE)) return walk(core, cr3 & 0xfffff000n, linear32, 2, 4, (cr4 & CR4_PSE) !== 0n)
  const top = entryAt(core, (cr3 & 0xffffffe0n) + (linear32 >> 30n) * 8n, 8)
  return top !== undefined && top & PRESENT ? walk(core, top & FRAME, linear32, 2, 8) : undefined
}

/** Bytes from a linear address; undefined unless all of them are mapped RAM. */
export function readLinear(core: Core, vcpu: number, linear: bigint, length: number): Uint8Array | undefined {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const at = BigInt.asUintN(64, linear + BigInt(done))
    const piece = Math.min(length - done, Number(PAGE - (at % PAGE)))
    const physical = physicalAddress(core, vcpu, at)
    if (physical === undefined || physical + BigInt(piece) > BigInt(core.ramBytes)) return undefined
    bytes.set(core.ram(Number(physical), piece), done)
    done += piece
  }
  return bytes
}

function walk(
  core: Core,
  root: bigint,
  linear: bigint,
  levels: number,
  size: 4 | 8,
  largePages = true,
): bigint | undefined {
  const bits = size === 8 ? 9n : 10n
  let table = root
  for (let level = levels; ; level--) {
    const shift = 12n + bits * BigInt(level - 1)
    const index = (linear >> shift) & ((1n << bits) - 1n)
    const entry = entryAt(core, table + index * BigInt(size), size)
    if (entry === undefined || !(entry & PRESENT)) return undefined
    const last = level === 1 || (level <= 3 && largePages && (entry & LARGE) !== 0n)
    if (!last) {
      table = entry & (size === 8 ? FRAME : 0xfffff000n)
      continue
    }
    const offset = (1n << shift) - 1n
    // Bits 39:32 of a 4 MiB page are bits 20:13 of its entry (PSE-36).
    const high = size === 4 && level === 2 ? ((entry >> 13n) & 0xffn) << 32n : 0n
    return high | (entry & (size === 8 ? FRAME : 0xfffff000n) & ~offset) | (linear & offset)
  }
}

function entryAt(core: Core, address: bigint, size: 4 | 8): bigint | undefined {
  if (address + 8n > BigInt(core.ramBytes)) return undefined
  const bytes = core.ram(Number(address), 8)
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8)
  return size === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true))
}
