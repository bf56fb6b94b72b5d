/** What the parts of the programme share. */
import type { Builder } from '../builder.ts'
import { SPARE, WINDOW } from '../layout.ts'

/** Page-table entry bits: present, writable, user, accessed and dirty. */
export const P = 1
export const W = 2
export const U = 4
export const AD = 0x60

export const MILLISECOND = 1_000_000
/** For what must happen: no less than 32 bits of nanoseconds hold, for a host may have much to do. */
export const PATIENCE = 4000 * MILLISECOND

export const page = (n: number) => WINDOW + n * 4096
export const frame = (n: number) => SPARE + n * 4096

/** Entry `n` of the window maps a frame (undefined: nothing); the old translation is forgotten. */
export function map(k: Builder, n: number, to: number | undefined, flags = P | W | AD): string {
  return `
  mov xax, window_table+${8 * n}
  mov xdx, ${to === undefined ? 0 : to | flags}
  xor ecx, ecx
  ${k.op('mmu.set_pte')}
  mov xax, ${page(n)}
  ${k.op('mmu.flush_tlb_single')}`
}

/** Run code that faults; what the handler saw is in seen_vector and the others. */
export function faulting(k: Builder, code: string): string {
  const on = k.unique('resumed')
  return `
  mov dword ptr [seen_vector], -1
  mov xax, ${on}
  mov [resume], xax
  ${code}
${on}:
  mov xword ptr [resume], 0`
}

/** Flags: equal if vector and error code are these. */
export function saw(k: Builder, vector: number, error: number): string {
  const no = k.unique('saw')
  return `cmp dword ptr [seen_vector], ${vector}\njne ${no}\ncmp dword ptr [seen_error], ${error}\n${no}:`
}
