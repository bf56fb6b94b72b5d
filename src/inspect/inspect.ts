/** What can be known of a kernel without booting it. */
import type { Kernel } from '../boot/entries.ts'
import { platforms, type PlatformName } from '../platforms/index.ts'
import { refusal } from '../platforms/refusal.ts'
import { decodeKallsyms } from '../symbols/kallsyms.ts'
import type { SymbolTable } from '../symbols/symbols.ts'
import { embeddedConfig } from './config.ts'
import { noteLine } from './notes.ts'

export interface Inspection {
  readonly version: string
  readonly bits: 32 | 64
  readonly compression: string | undefined
  /** Boot protocol of a bzImage, as 2.15. */
  readonly protocol: string | undefined
  /** Bytes of memory that its image takes, and where it begins. */
  readonly image: { readonly from: number; readonly bytes: number } | undefined
  /** By what it can be entered, and where. */
  readonly entries: Readonly<Record<string, number>>
  readonly notes: readonly string[]
  readonly symbols: number | undefined
  /** Hypervisors that it looks for, by its symbols or its configuration. */
  readonly knows: readonly string[] | undefined
  readonly config: string | undefined
  /** For each `--on`: why not, or undefined. */
  readonly platforms: Readonly<Record<PlatformName, string | undefined>>
}

/** Linux's struct hypervisor_x86 of each (arch/x86/kernel/cpu/hypervisor.c), and the option that builds it. */
const hypervisors = [
  ['KVM', 'x86_hyper_kvm', 'CONFIG_KVM_GUEST'],
  ['VMware', 'x86_hyper_vmware', 'CONFIG_HYPERVISOR_GUEST'],
  ['Hyper-V', 'x86_hyper_ms_hyperv', 'CONFIG_HYPERVISOR_GUEST'],
  ['Xen PV', 'x86_hyper_xen_pv', 'CONFIG_XEN_PV'],
  ['Xen PVH and HVM', 'x86_hyper_xen_hvm', 'CONFIG_XEN_PVHVM'],
  ['Jailhouse', 'x86_hyper_jailhouse', 'CONFIG_JAILHOUSE_GUEST'],
  ['ACRN', 'x86_hyper_acrn', 'CONFIG_ACRN_GUEST'],
] as const

export function inspectKernel(kernel: Kernel): Inspection {
  const { elf, image, version, bits, compression, entries } = kernel
  const symbols = elf && decodeKallsyms(elf)
  const config = elf && embeddedConfig(elf)
  const from = elf && Math.min(...elf.segments.map(({ address }) => address))
  const end = elf && Math.max(...elf.segments.map(({ address, size }) => address + size))
  return {
    version,
    bits,
    compression,
    protocol: image && `${image.protocol >> 8}.${String(image.protocol & 0xff).padStart(2, '0')}`,
    image: from === undefined || end === undefined ? undefined : { from, bytes: end - from },
    entries,
    notes: (elf?.notes ?? []).map(noteLine),
    symbols: symbols?.size,
    knows: known(symbols, config),
    config,
    platforms: Object.fromEntries(platforms.map((name) => [name, refusal(kernel, name)])) as Inspection['platforms'],
  }
}

function known(symbols: SymbolTable | undefined, config: string | undefined): string[] | undefined {
  const isOn = (option: string) => config?.includes(`\n${option}=y\n`) ?? false
  if (config !== undefined) return hypervisors.filter(([, , option]) => isOn(option)).map(([name]) => name)
  // These are data: without CONFIG_KALLSYMS_ALL nothing can be said.
  if (symbols?.address('pv_ops') === undefined) return undefined
  return hypervisors.filter(([, symbol]) => symbols.address(symbol) !== undefined).map(([name]) => name)
}
