/** The native runner itself, on instructions whose outcome the SDM states plainly. */
import { describe, expect, test } from 'vitest'
import { buildNative, runNative, TIMEOUT, type Case, type Result } from './native.ts'
import { Seg, Selector, type Mode } from './segments.ts'
import { Space } from './space.ts'

const path = buildNative()
const END = BigInt(Space.CODE + 0x800)

function freshFxsave(): Uint8Array {
  const image = new Uint8Array(512)
  const view = new DataView(image.buffer)
  view.setUint16(0, 0x37f, true)
  view.setUint32(24, 0x1f80, true)
  return image
}

const codeSelectors = {
  64: Selector.CODE64,
  32: Selector.CODE32,
  s32: Selector.LDT_CODE32,
  16: Selector.LDT_CODE16,
} as const

function make(code: number[], set: (c: Case) => void = () => {}, mode: Mode = 64): Case {
  const gpr = new BigUint64Array(16)
  gpr[4] = BigInt(Space.DATA + 0x1800)
  const c: Case = {
    mode,
    selectors: [Selector.DATA, codeSelectors[mode], Selector.DATA, Selector.DATA, 0, 0],
    code: Uint8Array.from(code),
    offset: 0x800,
    gpr,
    flags: 0x202,
    fsBase: 0n,
    gsBase: 0n,
    fxsave: freshFxsave(),
    window: Space.DATA,
    memory: new Uint8Array(512),
  }
  set(c)
  return c
}

function run(...cases: Case[]): Result[] {
  return runNative(path!, cases)
}

function one(c: Case): Result {
  return run(c)[0]!
}

/** Kernels without 32-bit programs let nobody run 32-bit code. */
function runs32(): boolean {
  return path !== undefined && one(make([0x90], undefined, 32)).trap === 3
}
const has32 = runs32()

