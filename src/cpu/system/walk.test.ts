/** The page walk against an independent model of SDM Vol. 3A 4.6 (access rights) and 4.7 (page-fault error code). */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { M, MAXPHYADDR, Mode, S } from '../layout.ts'
import { makeTestCore, p, Ram, setState, takeException } from '../testing/memory.ts'
import type { MemoryProcedures, TestCore } from '../testing/memory.ts'

const PML4 = 0x1000
const PDPT = 0x2000
const PD = 0x3000
const PT = 0x4000
const PAGE = 0x10000
const LINEAR = 0x5123n // PML4[0], PDPT[0], PD[0], PT[5]

const PRESENT = 1n
const RW = 2n
const US = 4n
const A = 0x20n
const D = 0x40n
const PS = 0x80n
const NX = 1n << 63n

const CR0 = { PE: 1n, WP: 1n << 16n, PG: 1n << 31n }
const CR4 = { PSE: 1n << 4n, PAE: 1n << 5n, SMEP: 1n << 20n, SMAP: 1n << 21n }
const EFER = { LME: 1n << 8n, LMA: 1n << 10n, NXE: 1n << 11n }
const AC = 1 << 18

let core: TestCore
let run: MemoryProcedures
let ram: Ram

beforeAll(async () => {
  core = await makeTestCore()
  run = core.procedures
  ram = new Ram(core)
  run.resetTlb(p)
})

interface Paging {
  cr0?: bigint
  cr4?: bigint
  efer?: bigint
  cpl?: number
  ac?: boolean
  mode?: number
  cr3?: number
}

function configure({
  cr0 = CR0.WP,
  cr4 = 0n,
  efer = 0n,
  cpl = 0,
  ac = false,
  mode = Mode.LONG,
  cr3 = PML4,
}: Paging): void {
  const long = mode === Mode.LONG
  setState(core, {
    CR0: CR0.PE | CR0.PG | cr0,
    CR3: BigInt(cr3),
    CR4: (long ? CR4.PAE : 0n) | cr4,
    EFER: (long ? EFER.LME | EFER.LMA : 0n) | efer,
    CPL: cpl,
    SYSFLAGS: 2 | (ac ? AC : 0),
    MODE: mode,
    EXC: -1,
    CR2: 0n,
  })
  run.flushAll(p)
  run.setBank(p)
  core.calls.length = 0
}

/** PML4[0] → PDPT[0] → PD[0] → PT[5] → PAGE, all rights, then `entries` instead. */
function map4(entries: { e4?: bigint; e3?: bigint; e2?: bigint; e1?: bigint } = {}): void {
  ram.write64(PML4, entries.e4 ?? BigInt(PDPT) | PRESENT | RW | US)
  ram.write64(PDPT, entries.e3 ?? BigInt(PD) | PRESENT | RW | US)
  ram.write64(PD, entries.e2 ?? BigInt(PT) | PRESENT | RW | US)
  ram.write64(PT + 5 * 8, entries.e1 ?? BigInt(PAGE) | PRESENT | RW | US)
}

type Access = 'read' | 'write' | 'execute' | 'system read' | 'system write'
const ACCESSES: Access[] = ['read', 'write', 'execute', 'system read', 'system write']

function access(kind: Access, linear = LINEAR): { vector: number; error?: number } | undefined {
  if (kind === 'read') run.slowLoad(p, linear, 4)
  else if (kind === 'write') run.slowStore(p, linear, 4, 0n)
  else if (kind === 'execute') run.fetchCheck(p, linear)
  else if (kind === 'system read') run.sysLoad(p, linear, 4)
  else run.sysStore(p, linear, 4, 0n)
  return takeException(core)
}

interface Rights {
  us: boolean
  rw: boolean
  nx: boolean
}
interface Rules {
  cpl: number
  wp: boolean
  smep: boolean
  smap: boolean
  ac: boolean
  nxe: boolean
}

