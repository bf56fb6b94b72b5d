/**
 * The one layout table: where everything lives in the core's linear memory.
 *
 * TypeScript imports it; the AssemblyScript procedures get the same numbers as a generated source (`asLayout`);
 * the interpreter and translator emit them as immediate offsets. A vCPU is named by the address of its state
 * block, `p`; nothing in the core knows any other base, so that vCPUs can share one memory.
 */

/** Byte offsets from the state block `p`. Everything is little-endian; i64 unless its name's comment says otherwise. */
const state = {
  // Slots that a record's one-byte operand fields can name (offset <= 255). AH, CH, DH, BH are offset 1, 9, 17, 25.
  RAX: 0,
  RCX: 8,
  RDX: 16,
  RBX: 24,
  RSP: 32,
  RBP: 40,
  RSI: 48,
  RDI: 56,
  R8: 64,
  R9: 72,
  R10: 80,
  R11: 88,
  R12: 96,
  R13: 104,
  R14: 112,
  R15: 120,
  ZERO: 128, // always 0: "no base", "no index"
  PAGE_LINEAR: 136, // linear address of the page that is executing, so RIP-relative is an ordinary base
  SEG_BASE: 144, // ES CS SS DS FS GS, 8 bytes each; entry 6 is always 0 ("no segment")

  RIP: 200, // offset in CS of the next instruction; valid whenever the core is outside a stream of records
  FLAGS_KIND: 208, // i32, kind << 2 | log2(bytes); see FlagsKind
  FLAGS_B: 216,
  FLAGS_RES: 224,
  SYSFLAGS: 232, // i32, EFLAGS without CF PF AF ZF SF OF; bit 1 always set

  // Execution control, all i32 unless noted.
  LEAVE: 236, // non-zero: leave the record stream at the next instruction boundary; bits of Leave
  EXC: 240, // pending exception vector, -1 none
  EXC_ERROR: 244,
  EXC_HAS_ERROR: 248,
  EXIT: 252, // why run() returned to the host; see Exit
  MODE: 256, // decode mode word; see Mode
  CPL: 260,
  TLB_READ: 264, // absolute address of the current bank's part
  TLB_WRITE: 268, // Tlb.PART behind it
  TLB_EXEC: 272,
  RECORD: 276, // record that is executing, whenever a procedure is called
  BUDGET: 280, // i64, instructions left in this slice
  GEN: 288, // i64, generation tag of the current bank (0..4095)
  SHADOW: 296, // non-zero: interrupts are inhibited for one instruction (1: after STI, 2: after MOV SS, POP SS, which holds back #DB too)
  IRQ_PENDING: 300, // set by the host: a maskable interrupt waits
  NMI_PENDING: 304,
  NMI_BLOCKED: 308,
  FPU_TRAP: 312, // non-zero: x87/MMX instructions fault; bit 0 CR0.EM, bit 1 CR0.TS, bit 2 WAIT traps (MP & TS)
  SIMD_TRAP: 316, // non-zero: SSE instructions fault; bit 0 #UD (EM or !OSFXSR), bit 1 #NM (TS)
  CODE_EPOCH: 320, // bumped by whatever invalidates code
  HOST_LO: 324, // two-word results and arguments of host calls
  HOST_HI: 328,
  INDEX: 332, // this vCPU's number

  CR0: 336,
  CR2: 344,
  CR3: 352,
  CR4: 360,
  CR8: 368,
  EFER: 376,
  DR0: 384,
  DR1: 392,
  DR2: 400,
  DR3: 408,
  DR6: 416,
  DR7: 424,
  XCR0: 432,
  GDTR_BASE: 440,
  GDTR_LIMIT: 448,
  IDTR_BASE: 456,
  IDTR_LIMIT: 464, // limits i32

  // Segment registers ES CS SS DS FS GS LDTR TR: selector, limit, attributes; i32 each, 4-byte stride.
  // LDTR and TR bases are SYS_BASE[0..1]. Attributes: SDM Vol. 3A 3.4.5, descriptor bits 40-47 in 0-7, 52-55 in 8-11; ATTR_NULL marks unusable.
  SEG_SELECTOR: 472, // 8 entries
  SEG_LIMIT: 504, // 8 entries, byte-granular, expanded
  SEG_ATTR: 536, // 8 entries
  LDTR_BASE: 568,
  TR_BASE: 576,

  STAR: 584,
  LSTAR: 592,
  CSTAR: 600,
  FMASK: 608,
  KERNEL_GS_BASE: 616,
  SYSENTER_CS: 624,
  SYSENTER_ESP: 632,
  SYSENTER_EIP: 640,
  PAT: 648,
  TSC_AUX: 656,
  TSC_OFFSET: 664,

  // x87 and SSE control. The x87 stack holds physical registers R0..R7 (not ST-relative), MMX overlays the mantissa.
  FCW: 680,
  FSW: 684, // i32; FSW.TOP is in bits 11-13
  FTW: 688, // i32, one bit a physical register: 1 = not empty (the abridged FXSAVE form)
  FOP: 692,
  FIP: 696,
  FDP: 704,
  FCS: 712,
  FDS: 716,
  MXCSR: 720,
  FP_FLAGS: 724, // i32, exception flags raised by softfloat since last cleared; MXCSR bit order
  FPR: 736, // 8 x 16 bytes: mantissa i64, then sign and exponent in an i16
  DESC_BASE: 864, // ES CS SS DS, 8 bytes each: bases as loaded; SEG_BASE is 0 instead in 64-bit mode
  AMD: 904, // i32, non-zero: AMD's rules where the vendors' processors differ
  PAUSE_EXITS: 908, // i32, non-zero: PAUSE ends the turn of this vCPU
  TF_AFTER: 900, // i32, non-zero: this instruction's single-step trap goes by TF after it, not before
  REGION_SPENT: 912, // i32, non-zero: a translated region left because the slice is nearly over
  MISSED: 928, // linear address where a region went or called last that begins none
  MISSES: 936, // i32, how often that was since it was last looked at
  MISSED_TAG: 944, // what the TLB had where a region found no entry: see translator/memory.ts
  MISSED_HOST: 952, // i32, and where the access went
  OPEN_PORTS: 916, // i32, ports that code of any privilege may use while EAX is OPEN_KEY: the first, and their number << 16
  OPEN_KEY: 920, // i32
  X87_STORE: 896, // i32, exceptions of an x87 store whose memory access is still to come
  PV: 924, // i32, 1 or 2: the vCPU is one of a 64-bit or 32-bit Xen PV domain; then the fields from PV_TRAPS on mean something

  // Vector registers in planes of 128 bits, 32 registers a plane; room for 512-bit registers.
  VEC0: 1024,
  VEC1: 1536,
  VEC2: 2048,
  VEC3: 2560,

  // Per-bank generations and bookkeeping of the TLB, owned by system/tlb.
  TLB_STATE: 3072, // 256 bytes
  SCRATCH: 3328, // 512 bytes: operands that a procedure takes by address, cross-page copies
  SCRATCH_RECORDS: 3840, // 4 records
  GROUPS: 3904, // 192 bytes: pages that the running region found last: see translator/memory.ts
} as const
export const S: { readonly [K in keyof typeof state]: number } = state

