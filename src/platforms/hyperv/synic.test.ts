/** Messages, synthetic interrupt sources and timers, against the TLFS. */
import { describe, expect, test } from 'vitest'
import { setUp } from './testing.ts'

const SCONTROL = 0x40000080
const SIEFP = 0x40000082
const SIMP = 0x40000083
const EOM = 0x40000084
const SINT2 = 0x40000092
const CONFIG0 = 0x400000b0
const COUNT0 = 0x400000b1

const ENABLED = 1
const PERIODIC = 2
const LAZY = 4
const AUTO = 8
const direct = (vector: number) => 0x1000 | (vector << 4)
const sint = (index: number) => index << 16

/** Nanoseconds of a reference time. */
const at = (units: number) => units * 100

type Guest = ReturnType<typeof setUp>

/** SynIC on, messages at 0x6000, source 2 with vector 0xf3. */
function synic(): Guest {
  const guest = setUp()
  guest.write(SIMP, 0x6001)
  guest.write(SINT2, 0xf3)
  guest.write(SCONTROL, 1)
  return guest
}

function slot({ view }: Guest, index = 2) {
  const base = 0x6000 + 256 * index
  return {
    type: view.getUint32(base, true),
    size: view.getUint8(base + 4),
    flags: view.getUint8(base + 5),
    sender: view.getBigUint64(base + 8, true),
    timer: view.getUint32(base + 16, true),
    expiration: view.getBigUint64(base + 24, true),
    delivery: view.getBigUint64(base + 32, true),
  }
}

describe('registers', () => {
  test('at reset: off, masked, version 1', () => {
    const { read } = setUp()
    expect(read(SCONTROL)).toBe(0n)
    expect(read(0x40000081)).toBe(1n)
    expect([read(SIEFP), read(SIMP), read(EOM)]).toEqual([0n, 0n, 0n])
    for (let i = 0; i < 16; i++) expect(read(0x40000090 + i)).toBe(0x10000n)
  })

  test('each vCPU has its own; INIT resets them', () => {
    const { read, write, platform } = setUp()
    write(SINT2, 0xf3, 1)
    write(SIMP, 0x6001, 1)
    write(SCONTROL, 1, 1)
    expect([read(SINT2, 0), read(SINT2, 1)]).toEqual([0x10000n, 0xf3n])
    platform.init(1)
    expect([read(SINT2, 1), read(SIMP, 1), read(SCONTROL, 1)]).toEqual([0x10000n, 0n, 0n])
  })

  test('a source takes vectors from 16; masked, any', () => {
    const { read, write } = setUp()
    expect(write(SINT2, 15)).toBe(false)
    expect(read(SINT2)).toBe(0x10000n)
    expect(write(SINT2, 16)).toBe(true)
    expect(write(SINT2, 0x10000 | 3)).toBe(true)
  })

  test('reserved bits stay; the version is read-only', () => {
    const { read, write } = setUp()
    write(SINT2, 0xff00_00f3n)
    write(SCONTROL, 0xfffen)
    expect([read(SINT2), read(SCONTROL)]).toEqual([0xff00_00f3n, 0xfffen])
    expect(write(0x40000081, 1)).toBe(false)
  })

  test('the pages are overlays', () => {
    const { write, ram } = setUp()
    ram[0x6000] = 1
    ram[0x7000] = 2
    write(SIMP, 0x6001)
    write(SIEFP, 0x7001)
    expect([ram[0x6000], ram[0x7000]]).toEqual([0, 0])
    write(SIMP, 0)
    write(SIEFP, 0)
    expect([ram[0x6000], ram[0x7000]]).toEqual([1, 2])
  })
})

