/** The core as a whole, on small programs in flat 32-bit code: budget, self-modifying code, streams, interrupts. */
import { beforeEach, describe, expect, test } from 'vitest'
import { Core, type CoreHost } from './core.ts'
import { cachedInterpreter } from './interpreter/cached.ts'
import { Exit, Leave, M, R, S } from './layout.ts'
import { hostAlone } from './testing/alone.ts'

const CODE = 0x10000
const RAM = 96 << 20
const CODE32 = 0xc9b
const DATA32 = 0xc93

let vectors: number[]
const host: CoreHost = {
  ...hostAlone,
  mmioRead: () => -1,
  portIn: () => -1,
  random: () => 4,
  acknowledge: () => vectors.shift() ?? -1,
}

class Program {
  readonly core: Core
  readonly p: number

  constructor(core: Core) {
    this.core = core
    this.p = core.vcpus[0] as number
  }

  static async load(code: readonly number[], at = CODE, translate = false): Promise<Program> {
    const options = { ramBytes: RAM, vcpus: 1, signature: 0, host, translate, deterministic: true }
    const program = new Program(await Core.create(options))
    const { core, p } = program
    program.set(S.CR0, 0x11)
    for (let i = 0; i < 6; i++) {
      program.word(S.SEG_LIMIT + 4 * i, -1)
      program.word(S.SEG_ATTR + 4 * i, i === 1 ? CODE32 : DATA32)
      program.word(S.SEG_SELECTOR + 4 * i, i === 1 ? 0x10 : 0x18)
      program.set(S.SEG_BASE + 8 * i, 0)
      if (i < 4) program.set(S.DESC_BASE + 8 * i, 0)
    }
    core.system.refreshState(p)
    core.system.updateMode(p)
    program.set(S.RIP, at)
    program.set(S.RSP, 0x9000)
    core.writeRam(at, Uint8Array.from(code))
    return program
  }

  set(offset: number, value: number): void {
    this.core.u64[(this.p + offset) >> 3] = BigInt(value)
  }
  word(offset: number, value: number): void {
    this.core.i32[(this.p + offset) >> 2] = value
  }
  get(offset: number): number {
    return Number(this.core.u64[(this.p + offset) >> 3])
  }
  /** Registers, flags and RIP as text. */
  state(): string {
    const registers = Array.from({ length: 16 }, (_, i) => this.get(i * 8))
    return [...registers, this.get(S.RIP), this.core.system.readEflags(this.p)].map((x) => x.toString(16)).join(' ')
  }
  ram32(address: number): number {
    return new DataView(this.core.ram(address, 4).slice().buffer).getUint32(0, true)
  }
}

beforeEach(() => {
  vectors = []
})

// mov ecx, 40; L: add eax, ecx; push eax; pop edx; call F; loop L; jmp $; F: xor ebx, edx; ret
const LOOP = [0xb9, 40, 0, 0, 0, 0x01, 0xc8, 0x50, 0x5a, 0xe8, 4, 0, 0, 0, 0xe2, 0xf5, 0xeb, 0xfe, 0x31, 0xd3, 0xc3]

describe('the budget', () => {
  test('a slice of any length ends where as many single steps do', async () => {
    const stepped = await Program.load(LOOP)
    const expected = [stepped.state()]
    for (let n = 1; n <= 400; n++) {
      expect(stepped.core.runSlice(0, 1)).toBe(Exit.BUDGET)
      expected.push(stepped.state())
    }
    for (let n = 1; n <= 400; n += n < 30 ? 1 : 37) {
      const whole = await Program.load(LOOP)
      whole.core.runSlice(0, n)
      expect(whole.state()).toBe(expected[n])
      expect(whole.core.budgetLeft(0)).toBe(0)
    }
  })

  test('samples are as far apart in slices that stop early', async () => {
    // L: hlt; jmp L
    const program = await Program.load([0xf4, 0xeb, 0xfd], CODE, true)
    for (let n = 0; n < 10_000; n++) expect(program.core.runSlice(0, 1000)).toBe(Exit.HALT)
    // Of 19,999 instructions, one in 8,000.
    expect(program.core.translator!.stats.samples).toBe(2)
  })
})