/** SDM Vol. 3A 4.6.1, in its words' order: supervisor-mode access or user-mode, then the kind of access. */
function allowed(kind: Access, { us, rw, nx }: Rights, rules: Rules): boolean {
  const implicit = kind.startsWith('system')
  const supervisor = implicit || rules.cpl < 3
  const execute = kind === 'execute'
  const writes = kind.endsWith('write')
  if (execute) {
    if (rules.nxe && nx) return false
    return supervisor ? !(us && rules.smep) : us
  }
  if (!supervisor) return us && (!writes || rw)
  if (us && rules.smap && (implicit || !rules.ac)) return false
  return !writes || rw || !rules.wp
}

const bools = [false, true]

describe('access rights', () => {
  for (const cpl of [0, 3])
    for (const nxe of bools)
      test(`CPL ${cpl}, NXE ${nxe}: every combination of rights in two levels, WP, SMEP, SMAP, AC and access`, () => {
        for (const wp of bools)
          for (const smep of bools)
            for (const smap of bools)
              for (const ac of bools)
                for (let rights = 0; rights < 64; rights++)
                  for (const kind of ACCESSES) {
                    const [us2, rw2, nx2, us1, rw1, nx1] = [0, 1, 2, 3, 4, 5].map((i) => ((rights >> i) & 1) === 1)
                    if (!nxe && (nx1 || nx2)) continue
                    const bits = (us?: boolean, rw?: boolean, nx?: boolean): bigint =>
                      PRESENT | (us ? US : 0n) | (rw ? RW : 0n) | (nx ? NX : 0n)
                    const e2 = BigInt(PT) | bits(us2, rw2, nx2)
                    const e1 = BigInt(PAGE) | bits(us1, rw1, nx1)
                    map4({ e2, e1 })
                    configure({
                      cr0: wp ? CR0.WP : 0n,
                      cr4: (smep ? CR4.SMEP : 0n) | (smap ? CR4.SMAP : 0n),
                      efer: nxe ? EFER.NXE : 0n,
                      cpl,
                      ac,
                    })
                    const rules = { cpl, wp, smep, smap, ac, nxe }
                    const ok = allowed(kind, { us: us1! && us2!, rw: rw1! && rw2!, nx: nx1! || nx2! }, rules)
                    const user = cpl === 3 && !kind.startsWith('system')
                    const error =
                      1 |
                      (kind.endsWith('write') ? 2 : 0) |
                      (user ? 4 : 0) |
                      (kind === 'execute' && (smep || nxe) ? 16 : 0)
                    const name = JSON.stringify({ ...rules, kind, rights })
                    const first = access(kind)
                    expect(first, name).toEqual(ok ? undefined : { vector: 14, error })
                    expect(access(kind), `again ${name}`).toEqual(first)
                    const used = ram.read64(PT + 5 * 8)
                    expect(used, name).toBe(!ok ? e1 : e1 | A | (kind.endsWith('write') ? D : 0n))
                    expect(core.view.getBigUint64(p + S.CR2, true), name).toBe(ok ? 0n : LINEAR)
                  }
      })

  test('a TLB entry grants no more than its access', () => {
    for (const kind of ACCESSES)
      for (const then of ACCESSES)
        for (const cpl of [0, 3])
          for (let rights = 0; rights < 8; rights++) {
            const rules = { cpl, wp: true, smep: true, smap: true, ac: false, nxe: true }
            const [us, rw, nx] = [rights & 1, rights & 2, rights & 4].map(Boolean)
            map4({ e1: BigInt(PAGE) | PRESENT | (us ? US : 0n) | (rw ? RW : 0n) | (nx ? NX : 0n) })
            configure({ cr4: CR4.SMEP | CR4.SMAP, efer: EFER.NXE, cpl })
            access(kind)
            const name = JSON.stringify({ kind, then, cpl, rights })
            expect(access(then) === undefined, name).toBe(allowed(then, { us: us!, rw: rw!, nx: nx! }, rules))
          }
  })
})

