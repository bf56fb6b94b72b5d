/** A case's state into the state block of our processor, and a result out of it. */
import { Attr, S } from '../../src/cpu/layout.ts'
import { Kernel } from './guest.ts'
import { FXSAVE_USED, ripOf, type Case, type Result } from './native.ts'
import { baseOf, descriptorOf, Seg } from './segments.ts'
import { Fxsave } from './state.ts'

const ARITHMETIC = 0x8d5
const CR0 = 0x80050033n // PG AM WP NE ET MP PE, as Linux
const CR4 = 0x50ea0n // OSXSAVE FSGSBASE UMIP OSXMMEXCPT OSFXSR PGE PAE
const EFER = 0xd01n // NXE LMA LME SCE

/** A descriptor's attributes as SEG_ATTR has them. */
function attributes(descriptor: bigint): number {
  return Number((descriptor >> 40n) & 0xffn) | (Number((descriptor >> 52n) & 0xfn) << 8)
}

/** Control registers, tables and everything else that stays the same for all cases. */
export function setSystem(state: DataView): void {
  const set = (at: number, value: bigint): void => state.setBigUint64(at, value, true)
  set(S.CR0, CR0)
  set(S.CR3, Kernel.CR3)
  set(S.CR4, CR4)
  set(S.EFER, EFER)
  set(S.GDTR_BASE, Kernel.GDT)
  state.setInt32(S.GDTR_LIMIT, Kernel.GDT_LIMIT, true)
  set(S.IDTR_BASE, Kernel.IDT)
  state.setInt32(S.IDTR_LIMIT, Kernel.IDT_LIMIT, true)
  set(S.TR_BASE, Kernel.TSS)
  state.setInt32(S.SEG_SELECTOR + 28, Kernel.TSS_SELECTOR, true)
  state.setInt32(S.SEG_LIMIT + 28, Kernel.TSS_LIMIT, true)
  state.setInt32(S.SEG_ATTR + 28, 0x8b, true)
  set(S.LDTR_BASE, Kernel.LDT)
  state.setInt32(S.SEG_SELECTOR + 24, Kernel.LDT_SELECTOR, true)
  state.setInt32(S.SEG_LIMIT + 24, Kernel.LDT_LIMIT, true)
  state.setInt32(S.SEG_ATTR + 24, 0x82, true)
  set(S.DR6, 0xffff0ff0n)
  set(S.DR7, 0x400n)
}

/** Limit in bytes, as SEG_LIMIT has it. */
function limitOf(descriptor: bigint): number {
  const limit = Number((descriptor & 0xffffn) | (((descriptor >> 48n) & 0xfn) << 16n))
  return (descriptor >> 55n) & 1n ? (limit << 12) | 0xfff : limit
}

function setSegment(state: DataView, segment: number, selector: number, base: bigint): void {
  const descriptor = descriptorOf(selector)
  state.setInt32(S.SEG_SELECTOR + segment * 4, selector, true)
  state.setInt32(S.SEG_LIMIT + segment * 4, descriptor === undefined ? 0 : limitOf(descriptor), true)
  state.setInt32(S.SEG_ATTR + segment * 4, descriptor === undefined ? Attr.NULL : attributes(descriptor), true)
  state.setBigUint64(S.SEG_BASE + segment * 8, base, true)
  if (segment < Seg.FS) state.setBigUint64(S.DESC_BASE + segment * 8, base, true)
}

