/** Xen's MSR: a write lays the hypercall page of a PVH guest into its memory (xen/arch-x86/cpuid.h, leaf 2). */
import type { Msr } from '../../paravirt/requests.ts'
import type { Domain } from './domain.ts'

export const HYPERCALL_MSR = 0x40000000
const PAGE = 4096
const STUB = 32
const IRET = 23

/** Stubs by number: MOV to EAX, the hypercall instruction, RET. */
function hypercallPage(vmmcall: boolean): Uint8Array {
  const page = new Uint8Array(PAGE).fill(0xcc)
  for (let number = 0; number < PAGE / STUB; number++) {
    const stub = [0xb8, number, 0, 0, 0, 0x0f, 0x01, vmmcall ? 0xd9 : 0xc1, 0xc3]
    page.set(number === IRET ? [0x0f, 0x0b] : stub, number * STUB)
  }
  return page
}

export const msrs: readonly Msr<Domain>[] = [
  {
    kind: 'msr',
    number: HYPERCALL_MSR,
    name: 'XEN_HYPERCALL_MSR',
    summary: 'write: make the hypercall page at this guest-physical address; its low 12 bits are the page’s index',
    args: [{ name: 'address', type: { kind: 'gpa', length: PAGE, align: PAGE } }],
    errors: {},
    ops: ['machine.detect'],
    tier: 'call',
    source: 'xen/arch-x86/cpuid.h',
    read: () => 0n,
    write: (domain, vcpu, value) => {
      if ((value & 0xfffn) !== 0n) return false
      const frame = domain.kind.frame(Number(BigInt.asUintN(52, value >> 12n)))
      if (frame < 0) return false
      domain.effects.memory.place(frame * PAGE, hypercallPage(domain.vmmcall))
      domain.latchWidth(domain.effects.cpu.wide(vcpu))
      return true
    },
  },
]