/**
 * A vCPU of a Xen PV domain, which runs at CPL 3 always, or at CPL 1 and 3. i32 unless noted; names as in Xen's struct pv_vcpu. Apart from
 * S: V8 looks fields up in a hash table where an object has more than 128.
 */
const pvState = {
  PV_TRAPS: 0x1000, // the trap table: 256 x struct trap_info {vector u8, flags u8, cs u16, pad, address u64}
  PV_KERNEL: 0x2000, // non-zero: guest kernel mode of a 64-bit domain
  PV_IOPL: 0x2004, // in its place in EFLAGS
  PV_ASSIST: 0x2008, // bits of vm_assist
  PV_FLAGS: 0x200c, // VGCF_*
  PV_SYSCALL32_MASKS: 0x2010, // non-zero: events are masked on entry
  PV_SYSENTER_MASKS: 0x2014,
  PV_INFO: 0x2018, // physical address of struct vcpu_info
  PV_KERNEL_SS: 0x201c,
  PV_KERNEL_SP: 0x2020, // i64, and so the next ones
  PV_KERNEL_ROOT: 0x2028, // machine address of the L4 table, or of the L3 table of a 32-bit domain
  PV_USER_ROOT: 0x2030, // 0: none
  PV_EVENT: 0x2038, // callbacks' addresses
  PV_FAILSAFE: 0x2040,
  PV_SYSCALL: 0x2048,
  PV_SYSCALL32: 0x2050,
  PV_SYSENTER: 0x2058,
  PV_CR4: 0x2060, // as the guest sees it
  PV_IOBMP: 0x2068, // linear address of the I/O permission bitmap
  PV_LDT_BASE: 0x2070,
  PV_IOBMP_LIMIT: 0x2078, // ports
  PV_LDT_ENTS: 0x207c,
  PV_GDT_ENTS: 0x2080,
  PV_WATCHED: 0x2084, // non-zero: the host is told of the requests that the core does itself
  PV_GDT_FRAMES: 0x2088, // 14 x frame number, 0: a page of zeros
  PV_LDT_FRAMES: 0x20c8, // 16 x frame number, 0: not mapped yet
  PV_SLOT_EPOCHS: 0x2108, // 8: the cell TABLES_EPOCH when each address space was forgotten last
  PV_COUNTS: 0x2128, // how often the core did what hypercall: see PvHot
  PV_VECTOR: 0x2138, // the exception that was delivered last, and its error code: for last words
  PV_ERROR: 0x213c,
  PV_RESERVED_GDT: 0x2140, // 16 x i64: Xen's own descriptors, from selector 0xe000 on
  PV_UNDO: 0x2200, // general registers, then FLAGS_KIND to FLAGS_RES, as they were before an emulated read-modify-write
  PV_UNDO_LINEAR: 0x22a0, // where that one stores; 0: there is none
  PV_UNDO_RECORD: 0x22a8, // i32, the record that does
  PV_EVENT_CS: 0x22ac, // selectors of a 32-bit domain's callbacks
  PV_FAILSAFE_CS: 0x22b0,
  PV_SYSCALL32_CS: 0x22b4,
  PV_SYSENTER_CS: 0x22b8,
} as const
export const PvState: { readonly [K in keyof typeof pvState]: number } = pvState

