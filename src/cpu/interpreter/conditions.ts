/** Jcc conditions from the lazy flags, recorded like a row: one internal function for each pair of codes. */
import type { Value } from '../isa/ir.ts'
import { Semantics } from '../isa/semantics.ts'
import { FlagsKind, S } from '../layout.ts'

class Flags {
  readonly #s: Semantics
  readonly #kind: Value
  readonly #res: Value
  readonly #b: Value
  readonly #shift: Value

  constructor(s: Semantics) {
    this.#s = s
    const packed = s.state(S.FLAGS_KIND)
    this.#kind = s.shr(packed, 2)
    this.#res = s.state(S.FLAGS_RES, 64)
    this.#b = s.state(S.FLAGS_B, 64)
    // Moves the operand's sign bit to bit 63, which also drops what overflowed.
    this.#shift = s.toI64(s.sub(s.k32(64), s.shl(s.k32(8), s.and(packed, 3))))
  }

  is(kind: keyof typeof FlagsKind): Value {
    return this.#s.eq(this.#kind, FlagsKind[kind])
  }
  #top(v: Value): Value {
    return this.#s.shl(v, this.#shift)
  }
  #bit(v: Value, bit: number): Value {
    return this.#s.toI32(this.#s.and(this.#s.shr(v, BigInt(bit)), 1n))
  }
  #explicit(bit: number, otherwise: () => Value): Value {
    return this.#s.choose(this.is('EXPLICIT'), () => this.#bit(this.#res, bit), otherwise)
  }

  /** a of a subtraction, at the top of the word. */
  minuend(): Value {
    return this.#top(this.#s.add(this.#res, this.#b))
  }
  subtrahend(): Value {
    return this.#top(this.#b)
  }

  zero(): Value {
    return this.#explicit(6, () => this.#s.isZero(this.#res))
  }
  sign(): Value {
    return this.#explicit(7, () => this.#s.ltS(this.#res, 0n))
  }
  parity(): Value {
    const s = this.#s
    return this.#explicit(2, () => s.xor(s.and(s.op('i32.popcnt', [s.and(s.toI32(this.#res), 0xff)]), 1), 1))
  }

  carry(): Value {
    const s = this.#s
    return s.choose(
      this.is('SUB'),
      () => s.ltU(this.minuend(), this.subtrahend()),
      () =>
        s.choose(
          this.is('LOGIC'),
          () => s.k32(0),
          () =>
            s.choose(
              this.is('ADD'),
              () => s.ltU(this.#top(this.#res), this.subtrahend()),
              () =>
                s.choose(
                  this.is('EXPLICIT'),
                  () => this.#bit(this.#res, 0),
                  () =>
                    s.choose(
                      this.is('ADC1'),
                      () => s.leU(this.#top(this.#res), this.subtrahend()),
                      () =>
                        s.choose(
                          this.is('SBB1'),
                          () => s.leU(this.#top(s.add(s.add(this.#res, this.#b), 1n)), this.subtrahend()),
                          () => this.#bit(this.#b, 0),
                        ),
                    ),
                ),
            ),
        ),
    )
  }

  overflow(): Value {
    const s = this.#s
    const added = (a: Value) => s.ltS(this.#top(s.and(s.xor(a, this.#res), s.xor(this.#b, this.#res))), 0n)
    const subtracted = (a: Value) => s.ltS(this.#top(s.and(s.xor(a, this.#b), s.xor(a, this.#res))), 0n)
    const least = 1n << 63n
    return s.choose(
      this.is('SUB'),
      () => subtracted(s.add(this.#res, this.#b)),
      () =>
        s.choose(
          this.is('LOGIC'),
          () => s.k32(0),
          () =>
            s.choose(
              this.is('ADD'),
              () => added(s.sub(this.#res, this.#b)),
              () =>
                s.choose(
                  this.is('EXPLICIT'),
                  () => this.#bit(this.#res, 11),
                  () =>
                    s.choose(
                      this.is('INC'),
                      () => s.eq(this.#top(this.#res), least),
                      () =>
                        s.choose(
                          this.is('DEC'),
                          () => s.eq(this.#top(s.add(this.#res, 1n)), least),
                          () =>
                            s.choose(
                              this.is('ADC1'),
                              () => added(s.sub(s.sub(this.#res, this.#b), 1n)),
                              () =>
                                s.choose(
                                  this.is('SBB1'),
                                  () => subtracted(s.add(s.add(this.#res, this.#b), 1n)),
                                  () => this.#bit(this.#b, 11),
                                ),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )
  }
}

/** Record condition `code` (even: 0 O, 2 B, 4 Z, 6 BE, 8 S, 10 P, 12 L, 14 LE): its effects and value. */
export function recordCondition(code: number): { s: Semantics; value: Value } {
  const s = new Semantics({ size: 64, mode: '64', operands: [], form: 'r' })
  const f = new Flags(s)
  const values: Record<number, () => Value> = {
    0: () => f.overflow(),
    2: () => f.carry(),
    4: () => f.zero(),
    6: () =>
      s.choose(
        f.is('SUB'),
        () => s.leU(f.minuend(), f.subtrahend()),
        () => s.or(f.carry(), f.zero()),
      ),
    8: () => f.sign(),
    10: () => f.parity(),
    12: () =>
      s.choose(
        f.is('SUB'),
        () => s.ltS(f.minuend(), f.subtrahend()),
        () => s.xor(f.sign(), f.overflow()),
      ),
    14: () =>
      s.choose(
        f.is('SUB'),
        () => s.bin('le_s', f.minuend(), f.subtrahend()),
        () => s.or(f.zero(), s.xor(f.sign(), f.overflow())),
      ),
  }
  const value = (values[code] as () => Value)()
  value.uses++
  return { s, value }
}
