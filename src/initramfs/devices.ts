/**
 * What the default guest is told of its devices: modules to load, disks to wait for, cards to bring up; and the script
 * by which busybox's DHCP client sets an address. guests/init/init.sh does it.
 */
import { guestScript } from '#guest-scripts'
import type { Modules } from '../packages/modules.ts'
import type { CpioEntry } from './cpio.ts'

export interface GuestDevices {
  /** In the order in which to load them. */
  readonly modules: Modules
  readonly disks: number
  readonly networks: number
}

const lines = (values: readonly string[]): CpioEntry => ({
  mode: 0o100644,
  bytes: new TextEncoder().encode(values.map((value) => `${value}\n`).join('')),
})

/** `diskName` is what the kernel calls its disks, without the letter. */
export function deviceFiles({ modules, disks, networks }: GuestDevices, diskName: string): Map<string, CpioEntry> {
  const files = new Map<string, CpioEntry>()
  for (const { path, bytes } of modules) files.set(path, { mode: 0o100644, bytes })
  files.set('/paravirt/modules', lines(modules.map(({ path }) => path)))
  files.set('/paravirt/disks', lines(Array.from({ length: disks }, (_, i) => diskName + String.fromCharCode(97 + i))))
  files.set('/paravirt/networks', lines(Array.from({ length: networks }, (_, i) => `eth${i}`)))
  files.set('/usr/share/udhcpc/default.script', {
    mode: 0o100755,
    bytes: new TextEncoder().encode(guestScript('udhcpc.sh')),
  })
  return files
}
