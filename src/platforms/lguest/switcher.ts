/**
 * The switcher: the host's code in the guest's address space, at its top, where every trap that is the host's comes to.
 * It saves the guest's registers as struct lguest_regs, asks the host (VMCALL in ring 0, which only the switcher can
 * execute), loads CR3 if the host says so in EAX, and goes back by IRET. Beside it: the IDT, GDT and TSS.
 */
import { EFLAGS_IF, GUEST_PL, IDT_ENTRIES, LGUEST_CS, REGS_BYTES, TRAP_ENTRY } from './abi.ts'
import { PAGE, SWITCHER_CODE_PAGES } from './frames.ts'

/** SWITCHER_ADDR of a host with PAE: the last 2 MiB. */
export const SWITCHER_ADDR = 0xffe00000
export const REGS_PAGE = SWITCHER_ADDR + SWITCHER_CODE_PAGES * PAGE
export const STATE_PAGE = REGS_PAGE + PAGE
/** ESP while the host is asked: the guest's registers. */
export const REGS = REGS_PAGE + PAGE - REGS_BYTES
/** Offsets in the state page. */
export const State = { IDT: 0, GDT: 0x800, TSS: 0x900 } as const
export const TSS_BYTES = 0x68

const STUB = 16
const COMMON = PAGE
const NMI = COMMON + 64

/** Vectors with an error code, which the others' stubs push a zero for. */
export const hasErrorCode = (vector: number): boolean => vector === 8 || (vector >= 10 && vector <= 14) || vector === 17

// push es, ds, fs, gs, ebp, edi, esi, edx, ecx, ebx, eax; vmcall; test eax, eax; jz +3; mov cr3, eax;
// pop eax, ebx, ecx, edx, esi, edi, ebp, gs, fs, ds, es; add esp, 8; iret
const common = [
  0x06, 0x1e, 0x0f, 0xa0, 0x0f, 0xa8, 0x55, 0x57, 0x56, 0x52, 0x51, 0x53, 0x50, 0x0f, 0x01, 0xc1, 0x85, 0xc0, 0x74,
  0x03, 0x0f, 0x22, 0xd8, 0x58, 0x5b, 0x59, 0x5a, 0x5e, 0x5f, 0x5d, 0x0f, 0xa9, 0x0f, 0xa1, 0x1f, 0x07, 0x83, 0xc4,
  0x08, 0xcf,
]
// add esp, 8; iret
const nmi = [0x83, 0xc4, 0x08, 0xcf]

/** The code: a stub for each vector, then what they have in common. */
export function switcherCode(): Uint8Array {
  const code = new Uint8Array(SWITCHER_CODE_PAGES * PAGE)
  const view = new DataView(code.buffer)
  for (let vector = 0; vector < IDT_ENTRIES; vector++) {
    let at = vector * STUB
    if (!hasErrorCode(vector)) {
      code.set([0x6a, 0x00], at) // push 0
      at += 2
    }
    code[at] = 0x68 // push vector
    view.setUint32(at + 1, vector, true)
    code[at + 5] = 0xe9 // jmp
    view.setInt32(at + 6, (vector === 2 ? NMI : COMMON) - (at + 10), true)
  }
  code.set(common, COMMON)
  code.set(nmi, NMI)
  return code
}

/** A gate to the switcher; `asked` is the high word of the guest's own, whose DPL counts (default_idt_entry). */
export function defaultGate(vector: number, asked = 0): readonly [low: number, high: number] {
  const handler = SWITCHER_ADDR + vector * STUB
  const dpl = vector === TRAP_ENTRY ? GUEST_PL << 13 : asked & 0x6000
  return [((LGUEST_CS << 16) | (handler & 0xffff)) >>> 0, ((handler & 0xffff0000) | 0x8e00 | dpl) >>> 0]
}

/** Flat 4 GiB segments, accessed, by privilege level: FULL_EXEC_SEGMENT and FULL_SEGMENT. */
export const codeSegment = (dpl: number): readonly [number, number] => [0xffff, 0xcf9b00 | (dpl << 13)]
export const dataSegment = (dpl: number): readonly [number, number] => [0xffff, 0xcf9300 | (dpl << 13)]
/** What EFLAGS is while a guest runs: its interrupt flag cannot be cleared. */
export const FLAGS = EFLAGS_IF | 2
