/**
 * The AssemblyScript procedures that rows call: parameter types after `p`, and result. A missing or wrong entry shows
 * as a LinkError when the core is instantiated.
 */
import type { Ty } from '../wasm/opcodes.ts'

export interface Procedure { params: readonly Ty[]; result?: Ty }

export const procedures: Record<string, Procedure> = {
  getFlags: { params: [], result: 'i32' },
  raise: { params: ['i32', 'i32'] },
  raiseNoError: { params: ['i32'] },
  slowLoad: { params: ['i64', 'i32'], result: 'i64' },
  slowStore: { params: ['i64', 'i32', 'i64'], result: 'i32' },
  slowLoad16: { params: ['i64', 'i32'], result: 'i32' },
  slowStore16: { params: ['i64', 'i32'], result: 'i32' },
  probeWrite: { params: ['i64', 'i32'], result: 'i32' },
  segLinear: { params: ['i32', 'i64', 'i32', 'i32'], result: 'i64' },
  lookup: { params: [], result: 'i32' },
  fetchCheck: { params: ['i64'], result: 'i64' },
  deliver: { params: [] },
}
