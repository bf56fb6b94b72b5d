/**
 * The domain builder for PVH: kernel, start_info, command line and initrd as any PVH loader puts them, Xen's memory
 * map, ACPI tables above RAM, and the pages of the toolstack's: console and xenstore rings.
 *
 * On real machines the tables lie at 0xfc000000 and the pages end at 4 GiB - 64 KiB. Here all memory ends far below, so
 * they lie at its end; the guest finds them by the map and by parameters.
 */
import { reducedAcpiTables } from '../../../boot/acpi-reduced.ts'
import type { MemoryRange } from '../../../boot/boot-params.ts'
import { layoutBoot } from '../../../boot/layout.ts'
import type { BuildOptions } from '../../../paravirt/platform.ts'
import type { Domain } from '../domain.ts'
import type { PvhKind } from './kind.ts'
import { Param } from './params.ts'

const PAGE = 4096
const LOW_END = 0xa0000
const HIGH = 0x100000

/** How many frames the toolstack uses above all that the guest can have. */
const TOOLSTACK_FRAMES = 32
const ACPI_FRAMES = 16
/** The last of them: 8 special pages, of which a guest uses two. */
const SPECIAL = { first: 24, xenstore: 28, console: 31 } as const

export function buildPvh(domain: Domain, { params, physmap }: PvhKind, options: BuildOptions): void {
  const { memory, cpu } = domain.effects
  const first = domain.frames.allocateRun(TOOLSTACK_FRAMES)
  for (let i = 0; i < ACPI_FRAMES; i++) physmap.populate(first + i)
  for (let i = SPECIAL.first; i < TOOLSTACK_FRAMES; i++) physmap.populate(first + i)
  const acpi = reducedAcpiTables(first * PAGE, cpu.count)
  const special = (first + SPECIAL.first) * PAGE
  const ranges: readonly MemoryRange[] = [
    { address: 0, size: LOW_END, type: 1 },
    { address: HIGH, size: options.memory - HIGH, type: 1 },
    { address: first * PAGE, size: acpi.length, type: 3 },
    { address: special, size: (first + TOOLSTACK_FRAMES) * PAGE - special, type: 2 },
  ]
  domain.memoryMap = ranges.map(({ address, size, type }) => ({ address: BigInt(address), size: BigInt(size), type }))
  const boot = layoutBoot({
    ...options,
    method: options.method ?? 'pvh',
    rsdp: first * PAGE,
    ranges,
    tables: [{ address: first * PAGE, bytes: acpi }],
  })
  for (const { address, bytes } of boot.pieces) memory.place(address, bytes)
  const ring = (frame: number) => ({ frame, port: domain.events.offer() })
  const store = ring(first + SPECIAL.xenstore)
  const console = ring(first + SPECIAL.console)
  params.set(Param.STORE_PFN, store.frame)
  params.set(Param.STORE_EVTCHN, store.port)
  params.set(Param.CONSOLE_PFN, console.frame)
  params.set(Param.CONSOLE_EVTCHN, console.port)
  domain.time.start()
  cpu.enter(0, boot.entry)
  domain.serve({ store, console })
}
