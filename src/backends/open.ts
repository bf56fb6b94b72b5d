/** Disks and network cards as users name them, opened: for the command's options and the library's. */
import { realpathSync } from 'node:fs'
import { InputError } from '../errors.ts'
import type { DeviceKind, Devices } from '../paravirt/devices.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions, type PlatformName } from '../platforms/index.ts'
import { FileBlocks, FileDisk } from './disk-file.ts'
import { type Disk, MemoryDisk, OverlayDisk } from './disk.ts'
import { UserNetwork } from './network/user.ts'

export const diskModes = ['readonly', 'cow'] as const
export const networkNames = ['user'] as const
export type DiskMode = (typeof diskModes)[number]
export type NetworkName = (typeof networkNames)[number]

export interface DiskChoice {
  readonly path: string
  /** Default: what the guest writes is written to the file. */
  readonly mode?: DiskMode | undefined
}

export interface DeviceChoices {
  /** Bytes are a disk in memory; the guest's writes change them. */
  readonly disks: readonly (DiskChoice | Uint8Array)[]
  readonly networks: readonly NetworkName[]
}

export interface OpenOptions {
  readonly platform: PlatformName
  /** Nothing depends on when the host has written. */
  readonly deterministic?: boolean
  /** What users call them: `--disk`. */
  readonly says: Readonly<Record<DeviceKind, string>>
}

/** xvda to xvdz. */
const MAX_DISKS = 26
const MAX_NETWORKS = 8

export type OpenDevices = Devices & Disposable

/** Undefined if nothing is named. Throws InputError before anything is changed. */
export function openDevices({ disks, networks }: DeviceChoices, options: OpenOptions): OpenDevices | undefined {
  if (disks.length === 0 && networks.length === 0) return undefined
  const { platform, says, deterministic = false } = options
  if (disks.length > 0) offers(platform, 'disks', says.disks)
  if (networks.length > 0) offers(platform, 'networks', says.networks)
  if (disks.length > MAX_DISKS) throw new InputError(`${says.disks}: at most ${MAX_DISKS} disks`)
  if (networks.length > MAX_NETWORKS) throw new InputError(`${says.networks}: at most ${MAX_NETWORKS} network cards`)
  const opened: Disk[] = []
  const close = () => {
    for (const disk of opened) disk.close()
  }
  try {
    for (const disk of disks) opened.push(disk instanceof Uint8Array ? memoryDisk(disk) : openDisk(disk, deterministic))
    refuseSharing(disks.filter((disk): disk is DiskChoice => !(disk instanceof Uint8Array)))
  } catch (error) {
    close()
    if (error instanceof InputError) throw new InputError(`${says.disks} ${error.message}`)
    throw error
  }
  const network = new UserNetwork()
  return { disks: opened, networks: networks.map(() => network.plug()), [Symbol.dispose]: close }
}

function offers(platform: PlatformName, kind: DeviceKind, what: string): void {
  const able = (definition: PlatformDefinition) => definition.devices?.includes(kind) === true
  if (able(definitions[platform])) return
  const others = Object.values(definitions).filter(able)
  throw new InputError(
    `${what}: ${platform} has no such devices yet; ${others.map(({ name }) => name).join(', ')} have`,
  )
}

function memoryDisk(bytes: Uint8Array): Disk {
  const disk = new MemoryDisk(bytes)
  if (disk.size === 0) throw new InputError(`of ${bytes.length} bytes: too small for a disk`)
  return disk
}

function openDisk({ path, mode }: DiskChoice, deterministic: boolean): Disk {
  const file = FileDisk.open(path, { readOnly: mode !== undefined, deterministic })
  return mode === 'cow' ? new OverlayDisk(file, new FileBlocks()) : file
}

/** Two systems that write to one image destroy it. */
function refuseSharing(choices: readonly DiskChoice[]): void {
  const seen = new Map<string, boolean>()
  for (const { path, mode } of choices) {
    const file = realpathSync(path)
    const writes = mode === undefined
    const other = seen.get(file)
    if (other !== undefined && (other || writes))
      throw new InputError(`${path}: used twice, and written; let both be 'cow' or 'readonly'`)
    seen.set(file, writes)
  }
}
