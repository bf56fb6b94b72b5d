/** Frames of memory as backends see pages that are shared with them. */
import type { MemoryEffects } from '../../paravirt/effects.ts'
import type { SharedPage } from '../../paravirt/sharing.ts'

const PAGE = 4096

/** Bytes of a frame; `release` is called once, when it is given back. */
export function guestPage(
  memory: MemoryEffects,
  frame: number,
  release: () => void = () => {},
  offset = 0,
  length = PAGE,
): SharedPage {
  const address = frame * PAGE + offset
  let held = true
  return {
    bytes: memory.bytes(address, length),
    write: (at, bytes) => {
      if (at < 0 || at + bytes.length > length) throw new RangeError(`bytes ${at} to ${at + bytes.length} of ${length}`)
      if (bytes.length > 0) memory.place(address + at, bytes)
    },
    release: () => {
      if (held) release()
      held = false
    },
  }
}
