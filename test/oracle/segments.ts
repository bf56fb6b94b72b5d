/**
 * The modes of the oracle's cases and the segments that they run in: Linux's flat ones for 64-bit code (64) and
 * compatibility mode (32), and an LDT of bounded ones for segmented 32-bit ('s32') and 16-bit protected mode (16) code.
 * native.c makes the same LDT.
 */
import { Space } from './space.ts'
import type { Random } from './random.ts'

export type Mode = 64 | 32 | 's32' | 16
export const allModes: readonly Mode[] = [64, 32, 's32', 16]

/** Selectors: Linux's own, then the LDT's. */
export const Selector = {
  CODE32: 0x23,
  DATA: 0x2b,
  CODE64: 0x33,
  LDT_CODE16: 0x07,
  LDT_CODE32: 0x0f,
  DATA16: 0x17,
  DATA32: 0x1f,
  DOWN16: 0x27,
  DOWN32: 0x2f,
  READ: 0x37,
  SMALL: 0x3f,
  ABSENT: 0x47,
} as const

/** Indices of segment registers in lists of selectors. */
export const Seg = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 } as const

const CODE = 0xfb
const DATA = 0xf3
const DATA_DOWN = 0xf7
const DATA_READ = 0xf1
const DATA_ABSENT = 0x73
const AVL = 1
const BIG = 4

function descriptor(base: number, limit: number, access: number, flags: number): bigint {
  const b = BigInt(base)
  return (
    BigInt(limit & 0xffff) |
    ((b & 0xffffffn) << 16n) |
    (BigInt(access) << 40n) |
    (BigInt(limit >> 16) << 48n) |
    (BigInt(flags) << 52n) |
    ((b >> 24n) << 56n)
  )
}

const pages = Space.DATA_SIZE + Space.READ_ONLY_SIZE
/** The LDT, from entry 0 on. */
export const ldt: readonly bigint[] = [
  descriptor(Space.CODE, Space.CODE_SIZE - 1, CODE, AVL),
  descriptor(Space.CODE, Space.CODE_SIZE - 1, CODE, AVL | BIG),
  descriptor(Space.DATA, pages - 1, DATA, AVL),
  descriptor(Space.DATA, pages - 1, DATA, AVL | BIG),
  descriptor(Space.DATA, 0xfff, DATA_DOWN, AVL),
  descriptor(Space.DATA, 0xfff, DATA_DOWN, AVL | BIG),
  descriptor(Space.DATA + 0x800, 0xfff, DATA_READ, AVL | BIG),
  descriptor(Space.DATA + 0x1004, 0x7fe, DATA, AVL | BIG),
  descriptor(Space.DATA, 0xfff, DATA_ABSENT, AVL),
]

const flat = new Map<number, bigint>([
  [Selector.CODE32, 0x00cffb000000ffffn],
  [Selector.DATA, 0x00cff3000000ffffn],
  [Selector.CODE64, 0x00affb000000ffffn],
])

/** The descriptor that a selector of `Selector` names; undefined for a null one. */
export function descriptorOf(selector: number): bigint | undefined {
  return selector & 4 ? ldt[selector >> 3] : flat.get(selector)
}

export function baseOf(selector: number): number {
  const d = descriptorOf(selector) ?? 0n
  return Number(((d >> 16n) & 0xffffffn) | ((d >> 56n) << 24n))
}

/** First offset after the segment (before it, in one that expands down). */
export function endOf(selector: number): number {
  const d = descriptorOf(selector) ?? 0n
  const limit = Number((d & 0xffffn) | (((d >> 48n) & 0xfn) << 16n))
  return (d >> 55n) & 1n ? (limit + 1) * 4096 : limit + 1
}

/** Selectors for a case, in the order of `Seg`. */
export function pickSegments(random: Random, mode: Mode): number[] {
  const s = Selector
  if (mode === 64 || mode === 32) return [s.DATA, mode === 64 ? s.CODE64 : s.CODE32, s.DATA, s.DATA, 0, 0]
  const big = mode === 's32'
  const stack = big ? s.DATA32 : s.DATA16
  const other = (): number => random.pick([s.READ, s.SMALL, s.DATA, s.DOWN16, s.DOWN32, s.DATA32, 0])
  return [
    random.chance(70) ? s.DATA32 : other(),
    big ? s.LDT_CODE32 : s.LDT_CODE16,
    random.chance(85) ? stack : random.pick(big ? [s.DATA16, s.DOWN32, s.DOWN16] : [s.DATA32, s.DOWN16, s.DOWN32]),
    random.chance(90) ? random.pick([s.DATA16, s.DATA32]) : other(),
    other(),
    other(),
  ]
}

/** A selector worth loading. */
export function pickSelector(random: Random): number {
  if (random.chance(10)) return random.below(0x10000)
  return random.pick([...Object.values(Selector), 0, 3, 0x10, 0x13, 0x28, 0x29, 0x04, 0x06, 0x16, 0x4f])
}
