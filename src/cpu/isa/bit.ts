/** BT BTS BTR BTC, BSF BSR, LZCNT POPCNT, BSWAP (SDM Vol. 2). */
import type { Address, Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

type Change = 'bt' | 'bts' | 'btr' | 'btc'

/** CF becomes `bit` (i32 0 or 1); the other flags, undefined but for ZF, stay as they do on Intel's processors. */
function setCarry(s: Semantics, bit: Value): void {
  s.mergeFlags(1, bit)
}

function changed(s: Semantics, change: Change, a: Value, mask: Value): Value {
  if (change === 'bts') return s.or(a, mask)
  if (change === 'btr') return s.and(a, s.not(mask))
  return s.xor(a, mask)
}

/** A register gives the offset in a bit string: memory beyond the operand is reached, in steps of its size. */
function stringAddress(s: Semantics, offset: Value): Address {
  const units = s.sar(s.signed64(offset, s.size), { 16: 4, 32: 5, 64: 6 }[s.size] as number)
  return s.displaced(s.ea(), s.shl(units, { 16: 1, 32: 2, 64: 3 }[s.size] as number))
}

const bitOperation = (change: Change) => (s: Semantics) => {
  const offset = s.read(1)
  const n = s.and(s.fit(offset, s.size), s.size - 1)
  const mask = s.shl(s.k(1), n)
  const inString = s.isMem(0) && s.operand(1).kind === 'reg'
  const bits = s.size as 16 | 32 | 64
  let a: Value
  let write = (_: Value): void => {}
  if (!inString) {
    a = change === 'bt' ? s.read(0) : s.update(0)
    write = (v) => s.write(0, v)
  } else {
    const address = stringAddress(s, offset)
    if (change === 'bt') a = s.load(address, bits)
    else {
      const probe = s.probe(address, bits / 8)
      a = s.loadProbed(address, probe, bits)
      write = (v) => s.store(address, v, (bits / 8) as 2 | 4 | 8, probe)
    }
  }
  const bit = s.toI32(s.and(s.shr(a, n), 1))
  if (change !== 'bt') write(changed(s, change, a, mask))
  setCarry(s, bit)
}
const changes: Change[] = ['bt', 'bts', 'btr', 'btc']
changes.forEach((name, i) => {
  const options = { undefinedFlags: 0x894, lock: name !== 'bt' }
  row(name, `0F ${(0xa3 + 8 * i).toString(16).toUpperCase()} /r`, 'Ev,Gv', bitOperation(name), options)
  row(name, `0F BA /${4 + i}`, 'Ev,Ib', bitOperation(name), options)
})

/** The source zero-extended to a type whose leading and trailing zeros can be counted, and that type's width. */
const width = (s: Semantics): number => (s.size === 64 ? 64 : 32)

/** BSF and BSR of 0 leave the whole destination register; the other flags are undefined. */
const scan = (forward: boolean) => (s: Semantics) => {
  const source = s.read(1)
  const index = forward ? s.op(`${source.ty}.ctz`, [source]) : s.xor(s.op(`${source.ty}.clz`, [source]), width(s) - 1)
  s.flags('LOGIC', source)
  s.if(source.ty === 'i64' ? s.ne(source, 0) : source, () => s.write(0, index))
}
row('bsf', '0F BC /r', 'Gv,Ev', scan(true), { undefinedFlags: 0x895 })
row('bsr', '0F BD /r', 'Gv,Ev', scan(false), { undefinedFlags: 0x895 })

// No TZCNT: without BMI1 its encoding is BSF's with a prefix that means nothing.
row(
  'lzcnt',
  'F3 0F BD /r',
  'Gv,Ev',
  (s) => {
    const source = s.read(1)
    const zeros = s.op(`${source.ty}.clz`, [source])
    const n = s.size === 16 ? s.sub(zeros, 16) : zeros
    s.setFlags(s.or(s.isZero(source), s.shl(s.isZero(n), 6)))
    s.write(0, n)
  },
  { undefinedFlags: 0x894 },
)

row('popcnt', 'F3 0F B8 /r', 'Gv,Ev', (s) => {
  const source = s.read(1)
  s.setFlags(s.shl(s.isZero(source), 6))
  s.write(0, s.op(`${source.ty}.popcnt`, [source]))
})

/** The bytes of a value reversed. */
export function byteSwapped(s: Semantics, v: Value, bits: number): Value {
  if (bits === 16) return s.and(s.or(s.shl(v, 8), s.shr(v, 8)), 0xffff)
  if (bits === 32) {
    return s.or(s.bin('rotl', s.and(v, 0x00ff00ff), 24), s.bin('rotl', s.and(v, 0xff00ff00 | 0), 8))
  }
  const low = byteSwapped(s, s.toI32(v), 32)
  const high = byteSwapped(s, s.toI32(s.shr(v, 32)), 32)
  return s.or(s.shl(s.toI64(low), 32), s.toI64(high))
}
// A 16-bit BSWAP is undefined; Intel's processors clear the register.
row('bswap', '0F C8+r', 'Zv', (s) => s.write(0, s.size === 16 ? s.k(0) : byteSwapped(s, s.read(0), s.size)))