/** Everything of a case but its memory. The caller then lets the core derive what follows from CS, SS and CPL. */
export function setCase(state: DataView, c: Case): void {
  for (let r = 0; r < 16; r++) state.setBigUint64(r * 8, c.gpr[r]!, true)
  state.setBigUint64(S.RIP, ripOf(c), true)
  state.setInt32(S.FLAGS_KIND, 0, true)
  state.setBigUint64(S.FLAGS_RES, BigInt(c.flags & ARITHMETIC), true)
  state.setInt32(S.SYSFLAGS, c.flags & ~ARITHMETIC, true)
  state.setInt32(S.EXC, -1, true)
  state.setInt32(S.LEAVE, 0, true)
  state.setInt32(S.CPL, 3, true)
  const bases = [undefined, undefined, undefined, undefined, c.fsBase, c.gsBase]
  c.selectors.forEach((selector, segment) =>
    setSegment(state, segment, selector, selector === 0 ? (bases[segment] ?? 0n) : BigInt(baseOf(selector))),
  )

  const image = new DataView(c.fxsave.buffer, c.fxsave.byteOffset)
  const status = image.getUint16(Fxsave.FSW, true)
  state.setInt32(S.FCW, image.getUint16(Fxsave.FCW, true), true)
  state.setInt32(S.FSW, status, true)
  state.setInt32(S.FTW, c.fxsave[Fxsave.FTW]!, true)
  state.setInt32(S.FOP, image.getUint16(Fxsave.FOP, true), true)
  state.setBigUint64(S.FIP, image.getBigUint64(Fxsave.FIP, true), true)
  state.setBigUint64(S.FDP, image.getBigUint64(Fxsave.FDP, true), true)
  state.setInt32(S.FCS, 0, true)
  state.setInt32(S.FDS, 0, true)
  state.setInt32(S.MXCSR, image.getUint32(Fxsave.MXCSR, true), true)
  for (let r = 0; r < 8; r++) {
    const at = S.FPR + (((status >> 11) + r) & 7) * 16
    state.setBigUint64(at, image.getBigUint64(Fxsave.ST + r * 16, true), true)
    state.setUint16(at + 8, image.getUint16(Fxsave.ST + r * 16 + 8, true), true)
  }
  const bytes = new Uint8Array(state.buffer, state.byteOffset)
  bytes.set(c.fxsave.subarray(Fxsave.XMM, Fxsave.XMM + 256), S.VEC0)
}

function fxsaveOf(state: DataView): Uint8Array {
  const image = new Uint8Array(FXSAVE_USED)
  const view = new DataView(image.buffer)
  const status = state.getInt32(S.FSW, true)
  view.setUint16(Fxsave.FCW, state.getInt32(S.FCW, true), true)
  view.setUint16(Fxsave.FSW, status, true)
  view.setUint8(Fxsave.FTW, state.getInt32(S.FTW, true))
  view.setUint16(Fxsave.FOP, state.getInt32(S.FOP, true), true)
  view.setBigUint64(Fxsave.FIP, state.getBigUint64(S.FIP, true), true)
  view.setBigUint64(Fxsave.FDP, state.getBigUint64(S.FDP, true), true)
  view.setUint32(Fxsave.MXCSR, state.getInt32(S.MXCSR, true), true)
  for (let r = 0; r < 8; r++) {
    const at = S.FPR + (((status >> 11) + r) & 7) * 16
    view.setBigUint64(Fxsave.ST + r * 16, state.getBigUint64(at, true), true)
    view.setUint16(Fxsave.ST + r * 16 + 8, state.getUint16(at + 8, true), true)
  }
  image.set(new Uint8Array(state.buffer, state.byteOffset + S.VEC0, 256), Fxsave.XMM)
  return image
}

/** Linux calls every fault of user code in the kernel's half a protection fault, whatever is mapped there. */
const LINUX_USER_END = 0x7ffffffff000n
const PAGE_FAULT = 14

/** The result as the handler has it: the frame is on the kernel's stack. */
export function resultOf(state: DataView, ram: DataView, changed: Map<number, bigint>): Result {
  const gpr = new BigUint64Array(16)
  for (let r = 0; r < 16; r++) gpr[r] = state.getBigUint64(r * 8, true)
  const trap = Number(state.getBigUint64(S.RIP, true) - Kernel.HANDLERS) >> 4
  const used = Number(Kernel.STACK_TOP - gpr[4]!)
  const frame = (i: number): bigint => ram.getBigUint64(Kernel.STACK_TOP_PHYSICAL - 40 + i * 8, true)
  gpr[4] = frame(3)
  const cr2 = trap === PAGE_FAULT ? state.getBigUint64(S.CR2, true) : 0n
  const error = used === 48 ? Number(frame(-1)) : 0
  // The native handler runs after an IRET, which makes every null selector 0.
  const selector = (segment: number): number => {
    const value = state.getInt32(S.SEG_SELECTOR + segment * 4, true)
    return value < 4 ? 0 : value
  }
  return {
    gpr,
    trap,
    changed,
    cr2,
    error: trap === PAGE_FAULT && cr2 >= LINUX_USER_END ? error | 1 : error,
    flags: Number(frame(2)),
    rip: frame(0),
    selectors: Uint16Array.of(
      selector(Seg.ES),
      Number(frame(1)),
      Number(frame(4)),
      selector(Seg.DS),
      selector(Seg.FS),
      selector(Seg.GS),
    ),
    fsBase: state.getBigUint64(S.SEG_BASE + Seg.FS * 8, true),
    gsBase: state.getBigUint64(S.SEG_BASE + Seg.GS * 8, true),
    fxsave: fxsaveOf(state),
  }
}
