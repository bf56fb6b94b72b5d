/**
 * Effects on a vCPU of a Xen PV domain: what of it the core holds, because traps, hypercalls and returns use it.
 * The core raises frames by itself; whether an update is allowed is the platform's business.
 */
/** 32-bit fields; `iopl` and `flags` (VGCF_*) as in the ABI, `...Cs` selectors of a 32-bit domain's callbacks, `info` the physical address of struct vcpu_info. */
export const pvWords = [
  'kernel',
  'iopl',
  'assist',
  'flags',
  'syscall32Masks',
  'sysenterMasks',
  'info',
  'kernelSs',
  'iobmpLimit',
  'eventCs',
  'failsafeCs',
  'syscall32Cs',
  'sysenterCs',
] as const
export type PvWord = (typeof pvWords)[number]

/** 64-bit fields: addresses. */
export const pvWides = ['kernelSp', 'event', 'failsafe', 'syscall', 'syscall32', 'sysenter', 'iobmp'] as const
export type PvWide = (typeof pvWides)[number]

export interface TrapInfo {
  /** Bits 0 and 1: DPL; bit 2: mask events. */
  readonly flags: number
  readonly cs: number
  readonly address: bigint
}

/** With what a vCPU begins, besides the fields above, page tables, GDT and LDT. */
export interface PvContext {
  /** General registers by their numbers; RSP is 4. */
  readonly registers: readonly bigint[]
  readonly rip: bigint
  readonly rflags: number
  /** Selectors. */
  readonly cs: number
  readonly ss: number
  readonly ds: number
  readonly es: number
  readonly fs: number
  readonly gs: number
  readonly fsBase: bigint
  readonly gsBaseKernel: bigint
  readonly gsBaseUser: bigint
  /** CR0.TS. */
  readonly taskSwitched: boolean
  /** Of a 32-bit domain. */
  readonly narrow?: boolean
  readonly cr4: bigint
  /** An image as FXSAVE makes it; undefined: the x87 and SSE as after FNINIT. */
  readonly fpu: Uint8Array | undefined
}

export interface PvRegisters {
  /** By their numbers, as in PvContext. */
  readonly general: readonly bigint[]
  readonly rip: bigint
  readonly rflags: number
  /** ES CS SS DS FS GS. */
  readonly selectors: readonly number[]
  readonly cr: { readonly 0: bigint; readonly 2: bigint; readonly 3: bigint; readonly 4: bigint }
  readonly fsBase: bigint
  readonly gsBase: bigint
  readonly otherGsBase: bigint
  /** The exception that was delivered last, and its error code; -1: none. */
  readonly vector: number
  readonly error: number
}

export interface PvEffects {
  word(vcpu: number, field: PvWord): number
  setWord(vcpu: number, field: PvWord, value: number): void
  wide(vcpu: number, field: PvWide): bigint
  setWide(vcpu: number, field: PvWide, value: bigint): void
  trap(vcpu: number, vector: number): TrapInfo
  setTrap(vcpu: number, vector: number, trap: TrapInfo): void
  /** Page tables of kernel and user mode, by frame; 0: none. A 32-bit domain has one for both. Translations are kept as far as no table changed. */
  setRoots(vcpu: number, kernel: number, user: number): void
  /**
   * A present entry of some page table has changed, or a frame has become a table. Only what `flush` does to the vCPUs'
   * own tables is done at once; others are forgotten when they are made a vCPU's own again.
   */
  tablesChanged(): void
  /** Forget all translations of a vCPU's two tables. */
  flush(vcpu: number): void
  /** Frames of the GDT, at most 14; Xen's own entries are beyond them. */
  setGdt(vcpu: number, frames: readonly number[], entries: number): void
  /** A vCPU's LDT is elsewhere: none of its pages is mapped. */
  setLdt(vcpu: number, base: bigint, entries: number): void
  /** The frame behind a page of the LDT; 0: none. */
  mapLdt(vcpu: number, page: number, frame: number): void
  ldtFrame(vcpu: number, page: number): number
  /** DR0-DR3, DR6, DR7 as the guest sees them. */
  debugRegister(vcpu: number, index: number): bigint
  /** 0 or an errno: 1 EPERM, 19 ENODEV, 22 EINVAL. */
  setDebugRegister(vcpu: number, index: number, value: bigint): number
  /** CR0.TS. */
  setTaskSwitched(vcpu: number, set: boolean): void
  /** CR4 as the guest sees it. */
  cr4(vcpu: number): bigint
  /** As the hypercalls set_segment_base and stack_switch do, for multicalls. */
  setSegmentBase(vcpu: number, which: number, base: bigint): number
  stackSwitch(vcpu: number, ss: number, sp: bigint): void
  /** As the hypercall iret does. */
  iret(vcpu: number): void
  /** A non-maskable interrupt waits; it is delivered if the guest has a handler. */
  nmi(vcpu: number): void
  /** Look for events that the guest can take: an upcall has become pending. Wakes a vCPU that is blocked. */
  kick(vcpu: number): void
  /** Put a vCPU into its first state, from which it runs. */
  begin(vcpu: number, context: PvContext): void
  /** A vCPU's registers as it was stopped, for last words. */
  registers(vcpu: number): PvRegisters
  /** How often the core did hypercalls by itself, by number. */
  counts(vcpu: number): ReadonlyMap<number, number>
  /** Have it tell of each of them, or not. */
  watch(on: boolean): void
}
