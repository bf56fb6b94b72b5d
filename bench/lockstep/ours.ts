/**
 * Our side of the comparison: a core without a machine around it, which executes one instruction at a time. What
 * comes from outside (devices, time, CPUID, random numbers, model-specific registers) is QEMU's: after an instruction
 * that asks for such a thing its registers are taken over.
 */
import type { Boot } from '../../src/boot/layout.ts'
import { Core } from '../../src/cpu/core.ts'
import type { CoreHost } from '../../src/cpu/core.ts'
import { cachedInterpreter } from '../../src/cpu/interpreter/cached.ts'
import { PSEUDO } from '../../src/cpu/interpreter/pseudo.ts'
import { allRows } from '../../src/cpu/isa/table.ts'
import { Attr, Exit, R, S } from '../../src/cpu/layout.ts'
import { enter } from '../../src/machine/entry.ts'
import { signature } from '../../src/cpu/models.ts'
import type { CpuModel } from '../../src/cpu/models.ts'
import { entryRom } from '../../test/qemu/entry.ts'
import { gprNames, segmentNames } from './state.ts'
import type { QemuState, Segment } from './state.ts'

const RCX = 1
const TR = 7
const LDT = 6
const FS = 4
const ROM_ADDRESS = 0xf0000
const ARITHMETIC = 0x8d5
/** RF stays set for one instruction after an IRET; without instruction breakpoints we need not keep it. */
const NOT_COMPARED = 0x10000
/** Without the accessed bit, which QEMU sets in memory only, as it does a TSS's busy bit. */
const ATTRIBUTES = 0xffe
const BUSY = 2
const CR0_PG = 0x80000000n
const CR4_PAE = 0x20n
const EFER_LMA = 0x400n
/** Of a page-table entry. */
const ACCESSED = 0x20
const STRING = /^(movs|stos|lods|cmps|scas|ins|outs)b?_/

const undefinedFlags = new Map<string, number>()
for (const { name, options } of allRows())
  undefinedFlags.set(name, (undefinedFlags.get(name) ?? 0) | (options.undefinedFlags ?? 0))

/** What is about to run. */
export interface Instruction {
  readonly row: string
  readonly length: number
  readonly repeated: boolean
}

const UNKNOWN: Instruction = { row: '', length: 0, repeated: false }

export class Ours {
  readonly core: Core
  readonly p: number
  readonly #names: readonly string[]
  /** The instruction had to do with what is outside the core. */
  #outside = false

  private constructor(core: Core, names: readonly string[], outside: { called: () => void }) {
    this.core = core
    this.p = core.vcpus[0]!
    this.#names = names
    outside.called = () => {
      this.#outside = true
    }
  }

  static async create(boot: Boot, memory: number, model: CpuModel): Promise<Ours> {
    const outside = { called: () => {} }
    const asked =
      <Value>(value: Value) =>
      () => {
        outside.called()
        return value
      }
    const host: CoreHost = {
      mmioRead: asked(0),
      mmioWrite() {},
      portIn: asked(0),
      portOut() {},
      rdmsr: asked(0n),
      wrmsr: () => true,
      cpuid: asked([0, 0, 0, 0] as const),
      hypercall: () => false,
      tsc: asked(0),
      readCr8: asked(0),
      writeCr8() {},
      random: asked(0),
      acknowledge: () => -1,
    }
    const interpreter = cachedInterpreter()
    const core = await Core.create({ ramBytes: memory, vcpus: 1, signature: signature(model), host, interpreter })
    for (const { address, bytes } of boot.pieces) core.writeRam(address, bytes)
    enter(core, 0, boot.entry)
    core.writeRam(ROM_ADDRESS, entryRom(boot.entry))
    return new Ours(core, interpreter.names, outside)
  }

