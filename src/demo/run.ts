/** One run of the project's own kernel on one platform. */
import { elfKernel } from '../boot/entries.ts'
import { Machine } from '../machine/machine.ts'
import type { MachineOptions } from '../machine/types.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions, type PlatformName } from '../platforms/index.ts'
import type { Bits } from './image.ts'
import { readReport, type Report } from './report.ts'

/** Platforms that it has been taught, or that leave it alone. */
const taught = [
  'native',
  'kvm',
  'vmware',
  'hyperv',
  'xen-hvm',
  'xen-pvh',
  'xen-pv',
  'xen-pv32',
  'vmi',
  'lguest',
] as const satisfies readonly PlatformName[]
export type DemoPlatform = (typeof taught)[number]

/** Xen's paravirtual guests have 64 bits here, lguest's 32. */
const only: Readonly<Partial<Record<DemoPlatform, Bits>>> = { 'xen-pv': 64, 'xen-pv32': 32, lguest: 32 }
export const demoPlatforms = (bits: Bits): readonly DemoPlatform[] =>
  taught.filter((platform) => (only[platform] ?? bits) === bits)

const MEMORY = 32 << 20

export interface PvopsOptions
  extends Pick<MachineOptions, 'features' | 'deterministic' | 'translate' | 'observe' | 'interpreter'> {
  readonly image: Uint8Array
  readonly bits: Bits
  readonly platform: PlatformName
  /** 1 to 8, or as many as the platform's guests can have. */
  readonly cpus: number
  /** What its console shows, as it comes. */
  readonly onOutput?: (bytes: Uint8Array) => void
  /** Gives up. */
  readonly signal?: AbortSignal
}

export interface PvopsRun extends Report {
  readonly console: string
  /** Why it stopped, if it did not come to its end. */
  readonly trouble: string | undefined
  readonly seconds: number
  readonly machine: Machine
}

export async function runPvops({
  image,
  bits,
  platform,
  cpus,
  signal,
  onOutput,
  ...options
}: PvopsOptions): Promise<PvopsRun> {
  const definition: PlatformDefinition = definitions[platform]
  const most = Math.min(cpus, definition.cpus ?? cpus)
  let console = ''
  const decoder = new TextDecoder('latin1')
  const append = (bytes: Uint8Array) => {
    console += decoder.decode(bytes)
    onOutput?.(bytes)
  }
  const began = performance.now()
  const machine = await Machine.create({
    memory: MEMORY,
    cpu: 'inorder',
    platform,
    cpus: most,
    serial: { com1: append },
    boot: { kernel: elfKernel(image, `pvops (${bits} bits)`), cmdline: `cpus=${most}` },
    ...options,
  })
  const exit = await machine.run(signal)
  const report = readReport(console)
  const seconds = (performance.now() - began) / 1000
  const detail = exit.kind === 'triple-fault' ? ` (${exit.detail})` : ''
  return { ...report, console, trouble: exit.kind === 'power-off' ? undefined : exit.kind + detail, seconds, machine }
}
