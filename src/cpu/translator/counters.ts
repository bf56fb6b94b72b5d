/**
 * What a region's code counts when somebody wants to see it (`paravirt run --hot`): how often each block is begun, and
 * each place where control leaves. Without them nothing is emitted. Counters are globals of the region's module.
 */
import type { Code, ModuleWriter } from '../wasm/module.ts'
import type { Block } from './blocks.ts'

/** Why control leaves a region's code. */
export type Reason =
  /** The instructions left of the slice do not cover a block. */
  | 'budget'
  /** An access that neither the TLB nor a walk makes one to plain RAM. */
  | 'read'
  | 'write'
  /** An operand needs the whole instruction: a division that faults, a denormal number, ... */
  | 'slow path'
  | 'non-canonical target'
  /** What follows is no code that a region can have: it ends with a procedure, or is not decoded. */
  | 'procedure'
  | 'not decoded'
  /** The execute TLB has another page there, or none. */
  | 'other page'
  | 'indirect jump'
  /** A return to where the calling region expects it. */
  | 'return'
  /** A call whose target has no region, or which does not come back to its region. */
  | 'call'
  | 'callee left'
  /** The interpreter's function of an instruction faulted, or was told to leave. */
  | 'function left'

export interface Exit {
  readonly reason: Reason
  /** The instruction that leaves, or is left for. */
  readonly place: number
  /** Instructions of its block that are not done. */
  readonly unspent: number
  readonly counter: number
}

/** Counters of one region while its code is written, then what they mean. */
export class Counters {
  readonly entries: number
  readonly blocks: { readonly places: readonly number[]; readonly counter: number }[] = []
  readonly exits: Exit[] = []
  readonly #writer: ModuleWriter
  readonly #region: number

  /** `region`: its number, for `access`. */
  constructor(writer: ModuleWriter, region: number) {
    this.#writer = writer
    this.#region = region
    this.entries = writer.global()
  }

  static #count(c: Code, counter: number): void {
    c.globalGet(counter).i64(1n).op('i64.add').globalSet(counter)
  }

  entry(c: Code): void {
    Counters.#count(c, this.entries)
  }

  block(c: Code, { instructions }: Block): void {
    const counter = this.#writer.global()
    this.blocks.push({ places: instructions.map((i) => i.place), counter })
    Counters.#count(c, counter)
  }

  exit(c: Code, reason: Reason, place: number, unspent = 0): void {
    const counter = this.#writer.global()
    this.exits.push({ reason, place, unspent, counter })
    Counters.#count(c, counter)
  }

  /** The access of the exit that comes next: the host finds out what is the matter with it. */
  access(c: Code, p: number, linear: number, bytes: number, write: boolean): void {
    const why = this.#writer.import('profile', 'access', { params: ['i32', 'i64', 'i32', 'i32', 'i32'], results: [] })
    c.get(p)
      .get(linear)
      .i32(bytes | (write ? 0x100 : 0))
    c.i32(this.#region).i32(this.exits.length).call(why)
  }
}
