/**
 * Layouts of C structures in the guest's memory, from their members in order. Each has two: as 64-bit guests see it
 * (long and pointers of 8 bytes) and as 32-bit ones do (of 4, and 8-byte integers aligned to 4).
 */
import type { ArgumentType } from '../../paravirt/requests.ts'

/**
 * `long` and `pointer` have the guest's width; `a64` has 8 bytes and is aligned to them for both; `gap` is what a 64-bit
 * guest's inner structure has at its end, 4 bytes that a 32-bit guest's has not; `narrow` the opposite, a u32.
 */
export type CType = 'u8' | 'u16' | 's16' | 'u32' | 's32' | 'u64' | 'a64' | 'long' | 'pointer' | 'gap' | 'narrow'

export interface Field {
  readonly name: string
  readonly c: CType
  /** Offsets in the 64-bit and the 32-bit layout. */
  readonly wide: number
  readonly narrow: number
  /** What it means, for traces and generators. */
  readonly type: ArgumentType
  /** Only the hypervisor writes it. */
  readonly out: boolean
  /** The hypervisor writes it, too. */
  readonly back: boolean
}

export interface Struct<Name extends string = string> {
  readonly fields: { readonly [N in Name]: Field }
  /** In their order. */
  readonly list: readonly Field[]
  /** Bytes in the 64-bit and the 32-bit layout. */
  readonly wide: number
  readonly narrow: number
}

export type Member =
  | CType
  | {
      readonly c: CType
      readonly type?: ArgumentType
      readonly out?: boolean
      readonly back?: boolean
    }

const sizes = { u8: 1, u16: 2, s16: 2, u32: 4, s32: 4, u64: 8, a64: 8 } as const
const plain = {
  u8: 'u8',
  u16: 'u16',
  s16: 'u16',
  u32: 'u32',
  s32: 'u32',
  u64: 'u64',
  a64: 'u64',
  long: 'u64',
  pointer: 'u64',
  gap: 'u32',
  narrow: 'u32',
} as const

function sizeOf(c: CType, wide: boolean): number {
  if (c === 'gap') return wide ? 4 : 0
  if (c === 'narrow') return wide ? 0 : 4
  return c === 'long' || c === 'pointer' ? (wide ? 8 : 4) : sizes[c]
}
const alignOf = (c: CType, wide: boolean): number =>
  Math.max(1, wide || c === 'a64' ? sizeOf(c, wide) : Math.min(4, sizeOf(c, wide)))
const up = (offset: number, align: number): number => Math.ceil(offset / align) * align

export function struct<Name extends string>(members: Readonly<Record<Name, Member>>): Struct<Name> {
  const layout = (wide: boolean) => {
    let end = 0
    let align = 1
    const offsets = Object.values<Member>(members).map((member) => {
      const c = typeof member === 'string' ? member : member.c
      const offset = up(end, alignOf(c, wide))
      end = offset + sizeOf(c, wide)
      align = Math.max(align, alignOf(c, wide))
      return offset
    })
    return { offsets, size: up(end, align) }
  }
  const wide = layout(true)
  const narrow = layout(false)
  const list = Object.entries<Member>(members).map(([name, member], i): Field => {
    const {
      c,
      type,
      out = false,
      back = false,
    }: Exclude<Member, CType> = typeof member === 'string' ? { c: member } : member
    return {
      name,
      c,
      wide: wide.offsets[i] as number,
      narrow: narrow.offsets[i] as number,
      type: type ?? (c === 'pointer' ? { kind: 'linear' } : { kind: plain[c] }),
      out,
      back,
    }
  })
  const fields = Object.fromEntries(list.map((field) => [field.name, field])) as Struct<Name>['fields']
  return { fields, list, wide: wide.size, narrow: narrow.size }
}

/** Room for one structure on its way from or to the guest. Reused: what a request keeps, it copies. */
export class Block {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** The layout is a 64-bit guest's. */
  wide = true

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity)
    this.view = new DataView(this.bytes.buffer)
  }

  at(field: Field): number {
    return this.wide ? field.wide : field.narrow
  }

  bytesOf(field: Field): number {
    return sizeOf(field.c, this.wide)
  }

  size(of: Struct): number {
    return this.wide ? of.wide : of.narrow
  }

  /** A member of up to 32 bits, or the low half of a longer one. */
  get(field: Field): number {
    const at = this.at(field)
    switch (field.c) {
      case 'u8':
        return this.view.getUint8(at)
      case 'u16':
        return this.view.getUint16(at, true)
      case 's16':
        return this.view.getInt16(at, true)
      case 's32':
        return this.view.getInt32(at, true)
      default:
        return this.view.getUint32(at, true)
    }
  }

  /** The high half; 0 if there is none. */
  high(field: Field): number {
    return sizeOf(field.c, this.wide) === 8 ? this.view.getUint32(this.at(field) + 4, true) : 0
  }

  /** A whole member as a number, exact below 2^53; what is larger becomes Infinity. */
  whole(field: Field): number {
    const high = this.high(field)
    return high >= 0x200000 ? Infinity : high * 2 ** 32 + this.get(field)
  }

  big(field: Field): bigint {
    return (BigInt(this.high(field)) << 32n) | BigInt(this.get(field) >>> 0)
  }

  set(field: Field, value: number): void {
    const at = this.at(field)
    switch (sizeOf(field.c, this.wide)) {
      case 1:
        return this.view.setUint8(at, value)
      case 2:
        return this.view.setUint16(at, value, true)
      case 4:
        return this.view.setUint32(at, value, true)
      default:
        return this.view.setBigInt64(at, BigInt(value), true)
    }
  }

  setBig(field: Field, value: bigint): void {
    if (sizeOf(field.c, this.wide) === 8) this.view.setBigUint64(this.at(field), BigInt.asUintN(64, value), true)
    else this.set(field, Number(BigInt.asUintN(32, value)))
  }
}
