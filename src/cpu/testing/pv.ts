/**
 * For tests of Xen PV's procedures: the vCPU of `machine.ts` as one of a PV domain, with identity mappings for kernel
 * and user in two tables, a GDT of the guest's, and struct vcpu_info in its RAM.
 */
import { Attr, M, PvState, S } from '../layout.ts'
import { GDT, type Machine, SEL, descriptor } from './machine.ts'
import { p } from './memory.ts'

export const KERNEL_ROOT = 0x1000 // Machine's own tables
export const USER_ROOT = 0x50000
export const INFO = 0x51000
export const KERNEL_STACK = 0x60000n
export const USER_STACK = 0x70000n
export const GS_KERNEL = 0x1111_0000n
export const GS_USER = 0x2222_0000n

/** vcpu_info. */
export const PENDING = INFO + 0
export const MASK = INFO + 1
export const CR2 = INFO + 16

const { P, S: SYS, L, G } = Attr
const DPL3 = 0x60

export interface PvProcedures {
  pvEnter(p: number, kind: number): void
  pvEvents(p: number): void
  pvSetLdt(p: number): void
  pvKernelRoot(p: number, root: bigint): void
  pvUserRoot(p: number, root: bigint): void
  pvGetDebug(p: number, index: number): bigint
  pvSetDebug(p: number, index: number, value: bigint): number
  hypercallIret(p: number): void
  raise(p: number, vector: number, error: number): void
  raiseNoError(p: number, vector: number): void
  checkIo(p: number, port: number, size: number): number
  wbinvd(p: number): number
  flushRoots(p: number): void
  freshenRoot(p: number, root: bigint): void
  slowLoad(p: number, linear: bigint, size: number): bigint
  slowStore(p: number, linear: bigint, size: number, value: bigint): number
  probeWrite(p: number, linear: bigint, size: number): number
}

/** A PV vCPU in guest kernel mode at 0x5000, events masked. */
export function enterPv(m: Machine, kernel = true): PvProcedures {
  const run = m.core.procedures as unknown as PvProcedures
  m.enter('64')
  m.set32('AMD', 0)
  const { ram } = m
  for (let pa = 0; pa < 0x1000; pa += 8) ram.write64(USER_ROOT + pa, ram.read64(KERNEL_ROOT + pa))
  m.core.bytes.fill(0, p + 0x1000, p + 0x3000)
  m.setGdt(SEL.user64, descriptor(0xb | SYS | P | G | L | DPL3))
  m.set32('PV_GDT_FRAMES', GDT >> 12)
  m.set('PV_KERNEL_ROOT', KERNEL_ROOT)
  m.set('PV_USER_ROOT', USER_ROOT)
  m.set32('PV_INFO', INFO)
  m.set32('PV_KERNEL', 1)
  m.set('PV_KERNEL_SP', KERNEL_STACK)
  m.core.bytes[M.RAM + MASK] = 1
  for (let segment = 0; segment < 6; segment++)
    m.set32('SEG_SELECTOR', segment === 1 ? 0xe033 : segment === 2 ? 0xe02b : 0, segment)
  m.set('RSP', KERNEL_STACK - 0x100n)
  m.set('RIP', 0x5000)
  m.core.view.setBigUint64(p + S.SEG_BASE + 40, GS_KERNEL, true)
  m.set('KERNEL_GS_BASE', GS_USER)
  run.pvEnter(p, 1)
  if (!kernel) {
    // As the hypercall iret leaves it.
    m.writeWords(0x68000, 8, 0, 0, 0, 0, 0x7000, SEL.user64, 0x202, USER_STACK, SEL.userData)
    m.set('RSP', 0x68000)
    run.hypercallIret(p)
    m.core.bytes[M.RAM + MASK] = 1
  }
  m.set32('LEAVE', 0)
  m.core.calls.length = 0
  return run
}

export function setTrap(m: Machine, vector: number, flags: number, address: bigint): void {
  m.core.view.setUint32(p + PvState.PV_TRAPS + vector * 16, vector | (flags << 8) | (0xe033 << 16), true)
  m.core.view.setBigUint64(p + PvState.PV_TRAPS + vector * 16 + 8, address, true)
}

/** Words from RSP on. */
export const frame = (m: Machine, count: number): bigint[] => m.stack(8, count)

/** Table of level 3 of `Machine`, as which a 32-bit domain has it. */
export const NARROW_ROOT = 0x2000
export const KERNEL_CS32 = 0xe019
export const KERNEL_DS32 = 0xe021

/** The same of a 32-bit domain: ring 1 and, with `kernel` false, ring 3 with the selectors of `Machine`'s user code. */
export function enterPv32(m: Machine, kernel = true): PvProcedures {
  const run = m.core.procedures as unknown as PvProcedures
  m.enter('compat')
  m.core.bytes.fill(0, p + 0x1000, p + 0x3000)
  m.set32('PV_GDT_FRAMES', GDT >> 12)
  m.set('PV_KERNEL_ROOT', NARROW_ROOT)
  m.set32('PV_INFO', INFO)
  m.set('PV_KERNEL_SP', KERNEL_STACK)
  m.set32('PV_KERNEL_SS', KERNEL_DS32)
  m.core.bytes[M.RAM + MASK] = 1
  for (let segment = 0; segment < 6; segment++)
    m.set32('SEG_SELECTOR', segment === 1 ? KERNEL_CS32 : KERNEL_DS32, segment)
  m.set('RSP', KERNEL_STACK - 0x100n)
  m.set('RIP', 0x5000)
  run.pvEnter(p, 2)
  if (!kernel) {
    m.writeWords(0x68000, 4, 0, 0x7000, SEL.user32, 0x202, USER_STACK, SEL.userData)
    m.set('RSP', 0x68000)
    run.hypercallIret(p)
    m.core.bytes[M.RAM + MASK] = 1
  }
  m.set32('LEAVE', 0)
  m.core.calls.length = 0
  return run
}

/** As `setTrap`, with the handler's CS. */
export function setTrap32(m: Machine, vector: number, flags: number, address: bigint, cs = KERNEL_CS32): void {
  setTrap(m, vector, flags, address)
  m.core.view.setUint16(p + PvState.PV_TRAPS + vector * 16 + 2, cs, true)
}

/** Words of 32 bits from ESP on. */
export const frame32 = (m: Machine, count: number): bigint[] => m.stack(4, count)
