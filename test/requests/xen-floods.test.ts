/** A guest of Xen's that asks for more without end: what the host keeps for it comes to rest. */
import { describe, expect, test } from 'vitest'
import { save, type Stateful } from '../../src/snapshot/stateful.ts'
import { AREA, DOMID, PAGE, Session } from './xen-pv-session.ts'

const EVENT_CHANNEL_OP = 32
const GRANT_TABLE_OP = 20
const SELF_TO_SELF = DOMID.SELF | (DOMID.SELF << 16)
const DOMU = 1

/** Of what a snapshot would have of it, as text. */
const size = (part: Stateful): number =>
  JSON.stringify(save(part), (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)).length

const guest = () => new Session(false, () => {})
const port = (s: Session, number: number, command: number, ...words: number[]): number | string => {
  s.put32(AREA, ...words)
  return s.call(0, number, command, AREA)
}

describe('floods', () => {
  test('ports, until there are none, and events on all of them', () => {
    const s = guest()
    let ports = 0
    while (port(s, EVENT_CHANNEL_OP, 6, SELF_TO_SELF) === 0) ports++
    expect(ports).toBeGreaterThan(900)
    expect(ports).toBeLessThan(1024)
    const before = size(s.domain.events)
    for (let i = 0; i < 20_000; i++) {
      port(s, EVENT_CHANNEL_OP, 4, 1 + (i % ports))
      port(s, EVENT_CHANNEL_OP, 6, SELF_TO_SELF)
    }
    // Nothing but whether one is pending.
    expect(size(s.domain.events)).toBeLessThan(before * 1.2)
  })

  test('words of FIFO events, virtual interrupts and polls that are refused', () => {
    const s = guest()
    const frame = s.own[6] as number
    expect(port(s, EVENT_CHANNEL_OP, 11, frame, 0, 0, 0)).toBe(0)
    let pages = 0
    while (port(s, EVENT_CHANNEL_OP, 12, s.own[7] as number, 0) === 0) pages++
    expect(pages).toBe(128)
    const before = size(s.domain.events)
    for (let i = 0; i < 5000; i++) {
      port(s, EVENT_CHANNEL_OP, 12, s.own[7] as number, 0)
      port(s, EVENT_CHANNEL_OP, 1, i % 24, 0)
      port(s, EVENT_CHANNEL_OP, 3, 1 + (i % 30))
    }
    expect(size(s.domain.events)).toBeLessThan(before * 1.5)
  })

  test('mappings of grants, until no entry can be used more, and never given back', () => {
    const s = guest()
    const { view } = s.mock
    const first = s.domain.grants.entries.frames[0]!.address
    for (let ref = 8; ref < 16; ref++) {
      view.setUint16(first + 8 * ref, 1, true)
      view.setUint16(first + 8 * ref + 2, DOMU, true)
      view.setUint32(first + 8 * ref + 4, s.own[8] as number, true)
    }
    const map = (ref: number) => {
      s.put(AREA, 0, BigInt(1) | (BigInt(ref) << 32n), DOMU, 0)
      expect(s.call(0, GRANT_TABLE_OP, 0, AREA, 1)).toBe(0)
      return view.getInt16(AREA + 18, true)
    }
    let mapped = 0
    for (let ref = 8; ref < 16; ref++) while (map(ref) === 0) mapped++
    expect(mapped).toBe(8 * 128)
    const before = size(s.domain.grants)
    for (let i = 0; i < 1000; i++) expect(map(8 + (i % 8))).not.toBe(0)
    expect(size(s.domain.grants)).toBeLessThan(before * 1.2)
    // They keep the frame, and nothing else.
    const { refs, typeRefs } = s.kind.mm.frames
    expect([refs[s.own[8] as number], typeRefs[s.own[8] as number]]).toEqual([1 + mapped, mapped])
  })

  test('frames that are asked for and never used', () => {
    const s = guest()
    const { frames } = s.kind.mm
    let taken = 0
    for (;;) {
      s.put(AREA, AREA + 0x100, 1, 0, DOMID.SELF)
      if (s.call(0, 12, 0, AREA) !== 1) break
      taken++
    }
    expect(frames.pages).toBe(frames.maximum)
    expect(taken).toBe(40)
    expect(s.mock.ram.length / PAGE).toBe(frames.count)
  })
})
