/**
 * The option ROM that a VMI kernel looks for, generated from the calls' rows (layout: Linux 2.6.36
 * arch/x86/include/asm/vmi.h, struct vrom_header; PCI Firmware Specification 3.0, 5.1; Plug and Play BIOS Specification
 * 1.0A, 3.2). Code in it runs where the kernel maps it: addresses are found from the code's own.
 *
 * Two ROMs come of the same rows: the fast one does natively what it can, the counting one tells the host of every call.
 */
import { Relocation, type Answer, type Call } from './call.ts'
import { assemble, pieces, dword, label, type Part, tell, to } from './code.ts'

/** Where firmware puts option ROMs that are no display's (PCI Firmware Specification 3.0, 5.2). */
export const ROM_ADDRESS = 0xc8000
/** Numbers that the host gets for what is no call. */
export const INIT = 0x100

const BLOCK = 512
const PAGE = 4096
const ENTRY_INIT = 0x80
const ENTRY_RELOCATION = 0x88
const PCI_HEADER = 0x90
const PNP_HEADER = 0xb0
const STRINGS = 0xd0
const CODE = 0x140
/** Kernels insist on this text. The ROM's source is MIT, which the GPL takes in. */
const LICENSE = 'GPL v2'
const MANUFACTURER = 'paravirt'
const PRODUCT = 'VMI ROM'

export interface Rom {
  readonly bytes: Uint8Array
  /** Where the code of IRET has its selectors; undefined: it leaves every return to the host. */
  readonly iret: IretPlaces | undefined
}

/** Physical addresses of 16-bit words. */
export type IretPlaces = Readonly<Record<'kernelCs' | 'userCs' | 'userSs', number>>

/** `counting`: every call is told to the host. */
export function buildRom(calls: readonly Call[], counting: boolean): Rom {
  const answers = calls.map((call) => ({ call, ...built(call, counting) }))
  const last = Math.max(...calls.map(({ number }) => number))
  const code: number[] = []
  const place = (bytes: readonly number[]): number => {
    while ((CODE + code.length) % 16 !== 0) code.push(0x90)
    code.push(...bytes)
    return CODE + code.length - bytes.length
  }
  const init = place(assemble([...tell(INIT), 0x31, 0xc0, 0xc3]).bytes) // xor eax, eax; ret
  const types = new Uint8Array(last + 1)
  const addresses = new Uint32Array(last + 1)
  let iret: IretPlaces | undefined
  for (const { call, type, code: parts } of answers) {
    types[call.number] = type
    if (parts.length === 0) continue
    const { bytes, labels } = assemble(parts)
    const at = place(bytes)
    addresses[call.number] = at
    const word = (name: string) => ROM_ADDRESS + at + (labels.get(name) as number)
    if (labels.has('kernelCs')) iret = { kernelCs: word('kernelCs'), userCs: word('userCs'), userSs: word('userSs') }
  }
  const relocation = place(relocationCode(last, types, addresses, CODE + Math.ceil(code.length / 16) * 16))

  const size = Math.ceil((CODE + code.length) / PAGE) * PAGE
  const rom = new Uint8Array(size)
  const view = new DataView(rom.buffer)
  rom.set(code, CODE)
  let at = STRINGS
  const text = (value: string) => {
    rom.set(new TextEncoder().encode(value), at)
    at += value.length + 1
    return at - value.length - 1
  }
  view.setUint16(0, 0xaa55, true)
  rom[2] = size / BLOCK
  rom[3] = 0xcb // RETF: a BIOS's call does nothing
  rom.set(new TextEncoder().encode('cVmi'), 8)
  rom[0xd] = 3 // API 3.0
  rom[0xe] = last + 1
  view.setUint16(0x16, text(LICENSE), true)
  view.setUint16(0x18, PCI_HEADER, true)
  view.setUint16(0x1a, PNP_HEADER, true)
  rom.set(jump(ENTRY_INIT, init), ENTRY_INIT)
  rom.set(jump(ENTRY_RELOCATION, relocation), ENTRY_RELOCATION)
  rom.set(new TextEncoder().encode('PCIR'), PCI_HEADER)
  view.setUint16(PCI_HEADER + 4, 0x15ad, true)
  view.setUint16(PCI_HEADER + 6, 0x0801, true)
  view.setUint16(PCI_HEADER + 10, 24, true)
  rom[PCI_HEADER + 14] = 0x80 // other memory controller
  rom[PCI_HEADER + 15] = 0x05
  view.setUint16(PCI_HEADER + 16, size / BLOCK, true)
  rom[PCI_HEADER + 19] = 1 // ROM version 1.0
  rom[PCI_HEADER + 21] = 0x80 // the last image
  rom.set(new TextEncoder().encode('$PnP'), PNP_HEADER)
  rom[PNP_HEADER + 4] = 1
  rom[PNP_HEADER + 5] = 2
  view.setUint16(PNP_HEADER + 14, text(MANUFACTURER), true)
  view.setUint16(PNP_HEADER + 16, text(PRODUCT), true)
  rom[PNP_HEADER + 9] = complement(rom.subarray(PNP_HEADER, PNP_HEADER + 32))
  rom[size - 1] = complement(rom)
  return { bytes: rom, iret }
}

/** What makes the sum of all bytes 0. */
function complement(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff
}

const jump = (from: number, target: number): readonly number[] => [0xe9, ...dword(target - (from + 5))]

const relocations: Readonly<Record<Answer, number>> = {
  stub: Relocation.CALL_REL,
  trap: Relocation.CALL_REL,
  nop: Relocation.NOP,
  none: Relocation.NONE,
}

function built({ number, answer, code }: Call, counting: boolean): { type: number; code: readonly Part[] } {
  if (answer === 'trap') return { type: Relocation.CALL_REL, code: code && !counting ? code : [...tell(number), 0xc3] }
  if (counting && answer !== 'none') return { type: Relocation.CALL_REL, code: [...tell(number), ...(code ?? [0xc3])] }
  return { type: relocations[answer], code: code ?? [] }
}

/**
 * GetRelocationInfo: EAX is a number, then an address; DL the type. Kernels ask thousands of times, so it is a look-up.
 * `at` is where the code will be.
 */
function relocationCode(last: number, types: Uint8Array, addresses: Uint32Array, at: number): readonly number[] {
  const base = 11 // of the address that `call` pushes
  const build = (table: number) =>
    assemble(
      pieces(
        [0x3d, ...dword(last), 0x77, to('none')], // cmp eax, last; ja none
        [0xe8, 0, 0, 0, 0], // call the next instruction
        [0x59], // pop ecx
        [0x0f, 0xb6, 0x94, 0x08, ...dword(table - base - 1)], // movzx edx, byte [eax+ecx+types]
        [0x8b, 0x84, 0x81, ...dword(table + types.length - base - 1)], // mov eax, [ecx+eax*4+addresses]
        [0x01, 0xc8, 0xc3], // add eax, ecx; ret
        [label('none'), 0x31, 0xc0, 0x31, 0xd2, 0xc3], // xor eax, eax; xor edx, edx; ret
      ),
    ).bytes
  const { length } = build(0)
  const offsets = [...addresses].flatMap((address) => dword(address - (at + base + 1)))
  return [...build(length), ...types, ...offsets]
}