describe('pairs of instructions', () => {
  // mov ecx, 60; top: mov eax, ecx; inner: mov ebx, eax; add edx, ebx; cmp ebx, 30; jnb past; not edx; past: test cl, 1;
  // mov eax, 5; lea ecx, [ecx - 1]; jz inner; cmp ecx, 0; jnle top; jmp $
  const PAIRS = [
    [0xb9, 60, 0, 0, 0, 0x89, 0xc8, 0x89, 0xc3, 0x01, 0xda, 0x83, 0xfb, 30, 0x73, 2, 0xf7, 0xd2, 0xf6, 0xc1, 1],
    [0xb8, 5, 0, 0, 0, 0x8d, 0x49, 0xff, 0x74, 0xe8, 0x83, 0xf9, 0, 0x7f, 0xe1, 0xeb, 0xfe],
  ].flat()

  test('leave what two instructions leave, wherever one comes in and a slice ends', async () => {
    const stepped = await Program.load(PAIRS)
    const expected = [stepped.state()]
    for (let n = 1; n <= 1000; n++) {
      stepped.core.runSlice(0, 1)
      expected.push(stepped.state())
    }
    expect(stepped.get(S.RIP)).toBe(CODE + PAIRS.length - 2)
    for (let n = 150; n <= 1000; n += 17) {
      const whole = await Program.load(PAIRS)
      whole.core.runSlice(0, n)
      expect(whole.state()).toBe(expected[n])
    }
    const handlers = new Uint16Array(stepped.core.memory.buffer)
    const paired = new Set(cachedInterpreter().pairs.values())
    const records = Array.from({ length: 40 }, (_, i) => handlers[(M.CODE + 4096 * 4 + i * R.SIZE) >> 1] as number)
    expect(records.filter((handler) => paired.has(handler)).length).toBeGreaterThan(1)
  })

  test('a store that changes the second instruction of its own pair takes effect at once', async () => {
    // mov ebx, CODE + 16; mov eax, 0x42424242 (inc edx); mov [ebx], eax; mov [ebx + 4], eax; nops; jmp $
    const code = [0xbb, 16, 0, 1, 0, 0xb8, 0x42, 0x42, 0x42, 0x42, 0x89, 0x03, 0x89, 0x43, 4, 0x90, 0x89, 0xc0, 0x89]
    const program = await Program.load([...code, 0xc0, 0x90, 0x90, 0x90, 0x90, 0xeb, 0xfe])
    program.core.runSlice(0, 300)
    expect(program.get(S.RDX)).toBe(8)
  })
})

describe('code that changes', () => {
  test('a store into the next instruction takes effect at once', async () => {
    // mov byte [CODE + 8], 0x42; nop; (becomes inc edx) inc ecx; jmp $
    const program = await Program.load([0xc6, 0x05, 7, 0, 1, 0, 0x42, 0x41, 0xeb, 0xfe])
    program.core.runSlice(0, 10)
    expect(program.get(S.RDX)).toBe(1)
    expect(program.get(S.RCX)).toBe(0)
  })

  test('an instruction across two pages follows the second one', async () => {
    // mov eax, imm32 whose last two bytes lie in the next page
    const at = CODE + 4096 - 3
    const program = await Program.load([0xb8, 0x11, 0x22, 0x33, 0x44, 0xeb, 0xfe], at)
    program.core.runSlice(0, 1)
    expect(program.get(S.RAX)).toBe(0x44332211)
    program.core.writeRam(CODE + 4096, Uint8Array.from([0x55, 0x66]))
    program.set(S.RIP, at)
    program.core.runSlice(0, 1)
    expect(program.get(S.RAX)).toBe(0x66552211)
  })

  test('decoded code is dropped and made again when its arena is full', async () => {
    const pages = 5000
    const program = await Program.load([])
    // Each page: inc eax; jmp to the next page; the last one: jmp $.
    for (let page = 0; page < pages; page++)
      program.core.writeRam(CODE + page * 4096, Uint8Array.from([0x40, 0xe9, 0xfa, 0x0f, 0, 0]))
    program.core.writeRam(CODE + pages * 4096, Uint8Array.from([0xeb, 0xfe]))
    program.core.runSlice(0, 2 * pages + 10)
    expect(program.get(S.RAX)).toBe(pages)
    expect(program.core.streams.stats.flushes).toBeGreaterThan(0)
    expect(M.CODE_END - M.CODE).toBeLessThan(pages * (4096 * 4 + 2 * R.SIZE))
  })
})