  #word(offset: number): number {
    return this.core.i32[(this.p + offset) >> 2]!
  }

  #wide(offset: number): bigint {
    return this.core.u64[(this.p + offset) >> 3]!
  }

  get rip(): bigint {
    return this.#wide(S.RIP)
  }

  get mode(): number {
    return this.#word(S.MODE)
  }

  /** What RIP points to; UNKNOWN if it cannot be fetched. */
  instruction(): Instruction {
    const { i32, u8, system } = this.core
    let record = system['lookup']!(this.p) as number
    if (record === 0) {
      i32[(this.p + S.EXC) >> 2] = -1
      return UNKNOWN
    }
    const name = () => this.#names[u8[record + R.HANDLER]! | (u8[record + R.HANDLER + 1]! << 8)]!
    while ((PSEUDO as readonly string[]).includes(name())) {
      if (name() === 'goto') record = i32[(record + R.DISP) >> 2]!
      else if (name() === 'guard' || name() === 'check') record += R.SIZE
      else return UNKNOWN
    }
    const row = name().slice(0, name().indexOf('.'))
    return { row, length: u8[record + R.OFFSET_LENGTH]! & 15, repeated: STRING.test(row) && u8[record + R.A] !== 0 }
  }

  /** Executes one instruction; a repeated string instruction to its end, or its fault. False when it shut down. */
  step(instruction: Instruction): boolean {
    this.#outside = false
    const { rip } = this
    do if (this.core.runSlice(0, 1) === Exit.SHUTDOWN) return false
    while (instruction.repeated && this.rip === rip)
    return true
  }

  /** The first steps of a repeated string instruction, until RCX is as in `state`. */
  stepPart(instruction: Instruction, state: QemuState): boolean {
    const { core, p, rip } = this
    const remaining = BigInt(state.gpr[2 * RCX]! >>> 0) | (BigInt(state.gpr[2 * RCX + 1]! >>> 0) << 32n)
    core.u64[(p + S.RCX) >> 3] = this.#wide(S.RCX) - remaining
    if (!this.step(instruction)) return false
    core.u64[(p + S.RCX) >> 3] = remaining
    core.u64[(p + S.RIP) >> 3] = rip
    return true
  }

  interrupt(vector: number): void {
    this.core.system.deliverInterrupt(this.p, vector)
  }

  /** After `instruction`: takes over what is QEMU's by right. */
  takeOver(instruction: Instruction, state: QemuState): void {
    const { core, p } = this
    if (this.#outside) {
      this.adopt(state)
      return
    }
    const loose = undefinedFlags.get(instruction.row) ?? 0
    if (loose === 0) return
    const flags = core.system.readEflags(p)
    if ((flags ^ state.eflags) & loose) core.system.setFlags(p, (flags & ~loose) | (state.eflags & loose))
  }

  /** PAE paging outside long mode. */
  #usesUpperEntries(): boolean {
    const paging = (this.#wide(S.CR0) & CR0_PG) !== 0n && (this.#wide(S.CR4) & CR4_PAE) !== 0n
    return paging && (this.#wide(S.EFER) & EFER_LMA) === 0n
  }

  /** General registers and arithmetic flags. */
  adopt(state: QemuState): void {
    for (let i = 0; i < state.gpr.length; i++) this.core.i32[(this.p >> 2) + i] = state.gpr[i]!
    this.core.system.setFlags(this.p, state.eflags & ARITHMETIC)
  }

  /** Where firmware leaves a choice, at the entry: TR and LDTR. */
  adoptSystemSegments({ system }: QemuState): void {
    for (const i of [LDT, TR]) {
      const { selector, base, limit, attributes } = system.segments[i]!
      this.core.i32[(this.p + S.SEG_SELECTOR + 4 * i) >> 2] = selector
      this.core.i32[(this.p + S.SEG_LIMIT + 4 * i) >> 2] = limit
      this.core.i32[(this.p + S.SEG_ATTR + 4 * i) >> 2] = attributes
      this.core.u64[(this.p + S.LDTR_BASE + 8 * (i - LDT)) >> 3] = base
    }
  }

  /** `name: ours, QEMU's` of every register that differs. */
  compare(state: QemuState): string[] {
    const { core, p } = this
    const different: string[] = []
    const check = (name: string, ours: bigint | number, theirs: bigint | number) => {
      if (BigInt(ours) !== BigInt(theirs))
        different.push(`${name}: ours ${ours.toString(16)}, QEMU's ${theirs.toString(16)}`)
    }
    // TCG sets an accessed bit in PAE's four upper entries, which have none (SDM Vol. 3A 4.4.1): the guest may read it.
    const loose = this.#usesUpperEntries() ? ACCESSED : 0
    for (let i = 0; i < 32; i++) {
      if (((core.i32[(p >> 2) + i]! ^ state.gpr[i]!) & ~loose) === 0) continue
      const theirs = (BigInt(state.gpr[i | 1]! >>> 0) << 32n) | BigInt(state.gpr[i & ~1]! >>> 0)
      check(gprNames[i >> 1]!, this.#wide(8 * (i >> 1)), theirs)
      i |= 1
    }
    check('RIP', this.rip, state.rip)
    check('EFLAGS', core.system.readEflags(p) & ~NOT_COMPARED, state.eflags & ~NOT_COMPARED)
    check('CPL', this.#word(S.CPL), state.cpl)
    check('EFER', this.#wide(S.EFER), state.efer)
    const { system } = state
    check('CR0', this.#wide(S.CR0), system.cr0)
    check('CR2', this.#wide(S.CR2), system.cr2)
    check('CR3', this.#wide(S.CR3), system.cr3)
    check('CR4', this.#wide(S.CR4), system.cr4)
    check('DR6', this.#wide(S.DR6), system.dr6)
    check('DR7', this.#wide(S.DR7), system.dr7)
    check('GDTR', this.#wide(S.GDTR_BASE), system.gdtr.base)
    check('GDTR limit', this.#word(S.GDTR_LIMIT), system.gdtr.limit)
    check('IDTR', this.#wide(S.IDTR_BASE), system.idtr.base)
    check('IDTR limit', this.#word(S.IDTR_LIMIT), system.idtr.limit)
    for (const [i, segment] of system.segments.entries()) this.#compareSegment(check, i, segment)
    return different
  }

  #compareSegment(
    check: (name: string, ours: bigint | number, theirs: bigint | number) => void,
    i: number,
    theirs: Segment,
  ): void {
    const name = segmentNames[i]!
    const attributes = this.#word(S.SEG_ATTR + 4 * i)
    check(name, this.#word(S.SEG_SELECTOR + 4 * i), theirs.selector)
    const base = i < LDT ? S.SEG_BASE + 8 * i : S.LDTR_BASE + 8 * (i - LDT)
    if (!(attributes & Attr.NULL) || (i >= FS && i < LDT)) check(`${name} base`, this.#wide(base), theirs.base)
    // What a null selector leaves in the hidden part is the processor's own business.
    if (attributes & Attr.NULL) return
    check(`${name} limit`, this.#word(S.SEG_LIMIT + 4 * i) >>> 0, theirs.limit)
    const mask = i === TR ? ATTRIBUTES & ~BUSY : ATTRIBUTES
    check(`${name} attributes`, attributes & mask, theirs.attributes & mask)
  }
}
