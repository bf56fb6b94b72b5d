/** What Node's and the browser's side of the library have in common. */
import type { CpioEntry } from '../initramfs/cpio.ts'
import type { BootPlan } from '../machine/types.ts'
import type { FileContent } from './options.ts'

export interface Boot {
  readonly plan: BootPlan
  /** The initramfs has an agent. */
  readonly agent: boolean
}

/** Files for the default initramfs. */
export function filesOf(files: Readonly<Record<string, FileContent>>): Map<string, CpioEntry> {
  return new Map(
    Object.entries(files).map(([path, bytes]) => [
      path,
      { mode: 0o100755, bytes: typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes },
    ]),
  )
}
