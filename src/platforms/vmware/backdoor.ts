/**
 * The two forms of the backdoor: port 0x5658 (and 0x5659 for many bytes), open to code of any privilege, and a
 * hypercall with the same registers, where EDX's low half says what the port would.
 */
import type { Observer } from '../../paravirt/observe.ts'
import { type Command, FAILED, MAGIC } from './command.ts'
import { findCommand } from './commands.ts'
import { type Frame, readFrame, writeFrame } from './frame.ts'
import { highBandwidth, highIn, highOut } from './high-bandwidth.ts'
import { Status } from './messages.ts'
import type { Vmware } from './vmware.ts'

export const PORT = 0x5658
export const HIGH_PORT = 0x5659
/** EDX of the hypercall. */
const HIGH_BANDWIDTH = 1
const OUT = 2
/** What one hypercall moves at most. */
const MAX_COUNT = 64 * 1024

export class Backdoor {
  readonly #vmware: Vmware
  readonly #observer: Observer

  constructor(vmware: Vmware, observer: Observer) {
    this.#vmware = vmware
    this.#observer = observer
  }

  /** A command of the low-bandwidth form; EAX is to be its result. */
  command(vcpu: number): number {
    const { cpu } = this.#vmware.effects
    const before = readFrame(cpu, vcpu)
    const command = findCommand(before.ecx)
    if (!command) return FAILED
    const frame = { ...before }
    const result = this.#allowed(command, vcpu) ? command.run(this.#vmware, vcpu, frame) : FAILED
    writeFrame(cpu, vcpu, frame, before)
    this.#observer.note(
      vcpu,
      command,
      'call',
      () => command.inputs.map((name) => BigInt(before[name])),
      result === FAILED ? '-1' : (command.outcome?.(frame) ?? BigInt(result)),
    )
    return result
  }

  #allowed({ feature, privileged }: Command, vcpu: number): boolean {
    const { effects } = this.#vmware
    return (feature === undefined || this.#vmware.has(feature)) && (!privileged || effects.cpu.privilege(vcpu) === 0)
  }

  /** A byte of a message, to the host; the last one has count 1. */
  byteOut(vcpu: number, byte: number): void {
    this.#high(vcpu, (frame) => highOut(this.#vmware, frame, Uint8Array.of(byte)))
  }

  byteIn(vcpu: number): number {
    let byte = 0xff
    this.#high(vcpu, (frame) => {
      const bytes = highIn(this.#vmware, frame, 1)
      byte = bytes?.[0] ?? byte
      return bytes !== undefined
    })
    return byte
  }

  #high(vcpu: number, move: (frame: Frame) => boolean): void {
    const { cpu } = this.#vmware.effects
    const before = readFrame(cpu, vcpu)
    const frame = { ...before }
    const done = move(frame)
    writeFrame(cpu, vcpu, frame, before)
    // A repeated instruction is one request, told with its last byte or at the first that fails.
    if (done ? before.ecx === 1 : before.ebx !== frame.ebx) this.#noteHigh(vcpu, before, done)
  }

  #noteHigh(vcpu: number, { ebx, edx, ecx }: Frame, done: boolean): void {
    const args = () => [ebx, edx, ecx].map(BigInt)
    this.#observer.note(vcpu, highBandwidth, 'call', args, done ? BigInt(Status.SUCCESS) : 'status_0')
  }

  /** False: #UD. */
  hypercall(vcpu: number): boolean {
    const { cpu } = this.#vmware.effects
    if (cpu.low(vcpu, 'rax') !== MAGIC) return false
    const flags = cpu.low(vcpu, 'rdx') & 0xffff
    if (flags & HIGH_BANDWIDTH) this.#transfer(vcpu, (flags & OUT) !== 0)
    else cpu.setRegister(vcpu, 'rax', BigInt(this.command(vcpu)))
    return true
  }

  /** As REP OUTSB or REP INSB would do it. After a page fault it is done again from the start. */
  #transfer(vcpu: number, out: boolean): void {
    const { cpu, memory } = this.#vmware.effects
    const before = readFrame(cpu, vcpu)
    const frame = { ...before }
    const count = frame.ecx
    const pointer = out ? 'rsi' : 'rdi'
    const wide = cpu.wide(vcpu)
    const address = BigInt.asUintN(wide ? 64 : 32, cpu.register(vcpu, pointer))
    if (count === 0) return
    let done = false
    if (count > MAX_COUNT) frame.ebx &= 0xffff
    else if (out) {
      const bytes = memory.load(vcpu, address, count)
      if (!bytes) return
      done = highOut(this.#vmware, frame, bytes)
    } else {
      if (!memory.probe(vcpu, address, count)) return
      const bytes = highIn(this.#vmware, frame, count)
      if (bytes) memory.store(vcpu, address, bytes)
      done = bytes !== undefined
    }
    writeFrame(cpu, vcpu, frame, before)
    if (done) {
      cpu.setRegister(vcpu, pointer, BigInt.asUintN(wide ? 64 : 32, address + BigInt(count)))
      cpu.setRegister(vcpu, 'rcx', 0n)
    }
    this.#noteHigh(vcpu, before, done)
  }
}
