/**
 * Grants of a PV guest to itself, for `xen-pv.ts`: mapped by linear address and by entry, unmapped, replaced, copied,
 * given away, in both versions of the table. The model knows who uses which entry; what the guest sees of it must say so,
 * and what devices map is counted with the references.
 */
import { strictEqual } from 'node:assert'
import { FLAGS, READING, WRITING } from './xen-pv-grants-model.ts'
import { AREA, DOMID, DOMU, LIST, PAGE, type Session } from './xen-pv-session.ts'

const GRANT_TABLE_OP = 20
const [FIRST, REFS] = [8, 8]
const PERMIT = 1
const ACCEPT = 2
const TYPE = 3
const ST = { OKAY: 0, BAD_DOMAIN: -2, BAD_GNTREF: -3, BAD_HANDLE: -4 } as const

/** The guest's entry, and where its use is told. */
function placesOf({ domain, grants }: Session, ref: number): { entry: number; status: number } {
  const { frames, status } = domain.grants.entries
  const first = frames[0]!.address
  if (grants.version === 1) return { entry: first + 8 * ref, status: first + 8 * ref }
  return { entry: first + 16 * ref, status: status[0]!.address + 2 * ref }
}

/** What the guest sees of every entry. */
export function checkGrants(s: Session): void {
  const { view } = s.mock
  strictEqual(s.domain.grants.entries.version, s.grants.version)
  for (let ref = FIRST; ref < FIRST + REFS; ref++) {
    const { entry, status } = placesOf(s, ref)
    // Of one that takes a transfer these bits mean something else.
    if (s.grants.version === 1 && (view.getUint16(entry, true) & TYPE) === ACCEPT) continue
    strictEqual(view.getUint16(status, true) & (READING | WRITING), s.grants.uses(ref), `grant ${ref}`)
  }
}

const anyRef = (s: Session): number => (s.rarely(20) ? s.pick(600, 0xffff_ffff) : FIRST + s.below(REFS))
const anyDomain = (s: Session): number => (s.rarely(20) ? s.pick(DOMID.NOBODY, DOMID.DOM0, DOMID.SELF) : DOMU)

/** A command on one element of 64-bit words, at times on a wrong count of them or on none; whether it was looked at. */
function one(s: Session, vcpu: number, command: number, ...words: readonly (number | bigint)[]): boolean {
  const at = s.place()
  s.put(AREA, ...words)
  const count = s.rarely(25) ? 0x8000_0000 : 1
  const answer = s.call(vcpu, GRANT_TABLE_OP, command, at, count)
  const bad = count !== 1 ? 'EINVAL' : at !== BigInt(AREA) ? 'EFAULT' : undefined
  if (bad !== undefined) strictEqual(answer, bad)
  else if (command !== CACHE_FLUSH) strictEqual(answer, 0)
  return bad === undefined
}
const CACHE_FLUSH = 12

const two = (low: number, high: number): bigint => BigInt(low) | (BigInt(high) << 32n)
const status = ({ mock }: Session, offset: number): number => mock.view.getInt16(AREA + offset, true)

/** An entry that nobody uses: granted to itself, offered for a transfer, or nothing. */
function offer(s: Session, ref: number, kind: number, frame: number): void {
  if (ref >= FIRST + REFS || s.grants.uses(ref) !== 0) return
  const { view } = s.mock
  const { entry } = placesOf(s, ref)
  view.setUint16(entry, kind, true)
  view.setUint16(entry + 2, s.rarely(20) ? DOMID.DOM0 : DOMU, true)
  if (s.grants.version === 1) view.setUint32(entry + 4, frame, true)
  else view.setBigUint64(entry + 8, BigInt(frame), true)
}

/** Some frame that is no table at first. */
const page = (s: Session): number => (s.rarely(8) ? s.frame() : (s.own[5 + s.below(s.own.length - 5)] as number))

