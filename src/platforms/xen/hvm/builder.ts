/**
 * The domain builder for HVM: a PC with firmware's tables and the pages of the toolstack's. A kernel is entered as a PC's
 * boot loader would do it, which on real machines is what SeaBIOS and GRUB, or QEMU's `-kernel`, come to. An ELF file
 * that is neither Linux nor Multiboot is taken for firmware (libxl's `firmware_override`): it is entered at its entry
 * point in flat 32-bit mode with hvm_start_info in EBX, as hvmloader is.
 */
import type { MemoryRange } from '../../../boot/boot-params.ts'
import type { Kernel, Method } from '../../../boot/entries.ts'
import { methods } from '../../../boot/entries.ts'
import { BootError } from '../../../boot/error.ts'
import { firmwareTables } from '../../../boot/firmware.ts'
import { layoutBoot } from '../../../boot/layout.ts'
import { cpuid, type CpuModel, signature } from '../../../cpu/models.ts'
import { SERIAL_PORTS } from '../../../machine/pc.ts'
import type { BuildOptions } from '../../../paravirt/platform.ts'
import type { Domain } from '../domain.ts'
import { Param } from '../pvh/params.ts'
import type { PvhKind } from '../pvh/kind.ts'
import { intxRoute } from './event-line.ts'
import { DEVICE } from './platform-device.ts'

const PAGE = 4096
const LOW_END = 0x9fc00
const BIOS_AREA = 0xe0000
const HIGH = 0x100000
/** The last console of a command line is Linux's /dev/console. */
const LAST_CONSOLE = /.*\bconsole=([a-z]+)/i
/** Special pages above all that the guest can have; it uses two of them. */
const SPECIAL = { count: 8, xenstore: 4, console: 7 } as const

export function buildHvm(domain: Domain, kind: PvhKind, window: number, model: CpuModel, options: BuildOptions): void {
  const { memory, cpu } = domain.effects
  const first = domain.frames.allocateRun(SPECIAL.count)
  for (let i = 0; i < SPECIAL.count; i++) kind.physmap.populate(first + i)
  const ranges: readonly MemoryRange[] = [
    { address: 0, size: LOW_END, type: 1 },
    { address: LOW_END, size: 0xa0000 - LOW_END, type: 2 },
    { address: BIOS_AREA, size: HIGH - BIOS_AREA, type: 2 },
    { address: HIGH, size: options.memory - HIGH, type: 1 },
    { address: first * PAGE, size: SPECIAL.count * PAGE, type: 2 },
  ]
  domain.memoryMap = ranges.map(({ address, size, type }) => ({ address: BigInt(address), size: BigInt(size), type }))
  const firmware = firmwareTables({
    vcpus: cpu.count,
    serialPorts: SERIAL_PORTS.length,
    signature: signature(model),
    features: cpuid(model, 1, 0, { apicId: 0, vcpus: cpu.count, osxsave: false, apicEnabled: true })[3],
    pci: { memory: window, routes: [{ device: DEVICE, pin: 0, ...intxRoute(DEVICE, 0) }] },
  })
  const boot = layoutBoot({ ...options, ...entered(options), ...firmware, ranges })
  for (const { address, bytes } of boot.pieces) memory.place(address, bytes)
  const ring = (frame: number) => ({ frame, port: domain.events.offer() })
  const store = ring(first + SPECIAL.xenstore)
  const console = ring(first + SPECIAL.console)
  const { params } = kind
  params.set(Param.STORE_PFN, store.frame)
  params.set(Param.STORE_EVTCHN, store.port)
  params.set(Param.CONSOLE_PFN, console.frame)
  params.set(Param.CONSOLE_EVTCHN, console.port)
  domain.time.start()
  cpu.enter(0, boot.entry)
  // Further lines are serial ports.
  const backend = domain.serve({ store, console }, false)
  if (LAST_CONSOLE.exec(options.cmdline)?.[1] === 'hvc') backend?.takeInput()
}

/** The kernel and the way in; a guest that began at its PVH entry would take itself for another kind. */
function entered({ kernel, method }: BuildOptions): { readonly kernel: Kernel; readonly method: Method } {
  if (isFirmware(kernel) && kernel.elf)
    return { kernel: { ...kernel, entries: { pvh: kernel.elf.entry } }, method: 'pvh' }
  if (method === 'pvh') throw new BootError(`${kernel.name}: HVM guests are not entered by pvh; --on xen-pvh does that`)
  const found = method ?? entryOf(kernel)
  if (!found) throw new BootError(`${kernel.name}: ${hvmRefusal(kernel)}`)
  return { kernel, method: found }
}

const entryOf = ({ entries }: Kernel): Method | undefined =>
  methods.find((each) => each !== 'pvh' && entries[each] !== undefined)

/** Why a kernel cannot be an HVM guest; undefined: it can. */
export const hvmRefusal = (kernel: Kernel): string | undefined =>
  entryOf(kernel) === undefined ? 'it has no entry that a PC could use' : undefined

const isFirmware = ({ elf, image, entries, version }: Kernel): boolean =>
  elf !== undefined && image === undefined && entries.multiboot === undefined && version === 'unknown'
