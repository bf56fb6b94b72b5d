/**
 * The IR that a row's semantics records: typed values (i32, i64, f32, f64, v128) and an ordered list of effects.
 *
 * Values are in SSA form. Pure operations may be moved to their use; everything else happens in the order recorded.
 * No guest value is ever a JavaScript number: what is a number here is a constant of the row.
 */
import type { Ty } from '../wasm/opcodes.ts'

export type Definition =
  | { kind: 'constant'; value: bigint | number | Uint8Array }
  | { kind: 'pure'; op: string; args: readonly Value[]; lanes?: readonly number[] }
  | { kind: 'effect' }

export class Value {
  uses = 0
  readonly ty: Ty
  readonly definition: Definition

  constructor(ty: Ty, definition: Definition) {
    this.ty = ty
    this.definition = definition
  }
}

/** How a slot of the state block is accessed: bits, or a WebAssembly type for the wide ones. */
export type Access = 8 | 16 | 32 | 64 | 'f32' | 'f64' | 'v128'

/** A place in the state block: fixed, or named by a field of the record (A, B, C; X is the index field) above `offset`. */
export type Slot = { field?: 'A' | 'B' | 'C' | 'X'; offset: number }

/**
 * An address as a row sees it. `flat`: `value` is linear (i64). `segmented`: `value` is an offset in a segment and each
 * access translates it; the segment is the record's own or the one given. `stack` selects #SS for canonical faults.
 */
export interface Address {
  kind: 'flat' | 'segmented'
  value: Value
  segment?: number
  stack: boolean
}

/** A lane that is tame, or is if another register's lane of the same width was. */
export type Tame = true | { slot: Slot; lane: number }

export type Effect =
  | { kind: 'let'; result: Value }
  | { kind: 'get'; slot: Slot; access: Access; result: Value }
  | { kind: 'set'; slot: Slot; access: Access; value: Value }
  | { kind: 'peek'; address: Value; offset: number; access: Access; result: Value } // at an address (i32) in the state block
  | { kind: 'poke'; address: Value; offset: number; access: Access; value: Value }
  | { kind: 'immediate'; wide: boolean; field: 'IMM' | 'DISP'; result: Value }
  | { kind: 'address'; result: Value } // effective address of the record's memory operand, by its form
  | { kind: 'thisRip'; result: Value } // offset in CS of this instruction (i64)
  | { kind: 'nextRip'; result: Value } // offset in CS of the next instruction (i64)
  | { kind: 'load'; address: Address; bytes: 1 | 2 | 4 | 8 | 16; result: Value }
  | { kind: 'probe'; address: Address; bytes: number; result: Value } // write probe before a read-modify-write
  | { kind: 'loadProbed'; address: Address; bytes: 1 | 2 | 4 | 8 | 16; probe: Value; result: Value }
  | { kind: 'store'; address: Address; bytes: 1 | 2 | 4 | 8 | 16; value: Value; probe?: Value }
  | {
      kind: 'flags'
      flags: number
      bytes: number
      b: Value | undefined
      res: Value
      /** They are those from before but for these bits. */
      merged?: { mask: number; bits: Value }
      /** They are those of a comparison of these floating-point numbers, which are no NaNs. */
      compared?: readonly [Value, Value]
    }
  | {
      // whether floating-point operands and a result are such that nobody sees exceptions: see floats.ts
      kind: 'floats'
      bits: 32 | 64
      packed: boolean
      operands: readonly { value: Value; slot?: Slot }[]
      outcome: Value | undefined
      result: Value
    }
  | { kind: 'tame'; slot: Slot; bits: 32 | 64; lanes: readonly Tame[] } // lanes of a register, from the lowest, are tame: see floats.ts
  | { kind: 'condition'; code: number; result: Value } // Jcc condition 0..15 from the lazy flags
  | {
      kind: 'if'
      condition: Value
      then: readonly Effect[]
      else: readonly Effect[]
      /** Mostly the first. */
      likely?: boolean
      merge?: { result: Value; then: Value; else: Value }
    }
  | { kind: 'steady'; offset: number; effects: readonly Effect[] } // not needed while this word of the state is zero, and no region changes it
  | { kind: 'fault'; when: Value | undefined; vector: number; error: Value | undefined }
  | { kind: 'call'; procedure: string; args: readonly Value[]; result: Value | undefined }
  | { kind: 'failed'; when: Value } // a procedure has raised a fault
  | { kind: 'aim'; target: Value | undefined; when: Value | undefined } // checks the target of the branch or jump that follows, before commits
  | { kind: 'branch'; when: Value | undefined } // relative branch of the record
  | { kind: 'jump'; target: Value } // to an offset in CS (i64)
  | { kind: 'transfer' } // a procedure has set RIP: leave the stream
  | { kind: 'repeat'; when: Value } // leave with RIP still at this instruction