describe('4-level', () => {
  beforeEach(() => map4())

  test('accessed flags on each level, dirty on the last for a write', () => {
    configure({})
    expect(access('read')).toBe(undefined)
    for (const pa of [PML4, PDPT, PD, PT + 40]) expect(ram.read64(pa) & (A | D)).toBe(A)
    expect(access('write')).toBe(undefined)
    for (const pa of [PML4, PDPT, PD]) expect(ram.read64(pa) & (A | D)).toBe(A)
    expect(ram.read64(PT + 40) & (A | D)).toBe(A | D)
  })

  test('an absent entry at each level', () => {
    for (const level of ['e4', 'e3', 'e2', 'e1'] as const) {
      map4({ [level]: ~1n & 0xffffffffffffffffn })
      configure({ cpl: 3 })
      expect(access('read')).toEqual({ vector: 14, error: 4 })
      expect(access('write')).toEqual({ vector: 14, error: 6 })
      expect(access('execute')).toEqual({ vector: 14, error: 4 })
      expect(access('system write')).toEqual({ vector: 14, error: 2 })
    }
  })

  /** Bits of a present entry that must be 0. */
  const beyond = (bit: number): boolean => bit >= MAXPHYADDR && bit < 52
  const reserved: Record<string, (bit: number, nxe: boolean) => boolean> = {
    e4: (bit, nxe) => bit === 7 || beyond(bit) || (bit === 63 && !nxe),
    e3: (bit, nxe) => beyond(bit) || (bit === 63 && !nxe),
    e2: (bit, nxe) => beyond(bit) || (bit === 63 && !nxe),
    e1: (bit, nxe) => beyond(bit) || (bit === 63 && !nxe),
    e3large: (bit, nxe) => (bit >= 13 && bit < 30) || beyond(bit) || (bit === 63 && !nxe),
    e2large: (bit, nxe) => (bit >= 13 && bit < 21) || beyond(bit) || (bit === 63 && !nxe),
  }
  for (const nxe of bools)
    test(`reserved bits at each level, NXE ${nxe}`, () => {
      for (const [name, isReserved] of Object.entries(reserved))
        for (let bit = 7; bit < 64; bit++) {
          const large = name.endsWith('large')
          const level = name.slice(0, 2)
          const next = { e4: PDPT, e3: PD, e2: PT, e1: PAGE }[level]!
          const entry = (large ? PS : BigInt(next)) | PRESENT | RW | US
          if (!isReserved(bit, nxe) && ((bit >= 12 && bit < 52) || (bit === 7 && !large))) continue
          map4({ [level]: entry | (1n << BigInt(bit)) })
          configure({ efer: nxe ? EFER.NXE : 0n })
          expect(access('read'), `${name} bit ${bit}`).toEqual(
            isReserved(bit, nxe) ? { vector: 14, error: 9 } : undefined,
          )
        }
    })

  test('2 MiB and 1 GiB pages', () => {
    ram.write32(0x205678, 0x11112222)
    map4({ e2: 0x200000n | PS | PRESENT | RW | US })
    configure({})
    expect(run.slowLoad(p, 0x5678n, 4)).toBe(0x11112222n)
    run.slowStore(p, 0x5678n, 4, 0x33334444n)
    expect(ram.read32(0x205678)).toBe(0x33334444)
    expect(ram.read64(PD) & (A | D)).toBe(A | D)
    map4({ e3: PS | PRESENT | RW | US })
    configure({})
    expect(run.slowLoad(p, 0x205678n, 4)).toBe(0x33334444n)
    expect(ram.read64(PDPT) & (A | D)).toBe(A)
  })

  test('non-canonical addresses are #GP(0), through SS #SS(0)', () => {
    configure({})
    for (const linear of [0x800000000000n, 0xffff7fffffffffffn, 0x7fffffffffffn, 0x1234000000000000n]) {
      run.slowLoad(p, linear, 4)
      expect(takeException(core)).toEqual({ vector: 13, error: 0 })
      expect(run.slowStore(p, linear, 0x104, 0n)).toBe(1)
      expect(takeException(core)).toEqual({ vector: 12, error: 0 })
      expect(run.probeWrite(p, linear, 8)).toBe(-1)
      expect(takeException(core)).toEqual({ vector: 13, error: 0 })
    }
  })
})

