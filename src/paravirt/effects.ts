/**
 * Effects: the only verbs by which a platform touches a vCPU or the machine. They have no policy; what a request means
 * is the platform's business. `machine/effects.ts` does them for real, `mock.ts` for tests.
 *
 * Each verb has a tier, the host's counterpart of how pv_ops patches a call site: *inline* is emitted into translated
 * code, *helper* is done inside the WebAssembly core, *call* in TypeScript. All verbs here are calls; what the core
 * does without asking (STI, SWAPGS, RDTSC, page-table switches) is in `ops.ts`.
 *
 * vCPUs are numbered from 0; a vCPU's number is its APIC id. Times are nanoseconds, integers.
 */

import type { EntryState } from '../boot/layout.ts'
import type { Op } from './ops.ts'
import type { PvEffects } from './pv-effects.ts'

/** General registers, as requests pass values in them. */
export const registers = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const
export type Register = (typeof registers)[number]

export interface CpuEffects {
  /** How many vCPUs there are. */
  readonly count: number
  /** Put a vCPU into its reset state, then this one; it runs from its next turn on. */
  enter(vcpu: number, state: EntryState): void
  /** A vCPU runs nothing more until it is entered, or started by a local APIC's message. */
  park(vcpu: number): void
  /** A parked vCPU goes on where it was. */
  unpark(vcpu: number): void
  /** EFLAGS.IF. */
  interruptFlag(vcpu: number): boolean
  /** Set it. */
  setInterruptFlag(vcpu: number): void
  /** Neither parked nor waiting for its start-up message. */
  running(vcpu: number): boolean
  /** It has halted, and nothing is there that would end that. */
  waits(vcpu: number): boolean
  register(vcpu: number, name: Register): bigint
  setRegister(vcpu: number, name: Register, value: bigint): void
  /** Set it from a signed integer; 32 bits, the upper half 0, unless `wide`. */
  setNumber(vcpu: number, name: Register, value: number, wide: boolean): void
  /** All general registers in the order of `registers`, each as low and high half. For reading. */
  general(vcpu: number): Uint32Array
  /** The low half of a register, unsigned. */
  low(vcpu: number, name: Register): number
  /**
   * Leave the request that is being made by an IRET of 32-bit operands, as if it stood at `rip` with its frame at
   * `rsp`: a fault is the guest's there. If it went well, `done` gets CS and SS. The request must answer `again`.
   */
  iret(vcpu: number, rip: bigint, rsp: bigint, done: (cs: number, ss: number) => void): void
  /** CR2, the low half. */
  cr2(vcpu: number): number
  /** A copy of XMM0 to XMM15. */
  xmm(vcpu: number, index: number): Uint8Array
  /** Current privilege level. */
  privilege(vcpu: number): number
  /** CR0.PE. */
  protectedMode(vcpu: number): boolean
  /** 64-bit code: EFER.LMA and CS.L. */
  wide(vcpu: number): boolean
}

/** What a frame is to the guest: memory, memory whose stores are lost, nothing. */
export type FrameKind = 'ram' | 'rom' | 'none'

/**
 * A byte of memory that guest and hypervisor share, which every reading of what it belongs to touches once: the
 * multiplier of a clock page, for instance. There the guest finds answers without asking.
 */
export interface SharedByte {
  /** What it belongs to, in the plural: `clock pages`. */
  readonly name: string
  /** Linux's operations that loads and stores are. */
  readonly loads?: Op
  readonly stores?: Op | { readonly zero: Op; readonly other: Op }
}

export interface MemoryEffects {
  /** Guest-physical pages from 0 that are RAM. */
  readonly pages: number
  /** Bytes of RAM, to be read at once; undefined if not all of them are RAM. */
  read(address: bigint, length: number): Uint8Array | undefined
  /** False if not all of it is RAM, or an overlay: then nothing is written. Decoded code is dropped where it changes. */
  write(address: bigint, bytes: Uint8Array): boolean
  /** Bytes at a linear address, as the vCPU would read them; undefined: a fault waits to be delivered instead. */
  load(vcpu: number, linear: bigint, length: number): Uint8Array | undefined
  /** The vCPU could write there; false: a fault waits to be delivered. */
  probe(vcpu: number, linear: bigint, length: number): boolean
  /** Write where `probe` has found that the vCPU can. */
  store(vcpu: number, linear: bigint, bytes: Uint8Array): void
  /** Frames that can be memory: those of RAM, then the platform's own (`PlatformDefinition.frames`). */
  readonly frames: number
  /** All frames, for reading by number; an address is below 4096 * `frames`. Stores are made by the verbs below. */
  readonly view: Pick<DataView, 'getUint8' | 'getUint16' | 'getUint32'>
  /** A part of them, to be read for as long as one likes. */
  bytes(address: number, length: number): Uint8Array
  store8(address: number, value: number): void
  store16(address: number, value: number): void
  store32(address: number, value: number): void
  store64(address: number, value: bigint): void
  /** The same frames as 32-bit words, and a store of two of them (at an even index): page tables, by the thousand. */
  readonly words: Int32Array
  storePair(index: number, low: number, high: number): void
  /** Copy bytes into memory: `write` without its check. */
  place(address: number, bytes: Uint8Array): void
  kind(frame: number): FrameKind
  /** Turn a frame into memory, or into nothing, where reads give ones and writes are lost. Content stays. */
  setKind(frame: number, kind: FrameKind): void
  /**
   * Physical address behind a linear one (low and high half) as the vCPU's code could use it now, for reading or
   * writing; -1 where it could not, or where no memory is. Unlike `load` and `probe` it leaves no fault behind.
   */
  translate(vcpu: number, low: number, high: number, write: boolean): number
  /** Lay a page over a page of RAM: the guest can read and execute it, its stores are #GP(0). Undefined takes it away. */
  overlay(page: number, bytes: Uint8Array | undefined): void
  /** Where a vCPU has this byte now; undefined or outside RAM: nowhere. A counting machine counts what is done there. */
  share(byte: SharedByte, vcpu: number, address: bigint | undefined): void
}

