/**
 * The host's loop around the guest (drivers/lguest/core.c, x86/core.c): a trap has brought it here; it deals with it,
 * does hypercalls, delivers interrupts, and lets the guest go on, sleep, or die.
 */
import type { Observer } from '../../paravirt/observe.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Data, FIRST_VECTOR, IRQS, LHCALL, Reg, RING, RING_FREE, SYSCALL_VECTOR, TRAP_ENTRY } from './abi.ts'
import { emulateInstruction, rewriteHypercall } from './emulate.ts'
import { hypercallByNumber } from './hypercalls.ts'
import { type HcallArgs, type Lguest, VCPU } from './lguest.ts'
import type { Parts } from './parts.ts'
import { Segments } from './segments.ts'
import { Shadows } from './shadow.ts'
import { Traps, waiting } from './traps.ts'

const BAD_FETCH = 256
const Trap = { INVALID_OPCODE: 6, NO_FPU: 7, GENERAL_PROTECTION: 13, PAGE_FAULT: 14 } as const
const hex = (value: number): string => (value === 0 ? '0' : `0x${value.toString(16)}`)

/** Who serves LHCALL_NOTIFY. */
export interface Launcher {
  notify(address: number): void
}

export class Host implements Parts, Stateful {
  readonly lg: Lguest
  readonly shadows: Shadows
  readonly traps: Traps
  readonly segments: Segments
  readonly #observer: Observer
  readonly #launcher: Launcher
  /** The host sleeps: the guest has halted. */
  #sleeping = false

  constructor(lg: Lguest, launcher: Launcher, observer: Observer) {
    this.lg = lg
    this.shadows = new Shadows(lg)
    this.traps = new Traps(lg, this.shadows)
    this.segments = new Segments(lg)
    this.#launcher = launcher
    this.#observer = observer
  }

  transfer(state: Transfer): void {
    state.part('lg', this.lg)
    state.part('shadows', this.shadows)
    this.#sleeping = state.field('sleeping', this.#sleeping)
  }

  /**
   * The guest has left, or, if it has halted, something woke the host; `cr2` is the processor's. `go`: it goes on;
   * `sleep`: it does not, yet; `dead`: never more.
   */
  run(cr2: () => number): 'go' | 'sleep' | 'dead' {
    const { lg } = this
    lg.looked()
    if (!this.#sleeping) this.#trap(cr2)
    this.#sleeping = false
    while (lg.dead === undefined) {
      if (lg.hcall) this.#hypercalls()
      if (lg.pendingNotify !== 0) {
        // The Launcher's next read() begins with the hypercalls that are left.
        this.#notify()
        continue
      }
      const { irq, more } = lg.interruptPending()
      const possible = irq < IRQS && this.traps.tryDeliver(irq, more)
      if (lg.dead !== undefined) break
      if (lg.hcall) continue
      if (!lg.halted) {
        this.#beforeGuest()
        return 'go'
      }
      // Who halts where none may come sleeps for ever; the real host would go round and round.
      if (possible && waiting(lg)) continue
      this.#sleeping = true
      return 'sleep'
    }
    return 'dead'
  }

  #beforeGuest(): void {
    this.segments.setStack()
    this.lg.effects.pv.setTaskSwitched(VCPU, this.lg.ts !== 0)
  }