/** FLAGS_KIND >> 2. FLAGS_RES and FLAGS_B are sign-extended from the operand size to 64 bits. */
export const FlagsKind = {
  EXPLICIT: 0, // FLAGS_RES holds CF PF AF ZF SF OF in their EFLAGS places
  LOGIC: 1, // CF = OF = AF = 0
  ADD: 2, // a = res - b; CF = res <u b
  SUB: 3, // a = res + b; CF = a <u b
  ADC1: 4, // a + b + 1; CF = res <=u b
  SBB1: 5, // a - b - 1; a = res + b + 1; CF = a <=u b
  INC: 6, // FLAGS_B is the preserved CF (0 or 1)
  DEC: 7, // FLAGS_B is the preserved CF (0 or 1)
  RES: 8, // ZF SF PF from res; FLAGS_B holds CF AF OF in their EFLAGS places
} as const

/** MODE: what a decoded record depends on. */
export const Mode = {
  LONG: 1, // CS.L in long mode: 64-bit code
  D: 2, // CS.D (32-bit default sizes)
  B: 4, // SS.B (32-bit stack); set in 64-bit mode
  FLAT: 8, // ES CS SS DS have base 0 and limit 4 GiB (always set in 64-bit mode)
} as const

/** Hypercalls that the core carries out itself: their place in PV_COUNTS. */
export const PvHot = {
  IRET: 0,
  SET_SEGMENT_BASE: 1,
  STACK_SWITCH: 2,
  FPU_TASKSWITCH: 3,
} as const

/** Why a PV domain is crashed by what a vCPU did. */
export const PvCrash = {
  BAD_STACK: 1, // a frame would lie in the hypervisor's addresses
  FRAME_FAULT: 2, // pushing a frame faulted
  NO_HANDLER: 3, // the trap or callback has no address
  IRET_FRAME: 4, // reading iret's frame faulted
  NO_USER_TABLE: 5, // iret to user mode without a user page table
  IRET_RING: 6, // iret of a 32-bit domain to ring 0
} as const

/** LEAVE bits. */
export const Leave = {
  EVENT: 1, // an interrupt may be deliverable now
  CODE: 2, // code or mappings changed: look the next instruction up anew
  HOST: 4, // run() must return to the host; EXIT says why
} as const

/** EXIT values. */
export const Exit = {
  BUDGET: 0, // slice finished
  HALT: 1, // HLT
  SHUTDOWN: 2, // triple fault
  STOP: 3, // the host asked (reset, power-off, exec done)
  PAUSE: 5, // PAUSE, where another vCPU may go on
  DEBUG: 6, // a debugger's breakpoint or watchpoint
  FATAL: 4, // the core met something that it must never meet; HOST_LO says what
} as const

