/** Disks and network cards opened in Node, where a disk is an image file: for the command's options and the library's. */
import { realpathSync } from 'node:fs'
import { InputError } from '../errors.ts'
import type { PlatformName } from '../platforms/index.ts'
import {
  checkDevices,
  connected,
  type DeviceChoices,
  type DeviceNames,
  type DiskChoice,
  memoryDisk,
  type OpenDevices,
} from './choices.ts'
import { FileBlocks, FileDisk } from './disk-file.ts'
import { type Disk, OverlayDisk } from './disk.ts'

export interface OpenOptions {
  readonly platform: PlatformName
  /** Nothing depends on when the host has written. */
  readonly deterministic?: boolean
  readonly says: DeviceNames
}

/** Undefined if nothing is named. Throws InputError before anything is changed. */
export function openDevices(choices: DeviceChoices, options: OpenOptions): OpenDevices | undefined {
  const { disks, networks } = choices
  if (disks.length === 0 && networks.length === 0) return undefined
  const { platform, says, deterministic = false } = options
  checkDevices(choices, platform, says)
  const opened: Disk[] = []
  try {
    for (const disk of disks) opened.push(disk instanceof Uint8Array ? memoryDisk(disk) : openDisk(disk, deterministic))
    refuseSharing(disks.filter((disk): disk is DiskChoice => !(disk instanceof Uint8Array)))
  } catch (error) {
    for (const disk of opened) disk.close()
    if (error instanceof InputError) throw new InputError(`${says.disks} ${error.message}`)
    throw error
  }
  return connected(opened, networks)
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
