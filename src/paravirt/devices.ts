/** Devices that a user gives a machine, for platforms that have some way to offer them. */
import type { Disk } from '../backends/disk.ts'
import type { NetworkPort } from '../backends/network/port.ts'

export interface Devices {
  /** In the order in which the guest shall name them. */
  readonly disks: readonly Disk[]
  readonly networks: readonly NetworkPort[]
}

export type DeviceKind = keyof Devices
