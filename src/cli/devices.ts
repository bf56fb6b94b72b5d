/** `--disk` and `--net`: what the user writes, what is opened, and the modules by which the default guest uses it. */
import { existsSync, readFileSync } from 'node:fs'
import { type DiskChoice, diskModes, networkNames, type OpenDevices } from '../backends/choices.ts'
import { openDevices as open } from '../backends/open.ts'
import { isDeb } from '../boot/deb.ts'
import type { Kernel } from '../boot/entries.ts'
import { InputError } from '../errors.ts'
import type { GuestDevices } from '../initramfs/devices.ts'
import { isKernelPackage, packageModules } from '../packages/debian.ts'
import { debModules, deviceModules, installedModules, type Modules } from '../packages/modules.ts'
import type { Devices } from '../paravirt/devices.ts'
import type { PlatformName } from '../platforms/index.ts'
import { parseName } from './options.ts'

export interface DeviceOptions {
  /** As often as the option was given. */
  readonly disk?: readonly string[]
  readonly net?: readonly string[]
}

/** FILE, or FILE and how it is used; `,,` is a comma of the file's name, as in QEMU. */
export function parseDisk(text: string): DiskChoice {
  const [path = '', ...words] = text.split(/(?<!,),(?!,)/).map((word) => word.replaceAll(',,', ','))
  if (path === '') throw new InputError(`--disk '${text}' names no file`)
  if (words.length > 1)
    throw new InputError(`--disk ${path}: one of ${diskModes.join(' and ')}, not ${words.join(', ')}`)
  const [word] = words
  return { path, mode: word === undefined ? undefined : parseName('way to use a disk', word, diskModes) }
}

/** Opens what the options name; undefined if they name nothing. Throws InputError before anything is changed. */
export function openDevices({ disk = [], net = [] }: DeviceOptions, platform: PlatformName): OpenDevices | undefined {
  const disks = disk.map(parseDisk)
  const networks = net.map((name) => parseName('network', name, networkNames))
  return open({ disks, networks }, { platform, says: { disks: '--disk', networks: '--net' } })
}

/** What the default initramfs is to do about them. */
export async function guestDevices(
  source: string | undefined,
  kernel: Kernel,
  { disks, networks: cards }: Devices,
): Promise<GuestDevices & { readonly found: boolean }> {
  const modules = await findModules(source, kernel)
  return { modules: modules ?? [], disks: disks.length, networks: cards.length, found: modules !== undefined }
}

/** The modules for these devices from where the kernel is from; undefined: nobody knows where they are. */
async function findModules(source: string | undefined, kernel: Kernel): Promise<Modules | undefined> {
  if (source !== undefined && !existsSync(source)) return isKernelPackage(source) ? packageModules(source) : undefined
  if (source !== undefined) {
    const bytes = readFileSync(source)
    if (isDeb(bytes)) return debModules(bytes, source, deviceModules)
  }
  return installedModules(kernel.version.split(' ')[0] ?? '', deviceModules)
}
