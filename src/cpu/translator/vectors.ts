/** Vector registers of a region: locals, from the state block when the region begins and back when it leaves. */
import type { Access } from '../isa/ir.ts'
import { S } from '../layout.ts'
import type { Code } from '../wasm/module.ts'
import type { Ty } from '../wasm/opcodes.ts'

/** The shape in which a part of a register is a lane, and how that lane is extracted. */
const lanes: Record<Exclude<Access, 'v128'>, [shape: string, bytes: number, extract: string]> = {
  f64: ['f64x2', 8, 'extract_lane'],
  f32: ['f32x4', 4, 'extract_lane'],
  64: ['i64x2', 8, 'extract_lane'],
  32: ['i32x4', 4, 'extract_lane'],
  16: ['i16x8', 2, 'extract_lane_u'],
  8: ['i8x16', 1, 'extract_lane_u'],
}

export class VectorRegisters {
  readonly #code: Code
  readonly #locals: (number | undefined)[] = []
  /** Constants by their bytes: each is made once, since making one takes up to four instructions. */
  readonly #constants = new Map<string, { value: Uint8Array; local: number }>()

  constructor(code: Code) {
    this.#code = code
  }

  /** Whether an offset in the state block is a vector register's. */
  has(offset: number): boolean {
    return offset >= S.VEC0 && offset < S.VEC1
  }

  #local(offset: number): number {
    return (this.#locals[(offset - S.VEC0) >> 4] ??= this.#code.local('v128'))
  }

  get(offset: number, access: Access): void {
    this.#code.get(this.#local(offset))
    if (access === 'v128') return
    const [shape, bytes, extract] = lanes[access]
    this.#code.op(`${shape}.${extract}`, [(offset & 15) / bytes])
  }

  /** `value` puts a value of type `ty` on the stack. */
  set(offset: number, access: Access, ty: Ty, value: () => void): void {
    const c = this.#code
    const local = this.#local(offset)
    if (access === 'v128') {
      value()
      c.set(local)
      return
    }
    const [shape, bytes] = lanes[ty === 'f64' || ty === 'f32' ? ty : access]
    c.get(local)
    value()
    if (ty === 'i64' && bytes < 8) c.op('i32.wrap_i64')
    c.op(`${shape}.replace_lane`, [(offset & 15) / bytes]).set(local)
  }

  constant(value: Uint8Array): void {
    if (value.every((byte) => byte === 0)) return void this.#code.v128(value)
    const key = value.join()
    let known = this.#constants.get(key)
    if (!known) this.#constants.set(key, (known = { value, local: this.#code.local('v128') }))
    this.#code.get(known.local)
  }

  /** To stand before all uses of constants. */
  makeConstants(): void {
    for (const { value, local } of this.#constants.values()) this.#code.v128(value).set(local)
  }

  /** Registers by bits of `mask` from the state block at `p`. */
  load(p: number, mask: number): void {
    this.#each(mask, (local, offset) => this.#code.get(p).mem('v128.load', offset).set(local))
  }

  store(p: number, mask: number): void {
    this.#each(mask, (local, offset) => this.#code.get(p).get(local).mem('v128.store', offset))
  }

  #each(mask: number, move: (local: number, offset: number) => void): void {
    for (let n = 0; n < 16; n++) {
      const offset = S.VEC0 + n * 16
      if (mask & (1 << n)) move(this.#local(offset), offset)
    }
  }
}
