/**
 * The clock pages that KVM and Xen share with their guests (Linux, Documentation/virt/kvm/x86/msr.rst and
 * arch/x86/include/asm/pvclock-abi.h): time = (TSC - tsc_timestamp << tsc_shift) * tsc_to_system_mul >> 32, plus
 * system_time.
 *
 * A version is odd while its page changes. No guest code runs meanwhile, so a page goes from even to even at once.
 */
import type { MemoryEffects } from './effects.ts'

export const CLOCK_PAGE_BYTES = 32
const WALL_CLOCK_BYTES = 12

export const ClockFlag = { STABLE: 1, STOPPED: 2 } as const

export interface ClockReading {
  /** A TSC value and the nanoseconds that belong to it. */
  readonly tsc: bigint
  readonly time: bigint
  readonly scale: ClockScale
  readonly flags: number
}

export interface ClockScale {
  readonly mul: number
  readonly shift: number
}

/** From ticks of `hz` to nanoseconds, with all 32 bits of the multiplier in use. */
export function clockScale(hz: number): ClockScale {
  const exact = (1_000_000_000n << 64n) / BigInt(hz)
  const width = exact.toString(2).length
  // mul = exact >> 32 + shift lies in [2^31, 2^32).
  return { mul: Number(exact >> BigInt(width - 32)), shift: width - 64 }
}

/** False if the page is not RAM. */
export function writeClockPage(memory: MemoryEffects, address: bigint, reading: ClockReading): boolean {
  const old = memory.read(address, CLOCK_PAGE_BYTES)
  return old !== undefined && memory.write(address, clockPage(old, reading))
}

/** What follows `old` in a page. The guest's own flag, "was stopped", stays until the guest clears it. */
export function clockPage(old: Uint8Array, reading: ClockReading): Uint8Array {
  const view = new DataView(new ArrayBuffer(CLOCK_PAGE_BYTES))
  view.setUint32(0, nextVersion(old), true)
  view.setBigUint64(8, BigInt.asUintN(64, reading.tsc), true)
  view.setBigUint64(16, reading.time, true)
  view.setUint32(24, reading.scale.mul, true)
  view.setInt8(28, reading.scale.shift)
  view.setUint8(29, reading.flags | ((old[29] as number) & ClockFlag.STOPPED))
  return new Uint8Array(view.buffer)
}

/** The time of day at time 0, in nanoseconds since 1970. False if it is not RAM. */
export function writeWallClock(memory: MemoryEffects, address: bigint, boot: bigint): boolean {
  const old = memory.read(address, WALL_CLOCK_BYTES)
  if (!old) return false
  const view = new DataView(new ArrayBuffer(WALL_CLOCK_BYTES))
  view.setUint32(0, nextVersion(old), true)
  view.setUint32(4, Number(BigInt.asUintN(32, boot / 1_000_000_000n)), true)
  view.setUint32(8, Number(boot % 1_000_000_000n), true)
  return memory.write(address, new Uint8Array(view.buffer))
}

/** The even version after the one that starts the page; a first version may be anything. */
function nextVersion(page: Uint8Array): number {
  const version = new DataView(page.buffer, page.byteOffset).getUint32(0, true)
  return (((version + 1) | 1) + 1) >>> 0
}
