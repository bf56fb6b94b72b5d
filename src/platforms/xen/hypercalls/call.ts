/** A hypercall that is being made: who makes it, and its argument words. One per domain, reused: nothing is allocated. */
import type { Domain } from '../domain.ts'
import { Errno } from '../errno.ts'
import { Block } from '../struct.ts'

const ARGUMENTS = 6
/** The largest structure that a command takes by pointer. */
const LARGEST = 256
const MULTICALL_ENTRY = 64

/** Who carries out calls by number. */
type Dispatch = (call: Call, number: number) => number | 'continue' | 'done'

export class Call {
  readonly domain: Domain
  vcpu = 0
  /** The caller is 64-bit code: structures have the 64-bit layout. */
  wide = true
  /** The structure that a command's pointer leads to. */
  readonly block = new Block(LARGEST)
  /** An entry of a multicall. */
  readonly entry = new Block(MULTICALL_ENTRY)
  /** For the calls of a multicall; those have none. */
  readonly inner: Call | undefined
  readonly #low = new Uint32Array(ARGUMENTS)
  readonly #high = new Uint32Array(ARGUMENTS)
  readonly #dispatch: Dispatch

  constructor(domain: Domain, dispatch: Dispatch = () => Errno.ENOSYS, nested = false) {
    this.domain = domain
    this.#dispatch = dispatch
    this.inner = nested ? undefined : new Call(domain, dispatch, true)
  }

  begin(vcpu: number, wide: boolean): void {
    this.vcpu = vcpu
    this.wide = wide
    this.block.wide = wide
  }

  /** Carry out this hypercall with the arguments that are here. */
  dispatch(number: number): number | 'continue' | 'done' {
    return this.#dispatch(this, number)
  }

  /** Low half of an argument, unsigned. */
  arg(index: number): number {
    return this.#low[index] as number
  }

  high(index: number): number {
    return this.#high[index] as number
  }

  /** An argument as a number, exact below 2^53; what is larger becomes Infinity. */
  whole(index: number): number {
    const high = this.high(index)
    return high >= 0x200000 ? Infinity : high * 2 ** 32 + this.arg(index)
  }

  big(index: number): bigint {
    return (BigInt(this.high(index)) << 32n) | BigInt(this.arg(index))
  }

  /** The pointer is NULL. */
  isNull(index: number): boolean {
    return this.arg(index) === 0 && this.high(index) === 0
  }

  /** Before 'continue': what the call goes on with. */
  setArg(index: number, low: number, high = 0): void {
    this.#low[index] = low
    this.#high[index] = high
  }

  /** Copy `length` bytes from where argument `index` points, `offset` bytes on. */
  copyIn(index: number, target: Uint8Array, length: number, offset = 0): boolean {
    const low = this.arg(index) + offset
    return this.domain.guest.copyIn(this.vcpu, low >>> 0, carry(this.high(index), low), target, length)
  }

  copyOut(index: number, source: Uint8Array, length = source.length, offset = 0): boolean {
    const low = this.arg(index) + offset
    return this.domain.guest.copyOut(this.vcpu, low >>> 0, carry(this.high(index), low), source, length)
  }
}

const carry = (high: number, low: number): number => (high + Math.floor(low / 2 ** 32)) >>> 0
