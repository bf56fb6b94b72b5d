/** FNSTENV, FNSAVE and FXSAVE images against the host's CPU; real-address mode formats against the SDM. */
import { beforeAll, describe, expect, test } from 'vitest'
import { isIntel } from '../../../test/oracle/host.ts'
import { Case, Core, Fx } from '../../../test/oracle/fp/oracle.ts'
import { differences } from '../../../test/oracle/fp/x87.ts'
import type { X87Op } from '../../../test/oracle/fp/x87.ts'
import type { Random } from '../../../test/oracle/fp/values.ts'
import { S } from '../layout.ts'

let core: Core
beforeAll(async () => {
  core = await Core.create()
}, 120_000)

const image = (): number => core.p + S.SCRATCH
const call = (name: string, ...args: number[]): number => core.call[name]!(core.p, ...args) as number

/** Random memory, FCW and FSW of an image among it made to be frequently plain. */
function randomMemory(random: Random, view: DataView, at: number): void {
  for (let i = 0; i < 512; i += 4) view.setUint32(at + Case.MEM + i, random.u32(), true)
  for (let i = 0; i < 256; i += 4) view.setUint32(at + Fx.XMM + i, random.u32(), true)
  view.setUint32(at + Fx.MXCSR, random.u32() & 0xffbf, true)
  // Hardware keeps these as wide as its linear addresses: canonical values only.
  for (const base of [at + Fx.FIP, at + Fx.FDP, at + Case.MEM + 8, at + Case.MEM + 16])
    view.setBigInt64(base, BigInt.asIntN(48, random.u64()), true)
}

describe.each([0, 1])('environment, format %i', (format) => {
  const prefix = format ? [] : [0x66]
  const size = format ? 28 : 14
  test('fnstenv', () => {
    const run: X87Op['run'] = () => {
      call('x87StoreEnv', image(), format)
      call('x87EnvStored')
    }
    expect(differences(core, { code: [...prefix, 0xd9, 0x37], prepare: randomMemory, stores: 512, run }, 600)).toBe('')
  })
  test('fnsave', () => {
    const run: X87Op['run'] = () => {
      call('x87StoreEnv', image(), format)
      call('x87StoreStack', image() + size)
      call('x87Init')
    }
    expect(differences(core, { code: [...prefix, 0xdd, 0x37], prepare: randomMemory, stores: 512, run }, 600)).toBe('')
  })
  test('fldenv', () => {
    const run: X87Op['run'] = () => {
      if (call('x87Fault') === 0) call('x87LoadEnv', image(), format)
    }
    expect(differences(core, { code: [...prefix, 0xd9, 0x27], prepare: randomMemory, run }, 600)).toBe('')
  })
  test('frstor', () => {
    const run: X87Op['run'] = () => {
      if (call('x87Fault') !== 0) return
      call('x87LoadEnv', image(), format)
      call('x87LoadStack', image() + size)
    }
    expect(differences(core, { code: [...prefix, 0xdd, 0x27], prepare: randomMemory, run }, 600)).toBe('')
  })
})

describe.each([0, 1])('x87 part of FXSAVE, wide %i', (wide) => {
  const prefix = wide ? [0x48] : []
  test('fxsave', () => {
    const run: X87Op['run'] = () => call('fxStoreX87', image(), wide)
    const prepare: X87Op['prepare'] = (random, view, at) => {
      randomMemory(random, view, at)
      // MXCSR and its mask are not stored by this procedure.
      view.setUint32(at + Case.MEM + 24, view.getUint32(at + Fx.MXCSR, true), true)
      view.setUint32(at + Case.MEM + 28, 0xffff, true)
    }
    // AMD's have no pointers there, and one more bit in MXCSR_MASK.
    const storesFrom = isIntel ? 0 : 32
    const op: X87Op = { code: [...prefix, 0x0f, 0xae, 0x07], prepare, stores: 160, storesFrom, run }
    expect(differences(core, op, 600)).toBe('')
  })
  test('fxrstor', () => {
    const run: X87Op['run'] = () => call('fxLoadX87', image(), wide)
    const prepare: X87Op['prepare'] = (random, view, at) => {
      randomMemory(random, view, at)
      view.setUint32(at + Case.MEM + 24, random.u32() & 0xffff, true)
    }
    expect(differences(core, { code: [...prefix, 0x0f, 0xae, 0x0f], prepare, run }, 600)).toBe('')
  })
})

test('real-address mode formats (SDM Vol. 1 figures 8-10 and 8-12)', () => {
  call('x87Init')
  core.view.setUint32(core.p + S.FOP, 0x5a5, true)
  core.view.setBigUint64(core.p + S.FIP, 0x12345678n, true)
  core.view.setBigUint64(core.p + S.FDP, 0x9abcdef0n, true)
  call('x87StoreEnv', image(), 3)
  expect([12, 16, 20, 24].map((offset) => core.u32(S.SCRATCH + offset))).toEqual([
    0xffff5678, 0x012345a5, 0xffffdef0, 0x09abc000,
  ])
  call('x87Init')
  call('x87LoadEnv', image(), 3)
  expect([core.u32(S.FOP), core.u64(S.FIP), core.u64(S.FDP)]).toEqual([0x5a5, 0x12345678n, 0x9abcdef0n])
  call('x87StoreEnv', image(), 2)
  expect([6, 8, 10, 12].map((offset) => core.view.getUint16(image() + offset, true))).toEqual([
    0x5678, 0x45a5, 0xdef0, 0xc000,
  ])
  call('x87LoadEnv', image(), 2)
  expect([core.u32(S.FOP), core.u64(S.FIP), core.u64(S.FDP)]).toEqual([0x5a5, 0x45678n, 0xcdef0n])
})
