/** Which of its own grants a PV guest uses. */
import type { Holder } from '../../src/platforms/xen/mm/testing.ts'

/** GNTMAP_* */
export const FLAGS = { DEVICE: 1, HOST: 2, READONLY: 4, PTE: 16 } as const
/** GTF_* */
export const READING = 8
export const WRITING = 16

/** A handle's mapping, as far as it is still there. */
interface Mapping {
  readonly ref: number
  readonly frame: number
  flags: number
}

export class Grants {
  readonly live = new Map<number, Mapping>()
  version = 1

  /** A mapping by the processor is an entry of a page table; one by a device is nowhere else. */
  holders(): Holder[] {
    const devices = [...this.live.values()].filter(({ flags }) => flags & FLAGS.DEVICE)
    return devices.map(({ frame, flags }) => ({ frame, typed: !(flags & FLAGS.READONLY) }))
  }

  uses(ref: number): number {
    const mappings = [...this.live.values()].filter((each) => each.ref === ref)
    if (mappings.length === 0) return 0
    return READING | (mappings.some(({ flags }) => !(flags & FLAGS.READONLY)) ? WRITING : 0)
  }
}
