/** Disks and network cards as users choose them, for the command and for the library in Node and in browsers. */
import { InputError } from '../errors.ts'
import type { DeviceKind, Devices } from '../paravirt/devices.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions, type PlatformName } from '../platforms/index.ts'
import { type Disk, MemoryDisk } from './disk.ts'
import { UserNetwork } from './network/user.ts'

export const diskModes = ['readonly', 'cow'] as const
export const networkNames = ['user'] as const
type DiskMode = (typeof diskModes)[number]
type NetworkName = (typeof networkNames)[number]

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

/** What users call them: `--disk`. */
export type DeviceNames = Readonly<Record<DeviceKind, string>>

/** xvda to xvdz. */
const MAX_DISKS = 26
const MAX_NETWORKS = 8

export type OpenDevices = Devices & Disposable

/** Throws InputError if the platform has no such devices, or not so many. */
export function checkDevices({ disks, networks }: DeviceChoices, platform: PlatformName, says: DeviceNames): void {
  if (disks.length > 0) offers(platform, 'disks', says.disks)
  if (networks.length > 0) offers(platform, 'networks', says.networks)
  if (disks.length > MAX_DISKS) throw new InputError(`${says.disks}: at most ${MAX_DISKS} disks`)
  if (networks.length > MAX_NETWORKS) throw new InputError(`${says.networks}: at most ${MAX_NETWORKS} network cards`)
}

function offers(platform: PlatformName, kind: DeviceKind, what: string): void {
  const able = (definition: PlatformDefinition) => definition.devices?.includes(kind) === true
  if (able(definitions[platform])) return
  const others = Object.values(definitions).filter(able)
  throw new InputError(
    `${what}: ${platform} has no such devices yet; ${others.map(({ name }) => name).join(', ')} have`,
  )
}

/** Throws InputError for less than a sector. */
export function memoryDisk(bytes: Uint8Array, readOnly = false): Disk {
  const disk = new MemoryDisk(bytes, readOnly)
  if (disk.size === 0) throw new InputError(`of ${bytes.length} bytes: too small for a disk`)
  return disk
}

/** The disks, and as many cards on a network as are named. */
export function connected(disks: readonly Disk[], networks: readonly NetworkName[]): OpenDevices {
  const network = new UserNetwork()
  return {
    disks,
    networks: networks.map(() => network.plug()),
    [Symbol.dispose]: () => {
      for (const disk of disks) disk.close()
    },
  }
}
