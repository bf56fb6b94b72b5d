/**
 * For tests of the procedures about control: a vCPU after reset with descriptor tables, a TSS and page tables in its
 * RAM, brought to the mode a test asks for.
 */
import { createHash } from 'node:crypto'
import { Attr, M, Mode, PvState, S } from '../layout.ts'
import { makeTestCore, p, Ram, RAM_BYTES, takeException } from './memory.ts'
import type { TestCore } from './memory.ts'

/** The procedures about control, as a test calls them. */
export interface ControlProcedures {
  getFlags(p: number): number
  setFlags(p: number, bits: number): void
  readEflags(p: number): number
  writeEflags(p: number, value: number, mask: number): void
  popf(p: number, value: bigint, size: number): number
  pushfImage(p: number): number
  cli(p: number): number
  sti(p: number): number
  clac(p: number): number
  stac(p: number): number
  loadSegment(p: number, segment: number, selector: number): number
  loadSegmentFar(p: number, segment: number, selector: number): number
  updateMode(p: number): void
  deliver(p: number): void
  deliverInterrupt(p: number, vector: number): void
  deliverNmi(p: number): void
  endStep(p: number, flags: number): void
  softInterrupt(p: number, vector: number, next: bigint): number
  int1(p: number, next: bigint): number
  iret(p: number, size: number): number
  farReturn(p: number, size: number, release: number): number
  farJump(p: number, selector: number, offset: bigint, size: number): number
  farCall(p: number, selector: number, offset: bigint, size: number, next: bigint): number
  syscall(p: number, next: bigint): number
  sysret(p: number, size: number): number
  sysenter(p: number): number
  sysexit(p: number, size: number): number
  swapgs(p: number): number
  needCpl0(p: number): number
  checkUmip(p: number): number
  checkUmipProtected(p: number): number
  clts(p: number): number
  lmsw(p: number, value: number): number
  movFromCr(p: number, number: number, slot: number): number
  movToCr(p: number, number: number, value: bigint): number
  movFromDr(p: number, number: number, slot: number): number
  movToDr(p: number, number: number, value: bigint): number
  invlpg(p: number, linear: bigint): number
  invpcid(p: number, type: bigint, linear: bigint): number
  lgdt(p: number, linear: bigint, size: number): number
  lidt(p: number, linear: bigint, size: number): number
  xgetbv(p: number): number
  xsetbv(p: number): number
  refreshState(p: number): void
  rdmsr(p: number): number
  wrmsr(p: number): number
  rdtsc(p: number): number
  rdtscp(p: number): number
  rdpmc(p: number): number
  hlt(p: number): number
  rdrand(p: number, slot: number, size: number): void
  readBase(p: number, segment: number, slot: number, size: number): number
  writeBase(p: number, segment: number, value: bigint): number
  lar(p: number, selector: number, slot: number, size: number): number
  lsl(p: number, selector: number, slot: number, size: number): number
  verr(p: number, selector: number): number
  verw(p: number, selector: number): number
  lldt(p: number, selector: number): number
  ltr(p: number, selector: number): number
  resetVcpu(p: number, signature: number): void
  initVcpu(p: number, signature: number): void
  startVcpu(p: number, vector: number): void
  checkXsave(p: number): number
  xsave(p: number, linear: bigint, wide: number): number
  xrstor(p: number, linear: bigint, wide: number): number
  div(p: number, size: number, divisor: bigint): number
  idiv(p: number, size: number, divisor: bigint): number
  slowLoad(p: number, linear: bigint, size: number): bigint
  flushAll(p: number): void
}

// Where things are in guest RAM.
const PAGE_TABLES = 0x1000 // PML4, PDPT, PD; 2 MiB pages, identity
export const GDT = 0x8000
export const LDT = 0x9000
export const IDT = 0xa000
export const TSS = 0xc000
export const STACK0 = 0x20000 // stack tops
export const STACK3 = 0x30000
export const IST1 = 0x40008 // not 16-byte aligned
export const HANDLER = 0x100000 // handler of vector v: + v * 16

