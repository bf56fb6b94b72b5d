/**
 * Run states of a vCPU (xen/vcpu.h): how long it ran, could have run but did not, was blocked or offline. The guest
 * can have them written to a place of its own, by linear address, at each beginning and end of a turn.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Context } from '../context.ts'
import { Block, struct } from '../struct.ts'

const RunState = { RUNNING: 0, RUNNABLE: 1, BLOCKED: 2, OFFLINE: 3 } as const

export const runstateInfo = struct({
  state: 's32',
  state_entry_time: 'u64',
  running: 'u64',
  runnable: 'u64',
  blocked: 'u64',
  offline: 'u64',
})

export class Runstate implements Stateful {
  readonly #domain: Context
  readonly #vcpu: number
  readonly #block = new Block(48)
  readonly #times: [number, number, number, number] = [0, 0, 0, 0]
  #state: number = RunState.OFFLINE
  #since = 0
  /** What was stolen when the state was last looked at. */
  #stolen = 0
  #area: { readonly low: number; readonly high: number; readonly wide: boolean } | undefined

  constructor(domain: Context, vcpu: number) {
    this.#domain = domain
    this.#vcpu = vcpu
  }

  transfer(state: Transfer): void {
    state.list('times', this.#times)
    this.#state = state.field('state', this.#state)
    this.#since = state.field('since', this.#since)
    this.#stolen = state.field('stolen', this.#stolen)
    this.#area = state.field('area', this.#area)
  }

  /** Its turn begins: what passed since the last one was waiting for an event, or for its turn. */
  enter(): void {
    this.#settle()
    this.#change(RunState.RUNNING)
  }

  leave(halted: boolean): void {
    this.#settle()
    this.#change(halted ? RunState.BLOCKED : RunState.RUNNABLE)
  }

  /** It is down: one that was blocked still is. What the guest sees of others is from their last turn. */
  offline(): void {
    this.#unblock()
    if (this.#state === RunState.BLOCKED) return
    const own = this.#state === RunState.RUNNING
    this.#settle()
    this.#state = RunState.OFFLINE
    if (own) this.#publish()
  }

  /** It is up again. */
  online(): void {
    if (this.#state !== RunState.OFFLINE) return
    this.#settle()
    this.#state = RunState.RUNNABLE
  }

  /** One that was blocked is not any more, though it has not run yet. */
  #unblock(): void {
    const { time, cpu } = this.#domain.effects
    if (this.#state !== RunState.BLOCKED || cpu.waits(this.#vcpu)) return
    const now = time.now()
    const waited = Math.min(now - this.#since, time.stolen(this.#vcpu) - this.#stolen)
    this.#times[RunState.BLOCKED] += now - this.#since - waited
    this.#since = now - waited
    this.#state = cpu.running(this.#vcpu) ? RunState.RUNNABLE : RunState.OFFLINE
  }

  /** VCPUOP_register_runstate_memory_area; the address is the caller's. */
  register(low: number, high: number, wide: boolean, caller: number): void {
    this.#area = low === 0 && high === 0 ? undefined : { low, high, wide }
    this.#publish(caller)
  }

  /** As a new domain's: nobody is told. */
  restart(): void {
    this.#area = undefined
  }

  /** The structure as of now, in a caller's layout. */
  info(wide: boolean): Block {
    this.#unblock()
    const now = this.#domain.effects.time.now()
    const times = [...this.#times]
    times[this.#state] = (times[this.#state] as number) + now - this.#since
    return this.#write(this.#since, times, wide)
  }

  #write(since: number, [running, runnable, blocked, offline]: readonly number[], wide: boolean): Block {
    const { fields: f } = runstateInfo
    const block = this.#block
    block.wide = wide
    block.set(f.state, this.#state)
    block.set(f.state_entry_time, since)
    block.set(f.running, running as number)
    block.set(f.runnable, runnable as number)
    block.set(f.blocked, blocked as number)
    block.set(f.offline, offline as number)
    return block
  }

  /** Give the time since the state began to the states that it was. */
  #settle(): void {
    const { time } = this.#domain.effects
    const now = time.now()
    const passed = now - this.#since
    const stolen = time.stolen(this.#vcpu)
    const waited = Math.min(passed, stolen - this.#stolen)
    this.#stolen = stolen
    if (this.#state === RunState.BLOCKED && waited > 0) {
      this.#times[RunState.BLOCKED] += passed - waited
      this.#times[RunState.RUNNABLE] += waited
    } else this.#times[this.#state] = (this.#times[this.#state] as number) + passed
    this.#since = now
  }

  #change(state: number): void {
    this.#state = state
    this.#publish()
  }

  #publish(by = this.#vcpu): void {
    const area = this.#area
    if (!area) return
    const block = this.#write(this.#since, this.#times, area.wide)
    this.#domain.guest.copyOut(by, area.low, area.high, block.bytes, block.size(runstateInfo))
  }
}
