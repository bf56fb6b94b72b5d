/**
 * The members of a kernel's struct, from the type information that it carries for BPF (CONFIG_DEBUG_INFO_BTF,
 * Documentation/bpf/btf.rst of Linux).
 */

export interface Member {
  /** `mmu.write_cr3`: names of nested structs, joined. */
  readonly name: string
  /** In bytes. */
  readonly offset: number
}

const MAGIC = 0xeb9f
const HEADER_BYTES = 24
const TYPE_BYTES = 12
const MEMBER_BYTES = 12
const Kind = { ARRAY: 3, STRUCT: 4, UNION: 5, ENUM: 6, TYPEDEF: 8, VOLATILE: 9, CONST: 10, TYPE_TAG: 18 } as const
/** Bytes that follow a type, once and for each of its members, by kind. */
const extra: Readonly<Record<number, readonly [once: number, each: number]>> = {
  1: [4, 0],
  [Kind.ARRAY]: [12, 0],
  [Kind.STRUCT]: [0, MEMBER_BYTES],
  [Kind.UNION]: [0, MEMBER_BYTES],
  [Kind.ENUM]: [0, 8],
  13: [0, 8],
  14: [4, 0],
  15: [0, 12],
  17: [4, 0],
  19: [0, 12],
}
const DEEPEST = 8

/** Undefined: it is no BTF, or has no such struct. Structs with one member, such as callee-save operations, are that. */
export function structMembers(btf: Uint8Array, name: string): Member[] | undefined {
  try {
    return new Btf(btf).members(name)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

class Btf {
  readonly #view: DataView
  readonly #bytes: Uint8Array
  readonly #types: number[] = [0]
  readonly #strings: number

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (bytes.length < HEADER_BYTES || this.#view.getUint16(0, true) !== MAGIC) throw new RangeError('no BTF')
    const [header, types, length, strings] = [4, 8, 12, 16].map((at) => this.#u32(at)) as [
      number,
      number,
      number,
      number,
    ]
    this.#strings = header + strings
    for (let at = header + types; at < header + types + length; ) {
      this.#types.push(at)
      const { kind, count } = this.#info(at)
      const [once, each] = extra[kind] ?? [0, 0]
      at += TYPE_BYTES + once + each * count
    }
  }

  members(name: string): Member[] | undefined {
    const found = this.#types.find((at) => at > 0 && this.#info(at).kind === Kind.STRUCT && this.#name(at) === name)
    return found === undefined ? undefined : [...this.#flat(found, '', 0, 0)]
  }

  *#flat(at: number, prefix: string, base: number, depth: number): Generator<Member> {
    const { count, bitfields } = this.#info(at)
    for (let i = 0; i < count; i++) {
      const member = at + TYPE_BYTES + i * MEMBER_BYTES
      const bits = this.#u32(member + 8)
      const offset = base + (bitfields ? bits & 0xffffff : bits) / 8
      const name = [prefix, this.#name(member)].filter(Boolean).join('.')
      const type = this.#resolve(this.#u32(member + 4))
      const { kind, count: inside } = this.#info(type)
      if (kind === Kind.STRUCT && inside > 1 && depth < DEEPEST) yield* this.#flat(type, name, offset, depth + 1)
      else yield { name, offset }
    }
  }

  /** Behind typedef, const, volatile and tags. */
  #resolve(id: number): number {
    let at = this.#typeAt(id)
    for (let i = 0; i < DEEPEST; i++) {
      const { kind } = this.#info(at)
      if (kind !== Kind.TYPEDEF && kind !== Kind.CONST && kind !== Kind.VOLATILE && kind !== Kind.TYPE_TAG) return at
      at = this.#typeAt(this.#u32(at + 8))
    }
    return at
  }

  /** Type 0 is void; any type without members will do for it. */
  #typeAt(id: number): number {
    const at = this.#types[id === 0 ? 1 : id]
    if (at === undefined) throw new RangeError(`no type ${id}`)
    return at
  }

  #info(at: number): { kind: number; count: number; bitfields: boolean } {
    const info = this.#u32(at + 4)
    return { kind: (info >>> 24) & 31, count: info & 0xffff, bitfields: info >>> 31 === 1 }
  }

  #name(at: number): string {
    const start = this.#strings + this.#u32(at)
    return new TextDecoder('latin1').decode(this.#bytes.subarray(start, this.#bytes.indexOf(0, start)))
  }

  #u32 = (at: number): number => this.#view.getUint32(at, true)
}
