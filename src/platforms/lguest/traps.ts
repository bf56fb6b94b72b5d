/**
 * Traps and interrupts of a guest (drivers/lguest/interrupts_and_traps.c): the gates that it asks for, which of them
 * the processor takes by itself, and frames on the guest's stack for all others.
 */
import {
  Data,
  EFLAGS_IF,
  FIRST_VECTOR,
  GUEST_PL,
  IDT_ENTRIES,
  IRQS,
  KERNEL_CS,
  Reg,
  SYSCALL_VECTOR,
  TRAP_ENTRY,
} from './abi.ts'
import { PAGE } from './frames.ts'
import type { Lguest } from './lguest.ts'
import type { Shadows } from './shadow.ts'
import { defaultGate, hasErrorCode, State } from './switcher.ts'

const INTERRUPT_GATE = 0xe
const TRAP_GATE = 0xf
const GATE_PRESENT = 0x8000
/** What is kept of a gate's high word. */
const GATE_BITS = 0xffffef00
/** Vectors that no guest handles: NMI, double fault, spurious interrupt, hypercall. */
const ignored: readonly number[] = [2, 8, 15, TRAP_ENTRY]
/** Exceptions that the host looks at first. */
const hosts: readonly number[] = [14, 13, 7, 6, TRAP_ENTRY]

/** could_be_syscall: the host has no other vector for system calls than Linux's own. */
const isSyscall = (vector: number): boolean => vector === SYSCALL_VECTOR
const isDirect = (vector: number): boolean => (vector < FIRST_VECTOR || isSyscall(vector)) && !hosts.includes(vector)

export class Traps {
  readonly #lg: Lguest
  readonly #shadows: Shadows

  constructor(lg: Lguest, shadows: Shadows) {
    this.#lg = lg
    this.#shadows = shadows
  }

  /** setup_default_idt_entries. */
  begin(): void {
    for (let vector = 0; vector < IDT_ENTRIES; vector++) this.#setGate(vector, defaultGate(vector))
  }

  #setGate(vector: number, [low, high]: readonly [number, number]): void {
    const { memory } = this.#lg.effects
    const at = this.#lg.map.state * PAGE + State.IDT + 8 * vector
    memory.store32(at, low)
    memory.store32(at + 4, high)
  }

  /** load_guest_idt_entry and copy_traps. */
  load(vector: number, low: number, high: number): void {
    const lg = this.#lg
    if (ignored.includes(vector)) return
    if (vector >= IDT_ENTRIES) return lg.kill(`Setting idt entry ${vector}`)
    const present = (high & GATE_PRESENT) !== 0
    const type = (high >> 8) & 15
    if (present && type !== INTERRUPT_GATE && type !== TRAP_GATE) lg.kill(`bad IDT type ${type}`)
    const gate = present
      ? ([((KERNEL_CS | GUEST_PL) << 16) | (low & 0xffff), high & GATE_BITS] as const)
      : ([0, 0] as const)
    lg.idt.set(gate, 2 * vector)
    // An interrupt gate would clear the flag, which is the host's.
    if (isDirect(vector))
      this.#setGate(vector, ((gate[1] >> 8) & 15) === TRAP_GATE ? gate : defaultGate(vector, gate[1]))
  }

  /** deliver_trap. False: the guest has no handler. */
  deliver(vector: number): boolean {
    const gate = this.#gate(vector)
    if (!gate) return false
    this.#enter(gate, hasErrorCode(vector))
    return true
  }

  #gate(vector: number): readonly [low: number, high: number] | undefined {
    const [low, high] = [this.#lg.idt[2 * vector], this.#lg.idt[2 * vector + 1]]
    return low !== undefined && high !== undefined && (high & GATE_PRESENT) !== 0 ? [low, high] : undefined
  }

  /** try_deliver_interrupt. False: this is no moment for it, so it stays pending. */
  tryDeliver(irq: number, more: boolean): boolean {
    const lg = this.#lg
    const eip = lg.reg(Reg.EIP)
    if (eip >= lg.noirq[0] && eip < lg.noirq[1]) {
      lg.lookLater()
      return false
    }
    if (lg.halted) {
      lg.setField(Data.IRQ_ENABLED, EFLAGS_IF)
      lg.halted = false
    } else if (lg.field(Data.IRQ_ENABLED) === 0) {
      lg.setField(Data.IRQ_PENDING, EFLAGS_IF)
      lg.lookLater()
      return false
    }
    const gate = this.#gate(FIRST_VECTOR + irq)
    if (gate) {
      lg.irqsPending &= ~(1 << irq)
      this.#enter(gate, false)
    }
    lg.writeTimestamp()
    if (!more) lg.setField(Data.IRQ_PENDING, 0)
    // Without a gate it goes on waiting, as it does there: the host comes by with its next tick.
    if (!gate) lg.lookLater()
    return true
  }

  /** set_guest_interrupt: as the processor would do it. The stack is walked in physical memory. */
  #enter([low, high]: readonly [number, number], hasError: boolean): void {
    const lg = this.#lg
    const sameStack = (lg.reg(Reg.SS) & 3) === GUEST_PL
    const virtual = sameStack ? lg.reg(Reg.ESP) : lg.stack.esp
    const top = this.#shadows.guestPhysical(virtual) ?? 0xffffffff
    const flags = lg.reg(Reg.EFLAGS)
    const enabled = lg.data === undefined || (lg.field(Data.IRQ_ENABLED) & EFLAGS_IF) !== 0
    const frame = [
      ...(sameStack ? [] : [lg.reg(Reg.SS), lg.reg(Reg.ESP)]),
      enabled ? flags : flags & ~EFLAGS_IF,
      lg.reg(Reg.CS),
      lg.reg(Reg.EIP),
      ...(hasError ? [lg.reg(Reg.ERRCODE)] : []),
    ]
    for (const [i, word] of frame.entries()) lg.write32((top - 4 * (i + 1)) >>> 0, word)
    if (!sameStack) lg.setReg(Reg.SS, lg.stack.ss)
    lg.setReg(Reg.ESP, virtual - 4 * frame.length)
    lg.setReg(Reg.CS, KERNEL_CS | GUEST_PL)
    lg.setReg(Reg.EIP, (low & 0xffff) | (high & 0xffff0000))
    if (((high >> 8) & 15) === INTERRUPT_GATE) lg.setField(Data.IRQ_ENABLED, 0)
  }

  /** guest_set_stack: where traps from user mode find the kernel's stack. */
  setStack(ss: number, esp: number, pages: number): void {
    const lg = this.#lg
    if ((ss & 3) !== GUEST_PL) lg.kill(`bad stack segment ${ss | 0}`)
    if (pages > 2) lg.kill(`bad stack pages ${pages}`)
    if (lg.dead !== undefined) return
    lg.stack = { ss: ss & 0xffff, esp, pages }
    this.#shadows.pinStack()
  }
}

/** The pending interrupt that the guest can take, if there is one: see run_guest. */
export const waiting = (lg: Lguest): boolean => lg.interruptPending().irq < IRQS
