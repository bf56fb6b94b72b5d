/**
 * Where the vCPUs are in a kernel: the current function, then what the stack says. Kernels are built without frame
 * pointers, so every word of the stack that lies behind a call in the kernel's code is taken for a return address; some
 * are left over from earlier calls, which is why the kernel's own backtrace marks such lines with a question mark.
 */
import type { Core } from '../cpu/core.ts'
import { Mode, S } from '../cpu/layout.ts'
import type { Kernel } from '../boot/entries.ts'
import { readLinear } from '../machine/linear.ts'
import type { Machine } from '../machine/machine.ts'
import { decodeKallsyms } from './kallsyms.ts'
import { placeText, type SymbolTable } from './symbols.ts'

const MOST_FRAMES = 16
/** A kernel's stacks are at most this large. */
const STACK = 16 << 10

/** By `symbols`, or those that the kernel carries; without any there is none. */
export function kernelBacktrace({ core }: Machine, { elf }: Kernel, symbols: SymbolTable | undefined): string[] {
  const table = symbols ?? (elf && decodeKallsyms(elf))
  return table ? backtrace(core, table) : []
}

/** A line for each frame, of all vCPUs. */
export function backtrace(core: Core, symbols: SymbolTable): string[] {
  const first = symbols.address('_stext') ?? symbols.address('_text')
  const last = symbols.address('_etext')
  return core.vcpus.flatMap((p, vcpu) => {
    const mode = core.i32[(p + S.MODE) >> 2] as number
    const wide = (mode & Mode.LONG) !== 0
    const register = (offset: number) => core.u64[(p + offset) >> 3] as bigint
    const rip = register(S.RIP)
    // Xen's PV kernels, too, run at CPL 3.
    const kernel = first !== undefined && rip >= first
    const user = !kernel && (core.i32[(p + S.CPL) >> 2] as number) === 3
    const lines = [
      `vCPU ${vcpu}: ${kernel ? placeText(symbols, rip) : `${user ? 'in user space, ' : ''}0x${rip.toString(16)}`}`,
    ]
    if (user || first === undefined) return lines
    const size = wide ? 8 : 4
    for (const word of stackWords(core, vcpu, register(S.RSP), size)) {
      if (lines.length > MOST_FRAMES) break
      if (word <= first || (last !== undefined && word >= last)) continue
      const place = symbols.find(word)
      if (place && place.offset > 0 && followsCall(core, vcpu, word)) lines.push(`  ? ${placeText(symbols, word)}`)
    }
    return lines
  })
}

function* stackWords(core: Core, vcpu: number, rsp: bigint, size: 4 | 8): Generator<bigint> {
  const mask = size === 8 ? (1n << 64n) - 1n : 0xffffffffn
  const start = rsp & mask & ~BigInt(size - 1)
  const end = (start | BigInt(STACK - 1)) + 1n
  for (let at = start; at < end; at += BigInt(size)) {
    const bytes = readLinear(core, vcpu, at, size)
    if (!bytes) return
    const view = new DataView(bytes.buffer)
    yield size === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true))
  }
}

/** CALL rel32, or CALL r/m with ModRM alone, SIB, disp8 or disp32. */
function followsCall(core: Core, vcpu: number, address: bigint): boolean {
  const code = readLinear(core, vcpu, address - 7n, 7)
  if (!code) return false
  const isIndirect = (length: number) => code[7 - length] === 0xff && ((code[8 - length]! >> 3) & 7) === 2
  return code[2] === 0xe8 || [2, 3, 4, 6, 7].some(isIndirect)
}
