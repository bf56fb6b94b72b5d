/**
 * Translated code does what the interpreter does: random programs run side by side on both, their state compared at
 * the end of every slice. PROGRAMS=N runs more of them.
 */
import { expect, test } from 'vitest'
import { CODE_PAGES, DATA_PAGES, GUEST_RAM, writeGuest } from '../oracle/guest.ts'
import type { Case } from '../oracle/native.ts'
import { Random } from '../oracle/random.ts'
import { background, Space } from '../oracle/space.ts'
import { setCase, setSystem } from '../oracle/vcpu.ts'
import { hashRegisters } from '../../src/machine/state-hash.ts'
import { Core } from '../../src/cpu/core.ts'
import { M, S } from '../../src/cpu/layout.ts'
import { program } from './programs.ts'
import { refusingHost } from './rig.ts'

const PROGRAMS = Number(process.env['PROGRAMS'] ?? 150)
/** Instructions after which a program has ended. */
const PATIENCE = 60_000
/** The guest's page table entries of the code pages, and the bit that makes them writable. */
const CODE_ENTRIES = [0x5000, 0x5008]
const WRITABLE = 2

class Runner {
  readonly core: Core
  readonly #state: DataView

  constructor(core: Core) {
    this.core = core
    this.#state = new DataView(core.memory.buffer, M.VCPU, M.VCPU_STRIDE)
    const ram = new DataView(core.memory.buffer, M.RAM, GUEST_RAM)
    writeGuest(ram)
    for (const entry of CODE_ENTRIES) ram.setUint8(entry, ram.getUint8(entry) | WRITABLE)
    setSystem(this.#state)
    core.system['refreshState']!(M.VCPU)
  }

  begin(c: Case): void {
    this.core.writeRam(CODE_PAGES + c.offset, c.code)
    this.core.u8.set(background, M.RAM + DATA_PAGES)
    setCase(this.#state, c)
    this.core.system.updateMode(M.VCPU)
    this.core.system.setBank(M.VCPU)
  }

  /** Run so many instructions; false at the program's end. */
  run(instructions: number): boolean {
    this.core.runSlice(0, instructions)
    return this.#state.getBigUint64(S.RIP, true) >> 63n === 0n
  }

  get registers(): string {
    const { core } = this
    const slots = [...Array(16).keys()].map((r) => r * 8).concat(S.RIP)
    const words = slots.map((slot) => core.u64[(M.VCPU + slot) >> 3]!.toString(16))
    words.push(core.system.readEflags(M.VCPU).toString(16), hashRegisters(core, 0).toString(16))
    return `${words.join(' ')} left ${core.budgetLeft(0)}`
  }

  get data(): Buffer {
    return Buffer.from(this.core.ram(DATA_PAGES, Space.DATA_SIZE))
  }
}

const create = async (vcpus: number, translate?: 'eager') =>
  new Runner(await Core.create({ ramBytes: GUEST_RAM, vcpus, signature: 0, host: refusingHost, translate }))

/** The interpreter and the eager translator: what a program leaves behind, the next one finds on both. */
class Engines {
  readonly plain: Runner
  readonly eager: Runner

  private constructor(plain: Runner, eager: Runner) {
    this.plain = plain
    this.eager = eager
  }

  static async create(vcpus: number): Promise<Engines> {
    return new Engines(await create(vcpus), await create(vcpus, 'eager'))
  }

  begin(c: Case): void {
    this.plain.begin(c)
    this.eager.begin(c)
  }

  /** Run so many instructions; false at the program's end. */
  run(instructions: number): boolean {
    this.eager.run(instructions)
    return this.plain.run(instructions)
  }

  /** Where the two differ now, or ''. */
  differs(): string {
    const { plain, eager } = this
    if (plain.registers !== eager.registers) return `\n${plain.registers}\n${eager.registers}`
    const data = [plain.data, eager.data] as const
    if (data[0].equals(data[1])) return ''
    const at = data[0].findIndex((byte, i) => byte !== data[1][i])
    const [plainly, eagerly] = data.map((bytes) => bytes.subarray(at, at + 16).toString('hex'))
    return `\ndata at ${at.toString(16)}: ${plainly} ${eagerly}`
  }

  /** Run a program in slices of these lengths: where they differ, or ''. */
  difference(c: Case, length: () => number): string {
    this.begin(c)
    for (let done = 0; done < PATIENCE; ) {
      const slice = length()
      done += slice
      const running = this.run(slice)
      const found = this.differs()
      if (found) return `after ${done} instructions ${found}`
      if (!running) break
    }
    return ''
  }
}

const alone = await Engines.create(1)
/** Regions find the state block by their parameter; where there is one vCPU they have its address. */
const oneOfTwo = await Engines.create(2)

test('random programs', { timeout: 3_600_000 }, () => {
  for (let n = 0; n < PROGRAMS; n++) {
    const seed = `program ${n}`
    const c = program(seed)
    const random = new Random(seed)
    const lengths = [() => 3000, () => 1001 + random.below(1500), () => 1001 + random.below(12_000)]
    const engines = n % 3 ? alone : oneOfTwo
    for (const length of lengths) expect(`${seed} ${engines.difference(c, length)}`).toBe(`${seed} `)
  }
  for (const { eager } of [alone, oneOfTwo]) expect(eager.core.translator!.stats.regions).toBeGreaterThan(PROGRAMS / 3)
})

test('a slice of every length', () => {
  const c = program('program 3')
  alone.difference(c, () => 3000)
  for (let slice = 1; slice <= 2000; slice++) {
    alone.begin(c)
    alone.run(slice)
    expect(`${slice} ${alone.differs()}`).toBe(`${slice} `)
  }
})

test('a changed page loses its regions', () => {
  const { eager } = alone
  const { core } = eager
  // mov $1, %eax; add %eax, %ebx; dec %r15d; jnz
  const code = (value: number) => Uint8Array.of(0xb8, value, 0, 0, 0, 0x01, 0xc3, 0x41, 0xff, 0xcf, 0x75, 0xf4, 0xcc)
  const c = { ...program('program 0'), mode: 64 as const, code: code(1) }
  c.selectors = [0x2b, 0x33, 0x2b, 0x2b, 0, 0]
  c.gpr[3] = 0n
  c.gpr[15] = 100_000n
  eager.begin(c)
  eager.run(4000)
  const { regions } = core.translator!.stats
  eager.run(4000)
  expect(core.u64[(M.VCPU + S.RBX) >> 3]).toBe(2000n)
  core.writeRam(CODE_PAGES + c.offset, code(2))
  eager.run(4000)
  eager.run(4000)
  expect(core.u64[(M.VCPU + S.RBX) >> 3]).toBe(6000n)
  expect(core.translator!.stats.regions).toBeGreaterThan(regions)
})