export const grantCalls = {
  map_grant(s: Session, vcpu: number) {
    const flags = s.pick(2, 2, 2, 6, 1, 5, 3, 7, 18, 10, 0)
    const [ref, domain] = [anyRef(s), anyDomain(s)]
    if (!s.rarely(4)) offer(s, ref, s.pick(PERMIT, PERMIT, PERMIT, PERMIT | 4, ACCEPT, 0), page(s))
    const table = s.rarely(8) ? s.frame() : (s.own[3] as number)
    const address = flags & FLAGS.PTE ? table * PAGE + 8 * s.below(512) : s.below(512) * PAGE
    if (!one(s, vcpu, 0, address, two(flags, ref), domain, 0)) return
    const answer = status(s, 18)
    if ((flags & 3) === 0) strictEqual(answer, ST.BAD_GNTREF)
    else if (domain !== DOMU && domain !== DOMID.DOM0) strictEqual(answer, ST.BAD_DOMAIN)
    else if (ref >= 512 && domain === DOMU) strictEqual(answer, ST.BAD_GNTREF)
    if (answer !== ST.OKAY) return
    const frame = Number(s.mock.view.getBigUint64(AREA + 24, true)) / PAGE
    s.grants.live.set(s.mock.view.getUint32(AREA + 20, true), { ref, frame, flags })
  },
  unmap_grant(s: Session, vcpu: number) {
    const handles = [...s.grants.live.keys()]
    const handle = s.rarely(20) || handles.length === 0 ? 0xfffff : (handles[s.below(handles.length)] as number)
    const mapping = s.grants.live.get(handle)
    const replace = s.rarely(3)
    const host = s.below(512) * PAGE
    const other = replace ? s.below(512) * PAGE : s.rarely(3) ? 0 : (mapping?.frame ?? 1) * PAGE
    if (!one(s, vcpu, replace ? 7 : 1, host, other, handle)) return
    const answer = status(s, 20)
    if (!mapping) strictEqual(answer, ST.BAD_HANDLE)
    if (!mapping || answer !== ST.OKAY) return
    const gone = (host === 0 ? 0 : FLAGS.HOST) | (replace || other === 0 ? 0 : FLAGS.DEVICE)
    mapping.flags &= ~gone
    if ((mapping.flags & 3) === 0) s.grants.live.delete(handle)
  },
  /** Where its processor mapped it. */
  unmap_found(s: Session, vcpu: number) {
    const { words } = s.kind.mm.frames
    for (const [handle, { frame, flags }] of s.grants.live) {
      if (!(flags & FLAGS.HOST) || flags & FLAGS.PTE || s.below(2)) continue
      const table = s.own[3] as number
      const wanted = 1 | (flags & FLAGS.READONLY ? 0 : 2)
      const slot = Array.from({ length: 511 }, (_, i) => i + 1).find((i) => {
        const low = words[(table * PAGE) / 4 + 2 * i] as number
        return low >>> 12 === frame && (low & 3) === wanted
      })
      if (slot === undefined) continue
      if (!one(s, vcpu, 1, slot * PAGE, frame * PAGE, handle)) return
      // Unless that address is not mapped by this table any more.
      if (status(s, 20) === ST.OKAY) s.grants.live.delete(handle)
      return
    }
  },
  copy_grant(s: Session, vcpu: number) {
    const byRef = s.below(4)
    const end = (ref: boolean) => (ref ? anyRef(s) : s.frame())
    const whose = (ref: boolean) => (ref ? anyDomain(s) : DOMID.SELF)
    const [from, to] = [(byRef & 1) !== 0, (byRef & 2) !== 0]
    offer(s, FIRST + s.below(REFS), PERMIT, page(s))
    const offset = s.pick(0, 0, 64, 4095)
    // A frame number is what differs in length.
    const side = (ref: boolean) => {
      const [at, place] = [end(ref), whose(ref) | (offset << 16)]
      return s.narrow ? [two(at, place >>> 0)] : [at, place >>> 0]
    }
    one(s, vcpu, 5, ...side(from), ...side(to), s.pick(0, 1, 64, 4096) | (byRef << 16))
  },
  transfer(s: Session, vcpu: number) {
    const ref = anyRef(s)
    if (!s.rarely(4)) offer(s, ref, ACCEPT, s.below(256))
    const { frames } = s.kind.mm
    const before = frames.pages
    const [frame, domain] = [page(s), anyDomain(s)]
    const words = s.narrow ? [two(frame, domain), two(ref, 0)] : [frame, two(domain, ref)]
    if (!one(s, vcpu, 4, ...words)) return
    // It comes back, or is lost.
    const lost = before - frames.pages
    strictEqual(lost === 0 || (lost === 1 && status(s, s.narrow ? 12 : 16) !== ST.OKAY), true)
  },
  swap_grants(s: Session, vcpu: number) {
    one(s, vcpu, 11, two(anyRef(s), anyRef(s)), 0)
  },
  set_version(s: Session, vcpu: number) {
    const at = s.place()
    const version = s.pick(1, 1, 2, 3)
    s.put(AREA, version)
    const answer = s.call(vcpu, GRANT_TABLE_OP, 8, at)
    const busy = version !== s.grants.version && s.grants.live.size > 0
    strictEqual(answer, at !== BigInt(AREA) ? 'EFAULT' : version === 3 ? 'EINVAL' : busy ? 'EBUSY' : 0)
    if (answer === 0) s.grants.version = version
  },
  status_frames(s: Session, vcpu: number) {
    s.put(AREA, two(s.pick(0, 1, 2), s.pick(DOMID.SELF, DOMID.SELF, DOMID.NOBODY)), LIST)
    const at = s.place()
    const count = s.rarely(10) ? 2 : 1
    const answer = s.call(vcpu, GRANT_TABLE_OP, 9, at, count)
    strictEqual(answer, count !== 1 ? 'EINVAL' : at === BigInt(AREA) ? 0 : 'EFAULT')
  },
  cache_flush(s: Session, vcpu: number) {
    const [frame, length, operation] = [s.frame(), s.pick(0, 64, 4096, 4097), s.pick(0, 1, 2, 3, 4)]
    one(s, vcpu, CACHE_FLUSH, frame * PAGE, two(length << 16, operation))
  },
} satisfies Readonly<Record<string, (s: Session, vcpu: number) => void>>
