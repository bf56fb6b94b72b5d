/** The hypercall input value (TLFS, "Hypercall Inputs"): which call, in what form, how many repetitions. */
export interface Control {
  readonly code: number
  /** Input in registers. */
  readonly fast: boolean
  /** Size of the variable header in units of 8 bytes. */
  readonly header: number
  readonly count: number
  readonly start: number
  /** Bits that must be zero are not. */
  readonly reserved: boolean
}

/** Bits 27-30, 44-47 and 60-63. */
const RESERVED = 0xf000_f000_7800_0000n
const START = 48n

const field = (value: bigint, bit: bigint, width: number) => Number((value >> bit) & ((1n << BigInt(width)) - 1n))

export function decodeControl(value: bigint): Control {
  return {
    code: field(value, 0n, 16),
    fast: field(value, 16n, 1) === 1,
    header: field(value, 17n, 10),
    count: field(value, 32n, 12),
    start: field(value, START, 12),
    reserved: (value & RESERVED) !== 0n,
  }
}

/** The same call, with `start` repetitions done. */
export function withStart(value: bigint, start: number): bigint {
  return (value & ~(0xfffn << START)) | (BigInt(start) << START)
}
