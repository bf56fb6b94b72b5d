/**
 * What the toolstack writes when it restores a PV domain (tools/libs/guest/xg_sr_restore_x86_pv.c): the guest left
 * numbers of its own (pfns) in start_info where frames go, and gives Xen's part of shared_info up.
 */
import type { MemoryEffects } from '../../../paravirt/effects.ts'
import type { Rings } from '../kind.ts'

const MAGIC_BYTES = 32
/** start_info and shared_info of 64-bit and of 32-bit guests. */
const layouts = {
  wide: {
    magic: 'xen-3.0-x86_64',
    long: 8,
    sharedInfo: 0x28,
    flags: 0x30,
    store: 0x38,
    storePort: 0x40,
    console: 0x48,
    consolePort: 0x50,
    mask: 0xa00,
    ports: 512,
  },
  narrow: {
    magic: 'xen-3.0-x86_32p',
    long: 4,
    sharedInfo: 0x24,
    flags: 0x28,
    store: 0x2c,
    storePort: 0x30,
    console: 0x34,
    consolePort: 0x38,
    mask: 0x880,
    ports: 128,
  },
} as const
const PAGES = 0x20
/** shared_info: pending ports, and in each of the 32 vcpu_info evtchn_pending_sel. */
const PENDING = 0x800
const INFOS = { count: 32, bytes: 64 }

interface Restored {
  readonly narrow: boolean
  readonly pages: number
  /** Machine address. */
  readonly sharedInfo: number
  readonly ports: { readonly store: number; readonly console: number }
  /** -1: the domain has no such page. */
  readonly frameOf: (pfn: number) => number
}

/** Undefined: what start_info says cannot be. */
export function restoreStartInfo(memory: MemoryEffects, address: number, restored: Restored): Rings | undefined {
  const { ports, narrow, pages, sharedInfo, frameOf } = restored
  const { view } = memory
  const at = narrow ? layouts.narrow : layouts.wide
  const low = (offset: number) => view.getUint32(address + offset, true)
  const pfn = (offset: number) => low(offset) + (narrow ? 0 : 2 ** 32 * low(offset + 4))
  const long = (offset: number, value: number) =>
    narrow ? memory.store32(address + offset, value) : memory.store64(address + offset, BigInt(value))
  const rings = {
    store: { frame: frameOf(pfn(at.store)), port: ports.store },
    console: { frame: frameOf(pfn(at.console)), port: ports.console },
  }
  if (rings.store.frame < 0 || rings.console.frame < 0) return undefined
  const magic = new Uint8Array(MAGIC_BYTES)
  magic.set(new TextEncoder().encode(at.magic))
  memory.place(address, magic)
  long(PAGES, pages)
  long(at.sharedInfo, sharedInfo)
  memory.store32(address + at.flags, 0)
  long(at.store, rings.store.frame)
  memory.store32(address + at.storePort, ports.store)
  long(at.console, rings.console.frame)
  memory.store32(address + at.consolePort, ports.console)
  return rings
}

/** No event is pending, all are masked. */
export function clearEvents(memory: MemoryEffects, sharedInfo: number, narrow: boolean): void {
  const { mask, ports, long } = narrow ? layouts.narrow : layouts.wide
  memory.place(sharedInfo + PENDING, new Uint8Array(ports))
  memory.place(sharedInfo + mask, new Uint8Array(ports).fill(0xff))
  for (let i = 0; i < INFOS.count; i++) memory.place(sharedInfo + i * INFOS.bytes + long, new Uint8Array(long))
}