/** Selectors in the GDT of `enter`. */
export const SEL = {
  code64: 0x08,
  data0: 0x10,
  code32: 0x18,
  code16: 0x20,
  data16: 0x28,
  user32: 0x33,
  userData: 0x3b,
  user64: 0x43,
  conforming: 0x48,
  readOnly: 0x50,
  absentData: 0x58,
  absentCode: 0x60,
  tss: 0x68,
  /* and 0x70 */ ldt: 0x78,
  /* and 0x80 */ conforming64: 0x88,
  executeOnly: 0x90,
  expandDown: 0x98,
  gate: 0xa0,
  /* and 0xa8 */ level1: 0xb1,
  level1Data: 0xb9,
  code64d: 0xc0,
  free: 0xc8,
} as const

const GDT_LIMIT = 0xff

/** A segment descriptor: attributes as in SEG_ATTR, limit in units of the G bit. */
export function descriptor(attr: number, base = 0, limit = 0xfffff): bigint {
  const b = BigInt(base)
  const l = BigInt(limit)
  return (
    (l & 0xffffn) |
    ((b & 0xffffffn) << 16n) |
    (BigInt(attr & 0xff) << 40n) |
    ((l >> 16n) << 48n) |
    (BigInt(attr >> 8) << 52n) |
    ((b >> 24n) << 56n)
  )
}

/** Low half of a gate: interrupt, trap, call or task. */
export function gate(type: number, dpl: number, selector: number, offset: number, extra = 0): bigint {
  const o = BigInt(offset)
  return (
    (o & 0xffffn) |
    (BigInt(selector) << 16n) |
    (BigInt(extra) << 32n) |
    (BigInt(0x80 | (dpl << 5) | type) << 40n) |
    ((o >> 16n) << 48n)
  )
}

const ramByte = (pa: number): number => M.RAM + pa

const { P, S: SYS, DB, L, G } = Attr
const CODE = 0xb | SYS | P | G
const DATA = 0x3 | SYS | P | G
const DPL3 = 0x60
const DPL1 = 0x20

export type ModeName = 'real' | '16' | '32' | 'compat' | '64'

const fields = { ...S, ...PvState }

export class Machine {
  readonly core: TestCore
  readonly run: ControlProcedures
  readonly ram: Ram

  private constructor(core: TestCore) {
    this.core = core
    this.run = core.procedures as unknown as ControlProcedures
    this.ram = new Ram(core)
  }

  static async make(): Promise<Machine> {
    return new Machine(await makeTestCore())
  }

  get(name: keyof typeof fields): bigint {
    return this.core.view.getBigUint64(p + fields[name], true)
  }
  get32(name: keyof typeof fields, index = 0): number {
    return this.core.view.getUint32(p + fields[name] + index * 4, true)
  }
  set(name: keyof typeof fields, value: bigint | number): void {
    this.core.view.setBigUint64(p + fields[name], BigInt.asUintN(64, BigInt(value)), true)
  }
  set32(name: keyof typeof fields, value: number, index = 0): void {
    this.core.view.setInt32(p + fields[name] + index * 4, value, true)
  }
  base(segment: number): bigint {
    return this.core.view.getBigUint64(p + S.SEG_BASE + segment * 8, true)
  }
  selector(segment: number): number {
    return this.get32('SEG_SELECTOR', segment)
  }
  attr(segment: number): number {
    return this.get32('SEG_ATTR', segment)
  }
  /** The pending exception, which is cleared: 'vector' or 'vector(error)', or ''. */
  exception(): string {
    const found = takeException(this.core)
    if (!found) return ''
    return found.error === undefined ? `${found.vector}` : `${found.vector}(${found.error.toString(16)})`
  }
  /** Words above RSP, as numbers. */
  stack(size: number, count: number): bigint[] {
    const sp = Number(this.get('RSP') & 0xffffffffn)
    return Array.from({ length: count }, (_, i) => this.read(sp + i * size, size))
  }
  read(pa: number, size: number): bigint {
    return this.ram.read64(pa) & ((1n << BigInt(size * 8)) - 1n)
  }
  writeWords(pa: number, size: number, ...values: (bigint | number)[]): void {
    values.forEach((value, i) => {
      for (let byte = 0; byte < size; byte++)
        this.core.bytes[ramByte(pa + i * size + byte)] = Number(
          (BigInt.asUintN(64, BigInt(value)) >> BigInt(byte * 8)) & 0xffn,
        )
    })
  }
  /** A hash of everything that a fault must leave alone. */
  snapshot(): string {
    const state = this.core.bytes.slice(p, p + S.TLB_STATE)
    const words = new DataView(state.buffer)
    for (const name of [
      'EXC',
      'EXC_ERROR',
      'EXC_HAS_ERROR',
      'CR2',
      'LEAVE',
      'GEN',
      'CODE_EPOCH',
      'HOST_LO',
      'HOST_HI',
    ] as const)
      words.setInt32(S[name], 0, true)
    return createHash('sha256').update(state).digest('hex')
  }

