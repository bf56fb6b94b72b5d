/**
 * Hashes of a machine's architectural state, to tell whether two runs are the same: interpreter and interpreter, or
 * interpreter and translator. What an implementation is free to choose (lazy flags, TLB, records, slices) is left out.
 */
import type { Core } from '../cpu/core.ts'
import { S } from '../cpu/layout.ts'

const VECTOR_REGISTERS = 16

/** [first, end) byte offsets in a state block. */
const REGISTERS: readonly (readonly [number, number])[] = [
  [S.RAX, S.ZERO],
  [S.SEG_BASE, S.FLAGS_KIND], // and RIP
  [S.CPL, S.TLB_READ],
  [S.SHADOW, S.FPU_TRAP], // and pending interrupts
  [S.CR0, S.FP_FLAGS], // control, debug, segment, model-specific, x87 and SSE control registers
  [S.FPR, S.X87_STORE], // and DESC_BASE
  [S.VEC0, S.VEC0 + VECTOR_REGISTERS * 16],
]

/** FNV-1a over 32-bit words, with a rotation so that high bits count too. */
function mix(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x01000193)
  return (product << 13) | (product >>> 19)
}

/** Hash of a vCPU's registers. */
export function hashRegisters(core: Core, vcpu: number): number {
  const p = core.vcpus[vcpu] as number
  let hash = mix(0x811c9dc5, core.system.readEflags(p))
  for (const [first, end] of REGISTERS)
    for (let at = (p + first) >> 2; at < (p + end) >> 2; at++) hash = mix(hash, core.i32[at] as number)
  return hash >>> 0
}

/** Hash of all guest RAM: about a second for each GiB. */
export function hashRam(core: Core): number {
  const { buffer, byteOffset } = core.ram(0, core.ramBytes)
  const words = new Int32Array(buffer, byteOffset, core.ramBytes >> 2)
  // Lanes that do not wait for each other.
  let [a, b, c, d] = [1, 2, 3, 4]
  for (let at = 0; at < words.length; at += 4) {
    a = mix(a, words[at] as number)
    b = mix(b, words[at + 1] as number)
    c = mix(c, words[at + 2] as number)
    d = mix(d, words[at + 3] as number)
  }
  return mix(mix(mix(a, b), c), d) >>> 0
}