describe('messages', () => {
  const oneShot = (guest: Guest, units: number, timer = 0) => {
    guest.write(CONFIG0 + 2 * timer, sint(2) | AUTO)
    guest.write(COUNT0 + 2 * timer, units)
  }

  test('a timer sends one: type, size, which timer, when', () => {
    const guest = synic()
    oneShot(guest, 50, 3)
    guest.advance(at(50) - 1)
    expect(slot(guest).type).toBe(0)
    guest.advance(1)
    expect(slot(guest)).toEqual({
      type: 0x80000010,
      size: 24,
      flags: 0,
      sender: 0n,
      timer: 3,
      expiration: 50n,
      delivery: 50n,
    })
    expect(guest.done()).toEqual(['post 0 0xf3'])
  })

  test('the next waits for the slot: pending is set, EOM delivers', () => {
    const guest = synic()
    oneShot(guest, 50, 0)
    oneShot(guest, 60, 1)
    guest.advance(at(70))
    expect(slot(guest)).toMatchObject({ timer: 0, flags: 1 })
    expect(guest.done()).toEqual(['post 0 0xf3'])
    guest.write(EOM, 0)
    expect(slot(guest).timer).toBe(0)
    guest.view.setUint32(0x6200, 0, true)
    guest.advance(at(30))
    guest.write(EOM, 0)
    expect(slot(guest)).toMatchObject({ timer: 1, flags: 0, expiration: 60n, delivery: 100n })
    expect(guest.done()).toEqual(['post 0 0xf3'])
    guest.view.setUint32(0x6200, 0, true)
    guest.write(EOM, 0)
    expect(slot(guest).type).toBe(0)
    expect(guest.done()).toEqual([])
  })

  test('an EOI delivers, too', () => {
    const guest = synic()
    oneShot(guest, 50, 0)
    oneShot(guest, 60, 1)
    guest.advance(at(70))
    guest.view.setUint32(0x6200, 0, true)
    guest.write(0x40000070, 0)
    expect(slot(guest).timer).toBe(1)
    expect(guest.vcpu(0).onEoi).toBeUndefined()
  })

  test('without the message page they wait for it', () => {
    const guest = synic()
    guest.write(SIMP, 0)
    oneShot(guest, 50)
    guest.advance(at(70))
    guest.write(SIMP, 0x6001)
    expect(slot(guest).type).toBe(0)
    guest.write(EOM, 0)
    expect(slot(guest).type).toBe(0x80000010)
  })

  test('with the SynIC off they are lost', () => {
    const guest = synic()
    guest.write(SCONTROL, 0)
    oneShot(guest, 50)
    guest.advance(at(70))
    guest.write(SCONTROL, 1)
    guest.write(EOM, 0)
    expect(slot(guest).type).toBe(0)
  })

  test.each([
    ['masked', 0x100f3, []],
    ['polled', 0x400f3, []],
    ['with automatic EOI', 0x200f3, ['post 0 0xf3 auto-eoi']],
  ])('%s', (_, value, log) => {
    const guest = synic()
    guest.write(SINT2, value)
    oneShot(guest, 50)
    guest.advance(at(50))
    expect(slot(guest).type).toBe(0x80000010)
    expect(guest.done()).toEqual(log)
  })

  test('a page outside memory is as good as none', () => {
    const guest = synic()
    guest.write(SIMP, 0x7fff_f001n)
    oneShot(guest, 50)
    guest.advance(at(70))
    expect(guest.done()).toEqual([])
  })
})