  /** lguest_arch_handle_trap. */
  #trap(cr2: () => number): void {
    const { lg } = this
    const trap = lg.reg(Reg.TRAPNUM)
    const error = lg.reg(Reg.ERRCODE)
    let address = 0
    switch (trap) {
      case Trap.GENERAL_PROTECTION:
        if (error === 0 && emulateInstruction(lg, this.shadows)) return
        if (rewriteHypercall(lg, this.shadows)) return
        break
      case Trap.INVALID_OPCODE:
        if (rewriteHypercall(lg, this.shadows)) return
        break
      case Trap.PAGE_FAULT:
        address = cr2()
        if (this.shadows.demandPage(address, error)) return
        lg.setField(Data.CR2, address)
        break
      case Trap.NO_FPU:
        if (lg.ts === 0) return
        break
      case TRAP_ENTRY:
        lg.hcall = true
        return
      default:
        if (trap >= FIRST_VECTOR) return
    }
    if (!this.traps.deliver(trap))
      lg.kill(`unhandled trap ${trap} at ${hex(lg.reg(Reg.EIP))} (${hex(trap === Trap.PAGE_FAULT ? address : error)})`)
  }

  /** A fault of the switcher's own, while it went back to the guest. */
  switcherFault(): void {
    const { lg } = this
    lg.kill(`unhandled trap ${BAD_FETCH} at ${hex(lg.reg(Reg.EIP))} (${hex(lg.reg(Reg.ERRCODE))})`)
  }

  // Hypercalls

  get #registers(): HcallArgs {
    const { lg } = this
    return [lg.reg(Reg.EAX), lg.reg(Reg.EBX), lg.reg(Reg.ECX), lg.reg(Reg.EDX), lg.reg(Reg.ESI)]
  }

  /** do_hypercalls. */
  #hypercalls(): void {
    const { lg } = this
    if (lg.data === undefined) {
      this.#initialize(this.#registers)
      lg.hcall = false
      return
    }
    this.#asyncHypercalls()
    if (lg.pendingNotify !== 0 || lg.dead !== undefined) return
    this.#do(this.#registers)
    lg.hcall = false
  }

  /** do_async_hcalls: those of the ring come before any other, in their order. */
  #asyncHypercalls(): void {
    const { lg } = this
    const { memory } = lg.effects
    const data = lg.data as number
    const slots = Array.from({ length: RING }, (_, i) => memory.view.getUint8(data + Data.HCALL_STATUS + i))
    for (let i = 0; i < RING; i++) {
      const slot = lg.nextHcall
      if (slots[slot] === RING_FREE) return
      lg.nextHcall = (slot + 1) % RING
      const word = (n: number) => lg.field(Data.HCALLS + 20 * slot + 4 * n)
      this.#do([word(0), word(1), word(2), word(3), word(4)])
      memory.store8(data + Data.HCALL_STATUS + slot, RING_FREE)
      if (lg.pendingNotify !== 0 || lg.dead !== undefined) return
    }
  }

  /** do_hcall. */
  #do(args: HcallArgs): void {
    const { lg } = this
    const call = hypercallByNumber.get(args[0])
    if (!call) {
      lg.kill(`Bad hypercall ${args[0] | 0}\n`)
      return
    }
    call.run?.(this, args)
    this.#note(args)
  }

  /** The result is nothing, or what the guest was killed for. */
  #note(args: HcallArgs): void {
    const call = hypercallByNumber.get(args[0])
    const { dead } = this.lg
    if (!call) return
    const error = dead === undefined ? 0n : (Object.keys(call.errors).find((name) => dead.startsWith(name)) ?? dead)
    this.#observer.note(VCPU, call, 'call', () => args.slice(1, 1 + call.args.length).map(BigInt), error)
  }

  /** initialize: the first hypercall. */
  #initialize(args: HcallArgs): void {
    const { lg } = this
    const [number, address] = args
    if (number !== LHCALL.LGUEST_INIT) return lg.kill(`hypercall ${number | 0} before INIT`)
    if (lg.addressOk(address, Data.SIZE)) this.#exchange(address)
    else lg.kill('bad guest page (null)')
    this.#note(args)
  }

  #exchange(address: number): void {
    const { lg } = this
    lg.data = address
    lg.setField(Data.TSC_KHZ, Math.floor(lg.effects.time.tscHz / 1000))
    if (lg.field(Data.SYSCALL_VEC) !== SYSCALL_VECTOR) lg.kill('bad syscall vector')
    lg.noirq = [lg.field(Data.NOIRQ_START), lg.field(Data.NOIRQ_END)]
    lg.writeTimestamp()
    this.shadows.exchangeData()
    this.shadows.clearAll()
  }

  #notify(): void {
    const { lg } = this
    const address = lg.pendingNotify
    lg.pendingNotify = 0
    this.#launcher.notify(address)
  }
}
