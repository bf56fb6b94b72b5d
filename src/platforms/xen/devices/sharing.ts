/** Grants as backends use them: pages mapped for as long as they are needed, and copies of parts (GNTTABOP_copy). */
import type { Sharing, SharedPage } from '../../../paravirt/sharing.ts'
import type { Held } from '../grants/table.ts'

export interface GrantParts {
  readonly grants: {
    hold(reference: number, writable: boolean, part?: boolean): Held | number
    restore(reference: number, writable: boolean): Held
  }
  /** Bytes of a frame of memory. */
  readonly page: (frame: number, release: () => void, offset: number, length: number) => SharedPage
}

export function grantSharing({ grants, page }: GrantParts): Sharing {
  const pageOf = (held: Held) => page(held.frame, () => held.release(), held.offset, held.length)
  const hold = (reference: number, writable: boolean, part: boolean): SharedPage | undefined => {
    const held = grants.hold(reference, writable, part)
    return typeof held === 'number' ? undefined : pageOf(held)
  }
  /** A grant of less than a page lends bytes at their place in the page. */
  const within = <Result>(
    reference: number,
    writable: boolean,
    offset: number,
    length: number,
    use: (shared: SharedPage, at: number) => Result,
  ): Result | undefined => {
    const held = grants.hold(reference, writable, true)
    if (typeof held === 'number') return undefined
    const shared = pageOf(held)
    const at = offset - held.offset
    const inside = at >= 0 && at + length <= held.length
    const result = inside ? use(shared, at) : undefined
    shared.release()
    return result
  }
  return {
    map: (reference, writable) => hold(reference, writable, false),
    restore: (reference, writable) => pageOf(grants.restore(reference, writable)),
    read: (reference, offset, length) =>
      within(reference, false, offset, length, ({ bytes }, at) => bytes.slice(at, at + length)),
    write: (reference, offset, bytes) =>
      within(reference, true, offset, bytes.length, (shared, at) => {
        shared.write(at, bytes)
        return true
      }) ?? false,
  }
}