describe('interrupts', () => {
  /** An IDT of interrupt gates to a handler that counts in [0x8000] and returns. */
  async function withHandler(code: readonly number[]): Promise<Program> {
    const program = await Program.load(code)
    const handler = 0x20000
    // inc dword [0x8000]; iret
    program.core.writeRam(handler, Uint8Array.from([0xff, 0x05, 0, 0x80, 0, 0, 0xcf]))
    const gates = new Uint32Array(512)
    for (let v = 0; v < 256; v++) gates.set([(0x10 << 16) | (handler & 0xffff), (handler & 0xffff0000) | 0x8e00], v * 2)
    program.core.writeRam(0x30000, new Uint8Array(gates.buffer))
    const gdt = new Uint32Array([0, 0, 0, 0, 0xffff, 0xcf9b00, 0xffff, 0xcf9300])
    program.core.writeRam(0x31000, new Uint8Array(gdt.buffer))
    program.set(S.IDTR_BASE, 0x30000)
    program.word(S.IDTR_LIMIT, 0x7ff)
    program.set(S.GDTR_BASE, 0x31000)
    program.word(S.GDTR_LIMIT, 31)
    return program
  }

  test('a pending one is taken after the instruction that follows STI', async () => {
    // sti; mov eax, [0x8000]; mov edx, [0x8000]; jmp $
    const program = await withHandler([0xfb, 0xa1, 0, 0x80, 0, 0, 0x8b, 0x15, 0, 0x80, 0, 0, 0xeb, 0xfe])
    vectors = [0x40]
    const acknowledge = host.acknowledge
    host.acknowledge = (vcpu) => {
      program.word(S.IRQ_PENDING, 0)
      return acknowledge(vcpu)
    }
    program.word(S.IRQ_PENDING, 1)
    program.core.runSlice(0, 20)
    host.acknowledge = acknowledge
    expect(program.ram32(0x8000)).toBe(1)
    expect(program.get(S.RAX)).toBe(0)
    expect(program.get(S.RDX)).toBe(1)
  })

  test('HLT stops the slice, a kick ends none', async () => {
    const program = await withHandler([0xf4, 0x40, 0xeb, 0xfe])
    expect(program.core.runSlice(0, 1000)).toBe(Exit.HALT)
    expect(program.core.budgetLeft(0)).toBe(999)
    program.core.kick(0)
    expect(program.core.runSlice(0, 10)).toBe(Exit.BUDGET)
    expect(program.get(S.RAX)).toBe(1)
    program.core.stop(0, Exit.STOP)
    expect(program.core.i32[(program.p + S.LEAVE) >> 2]).toBe(Leave.HOST)
    expect(program.core.runSlice(0, 10)).toBe(Exit.STOP)
  })

  test('an exception without a handler that can be reached ends in a triple fault', async () => {
    const program = await Program.load([0x0f, 0x0b])
    program.word(S.IDTR_LIMIT, 0)
    expect(program.core.runSlice(0, 10)).toBe(Exit.SHUTDOWN)
  })
})
