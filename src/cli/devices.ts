/** `--disk` and `--net`: what the user writes, what is opened, and the modules by which the default guest uses it. */
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { FileBlocks, FileDisk } from '../backends/disk-file.ts'
import { type Disk, OverlayDisk } from '../backends/disk.ts'
import { UserNetwork } from '../backends/network/user.ts'
import { isDeb } from '../boot/deb.ts'
import type { Kernel } from '../boot/entries.ts'
import { InputError } from '../errors.ts'
import type { GuestDevices } from '../initramfs/devices.ts'
import { isKernelPackage, packageModules } from '../packages/debian.ts'
import { debModules, deviceModules, installedModules, type Modules } from '../packages/modules.ts'
import type { DeviceKind, Devices } from '../paravirt/devices.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions, type PlatformName } from '../platforms/index.ts'
import { parseName } from './options.ts'

export interface DeviceOptions {
  /** As often as the option was given. */
  readonly disk?: readonly string[]
  readonly net?: readonly string[]
}

const diskModes = ['readonly', 'cow'] as const
const networks = ['user'] as const
/** xvda to xvdz. */
const MAX_DISKS = 26
const MAX_NETWORKS = 8

type OpenDevices = Devices & Disposable

interface DiskChoice {
  readonly path: string
  readonly mode: (typeof diskModes)[number] | undefined
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
  if (disk.length === 0 && net.length === 0) return undefined
  if (disk.length > 0) offers(platform, 'disks', '--disk')
  if (net.length > 0) offers(platform, 'networks', '--net')
  if (disk.length > MAX_DISKS) throw new InputError(`--disk: at most ${MAX_DISKS} disks`)
  if (net.length > MAX_NETWORKS) throw new InputError(`--net: at most ${MAX_NETWORKS} network cards`)
  for (const name of net) parseName('network', name, networks)
  const choices = disk.map(parseDisk)
  const disks: Disk[] = []
  try {
    for (const choice of choices) disks.push(openDisk(choice))
    refuseSharing(choices)
  } catch (error) {
    for (const opened of disks) opened.close()
    throw error
  }
  const network = new UserNetwork()
  return {
    disks,
    networks: net.map(() => network.plug()),
    [Symbol.dispose]: () => {
      for (const opened of disks) opened.close()
    },
  }
}

function offers(platform: PlatformName, kind: DeviceKind, option: string): void {
  const able = (definition: PlatformDefinition) => definition.devices?.includes(kind) === true
  if (able(definitions[platform])) return
  const others = Object.values(definitions).filter(able)
  throw new InputError(
    `${option}: ${platform} has no such devices yet; ${others.map(({ name }) => name).join(', ')} have`,
  )
}

function openDisk({ path, mode }: DiskChoice): Disk {
  try {
    const file = FileDisk.open(path, { readOnly: mode !== undefined })
    return mode === 'cow' ? new OverlayDisk(file, new FileBlocks()) : file
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`--disk ${error.message}`)
    throw error
  }
}

/** Two systems that write to one image destroy it. */
function refuseSharing(choices: readonly DiskChoice[]): void {
  const seen = new Map<string, boolean>()
  for (const { path, mode } of choices) {
    const file = realpathSync(path)
    const writes = mode === undefined
    const other = seen.get(file)
    if (other !== undefined && (other || writes))
      throw new InputError(`--disk ${path}: used twice, and written; let both be 'cow' or 'readonly'`)
    seen.set(file, writes)
  }
}

/** What the default initramfs is to do about them. */
export async function guestDevices(
  source: string,
  kernel: Kernel,
  devices: Devices | undefined,
): Promise<GuestDevices | undefined> {
  if (!devices) return undefined
  const { disks, networks: cards } = devices
  const modules = await findModules(source, kernel)
  if (!modules) process.stderr.write(`paravirt: ${source}: its modules are not here; its drivers must be built in\n`)
  return { modules: modules ?? [], disks: disks.length, networks: cards.length }
}

/** The modules for these devices from where the kernel is from; undefined: nobody knows where they are. */
async function findModules(source: string, kernel: Kernel): Promise<Modules | undefined> {
  if (!existsSync(source)) return isKernelPackage(source) ? packageModules(source) : undefined
  const bytes = readFileSync(source)
  if (isDeb(bytes)) return debModules(bytes, source, deviceModules)
  return installedModules(kernel.version.split(' ')[0] ?? '', deviceModules)
}