/** A pre-decoded operation. The fields' use depends on the handler's form; see docs/interpreter.md. */
export const R = {
  HANDLER: 0, // u16
  OFFSET_LENGTH: 2, // u16: offset in page << 4 | length
  A: 4, // u8: register operand (byte offset from p; vector registers: number << 4)
  B: 5, // u8: second register operand
  BASE: 6, // u8: base register slot | segment index (6: none)
  INDEX: 7, // u8: index register slot | scale shift (0..3)
  DISP: 8, // i32: displacement, or the target record of a taken branch
  IMM: 12, // i32
  SIZE: 16,
} as const

/** SEG_BASE index that reads 0. */
export const NO_SEGMENT = 6

/** Segment attribute bits, as in SEG_ATTR. */
export const Attr = {
  TYPE: 0xf,
  S: 0x10,
  DPL: 0x60,
  P: 0x80,
  AVL: 0x100,
  L: 0x200,
  DB: 0x400,
  G: 0x800,
  NULL: 0x1000,
} as const

/** TLB: direct mapped, three banks of three parts. An entry is {tag i64, addend or index table i32, physical page i32}. */
export const Tlb = {
  ENTRIES: 1024,
  ENTRY: 16,
  PART: 16384,
  BANK: 49152, // read, write, execute
  AREA: 0x4000, // offset of bank 0 from p
  USER: 0,
  SUPERVISOR: 1,
  SUPERVISOR_AC: 2,
  EMPTY: 0x28000, // offset from p of two parts that never hold an entry: with them as current parts every access is slow
  LARGE: 0x30000, // 32768 bits: 4 MiB regions (hashed) with entries that came from 2 or 4 MiB pages
  LARGE_1G: 0x31000, // 4096 bits: 1 GiB regions (hashed) with entries that came from 1 GiB pages
} as const

/** Width of a physical address, as CPUID 0x80000008 must say; page-table bits from here to 51 are reserved. */
export const MAXPHYADDR = 39

/** Absolute addresses in linear memory. */
export const M = {
  RAM_PAGES: 0x8000, // u32 cell: pages of guest RAM
  VCPUS: 0x8004, // u32 cell: number of state blocks in use
  VCPU: 0x100000, // first state block
  VCPU_STRIDE: 0x40000,
  MAX_VCPUS: 32,
  CODE_MARKS: 0x900000, // 8 bytes a page of RAM: one bit for each 64-byte line that was decoded
  PAGE_ATTR: 0xf00000, // 1 byte a page below 3 GiB; see PageAttr
  TABLES_EPOCH: 0x800c, // u32 cell: changes of present page-table entries, counted by the host (Xen PV)
  WATCH_TABLES: 0x8008, // u32 cell, non-zero: page walks make the frames that they visit WATCHED
  SENSITIVE: 0xfc0000, // executions of sensitive instructions (i64), counted by a counting build
  PROFILE: 0xfd0000, // executions of each handler (i64), counted by a profiling build
  CODE: 0x1000000, // records and index tables
  CODE_END: 0x5000000,
  RAM: 0x5000000, // guest-physical address 0
  MAX_RAM: 0xb0000000,
} as const

/** PAGE_ATTR: what backs a guest-physical page. Pages at and above the RAM size are MMIO. */
export const PageAttr = {
  RAM: 0,
  ROM: 1,
  MMIO: 2,
  SEALED: 3, // the hypervisor's page over RAM: read and executed, but a guest's store is #GP(0)
  ABSENT: 0x20, // besides the others: RAM that is not in memory yet; see absent.ts
  READS: 0x40, // with WATCHED or SEALED: the host is told of loads, too
  WATCHED: 0x80, // RAM; the host is told of stores; the low bits are its own
} as const

/** The same table as AssemblyScript source. */
export function asLayout(): string {
  const tables: [string, Readonly<Record<string, number>>][] = [
    ['', S],
    ['', PvState],
    ['FK_', FlagsKind],
    ['MODE_', Mode],
    ['LEAVE_', Leave],
    ['EXIT_', Exit],
    ['R_', R],
    ['ATTR_', Attr],
    ['TLBC_', Tlb],
    ['M_', M],
    ['PAGE_', PageAttr],
    ['PV_HOT_', PvHot],
    ['PV_CRASH_', PvCrash],
    ['', { MAXPHYADDR }],
  ]
  return tables
    .flatMap(([prefix, table]) =>
      Object.entries(table).map(([name, value]) => `export const ${prefix}${name}: u32 = ${value};`),
    )
    .join('\n')
}
