/** Runs the oracle's cases on our processor: interpreted, or translated. */
import { Core, type CoreHost } from '../../src/cpu/core.ts'
import { REGION_MARGIN, SLICE_MARGIN } from '../../src/cpu/interpreter/records.ts'
import { M, S } from '../../src/cpu/layout.ts'
import { CODE_PAGES, DATA_PAGES, GUEST_RAM, Kernel, writeGuest } from './guest.ts'
import { TIMEOUT, type Case, type Result } from './native.ts'
import { background, Space } from './space.ts'
import { resultOf, setCase, setSystem } from './vcpu.ts'

const P = M.VCPU
/** Instructions after which a case is called endless: more than any REP goes through the data pages. */
const PATIENCE = 20_000
/** A slice that begins in the dispatch loop, or one that consists of steps. */
const RUN_SLICE = SLICE_MARGIN + 40
const STEP_SLICE = 4
/** A slice that is long enough for a region. */
const REGION_SLICE = REGION_MARGIN + SLICE_MARGIN + 40

export type Engine = 'interpreter' | 'translator'

function refused(what: string): never {
  throw new Error(`the oracle's guest did ${what}`)
}

const host: CoreHost = {
  mmioRead: () => refused('an MMIO read'),
  mmioWrite: () => refused('an MMIO write'),
  portIn: () => refused('IN'),
  portOut: () => refused('OUT'),
  rdmsr: () => undefined,
  wrmsr: () => false,
  cpuid: () => [0, 0, 0, 0],
  hypercall: () => false,
  tsc: () => 0,
  readCr8: () => 0,
  writeCr8: () => {},
  random: () => 0,
  acknowledge: () => -1,
}

class Ours {
  readonly #core: Core
  readonly #state: DataView
  readonly #ram: DataView
  readonly #data: Buffer
  readonly #dataWords: BigUint64Array
  readonly #initial = new Uint8Array(Space.DATA_SIZE)
  readonly #initialWords = new BigUint64Array(this.#initial.buffer)

  constructor(core: Core) {
    this.#core = core
    const { buffer } = core.memory
    this.#state = new DataView(buffer, P, M.VCPU_STRIDE)
    this.#ram = new DataView(buffer, M.RAM, GUEST_RAM)
    this.#data = Buffer.from(buffer, M.RAM + DATA_PAGES, Space.DATA_SIZE)
    this.#dataWords = new BigUint64Array(buffer, M.RAM + DATA_PAGES, Space.DATA_SIZE / 8)
    writeGuest(this.#ram)
    setSystem(this.#state)
    core.system['refreshState']!(P)
  }

  run(c: Case, slice: number): Result {
    const core = this.#core
    this.#initial.set(background.subarray(0, Space.DATA_SIZE))
    this.#initial.set(c.memory, c.window - Space.DATA)
    core.writeRam(CODE_PAGES + c.offset, c.code)
    this.#begin(c)
    if (core.translator) {
      // Its first instruction decodes the case; the next slice begins with its translation.
      core.runSlice(0, 1)
      this.#begin(c)
    }
    const result = this.#untilTrap(slice)
    core.writeRam(CODE_PAGES + c.offset, new Uint8Array(c.code.length).fill(0xcc))
    return result
  }

  #begin(c: Case): void {
    const { system } = this.#core
    this.#data.set(this.#initial)
    setCase(this.#state, c)
    system.updateMode(P)
    system.setBank(P)
  }

  #untilTrap(slice: number): Result {
    for (let used = 0; used < PATIENCE; used += slice) {
      this.#core.runSlice(0, slice)
      const handler = this.#state.getBigUint64(S.RIP, true) - Kernel.HANDLERS
      if (handler >= 0n && handler < 0x1000n) return resultOf(this.#state, this.#ram, this.#changed())
    }
    return { ...resultOf(this.#state, this.#ram, this.#changed()), trap: TIMEOUT }
  }

  #changed(): Map<number, bigint> {
    const changed = new Map<number, bigint>()
    if (this.#data.equals(this.#initial)) return changed
    for (let i = 0; i < this.#dataWords.length; i++)
      if (this.#dataWords[i] !== this.#initialWords[i]) changed.set(i * 8, this.#dataWords[i]!)
    return changed
  }
}

/**
 * Our processor as a function. Interpreted, even cases go through the dispatch loop, odd ones through the complete
 * handlers; translated, each case is a region if its code can be one.
 */
export async function createOurs(engine: Engine = 'interpreter') {
  const translate = engine === 'translator' ? 'eager' : false
  const core = await Core.create({ ramBytes: GUEST_RAM, vcpus: 1, signature: 0, host, translate })
  const ours = new Ours(core)
  const slice = (i: number) => (core.translator ? REGION_SLICE : i % 2 === 1 ? STEP_SLICE : RUN_SLICE)
  return {
    run: (cases: readonly Case[]): Result[] => cases.map((c, i) => ours.run(c, slice(i))),
    /** How many cases were translated. */
    translated: () => core.translator?.stats.regions ?? 0,
  }
}
