/** Quotients against bigint arithmetic. */
import { beforeAll, describe, expect, test } from 'vitest'
import { p } from '../testing/memory.ts'
import { Machine } from '../testing/machine.ts'

let m: Machine
beforeAll(async () => {
  m = await Machine.make()
  m.enter('64')
})

let seed = 1n
function random(bits: number): bigint {
  seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n)
  const value = BigInt.asUintN(bits, seed ^ (seed >> 31n))
  return value >> BigInt(Number((seed >> 58n) & 63n) % bits)
}

function values(bits: number): bigint[] {
  const top = 1n << BigInt(bits - 1)
  const half = 1n << BigInt(bits / 2)
  const edges = [0n, 1n, 2n, 3n, half - 1n, half, half + 1n, top - 1n, top, top + 1n, 2n * top - 2n, 2n * top - 1n]
  return [...edges, ...Array.from({ length: 16 }, () => random(bits))]
}

/** What the instruction leaves in RAX and RDX, or undefined for #DE. */
function model(bits: number, signed: boolean, rax: bigint, rdx: bigint, divisor: bigint): [bigint, bigint] | undefined {
  const fit = (value: bigint, width: number): bigint =>
    signed ? BigInt.asIntN(width, value) : BigInt.asUintN(width, value)
  const high = bits === 8 ? (rax >> 8n) & 0xffn : BigInt.asUintN(bits, rdx)
  const dividend = fit((high << BigInt(bits)) | BigInt.asUintN(bits, rax), bits * 2)
  const by = fit(divisor, bits)
  if (by === 0n) return undefined
  const quotient = dividend / by
  if (fit(quotient, bits) !== quotient) return undefined
  const [q, r] = [BigInt.asUintN(bits, quotient), BigInt.asUintN(bits, dividend % by)]
  if (bits === 8) return [(rax & ~0xffffn) | (r << 8n) | q, rdx]
  if (bits === 16) return [(rax & ~0xffffn) | q, (rdx & ~0xffffn) | r]
  return [q, r]
}

describe.each([8, 16, 32, 64])('%i bits', (bits) => {
  for (const signed of [false, true])
    test(`${signed ? 'IDIV' : 'DIV'}`, () => {
      const wrong: string[] = []
      const check = (rax: bigint, rdx: bigint, divisor: bigint): void => {
        m.set('RAX', rax)
        m.set('RDX', rdx)
        const status = m.run[signed ? 'idiv' : 'div'](p, bits / 8, divisor)
        const exception = m.exception()
        const result = model(bits, signed, rax, rdx, divisor)
        const [a, d] = result ?? [rax, rdx]
        if (
          m.get('RAX') !== a ||
          m.get('RDX') !== d ||
          status !== (result ? 0 : 1) ||
          exception !== (result ? '' : '0')
        )
          wrong.push(`${rdx.toString(16)}:${rax.toString(16)} / ${divisor.toString(16)}`)
      }
      for (const divisor of values(bits)) {
        for (const low of values(bits).slice(0, 20))
          for (const high of [
            ...values(bits).slice(0, 14),
            divisor - 1n,
            divisor,
            divisor >> 1n,
            -1n,
            -divisor / 2n,
            -(divisor + 1n) / 2n,
          ]) {
            const upper = BigInt.asUintN(bits, high)
            if (bits === 8) check(0xabcdef1234560000n | (upper << 8n) | low, 0x1111n, divisor)
            else
              check(
                low | (bits < 64 ? 0xfedcba0000000000n : 0n),
                upper | (bits < 64 ? 0x123456700000000n : 0n),
                divisor,
              )
          }
      }
      expect(wrong).toEqual([])
    })
})
