/** HVM parameters (xen/hvm/params.h): numbers by which a guest finds what the toolstack prepared, and tells where to be called. */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { Errno } from '../errno.ts'

export const Param = {
  CALLBACK_IRQ: 0,
  STORE_PFN: 1,
  STORE_EVTCHN: 2,
  CONSOLE_PFN: 17,
  CONSOLE_EVTCHN: 18,
  VM86_TSS: 15,
  ACPI_IOPORTS_LOCATION: 19,
  VM_GENERATION_ID_ADDR: 34,
  ALTP2M: 35,
  X87_FIP_WIDTH: 36,
  VM86_TSS_SIZED: 37,
} as const
const COUNT = 39

const readable = new Set<number>(Object.values(Param))
const writable = new Set<number>([
  Param.CALLBACK_IRQ,
  Param.VM86_TSS,
  Param.VM86_TSS_SIZED,
  Param.ACPI_IOPORTS_LOCATION,
  Param.VM_GENERATION_ID_ADDR,
  Param.STORE_EVTCHN,
  Param.CONSOLE_EVTCHN,
  Param.X87_FIP_WIDTH,
])
/** Numbers that once meant something. */
const deprecated = new Set([4, 13, 20, 21, 22, 23, 24, 25, 26, 30])

const TSS_BYTES = 104n
const LARGEST_TSS = TSS_BYTES + 32n + 8192n + 1n

export class Params implements Stateful {
  readonly #values = new Map<number, bigint>()

  transfer(state: Transfer): void {
    state.map('values', this.#values)
  }

  /** Before the guest runs. */
  set(index: number, value: number): void {
    this.#values.set(index, BigInt(value))
  }

  /** As the guest reads it, or a negative error. */
  read(index: number): bigint | number {
    const refusal = refused(index, readable)
    if (refusal !== 0) return refusal
    const value = this.#values.get(index === Param.VM86_TSS ? Param.VM86_TSS_SIZED : index) ?? 0n
    return index === Param.VM86_TSS ? value & 0xffff_ffffn : value
  }

  /** As the guest writes it: 0, a negative error, or 'crash'. */
  write(index: number, value: bigint): number | 'crash' {
    const refusal = refused(index, writable)
    if (refusal !== 0) return refusal
    switch (index) {
      case Param.ACPI_IOPORTS_LOCATION:
        // Without a power management timer there is nothing to move.
        return Errno.ENODEV
      case Param.X87_FIP_WIDTH:
        if (value !== 0n && value !== 4n && value !== 8n) return Errno.EINVAL
        break
      case Param.VM86_TSS:
        if (value >> 32n !== 0n) return 'crash'
        this.#values.set(Param.VM86_TSS_SIZED, value === 0n ? 0n : value | (128n << 32n))
        return 0
      case Param.VM86_TSS_SIZED:
        if (value >> 32n < TSS_BYTES) return 'crash'
        if (value >> 32n > LARGEST_TSS) value = (value & 0xffff_ffffn) | (LARGEST_TSS << 32n)
        break
      default:
    }
    this.#values.set(index, value)
    return 0
  }
}

function refused(index: number, allowed: ReadonlySet<number>): number {
  if (index >= COUNT || deprecated.has(index)) return Errno.EINVAL
  return allowed.has(index) ? 0 : Errno.EPERM
}