describe.skipIf(!path)('native runner', () => {
  test('add sets result and flags, in both modes', () => {
    const set = (c: Case): void => {
      c.gpr[0] = 0xffffffffn
      c.gpr[1] = 1n
    }
    for (const mode of has32 ? ([64, 32] as const) : ([64] as const)) {
      const r = one(make([0x01, 0xc8], set, mode)) // add eax, ecx
      expect(r.gpr[0]).toBe(0n)
      expect(r.flags & 0x8d5).toBe(0x55)
      expect([r.trap, r.rip]).toEqual([3, END + 3n])
    }
  })

  test.runIf(has32)('48h is REX.W in one mode and DEC in the other', () => {
    const set = (c: Case): void => void (c.gpr[0] = 5n)
    const code = [0x48, 0x40, 0x90]
    expect(one(make(code, set, 64)).gpr[0]).toBe(5n)
    expect(one(make([0x48], set, 32)).gpr[0]).toBe(4n)
  })

  test('divide error', () => {
    const r = one(make([0xf7, 0xf9])) // idiv ecx
    expect([r.trap, r.rip]).toEqual([0, END])
  })

  test('page faults: read, write to read-only, fetch, execute', () => {
    const at =
      (address: number) =>
      (c: Case): void =>
        void (c.gpr[3] = BigInt(address))
    const [read, write, jump] = run(
      make([0x8b, 0x03], at(Space.READ_ONLY + 4094)), // mov eax, [rbx], across the end
      make([0x89, 0x03], at(Space.READ_ONLY - 2)), // mov [rbx], eax
      make([0xff, 0xe3], at(Space.DATA)),
    ) // jmp rbx
    expect([read!.trap, read!.error, read!.cr2]).toEqual([14, 4, BigInt(Space.READ_ONLY + 4096)])
    expect([write!.trap, write!.error, write!.cr2]).toEqual([14, 7, BigInt(Space.READ_ONLY)])
    expect(write!.changed.size).toBe(0)
    expect([jump!.trap, jump!.error, jump!.cr2, jump!.rip]).toEqual([14, 0x15, BigInt(Space.DATA), BigInt(Space.DATA)])
  })

  test('ud2, a misaligned movaps and a non-canonical address', () => {
    const [ud, gp, ss] = run(
      make([0x0f, 0x0b]),
      make([0x0f, 0x28, 0x03], (c) => void (c.gpr[3] = BigInt(Space.DATA + 4))),
      make([0x8b, 0x45, 0x00], (c) => void (c.gpr[5] = 1n << 63n)),
    )
    expect(ud!.trap).toBe(6)
    expect([gp!.trap, gp!.error]).toEqual([13, 0])
    expect([ss!.trap, ss!.error]).toEqual([12, 0])
  })

  test('memory: window, background and changed words', () => {
    const r = one(
      make([0x48, 0x01, 0x03], (c) => {
        // add [rbx], rax
        c.gpr[0] = 2n
        c.gpr[3] = BigInt(Space.DATA + 8)
        c.memory[8] = 40
      }),
    )
    expect([...r.changed]).toEqual([[8, 42n]])
  })

  test('x87: fadd of the loaded image, unmasked exception at the next instruction', () => {
    const set = (c: Case): void => {
      const view = new DataView(c.fxsave.buffer)
      c.fxsave[4] = 0xff
      for (const slot of [32, 48]) {
        view.setBigUint64(slot, 1n << 63n, true)
        view.setUint16(slot + 8, 0x3fff, true)
      }
    }
    const r = one(make([0xd8, 0xc1], set)) // fadd st, st1
    const view = new DataView(r.fxsave.buffer, r.fxsave.byteOffset)
    expect(view.getUint16(40, true)).toBe(0x4000)
    const mf = one(
      make([0xd8, 0xc1, 0xd9, 0xd0], (c) => {
        set(c)
        new DataView(c.fxsave.buffer).setUint16(0, 0x340, true)
        c.fxsave[4] = 0 // all empty: stack fault
      }),
    )
    expect([mf.trap, mf.rip]).toEqual([16, END + 2n])
  })

  test('SSE: addps and an unmasked exception', () => {
    const set = (c: Case): void => {
      const lanes = new Float32Array(c.fxsave.buffer)
      lanes.set([1, 2, 3, 4], 160 / 4)
      lanes.set([10, 20, 30, 40], 176 / 4)
    }
    const r = one(make([0x0f, 0x58, 0xc1], set))
    expect([...new Float32Array(r.fxsave.slice(160, 176).buffer)]).toEqual([11, 22, 33, 44])
    const xm = one(
      make([0x0f, 0x5e, 0xc2], (c) => {
        // divps xmm0, xmm2 (zero)
        set(c)
        new DataView(c.fxsave.buffer).setUint32(24, 0, true)
      }),
    )
    expect(xm.trap).toBe(19)
  })

  test('DF, NT and ID of one case do not leak into the next', () => {
    const popf = make([0x9d], (c) => {
      c.window = Number(c.gpr[4])
      c.memory = Uint8Array.from([0xff, 0x4e, 0x20, 0, 0, 0, 0, 0])
    })
    const [first, second] = run(popf, make([0x90]))
    expect(first!.flags & 0x204ed5).toBe(0x204ed5 & first!.flags)
    expect(first!.flags & 0x204400).toBe(0x204400)
    expect(second!.flags).toBe(0x202)
  })

  test('FS base and segment registers are set, reported and reset', () => {
    const [write, load] = run(
      make([0xf3, 0x48, 0x0f, 0xae, 0xd0], (c) => void (c.gpr[0] = 0x123456789n)), // wrfsbase rax
      make([0x64, 0x8b, 0x03], (c) => {
        // mov eax, fs:[rbx]
        c.fsBase = BigInt(Space.DATA)
        c.memory[8] = 7
        c.gpr[3] = 8n
      }),
    )
    expect(write!.fsBase).toBe(0x123456789n)
    expect(load!.gpr[0]).toBe(7n)
    const [fs, after] = run(
      make([0x8e, 0xe0], (c) => void (c.gpr[0] = 0x2bn)),
      make([0x90]),
    ) // mov fs, eax
    expect([...fs!.selectors]).toEqual([0x2b, 0x33, 0x2b, 0x2b, 0x2b, 0])
    expect([...after!.selectors]).toEqual([0x2b, 0x33, 0x2b, 0x2b, 0, 0])
  })

  test('an endless loop is stopped and the rest goes on', () => {
    const [loop, next] = run(make([0xeb, 0xfe]), make([0x90]))
    expect(loop!.trap).toBe(TIMEOUT)
    expect(next!.trap).toBe(3)
  })

  test.runIf(has32)('16-bit code, its stack and a segment limit', () => {
    const set = (c: Case): void => {
      c.selectors = [Selector.DATA16, Selector.LDT_CODE16, Selector.DATA16, Selector.SMALL, 0, 0]
      c.gpr[4] = 0x1002n
      c.gpr[3] = 0x7fdn
    }
    const [push, limit] = run(
      make([0x06], set, 16), // push es
      make([0x8b, 0x47, 0x01], set, 16),
    ) // mov ax, [bx + 1]
    expect([push!.trap, push!.rip, push!.gpr[4]]).toEqual([3, 0x802n, 0x1000n])
    expect(push!.changed.get(0x1000)! & 0xffffn).toBe(BigInt(Selector.DATA16))
    expect([limit!.trap, limit!.error, limit!.rip]).toEqual([13, 0, 0x800n])
    expect(limit!.selectors[Seg.DS]).toBe(Selector.SMALL)
  })

  test.runIf(has32)('in compatibility mode inc, aaa and into exist', () => {
    const [aaa, into] = run(
      make([0x37], (c) => void (c.gpr[0] = 0x0an), 32),
      make([0xce], (c) => void (c.flags = 0xa02), 32),
    )
    expect(aaa!.gpr[0]).toBe(0x100n)
    expect([into!.trap, into!.rip]).toEqual([4, END + 1n])
  })
})