describe('PAE', () => {
  const mode = Mode.D | Mode.B | Mode.FLAT
  function mapPae(e2: bigint, e1: bigint): void {
    for (let i = 0; i < 4; i++) ram.write64(PDPT + i * 8, i === 1 ? BigInt(PD) | PRESENT : 0n)
    ram.write64(PD + 8, e2)
    ram.write64(PT + 5 * 8, e1)
  }
  const linear = 0x40205123n // PDPTE 1, PD[1], PT[5]

  test('the pointer registers are loaded once, the rest is walked', () => {
    mapPae(BigInt(PT) | PRESENT | RW | US, BigInt(PAGE) | PRESENT | RW | US)
    configure({ mode, cr4: CR4.PAE, cr3: PDPT })
    expect(run.loadPdptes(p, BigInt(PDPT))).toBe(0)
    ram.write64(PDPT + 8, 0n)
    ram.write32(PAGE + 0x123, 0x55667788)
    expect(run.slowLoad(p, linear, 4)).toBe(0x55667788n)
    expect(access('read', 0x80205123n)).toEqual({ vector: 14, error: 0 })
    expect(ram.read64(PD + 8) & A).toBe(A)
  })

  test('who sets the registers from outside has the pointer registers, too', () => {
    mapPae(BigInt(PT) | PRESENT | RW | US, BigInt(PAGE) | PRESENT | RW | US)
    configure({ mode, cr4: CR4.PAE, cr3: PDPT })
    run.refreshState(p)
    ram.write32(PAGE + 0x123, 0x55667788)
    expect(run.slowLoad(p, linear, 4)).toBe(0x55667788n)
  })

  test('reserved bits of a pointer entry: #GP(0), registers unchanged', () => {
    for (let bit = 1; bit < 64; bit++) {
      const bad = (bit >= 5 && bit <= 8) || bit === 1 || bit === 2 || bit >= MAXPHYADDR
      mapPae(BigInt(PT) | PRESENT | RW | US, BigInt(PAGE) | PRESENT | RW | US)
      configure({ mode, cr4: CR4.PAE, cr3: PDPT })
      expect(run.loadPdptes(p, BigInt(PDPT))).toBe(0)
      ram.write64(PDPT, (1n << BigInt(bit)) | PRESENT)
      ram.write64(PDPT + 8, 0n)
      expect(run.loadPdptes(p, BigInt(PDPT)), `bit ${bit}`).toBe(bad ? 1 : 0)
      expect(takeException(core)).toEqual(bad ? { vector: 13, error: 0 } : undefined)
      expect(access('read', linear) === undefined, `bit ${bit}`).toBe(bad)
    }
  })

  test('reserved bits below, NX and 2 MiB pages', () => {
    for (const nxe of bools)
      for (let bit = MAXPHYADDR; bit < 64; bit++) {
        const bad = bit < 63 || !nxe
        for (const level of ['e2', 'e1', 'large']) {
          const extra = (at: string): bigint => (level === at ? 1n << BigInt(bit) : 0n)
          if (level === 'large') mapPae(0x200000n | PS | PRESENT | RW | US | extra('large'), 0n)
          else mapPae(BigInt(PT) | PRESENT | RW | US | extra('e2'), BigInt(PAGE) | PRESENT | RW | US | extra('e1'))
          configure({ mode, cr4: CR4.PAE, efer: nxe ? EFER.NXE : 0n, cr3: PDPT })
          run.loadPdptes(p, BigInt(PDPT))
          expect(access('read', linear), `${level} ${bit}`).toEqual(bad ? { vector: 14, error: 9 } : undefined)
          expect(access('execute', linear), `${level} ${bit}`).toEqual(
            bad ? { vector: 14, error: nxe ? 25 : 9 } : { vector: 14, error: 17 },
          )
        }
      }
  })
})

