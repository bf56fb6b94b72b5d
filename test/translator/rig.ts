/**
 * Small programs in ring 0 of a 64-bit machine, on the interpreter and on the eager translator side by side: the same
 * registers at the end of every slice, whatever its length, and the same memory at the end.
 *
 * The first 2 MiB are mapped 1:1 by pages (`Place.PAGES` has their entries), everything else is the oracle's guest: its
 * IDT (at `Place.IDT`) leads to HLTs. A program begins at `Place.CODE` and ends with HLT.
 */
import { Core, type CoreHost } from '../../src/cpu/core.ts'
import { Exit, M, S } from '../../src/cpu/layout.ts'
import { hashRam, hashRegisters } from '../../src/machine/state-hash.ts'
import { GUEST_RAM, writeGuest } from '../oracle/guest.ts'
import { Random } from '../oracle/random.ts'
import { setSystem } from '../oracle/vcpu.ts'
import { assemble } from './assemble.ts'

export const Place = {
  IDT: 0x9000,
  CODE: 0x100000,
  STACK: 0x170000,
  /** The entries of the first 2 MiB's pages. */
  PAGES: 0x180000,
  /** The oracle's guest's tables. */
  PD: 0x3000,
  CR3: 0x1000,
} as const

/** CS, SS and the stack of a program. */
const KERNEL_CS = 0x10
const KERNEL_SS = 0x18
const CODE64 = 0xa9b
const DATA = 0xc93
const PRESENT_WRITABLE_USER = 7n
const LARGE = 0x80n

/** The vector of the interrupt that a test injects. */
export const IRQ = 0x20
/** Instructions after which a program should have ended. */
const PATIENCE = 5_000_000

const refuse = (): never => {
  throw new Error('a program asked the host for something')
}
/** For programs that need nothing of it. */
export const refusingHost: CoreHost = {
  mmioRead: refuse,
  mmioWrite: refuse,
  portIn: refuse,
  portOut: refuse,
  rdmsr: refuse,
  wrmsr: refuse,
  cpuid: refuse,
  hypercall: refuse,
  tsc: refuse,
  readCr8: refuse,
  writeCr8: refuse,
  random: refuse,
  acknowledge: refuse,
}

export class Guest {
  readonly core: Core
  readonly state: DataView
  /** Instructions executed since the program began. */
  count = 0
  halted = false

  private constructor(core: Core) {
    this.core = core
    this.state = new DataView(core.memory.buffer, M.VCPU, M.VCPU_STRIDE)
  }

  static async create(options: Partial<Parameters<typeof Core.create>[0]> = {}): Promise<Guest> {
    let guest: Guest
    const host: CoreHost = {
      ...refusingHost,
      readCr8: () => 0,
      acknowledge() {
        guest.state.setInt32(S.IRQ_PENDING, 0, true)
        return IRQ
      },
    }
    guest = new Guest(await Core.create({ ramBytes: GUEST_RAM, vcpus: 1, signature: 0, host, ...options }))
    return guest
  }

  /** Put a program in place and start it. */
  begin(code: Uint8Array): void {
    const { core, state } = this
    const ram = new DataView(core.memory.buffer, M.RAM, GUEST_RAM)
    core.writeRam(0, new Uint8Array(GUEST_RAM))
    writeGuest(ram)
    const entry = (at: number, value: bigint) => ram.setBigUint64(at, value | PRESENT_WRITABLE_USER, true)
    entry(Place.PD, BigInt(Place.PAGES))
    entry(Place.PD + 8, 0x200000n | LARGE)
    for (let page = 0; page < 512; page++) entry(Place.PAGES + page * 8, BigInt(page) << 12n)
    core.writeRam(Place.CODE, code)
    core.system['resetVcpu']!(M.VCPU, 0)
    setSystem(state)
    this.#ring0()
    this.count = 0
    this.halted = false
  }

