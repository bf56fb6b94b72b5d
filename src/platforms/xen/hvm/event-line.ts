/**
 * Events by an interrupt line (HVM_PARAM_CALLBACK_IRQ of the types GSI and PCI INTx, xen/hvm/params.h): the line is up
 * while vCPU 0's `evtchn_upcall_pending` is set. A guest lowers it by clearing the byte.
 */
import type { IrqEffects } from '../../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'

/** Pins of the I/O APIC that Xen emulates. */
export const IOAPIC_PINS = 48
const GSI = 0
const PCI_INTX = 1
/** ISA interrupts of the four PCI links, as hvmloader leaves them. */
const LINKS = [5, 10, 11, 5] as const

/** Where INTA (0) to INTD (3) of a device on bus 0 go: the I/O APIC's pin, and the 8259s' by the link. */
export function intxRoute(device: number, pin: number): { readonly gsi: number; readonly isa: number } {
  return { gsi: 16 + ((4 * device + (device >> 3) + pin) & 31), isa: LINKS[(device + pin) & 3] as number }
}

export class EventLine implements Stateful {
  readonly #irq: IrqEffects
  readonly #pending: () => boolean
  #gsis: readonly number[] = []
  #lowered = false

  constructor(irq: IrqEffects, pending: () => boolean) {
    this.#irq = irq
    this.#pending = pending
  }

  transfer(state: Transfer): void {
    const gsis = state.field('gsis', [...this.#gsis])
    if (state.loading) this.#connect(gsis)
  }

  /** By the parameter's value: which line; other types have none. */
  set(value: bigint): void {
    this.#connect(lines(Number(value >> 56n), Number(value & 0xffffn)))
  }

  #connect(gsis: readonly number[]): void {
    for (const gsi of this.#gsis) this.#irq.level(gsi, undefined)
    this.#gsis = gsis
    for (const gsi of gsis) this.#irq.level(gsi, () => !this.#lowered && this.#pending())
  }

  /** The byte was clear and is set now: an edge, too. */
  raise(): void {
    if (this.#gsis.length === 0) return
    this.#lowered = true
    this.#irq.sample()
    this.#lowered = false
    this.#irq.sample()
  }
}

function lines(type: number, low: number): readonly number[] {
  if (type === GSI) {
    const gsi = low & 0xff
    return gsi === 0 || gsi >= IOAPIC_PINS ? [] : [gsi]
  }
  if (type !== PCI_INTX) return []
  const { gsi, isa } = intxRoute((low >> 11) & 31, low & 3)
  return [gsi, isa]
}
