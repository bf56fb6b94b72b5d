import { beforeEach, expect, test } from 'vitest'
import type { Core } from './core.ts'
import { S } from './layout.ts'
import { bytesAt, physicalAddress } from './mapping.ts'
import { coreAlone } from './testing/alone.ts'

const CR0 = 0x80000001n
const PAE = 0x20n
const PSE = 0x10n
const LONG = 0x500n

let core: Core
let p: number
beforeEach(async () => {
  core = await coreAlone()
  p = core.vcpus[0] as number
  core.writeRam(0x8000, Uint8Array.of(1, 2, 3, 4))
})

function mode(cr3: bigint, cr4: bigint, efer = 0n): void {
  for (const [at, value] of [
    [S.CR0, CR0] as const,
    [S.CR3, cr3] as const,
    [S.CR4, cr4] as const,
    [S.EFER, efer] as const,
  ])
    core.u64[(p + at) >> 3] = value
}
function put(at: number, value: bigint, size = 8): void {
  core.writeRam(
    at,
    Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn)),
  )
}
const at = (linear: bigint) => physicalAddress(core, p, linear)

test('without paging an address is physical, and has 32 bits', () => {
  expect([at(0x1234n), at(0xffffffff_80001000n)]).toEqual([0x1234n, 0x80001000n])
})

test('32-bit paging: pages of 4 KiB, of 4 MiB by CR4.PSE, and these beyond 4 GiB', () => {
  mode(0x1000n, PSE)
  put(0x1000 + 4 * 0x300, 0x2001n, 4)
  put(0x2000 + 4 * 5, 0x8001n, 4)
  put(0x1000 + 4 * 0x301, 0x00402081n, 4)
  expect([at(0xc0005003n), at(0xffffffff_c0005003n), at(0xc0006000n), at(0xc0412345n)]).toEqual([
    0x8003n,
    0x8003n,
    undefined,
    0x1_00412345n,
  ])
  mode(0x1000n, 0n)
  expect(at(0xc0412345n)).toBeUndefined()
})

test('PAE: a table of four entries that are no pages', () => {
  mode(0x1020n, PAE)
  put(0x1020 + 8 * 3, 0x2081n)
  put(0x2000, 0x3001n)
  put(0x2008, 0x00200081n)
  put(0x3000 + 8 * 5, 0x8001n)
  expect([at(0xc0005003n), at(0xc0212345n), at(0x40005003n)]).toEqual([0x8003n, 0x212345n, undefined])
})

test('long mode, and its pages of 1 GiB', () => {
  mode(0x1000n, PAE, LONG)
  put(0x1000 + 8 * 511, 0x2001n)
  put(0x2000 + 8 * 510, 0x3001n)
  put(0x2000 + 8 * 511, 0xc0000081n)
  put(0x3000, 0x4001n)
  put(0x4000 + 8 * 5, 0x80000000_00008001n)
  expect([at(0xffffffff_80005003n), at(0xffffffff_c1234567n), at(0x80005003n)]).toEqual([
    0x8003n,
    0xc1234567n,
    undefined,
  ])
})

test('in a 32-bit Xen PV guest CR3 is the table of four entries', () => {
  mode(0x1000n, PAE, LONG)
  core.u8[p + S.PV] = 2
  put(0x1000 + 8 * 3, 0x2001n)
  put(0x2000, 0x3001n)
  put(0x3000 + 8 * 5, 0x8001n)
  expect([at(0xc0005003n), at(0xffffffff_c0005003n), at(0x5003n)]).toEqual([0x8003n, 0x8003n, undefined])
  expect([...bytesAt(core, p, 0xc0005000n, 4)]).toEqual([1, 2, 3, 4])
  // As far as it is mapped.
  expect(bytesAt(core, p, 0xc0005ffen, 4)).toHaveLength(2)
})
