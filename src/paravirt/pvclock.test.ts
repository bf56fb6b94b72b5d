import { describe, expect, it } from 'vitest'
import { Mock } from './mock.ts'
import { clockScale, writeClockPage, writeWallClock } from './pvclock.ts'

describe('pvclock', () => {
  it('scales ticks to nanoseconds with a normalised multiplier', () => {
    expect(clockScale(1_000_000_000)).toEqual({ mul: 0x80000000, shift: 1 })
    for (const hz of [25_000_000, 999_999_999, 1_000_000_000, 1_000_000_001, 2_400_000_000, 3_999_999_999]) {
      const { mul, shift } = clockScale(hz)
      expect(mul).toBeGreaterThanOrEqual(2 ** 31)
      expect(mul).toBeLessThan(2 ** 32)
      const ticks = BigInt(hz) * 1000n
      const shifted = shift >= 0 ? ticks << BigInt(shift) : ticks >> BigInt(-shift)
      const seconds = Number((shifted * BigInt(mul)) >> 32n) / 1e9
      expect(Math.abs(seconds - 1000)).toBeLessThan(1e-6)
    }
  })

  it('writes a clock page: even versions, and the flag that is the guest’s stays', () => {
    const { effects, ram } = new Mock()
    const view = new DataView(ram.buffer)
    const reading = { tsc: -5n, time: 77n, scale: { mul: 0x80000000, shift: -1 }, flags: 1 }
    expect(writeClockPage(effects.memory, 0x1000n, reading)).toBe(true)
    expect(view.getUint32(0x1000, true)).toBe(2)
    expect(view.getBigUint64(0x1008, true)).toBe(0xfffffffffffffffbn)
    expect(view.getBigUint64(0x1010, true)).toBe(77n)
    expect(view.getUint32(0x1018, true)).toBe(0x80000000)
    expect(view.getInt8(0x101c)).toBe(-1)
    expect(ram[0x101d]).toBe(1)
    ram[0x101d] = 2
    view.setUint32(0x1000, 0xfffffffd, true)
    writeClockPage(effects.memory, 0x1000n, reading)
    expect(ram[0x101d]).toBe(3)
    expect(view.getUint32(0x1000, true)).toBe(0)
    expect(writeClockPage(effects.memory, BigInt(ram.length - 31), reading)).toBe(false)
  })

  it('writes the wall clock', () => {
    const { effects, ram } = new Mock()
    const view = new DataView(ram.buffer)
    ram[0x20] = 5
    expect(writeWallClock(effects.memory, 0x20n, 1_767_225_600_123_456_789n)).toBe(true)
    expect([0x20, 0x24, 0x28].map((at) => view.getUint32(at, true))).toEqual([8, 1_767_225_600, 123_456_789])
    expect(writeWallClock(effects.memory, BigInt(ram.length - 8), 0n)).toBe(false)
  })
})
