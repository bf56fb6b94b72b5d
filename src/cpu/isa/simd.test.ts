/** When MMX and SSE instructions are refused (SDM Vol. 3A tables 2-2 and 12-1): what the user-mode oracle cannot try. */
import { beforeAll, expect, test } from 'vitest'
import type { Core } from '../core.ts'
import { M, S } from '../layout.ts'
import { coreAlone } from '../testing/alone.ts'

const CODE = 0x1000
const HANDLERS = 0x200 // vector n goes to HANDLERS + n : 0
const MP = 0x2,
  EM = 0x4,
  TS = 0x8
const OSFXSR = 0x200
const UD = 6,
  NM = 7,
  MF = 16
const NONE = -1

const never = () => {
  throw new Error('unexpected')
}
let core: Core
let state: DataView

beforeAll(async () => {
  core = await coreAlone({ mmioRead: never, mmioWrite: never, portIn: never, portOut: never })
  state = new DataView(core.memory.buffer, M.VCPU, M.VCPU_STRIDE)
  const vectors = new DataView(core.memory.buffer, M.RAM, 0x400)
  for (let n = 0; n < 256; n++) vectors.setUint32(n * 4, (HANDLERS + n) << 16, true)
})

/** The exception that one instruction, in real mode, ends in. */
function vectorOf(code: readonly number[], cr0: number, cr4: number, fsw = 0): number {
  const p = M.VCPU
  core.system.resetVcpu(p, 0)
  core.system['startVcpu']!(p, CODE >> 12)
  core.writeRam(CODE, Uint8Array.from(code))
  state.setBigUint64(S.RIP, 0n, true)
  state.setBigUint64(S.RSP, 0x8000n, true)
  state.setBigUint64(S.CR0, BigInt(cr0 | 0x10), true)
  state.setBigUint64(S.CR4, BigInt(cr4), true)
  state.setInt32(S.FSW, fsw, true)
  core.system.refreshState(p)
  core.runSlice(0, 1)
  const cs = state.getInt32(S.SEG_SELECTOR + 4, true)
  return cs >= HANDLERS && cs < HANDLERS + 256 ? cs - HANDLERS : NONE
}

const sse: [string, number[]][] = [
  ['MOVAPS', [0x0f, 0x28, 0xc1]],
  ['PADDB', [0x66, 0x0f, 0xfc, 0xc1]],
  ['ADDSD', [0xf2, 0x0f, 0x58, 0xc1]],
  ['CVTSI2SS', [0xf3, 0x0f, 0x2a, 0xc0]],
  ['STMXCSR', [0x0f, 0xae, 0x1e, 0, 0x20]],
  ['AESENC', [0x66, 0x0f, 0x38, 0xdc, 0xc1]],
  ['PCMPISTRI', [0x66, 0x0f, 0x3a, 0x63, 0xc1, 0]],
  ['PCLMULQDQ', [0x66, 0x0f, 0x3a, 0x44, 0xc1, 0]],
]
const mmx: [string, number[]][] = [
  ['PADDB', [0x0f, 0xfc, 0xc1]],
  ['MOVQ', [0x0f, 0x6f, 0xc1]],
  ['PSHUFW', [0x0f, 0x70, 0xc1, 0]],
  ['EMMS', [0x0f, 0x77]],
]
const free: [string, number[]][] = [
  ['CRC32', [0xf2, 0x0f, 0x38, 0xf0, 0xc1]],
  ['MOVNTI', [0x0f, 0xc3, 0x06, 0, 0x20]],
  ['LFENCE', [0x0f, 0xae, 0xe8]],
]

test.each(sse)('%s needs OSFXSR, no EM, no TS', (_name, code) => {
  expect(vectorOf(code, MP, OSFXSR)).toBe(NONE)
  expect(vectorOf(code, MP, 0)).toBe(UD)
  expect(vectorOf(code, MP | EM, OSFXSR)).toBe(UD)
  expect(vectorOf(code, MP | TS, OSFXSR)).toBe(NM)
  expect(vectorOf(code, MP | TS, 0)).toBe(UD)
  expect(vectorOf(code, MP, OSFXSR, 0x8081)).toBe(NONE)
})

test.each(mmx)('%s on MMX registers needs no EM, no TS and no pending x87 exception', (_name, code) => {
  expect(vectorOf(code, MP, 0)).toBe(NONE)
  expect(vectorOf(code, MP | EM, OSFXSR)).toBe(UD)
  expect(vectorOf(code, MP | EM | TS, OSFXSR)).toBe(UD)
  expect(vectorOf(code, MP | TS, OSFXSR)).toBe(NM)
  expect(vectorOf(code, MP, OSFXSR, 0x8081)).toBe(MF)
})

test.each([
  ['CVTPI2PS', [0x0f, 0x2a, 0xc1]],
  ['MOVQ2DQ', [0xf3, 0x0f, 0xd6, 0xc1]],
])('%s needs both', (_name, code) => {
  expect(vectorOf(code, MP, OSFXSR)).toBe(NONE)
  expect(vectorOf(code, MP, 0)).toBe(UD)
  expect(vectorOf(code, MP | TS, OSFXSR)).toBe(NM)
  expect(vectorOf(code, MP, OSFXSR, 0x8081)).toBe(MF)
})

test.each(free)('%s works always', (_name, code) => {
  expect(vectorOf(code, MP | EM | TS, 0)).toBe(NONE)
})
