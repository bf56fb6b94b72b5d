/**
 * Where things are beyond the guest's memory, in frames: the Launcher's device pages, which are the guest's too; then
 * the host's own: the switcher, and room for shadow page tables.
 */
import { BootError } from '../../boot/error.ts'
import { M } from '../../cpu/layout.ts'

export const PAGE = 4096
/** DEVICE_PAGES of the Launcher. */
export const DEVICE_PAGES = 256
/** Of the switcher: code, registers, descriptor tables, and the page table that maps these. */
export const SWITCHER_CODE_PAGES = 2
const SWITCHER_PAGES = SWITCHER_CODE_PAGES + 3
/** Shadows that the host keeps at a time. */
export const PGDIRS = 4
/** A shadow of all 4 GiB: its top, four middle tables and all their page tables. So many are always enough. */
const SHADOW_PAGES = 1 + 4 + 4 * 512

export interface FrameMap {
  /** The page with the devices' descriptors; its rings follow. */
  readonly devices: number
  readonly switcher: number
  readonly regs: number
  readonly state: number
  readonly switcherTable: number
  /** First frame for shadows; the others are those that follow. */
  readonly pool: number
}

export function frameMap(ramPages: number): FrameMap {
  const switcher = ramPages + DEVICE_PAGES
  const pool = switcher + SWITCHER_PAGES
  return {
    devices: ramPages,
    switcher,
    regs: switcher + SWITCHER_CODE_PAGES,
    state: switcher + SWITCHER_CODE_PAGES + 1,
    switcherTable: switcher + SWITCHER_CODE_PAGES + 2,
    pool,
  }
}

/** How many frames beyond `memory` bytes. Throws BootError if there is no room. */
export function ownFrames(memory: number): number {
  const frames = frameMap(0).pool + PGDIRS * SHADOW_PAGES
  if (memory + frames * PAGE > M.MAX_RAM)
    throw new BootError(
      `memory: ${memory / 2 ** 20} MiB; as a guest of lguest at most ${Math.floor((M.MAX_RAM - frames * PAGE) / 2 ** 20)} MiB`,
    )
  return frames
}
