/**
 * Instructions that the host does for the guest's kernel after a fault (drivers/lguest/x86/core.c): IN and OUT, with
 * nothing there, CLI, and VMCALL, which is rewritten into the hypercall that it means.
 */
import { GUEST_PL, Reg, TRAP_ENTRY } from './abi.ts'
import type { Lguest } from './lguest.ts'
import type { Shadows } from './shadow.ts'

const CLI = 0xfa
const OPERAND_SIZE = 0x66
/** IN and OUT by their even opcode: how long they are, and whether EAX is filled. */
const io: Readonly<Record<number, { readonly length: number; readonly input: boolean }>> = {
  0xe4: { length: 2, input: true },
  0xec: { length: 1, input: true },
  0xe6: { length: 2, input: false },
  0xee: { length: 1, input: false },
}
const VMCALL = [0x0f, 0x01, 0xc1]
/** INT 0x1F; NOP. */
const HYPERCALL = Uint8Array.of(0xcd, TRAP_ENTRY, 0x90)

const inKernel = (lg: Lguest): boolean => (lg.reg(Reg.CS) & 3) === GUEST_PL

/** emulate_insn. */
export function emulateInstruction(lg: Lguest, shadows: Shadows): boolean {
  const eip = lg.reg(Reg.EIP)
  const at = shadows.guestPhysical(eip)
  if (at === undefined || !inKernel(lg)) return false
  let opcode = lg.read(at, 1)?.[0]
  if (opcode === CLI) {
    lg.setReg(Reg.EIP, eip + 1)
    return true
  }
  const prefixed = opcode === OPERAND_SIZE
  if (prefixed) opcode = lg.read(at + 1, 1)?.[0]
  const form = opcode === undefined ? undefined : io[opcode & 0xfe]
  if (!form || opcode === undefined) return false
  if (form.input) {
    const ones = (opcode & 1) !== 0 ? 0xffffffff : prefixed ? 0xffff0000 : 0xffff
    lg.setReg(Reg.EAX, lg.reg(Reg.EAX) | ones)
  }
  lg.setReg(Reg.EIP, eip + form.length + (prefixed ? 1 : 0))
  return true
}

/** is_hypercall and rewrite_hypercall: true if the instruction was VMCALL; it is executed again. */
export function rewriteHypercall(lg: Lguest, shadows: Shadows): boolean {
  if (!inKernel(lg)) return false
  const at = shadows.guestPhysical(lg.reg(Reg.EIP))
  const bytes = at === undefined ? undefined : lg.read(at, VMCALL.length)
  if (at === undefined || !bytes || !VMCALL.every((byte, i) => byte === bytes[i])) return false
  lg.write(at, HYPERCALL)
  shadows.clearAll()
  return true
}