/** The guest may leave out the EOI of an interrupt, where the platform has a place to say so. */
export interface EoiAssist {
  /** Tell the guest that the interrupt being delivered needs no EOI; false if it cannot be told. */
  offer(): boolean
  /** Take the offer back. True if the guest had made use of it: then the EOI is done for it. */
  withdraw(): boolean
}

export interface IrqEffects {
  /**
   * An interrupt that comes past the local APIC, before those that wait there: whenever the vCPU could take one, `line`
   * is asked for its vector; -1: none now. `pull` says that it may have one. Undefined takes the line away.
   */
  line(vcpu: number, line: (() => number) | undefined): void
  pull(vcpu: number): void
  /** The vCPU would take an interrupt now. */
  waits(vcpu: number): boolean
  /** A fixed, edge-triggered interrupt to the local APIC; with `autoEoi` it is never in service. */
  post(vcpu: number, vector: number, autoEoi?: boolean): void
  /** A message as the low half of an ICR describes it, without its destination; false if the local APIC takes none. */
  message(vcpu: number, icr: number): boolean
  /** The local APIC takes interrupts: it is enabled, by software too. */
  enabled(vcpu: number): boolean
  nmi(vcpu: number): void
  /**
   * A level-triggered line by its GSI: of the I/O APIC and, below 16, of the 8259 pair. It is up while `up` says so,
   * which is asked when the guest could see it, and by `sample`. Undefined takes it away.
   */
  level(gsi: number, up: (() => boolean) | undefined): void
  sample(): void
  /** An edge on an ISA interrupt line. */
  isa(irq: number): void
  /** A register of the local APIC by its offset in the xAPIC page. */
  apic(vcpu: number, offset: number): number
  setApic(vcpu: number, offset: number, value: number): void
  /** How a vCPU leaves out EOIs; undefined: not at all. */
  assist(vcpu: number, assist: EoiAssist | undefined): void
  eoi(vcpu: number): void
  /** Be told when software enables the local APIC; undefined: no more. */
  onEnabled(vcpu: number, listener: (() => void) | undefined): void
  /** Be told of each EOI that the guest does; undefined: no more. */
  onEoi(vcpu: number, listener: (() => void) | undefined): void
  tpr(vcpu: number): number
  setTpr(vcpu: number, value: number): void
  /** Interrupt command register: destination in the high half (xAPIC: bits 56-63). */
  icr(vcpu: number): bigint
  setIcr(vcpu: number, value: bigint): void
}

export interface MmuEffects {
  /** CR3. */
  root(vcpu: number): bigint
  /** Forget all translations, or those of the pages in `addresses`, global ones included. */
  flush(vcpu: number, addresses?: readonly bigint[]): void
}

/** An event at a time. Made once, set as needed. */
export interface Deadline {
  /** Infinity: never. */
  set(at: number): void
}

export interface TimeEffects {
  /** Since power-on. */
  now(): number
  /** Unix time, in nanoseconds. */
  wallClock(): bigint
  readonly tscHz: number
  /** A vCPU's time stamp counter minus what one would have that had never been written. */
  tscOffset(vcpu: number): bigint
  /** Input clock of the local APICs' timers before division. */
  readonly apicHz: number
  /** How long a vCPU could have run but did not: another one's turn, or the host's. */
  stolen(vcpu: number): number
  deadline(callback: () => void): Deadline
}

export interface LockEffects {
  /** End HLT whatever IF says; if the vCPU has not halted, its next HLT is none. */
  wake(vcpu: number): void
  /** End the turn of the running vCPU; `to` is next if it can run. */
  yieldTo(to: number): void
  /** Halt the running vCPU until an interrupt waits, even with IF = 0. */
  block(vcpu: number): void
}

export interface MachineEffects {
  reset(): void
  powerOff(): void
  /** The guest did what its hypervisor does not forgive: the machine stops for this reason. */
  crash(reason: string): void
  /** A random 32-bit word. */
  random(): number
  /** Lines for the user, such as a guest's last words. */
  report(lines: readonly string[]): void
  /** Something from outside has been told to the guest: a machine that waits for time to pass looks again. */
  wake(): void
}

/** The user's end of a console. */
export interface ConsolePort {
  /** Somebody reads what comes out. */
  readonly connected: boolean
  /** Bytes from the guest. */
  output(bytes: Uint8Array): void
  /** Called with what the user types. */
  onInput: ((bytes: Uint8Array) => void) | undefined
}

export interface Effects {
  readonly cpu: CpuEffects
  readonly memory: MemoryEffects
  readonly irq: IrqEffects
  readonly mmu: MmuEffects
  readonly time: TimeEffects
  readonly lock: LockEffects
  readonly machine: MachineEffects
  readonly pv: PvEffects
  /** The first is the one that the user types into. Platforms on a PC leave them to its serial ports. */
  readonly consoles: readonly ConsolePort[]
}