  /** Call a procedure: its exception, or ''. Says so if it changed something that a fault must leave alone. */
  attempt(call: () => number): string {
    const before = this.snapshot()
    const status = call()
    const exception = this.exception()
    if ((status === 0) !== (exception === '')) return `status ${status} with exception '${exception}'`
    return exception === '' || this.snapshot() === before ? exception : `${exception}, but state changed`
  }

  setGdt(selector: number, value: bigint): void {
    this.ram.write64(GDT + (selector & ~7), value)
  }
  setIdt(vector: number, low: bigint, high = 0n): void {
    const size = this.long ? 16 : 8
    this.ram.write64(IDT + vector * size, low)
    if (this.long) this.ram.write64(IDT + vector * size + 8, high)
  }
  get long(): boolean {
    return (this.get('EFER') & 0x400n) !== 0n
  }

  /** A fresh vCPU in `mode` at level `cpl` (16: 0 only): paging on in the protected modes, interrupts enabled. */
  enter(mode: ModeName, cpl = 0): void {
    this.core.bytes.fill(0, ramByte(0), ramByte(RAM_BYTES))
    this.core.calls.length = 0
    this.core.host = {}
    this.run.resetVcpu(p, 0)
    if (mode === 'real') {
      this.enterReal()
      return
    }
    const long = mode === 'compat' || mode === '64'
    this.writeTables(long)
    this.set('GDTR_BASE', GDT)
    this.set32('GDTR_LIMIT', GDT_LIMIT)
    this.set('IDTR_BASE', IDT)
    this.set32('IDTR_LIMIT', (long ? 16 : 8) * 256 - 1)
    this.set('CR3', PAGE_TABLES)
    this.set('CR4', long ? 0x20n : 0x10n)
    this.set('EFER', long ? 0x501n : 0n)
    this.set('CR0', 0x80010031n)
    this.run.refreshState(p)
    this.run.ltr(p, SEL.tss)
    const code = { 16: SEL.code16, 32: SEL.code32, compat: SEL.code32, 64: SEL.code64 }[mode]
    const user = { 16: 0, 32: SEL.user32, compat: SEL.user32, 64: SEL.user64 }[mode]
    for (const segment of [0, 2, 3]) this.run.loadSegment(p, segment, mode === '16' ? SEL.data16 : SEL.data0)
    this.run.farJump(p, code, 0x5000n, 8)
    this.set('RSP', STACK0)
    if (cpl === 3) {
      // By IRET to the outer level.
      this.set('RSP', STACK0 - 0x100)
      const size = mode === '64' ? 8 : 4
      this.writeWords(STACK0 - 0x100, size, 0x5000, user, 0x202, STACK3, SEL.userData)
      this.run.iret(p, size)
      for (const segment of [0, 3]) this.run.loadSegment(p, segment, SEL.userData)
    }
    this.set('RIP', 0x5000)
    this.run.setFlags(p, 0)
    this.set32('SYSFLAGS', 0x202)
    this.set32('SHADOW', 0)
    this.set32('LEAVE', 0)
    this.core.calls.length = 0
    if (this.exception() !== '' || this.get32('CPL') !== cpl) throw new Error(`cannot enter ${mode} at ${cpl}`)
    const expected = { 16: 0, 32: Mode.D | Mode.B | Mode.FLAT, compat: Mode.D | Mode.B | Mode.FLAT, 64: 13 }[mode]
    if (this.get32('MODE') !== expected) throw new Error(`mode ${this.get32('MODE')} instead of ${mode}`)
  }

