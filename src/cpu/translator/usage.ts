/**
 * Which registers instructions read and write, from their recordings, and which are changed since the state block was
 * last up to date: bits 0 to 15 are general registers, 16 to 31 vector registers.
 */
import type { Effect, Slot } from '../isa/ir.ts'
import { R, S } from '../layout.ts'
import type { Block, Found, Instruction, Places } from './blocks.ts'

export interface Usage {
  /** Read or written. */
  used: number
  written: number
  /** Their values from before are read; parts of a register that is written in part are. */
  reads: number
  /** Certainly written, and whole. */
  kills: number
}

const FIELD = { A: R.A, B: R.B, C: R.BASE, X: R.INDEX }

/** A byte of the record that has an instruction's fields. */
export function recordByte(r: Pick<Places, 'word'>, i: Found, at: number): number {
  const word = r.word(i.fields + (at & ~3))
  return (word >>> ((at & 3) * 8)) & 0xff
}

/** The offset from p that a slot names; undefined if it is no place in the state block. */
export function slotByte(r: Places, i: Instruction, slot: Slot): number | undefined {
  if (slot.offset < 0) return undefined
  return slot.offset + (slot.field ? recordByte(r, i, FIELD[slot.field]) : 0)
}

/** The bit of a slot's register, 0 if it is none. */
function bitOf(r: Places, i: Instruction, slot: Slot): number {
  const at = slotByte(r, i, slot)
  return at === undefined ? 0 : bitAt(at)
}

function bitAt(offset: number): number {
  if (offset < S.ZERO) return 1 << (offset >> 3)
  return offset >= S.VEC0 && offset < S.VEC1 ? 1 << (16 + ((offset - S.VEC0) >> 4)) : 0
}

const usages = new WeakMap<Instruction, Usage>()

/** Nothing for instructions that a function does. */
export function usageOf(r: Places, i: Instruction): Usage {
  let usage = usages.get(i)
  if (!usage) usages.set(i, (usage = makeUsage(r, i)))
  return usage
}

function makeUsage(r: Places, i: Instruction): Usage {
  const usage = { used: 0, written: 0, reads: 0, kills: 0 }
  const visit = (effects: readonly Effect[], certain: boolean): void => {
    for (const e of effects) {
      if (e.kind === 'get') usage.reads |= bitOf(r, i, e.slot)
      else if (e.kind === 'set') {
        const bit = bitOf(r, i, e.slot)
        usage.written |= bit
        if (e.access !== 64 && e.access !== 'v128') usage.reads |= bit
        else if (certain && (e.access === 'v128' || bit & 0xffff)) usage.kills |= bit
        else usage.reads |= bit
      } else if (e.kind === 'address')
        usage.reads |= bitAt(recordByte(r, i, R.BASE) & 0xf8) | bitAt(recordByte(r, i, R.INDEX) & 0xf8)
      else if (e.kind === 'if') {
        visit(e.then, false)
        visit(e.else, false)
      }
    }
  }
  if (i.decoded.translatable) visit(i.decoded.effects, true)
  usage.used = usage.reads | usage.written
  return usage
}

/** Whether there are loads or stores, and uses of MXCSR. */
export function needsOf(blocks: readonly Block[]): { memory: boolean; mxcsr: boolean } {
  const needs = { memory: false, mxcsr: false }
  const visit = (effects: readonly Effect[]): void => {
    for (const e of effects) {
      if (e.kind === 'load' || e.kind === 'store' || e.kind === 'probe') needs.memory = true
      else if (e.kind === 'floats' || ((e.kind === 'get' || e.kind === 'set') && e.slot.offset === S.MXCSR))
        needs.mxcsr = true
      else if (e.kind === 'if') {
        visit(e.then)
        visit(e.else)
      }
    }
  }
  for (const i of blocks.flatMap((b) => b.instructions)) if (i.decoded.translatable) visit(i.decoded.effects)
  return needs
}

/** What each block finds changed when it begins. */
export function changedAt(r: Places, blocks: readonly Block[]): Map<Block, number> {
  const result = new Map<Block, number>(blocks.map((b) => [b, 0]))
  const after = new Map<Block, { synced: boolean; written: number }>()
  for (const b of blocks) {
    let synced = false
    let written = 0
    for (const i of b.instructions) {
      if (i.decoded.translatable) written |= usageOf(r, i).written
      else if (!i.decoded.enablesInterrupts) {
        synced = true
        written = 0
      }
    }
    after.set(b, { synced, written })
  }
  for (let changed = true; changed; ) {
    changed = false
    for (const b of blocks) {
      let before = 0
      for (const x of b.predecessors) {
        const { synced, written } = after.get(x) as { synced: boolean; written: number }
        // A call has put back everything, unless it goes to a copy of its callee.
        if (x.call === undefined || x.targets.includes(b)) before |= written | (synced ? 0 : (result.get(x) as number))
      }
      if (before === result.get(b)) continue
      result.set(b, before)
      changed = true
    }
  }
  return result
}