describe('32-bit', () => {
  const mode = Mode.D | Mode.B | Mode.FLAT
  const linear = 0x805123n // PDE 2, PTE 5

  test('rights, accessed and dirty', () => {
    for (const cpl of [0, 3])
      for (const wp of bools)
        for (const smep of bools)
          for (let rights = 0; rights < 16; rights++)
            for (const kind of ACCESSES) {
              const e2 = PD | 1 | ((rights & 3) << 1)
              const e1 = PAGE | 1 | ((rights >> 2) << 1)
              ram.write32(PML4 + 8, e2)
              ram.write32(PD + 20, e1)
              configure({ mode, cpl, cr0: wp ? CR0.WP : 0n, cr4: smep ? CR4.SMEP : 0n })
              const rw = (rights & 5) === 5
              const us = (rights & 10) === 10
              const rules = { cpl, wp, smep, smap: false, ac: false, nxe: false }
              const ok = allowed(kind, { us, rw, nx: false }, rules)
              const writes = kind.endsWith('write')
              const user = cpl === 3 && !kind.startsWith('system')
              const error = 1 | (writes ? 2 : 0) | (user ? 4 : 0) | (kind === 'execute' && smep ? 16 : 0)
              const name = JSON.stringify({ ...rules, kind, rights })
              expect(access(kind, linear), name).toEqual(ok ? undefined : { vector: 14, error })
              expect(ram.read32(PML4 + 8), name).toBe(e2 | 0x20)
              expect(ram.read32(PD + 20), name).toBe(!ok ? e1 : e1 | 0x20 | (writes ? 0x40 : 0))
            }
  })

  test('4 MiB pages with PSE-36; without CR4.PSE bit 7 is ignored', () => {
    ram.write32(0x305124, 0xabcdef01)
    ram.write32(PML4 + 8, 0x83)
    configure({ mode, cr4: CR4.PSE })
    expect(run.slowLoad(p, 0xb05124n, 4)).toBe(0xabcdef01n)
    expect(ram.read32(PML4 + 8)).toBe(0xa3)
    for (let bit = 13; bit < 22; bit++) {
      ram.write32(PML4 + 8, 0x83 | (1 << bit))
      configure({ mode, cr4: CR4.PSE })
      const exception = access('read', 0xb05124n)
      const far = ['mmioRead', 0x305124 + 2 ** (32 + bit - 13), 4]
      expect([exception, ...core.calls]).toEqual(bit >= 20 ? [{ vector: 14, error: 9 }] : [undefined, far])
    }
    ram.write32(PML4 + 8, PD | 0x83)
    ram.write32(PD + 20, PAGE | 3)
    ram.write32(PAGE + 0x124, 0x777)
    configure({ mode })
    expect(run.slowLoad(p, 0x805124n, 4)).toBe(0x777n)
  })

  test('no paging', () => {
    configure({ mode })
    setState(core, { CR0: CR0.PE, CPL: 3 })
    run.setBank(p)
    ram.write32(0x12345, 0x99)
    expect(run.slowLoad(p, 0x12345n, 4)).toBe(0x99n)
    expect(run.slowStore(p, 0x12345n, 4, 0x98n)).toBe(0)
    expect(ram.read32(0x12345)).toBe(0x98)
    expect(takeException(core)).toBe(undefined)
  })

  test('an access across 4 GiB wraps around', () => {
    configure({ mode })
    setState(core, { CR0: CR0.PE })
    run.setBank(p)
    core.answer = () => 0x77
    ram.write32(0, 0x11223344)
    core.calls.length = 0
    expect(run.slowLoad(p, 0xfffffffen, 4)).toBe(0x33440077n)
    expect(core.calls).toEqual([['mmioRead', 0xfffffffe, 2]])
  })
})

test('page tables in ROM are read and never written', () => {
  map4()
  core.view.setUint8(M.PAGE_ATTR + (PT >>> 12), 1)
  configure({})
  expect(access('write')).toBe(undefined)
  expect(ram.read64(PT + 40) & (A | D)).toBe(0n)
  core.view.setUint8(M.PAGE_ATTR + (PT >>> 12), 0)
})