  #ring0(): void {
    const { core, state } = this
    for (let r = 0; r < 16; r++) state.setBigUint64(r * 8, 0n, true)
    state.setBigUint64(S.RSP, BigInt(Place.STACK), true)
    state.setBigUint64(S.RIP, BigInt(Place.CODE), true)
    state.setInt32(S.SYSFLAGS, 2, true)
    state.setInt32(S.CPL, 0, true)
    for (let segment = 0; segment < 6; segment++) {
      state.setInt32(S.SEG_SELECTOR + segment * 4, segment === 1 ? KERNEL_CS : KERNEL_SS, true)
      state.setInt32(S.SEG_LIMIT + segment * 4, -1, true)
      state.setInt32(S.SEG_ATTR + segment * 4, segment === 1 ? CODE64 : DATA, true)
      state.setBigUint64(S.SEG_BASE + segment * 8, 0n, true)
      if (segment < 4) state.setBigUint64(S.DESC_BASE + segment * 8, 0n, true)
    }
    core.system.refreshState(M.VCPU)
    core.system.flushAll(M.VCPU)
  }

  /** Run so many instructions, or until the program halts. */
  run(instructions: number): void {
    const exit = this.core.runSlice(0, instructions)
    this.count += instructions - this.core.budgetLeft(0)
    if (exit === Exit.SHUTDOWN || exit === Exit.FATAL) throw new Error(`exit ${exit} at ${this.register(S.RIP)}`)
    if (exit === Exit.HALT) this.halted = true
  }

  /** An interrupt arrives. */
  interrupt(): void {
    this.state.setInt32(S.IRQ_PENDING, 1, true)
    this.core.kick(0)
  }

  register(slot: number): bigint {
    return this.state.getBigUint64(slot, true)
  }

  /** A quadword of memory. */
  word(at: number): bigint {
    return new DataView(this.core.memory.buffer, M.RAM).getBigUint64(at, true)
  }

  get registers(): string {
    const slots = [...Array(16).keys()].map((r) => r * 8).concat(S.RIP)
    const words = slots.map((slot) => this.register(slot).toString(16))
    words.push(this.core.system.readEflags(M.VCPU).toString(16), hashRegisters(this.core, 0).toString(16))
    return `${words.join(' ')} after ${this.count}`
  }
}

export interface Conditions {
  /** Instructions before each interrupt. */
  irqs?: readonly number[]
  /** Lengths of slices; by default of several kinds, so that regions are entered in many places. */
  slices?: readonly (() => number)[]
}

/** The interpreter and the eager translator. */
export const engines = async (options: Parameters<typeof Guest.create>[0] = {}): Promise<Engines> =>
  new Engines(await Guest.create(), await Guest.create({ translate: 'eager', ...options }))

/** Throws what differs. */
function same(translated: string, interpreted: string): void {
  if (translated !== interpreted) throw new Error(`translated, then interpreted:\n${translated}\n${interpreted}`)
}

export class Engines {
  readonly plain: Guest
  readonly eager: Guest

  constructor(plain: Guest, eager: Guest) {
    this.plain = plain
    this.eager = eager
  }

  /** Run a program on both, once for each kind of slices: they agree at the end of each. The interpreter's last state. */
  run(text: string, { irqs = [], slices = usualSlices(text) }: Conditions = {}): Guest {
    const code = assemble(text, Place.CODE)
    for (const length of slices) this.#once(code, irqs, length)
    return this.plain
  }

  #once(code: Uint8Array, irqs: readonly number[], length: () => number): void {
    const { plain, eager } = this
    const both = [plain, eager]
    for (const guest of both) guest.begin(code)
    const events = [...irqs]
    while (!plain.halted) {
      const wanted = length()
      const slice = events.length > 0 ? Math.min(wanted, events[0]! - plain.count) : wanted
      if (slice > 0) for (const guest of both) guest.run(slice)
      same(eager.registers, plain.registers)
      if (events[0] === plain.count) {
        events.shift()
        for (const guest of both) guest.interrupt()
      }
      if (plain.count > PATIENCE) throw new Error('the program does not end')
    }
    same(String(eager.halted), 'true')
    same(hashRam(eager.core).toString(16), hashRam(plain.core).toString(16))
  }
}

function usualSlices(seed: string): (() => number)[] {
  const random = new Random(seed)
  return [
    () => 3000,
    () => 1001 + random.below(2000),
    () => 300 + random.below(300),
    () => 1 + random.below(2500),
    () => 100_000,
  ]
}

/** Text that makes the interrupt gate of a vector lead to a label. */
export const gate = (vector: number, label: string): string => `
  lea rax, [rip + ${label}]
  mov word ptr [${Place.IDT + vector * 16}], ax
  shr rax, 16
  mov word ptr [${Place.IDT + vector * 16 + 6}], ax
  shr rax, 16
  mov dword ptr [${Place.IDT + vector * 16 + 8}], eax
`