describe('timers', () => {
  test('one-shot, direct: once, at its time, then it is disabled', () => {
    const { write, read, advance, done } = setUp()
    write(CONFIG0, direct(0xed) | AUTO)
    write(COUNT0, 1000)
    expect(read(CONFIG0)).toBe(BigInt(direct(0xed) | AUTO | ENABLED))
    advance(at(1000) - 1)
    expect(done()).toEqual([])
    advance(1)
    expect(done()).toEqual(['post 0 0xed'])
    expect(read(CONFIG0)).toBe(BigInt(direct(0xed) | AUTO))
    expect(read(COUNT0)).toBe(1000n)
    advance(at(10_000))
    expect(done()).toEqual([])
  })

  test('as Linux sets it: enabled first, the count later; and each vCPU its own', () => {
    const { write, advance, done } = setUp()
    write(CONFIG0, direct(0xed) | AUTO | ENABLED, 1)
    advance(at(100))
    expect(done()).toEqual([])
    write(COUNT0, 150, 1)
    advance(at(50))
    expect(done()).toEqual(['post 1 0xed'])
  })

  test('a time in the past: at once', () => {
    const { write, advance, done } = setUp()
    advance(at(500))
    write(CONFIG0, direct(0xed) | AUTO)
    write(COUNT0, 499)
    expect(done()).toEqual(['post 0 0xed'])
  })

  test('a count of 0 stops it, whatever auto-enable says', () => {
    const { write, read, advance, done } = setUp()
    write(CONFIG0, direct(0xed) | AUTO)
    write(COUNT0, 50)
    write(COUNT0, 0)
    expect(read(CONFIG0)).toBe(BigInt(direct(0xed) | AUTO))
    advance(at(100))
    expect(done()).toEqual([])
  })

  test('without auto-enable a count alone does nothing', () => {
    const { write, advance, done } = setUp()
    write(CONFIG0, direct(0xed))
    write(COUNT0, 50)
    advance(at(100))
    expect(done()).toEqual([])
    write(COUNT0, 150)
    write(CONFIG0, direct(0xed) | ENABLED)
    advance(at(50))
    expect(done()).toEqual(['post 0 0xed'])
  })

  test('periodic: each period, from when it was enabled, until it is disabled', () => {
    const { write, advance, done, read } = setUp()
    advance(at(7))
    write(COUNT0, 1000)
    write(CONFIG0, direct(0xed) | PERIODIC | ENABLED)
    advance(at(1000) - 1)
    expect(done()).toEqual([])
    advance(1)
    expect(done()).toHaveLength(1)
    advance(at(10_000))
    expect(done()).toHaveLength(10)
    expect(read(CONFIG0)).toBe(BigInt(direct(0xed) | PERIODIC | ENABLED))
    write(CONFIG0, 0)
    advance(at(10_000))
    expect(done()).toEqual([])
  })

  test('a short period does not keep the host busy', () => {
    const { write, advance, done } = setUp()
    write(CONFIG0, direct(0xed) | PERIODIC | AUTO)
    write(COUNT0, 1)
    advance(1e6)
    expect(done().length).toBeLessThanOrEqual(101)
  })

  test('reserved bits read as 0', () => {
    const { write, read } = setUp()
    write(CONFIG0, 0xffff_ffff_fff0_e000n)
    expect(read(CONFIG0)).toBe(0n)
  })

  test('nobody to tell: it stays disabled', () => {
    const { write, read } = setUp()
    for (const config of [ENABLED, ENABLED | direct(15), ENABLED | LAZY | PERIODIC]) {
      write(COUNT0, 50)
      write(CONFIG0, config)
      expect(read(CONFIG0)).toBe(BigInt(config & ~ENABLED))
      write(CONFIG0, (config & ~ENABLED) | AUTO)
      write(COUNT0, 50)
      expect(Number(read(CONFIG0)) & ENABLED).toBe(0)
    }
  })

  test('direct mode is refused without the feature', () => {
    const { write, read } = setUp({ features: ['no-stimer-direct'] })
    expect(write(CONFIG0, direct(0xed))).toBe(false)
    expect(write(CONFIG0, sint(2) | AUTO)).toBe(true)
    expect(read(CONFIG0)).toBe(BigInt(sint(2) | AUTO))
  })

  test('a periodic timer has one message: expirations meanwhile are lost', () => {
    const guest = synic()
    guest.write(CONFIG0, sint(2) | PERIODIC | AUTO)
    guest.write(COUNT0, 1000)
    guest.advance(at(5500))
    // One in the slot, one queued.
    guest.view.setUint32(0x6200, 0, true)
    guest.write(EOM, 0)
    expect(slot(guest)).toMatchObject({ expiration: 2000n, delivery: 5500n })
    guest.view.setUint32(0x6200, 0, true)
    guest.write(EOM, 0)
    expect(slot(guest).type).toBe(0)
    guest.advance(at(500))
    expect(slot(guest).expiration).toBe(6000n)
  })

  test('INIT stops it', () => {
    const { write, read, platform, advance, done } = setUp()
    write(CONFIG0, direct(0xed) | AUTO)
    write(COUNT0, 50)
    platform.init(0)
    expect([read(CONFIG0), read(COUNT0)]).toEqual([0n, 0n])
    advance(at(100))
    expect(done()).toEqual([])
  })

  test('the largest count', () => {
    const { write, advance, done } = setUp()
    write(CONFIG0, direct(0xed) | AUTO)
    write(COUNT0, (1n << 64n) - 1n)
    write(CONFIG0 + 2, direct(0xee) | AUTO | PERIODIC)
    write(COUNT0 + 2, (1n << 64n) - 1n)
    advance(1e15)
    expect(done()).toEqual([])
  })
})

describe('timers of a host that is late', () => {
  /** Enabled as given with a period of 1000; then nothing runs until `late` units after the first expiration. */
  function late(bits: number, units: number) {
    const guest = setUp()
    guest.write(CONFIG0, direct(0xed) | PERIODIC | AUTO | bits)
    guest.write(COUNT0, 1000)
    guest.mock.stall(at(1000 + units))
    const first = guest.done().length
    const times: number[] = []
    for (let i = 0; i < 8000; i++) {
      guest.advance(at(1))
      for (const _ of guest.done()) times.push(guest.effects.time.now() / 100)
    }
    return { first, times }
  }

  test('shorter periods until it has caught up', () => {
    const { first, times } = late(0, 2500)
    expect(first).toBe(1)
    // The first came at 3500 instead of 1000: half periods, until six have come at 6000.
    expect(times).toEqual([4000, 4500, 5000, 5500, 6000, 7000, 8000, 9000, 10000, 11000])
  })

  test('much too late: some are skipped', () => {
    expect(late(0, 50_500).times).toEqual([52000, 53000, 54000, 55000, 56000, 57000, 58000, 59000])
  })

  test('a lazy timer makes up for nothing', () => {
    const { first, times } = late(LAZY, 2500)
    expect(first).toBe(1)
    expect(times[0]).toBe(4000)
    expect(times[1]).toBe(5000)
  })

  test('a lazy timer skips what is shortly before the next', () => {
    expect(late(LAZY, 950).first).toBe(0)
    expect(late(0, 950).first).toBe(1)
  })
})