  private enterReal(): void {
    for (let vector = 0; vector < 256; vector++) this.ram.write32(vector * 4, (0x1000 << 16) | (vector * 16))
    this.run.farJump(p, 0x2000, 0x100n, 2)
    this.run.loadSegment(p, 2, 0x3000)
    this.set('RSP', 0x8000)
    this.set32('SYSFLAGS', 0x202)
    this.set32('SHADOW', 0)
    this.set32('LEAVE', 0)
  }

  private writeTables(long: boolean): void {
    const { ram } = this
    if (long) {
      ram.write64(PAGE_TABLES, BigInt(PAGE_TABLES + 0x1000) | 7n)
      ram.write64(PAGE_TABLES + 0x1000, BigInt(PAGE_TABLES + 0x2000) | 7n)
      for (let i = 0; i < 4; i++) ram.write64(PAGE_TABLES + 0x2000 + i * 8, BigInt(i * 0x200000) | 0xe7n)
    } else ram.write32(PAGE_TABLES, 0xe7)
    const table: [number, bigint][] = [
      [SEL.code64, descriptor(CODE | L)],
      [SEL.code64d, descriptor(CODE | L | DB)],
      [SEL.data0, descriptor(DATA | DB)],
      [SEL.code32, descriptor(CODE | DB)],
      [SEL.code16, descriptor(CODE & ~G, 0, 0xffff)],
      [SEL.data16, descriptor(DATA & ~G, 0, 0xffff)],
      [SEL.user32, descriptor(CODE | DB | DPL3)],
      [SEL.userData, descriptor(DATA | DB | DPL3)],
      [SEL.user64, descriptor(CODE | L | DPL3)],
      [SEL.conforming, descriptor(CODE | DB | 4)],
      [SEL.conforming64, descriptor(CODE | L | 4)],
      [SEL.readOnly, descriptor(1 | SYS | P | DB)],
      [SEL.absentData, descriptor((DATA | DB) & ~P)],
      [SEL.absentCode, descriptor((CODE | (long ? L : DB)) & ~P)],
      [SEL.executeOnly, descriptor(9 | SYS | P | DB)],
      [SEL.expandDown, descriptor(7 | SYS | P | DB, 0, 0xfff)],
      [SEL.level1, descriptor(CODE | (long ? L : DB) | DPL1)],
      [SEL.level1Data, descriptor(DATA | DB | DPL1)],
      [SEL.tss, descriptor(P | 9, TSS, 0x67)],
      [SEL.ldt, descriptor(P | 2, LDT, 0xff)],
    ]
    for (const [selector, value] of table) this.setGdt(selector, value)
    if (long) {
      ram.write64(TSS + 4, BigInt(STACK0))
      ram.write64(TSS + 12, BigInt(STACK0 - 0x4000))
      ram.write64(TSS + 36, BigInt(IST1))
    } else {
      ram.write32(TSS + 4, STACK0)
      ram.write32(TSS + 8, SEL.data0)
      ram.write32(TSS + 12, STACK0 - 0x4000)
      ram.write32(TSS + 16, SEL.level1Data)
    }
    for (let vector = 0; vector < 256; vector++) {
      const low = gate(
        0xe,
        vector === 0x80 || vector === 3 ? 3 : 0,
        long ? SEL.code64 : SEL.code32,
        HANDLER + vector * 16,
      )
      ram.write64(IDT + vector * (long ? 16 : 8), low)
    }
  }
}
