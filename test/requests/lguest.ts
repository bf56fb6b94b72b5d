/** lguest's interface for `runner.ts`: hypercalls, faults, interrupts and page tables of a guest, beside the model. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert'
import * as fc from 'fast-check'
import type { Event } from '../../src/paravirt/observe.ts'
import { Data, LHCALL, Reg, type RegOffset } from '../../src/platforms/lguest/abi.ts'
import { PAGE } from '../../src/platforms/lguest/frames.ts'
import { hypercalls } from '../../src/platforms/lguest/hypercalls.ts'
import { State } from '../../src/platforms/lguest/switcher.ts'
import { DATA, ENTRY, KERNEL, MEMORY, PGDIR, PTES, STACK, TestGuest } from '../../src/platforms/lguest/testing.ts'
import { Dead, LIMIT, Model } from './lguest-model.ts'
import type { Scenario, Session } from './runner.ts'
import { often, valueOf, type World } from './values.ts'

type Words = readonly [number, number, number, number]

type Step =
  | { readonly kind: 'call'; readonly number: number; readonly words: Words; readonly later: boolean }
  | { readonly kind: 'fault'; readonly address: number; readonly error: number }
  | { readonly kind: 'trap'; readonly vector: number; readonly error: number; readonly code: readonly number[] }
  | { readonly kind: 'field'; readonly offset: number; readonly value: number }
  | { readonly kind: 'entry'; readonly page: number; readonly low: number; readonly high: number }
  | { readonly kind: 'mode'; readonly user: boolean; readonly quiet: boolean }
  | { readonly kind: 'advance'; readonly nanoseconds: number }

const world: World = { vcpus: 1, memory: MEMORY }
const u32 = fc.nat(0xffff_ffff)
/** Tables beside the first; they lead to the same. */
const roots = [PGDIR, 0x40000, 0x41000, 0x42000, 0x43000, 0x44000]
const somePage = fc.nat(255)
const mapped = fc.tuple(somePage, fc.constantFrom(0, KERNEL)).map(([page, base]) => (base + page * PAGE) >>> 0)
const stackPage = fc.constantFrom(STACK, STACK - PAGE)
const address = often(
  9,
  fc.oneof(mapped, stackPage),
  fc.oneof(u32, fc.constantFrom(0xffe05000, KERNEL + MEMORY, 0xfffff000)),
)
const frame = often(12, fc.nat(255), fc.oneof(fc.constantFrom(256, 283, 284, 0xfffff), fc.nat(0xfffff)))
const flags = often(12, fc.constantFrom(0x00, 0x01, 0x03, 0x07, 0x63, 0x67, 0x167, 0x25), fc.nat(0xfff))
const low = fc.tuple(frame, flags).map(([n, f]) => ((n << 12) | f) >>> 0)
const high = often(12, fc.constant(0), fc.constantFrom(0x80000000, 1, 0xfff))
const gateHigh = often(20, fc.constantFrom(0xc003_8e00, 0xc003_ee00, 0xc003_ef00, 0xc003_8f00, 0), u32)
const selector = often(30, fc.constant(0x69), u32)

/** Where the declared types say too little for most guests to survive. */
const special: Readonly<Record<number, readonly fc.Arbitrary<number>[]>> = {
  [LHCALL.NEW_PGTABLE]: [
    often(
      40,
      fc.constantFrom(...roots),
      fc.nat(MEMORY).map((at) => at & ~31),
    ),
  ],
  [LHCALL.FLUSH_TLB]: [fc.nat(1)],
  [LHCALL.LOAD_IDT_ENTRY]: [often(20, fc.constantFrom(0, 1, 3, 6, 7, 13, 14, 32, 0x80), fc.nat(300)), u32, gateHigh],
  [LHCALL.SET_STACK]: [
    selector,
    often(20, fc.constantFrom(STACK, STACK - 8), address),
    often(30, fc.integer({ min: 1, max: 2 }), u32),
  ],
  [LHCALL.TS]: [fc.constantFrom(0, 8)],
  [LHCALL.SET_CLOCKEVENT]: [often(5, fc.nat(1_000_000), u32)],
  [LHCALL.SET_PMD]: [fc.constant(0), fc.nat(511)],
  [LHCALL.SET_PTE]: [fc.constantFrom(...roots), address, low, high],
  [LHCALL.SET_PGD]: [often(9, fc.constantFrom(...roots), u32), often(9, fc.nat(3), u32)],
  [LHCALL.LOAD_TLS]: [often(30, fc.nat(MEMORY - 24), u32)],
  [LHCALL.NOTIFY]: [often(60, fc.integer({ min: 0x30000, max: MEMORY - PAGE }), fc.constant(0xfffff000))],
  [LHCALL.LOAD_GDT_ENTRY]: [often(40, fc.nat(31), u32), u32, u32],
}
const none = fc.constant(0)
/** Those that end a guest are rare. */
const deadly: readonly number[] = [LHCALL.LGUEST_INIT, LHCALL.SHUTDOWN]

const someCall = fc
  .oneof(
    { weight: 150, arbitrary: fc.constantFrom(...hypercalls.filter(({ number }) => !deadly.includes(number))) },
    { weight: 1, arbitrary: fc.constantFrom(...hypercalls.filter(({ number }) => deadly.includes(number))) },
  )
  .chain(({ number, args }) => {
    const given =
      special[number] ?? args.map(({ type }) => valueOf(type, world).map((v) => Number(BigInt.asUintN(32, v))))
    return fc.record({
      kind: fc.constant('call' as const),
      number: often(400, fc.constant(number), fc.constantFrom(3, 11, 20, 0xffff_ffff)),
      words: fc.tuple(...[0, 1, 2, 3].map((i) => given[i] ?? none)) as unknown as fc.Arbitrary<Words>,
      later: often(2, fc.constant(false), fc.constant(true)),
    })
  })

const codes = [[0xfa], [0x66, 0xed], [0xe4, 0x60], [0xee], [0x66, 0xe7, 0x80], [0x0f, 1, 0xc1], [0xf4]]

/** What is no request is an eighth, so that a sequence has a hundred requests. */
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 230, arbitrary: someCall },
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      address: often(30, mapped, address),
      error: fc.constantFrom(0, 2, 3, 4, 6, 7),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('trap' as const),
      vector: fc.constantFrom(0, 3, 6, 7, 13, 13, 0x80, 0xfd),
      error: often(5, fc.constant(0), fc.constant(0x88)),
      code: fc.constantFrom(...codes),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.oneof(
      fc.record({
        kind: fc.constant('field' as const),
        offset: fc.constant(Data.IRQ_ENABLED),
        value: fc.constantFrom(0, 0x200),
      }),
      fc.record({
        kind: fc.constant('field' as const),
        offset: fc.constant(Data.BLOCKED_INTERRUPTS),
        value: fc.nat(1),
      }),
    ),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('entry' as const),
      page: often(4, somePage, fc.constantFrom(0x30, 0x31)),
      low,
      high,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('mode' as const), user: fc.boolean(), quiet: fc.boolean() }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('advance' as const), nanoseconds: fc.nat(3_000_000) }) },
)

const registers = Object.values(Reg).filter((offset) => offset < Reg.EDI || offset > Reg.ES)
const probes = [0, 0x5000, KERNEL, KERNEL + 0x5000, STACK - PAGE, STACK - 2 * PAGE, KERNEL + MEMORY - PAGE]
/** Beginnings that go wrong, now and then. */
const births: readonly ((guest: TestGuest) => number)[] = [
  () => 0xffff_fff0,
  (guest) => {
    guest.setField(Data.SYSCALL_VEC, 0x81)
    return DATA
  },
  (guest) => {
    guest.setField(Data.KERNEL_ADDRESS, 0xffe0_1000)
    return DATA
  },
]

class LguestSession implements Session<Step> {
  readonly #listen: (event: Event) => void
  #guest!: TestGuest
  /** The memory of all guests, one after another. */
  #ram: Uint8Array | undefined
  #model!: Model

  constructor(stillborn: number | undefined, listen: (event: Event) => void) {
    this.#listen = listen
    const wrong = stillborn === undefined ? undefined : births[stillborn]
    if (wrong) {
      const guest = new TestGuest({ listen })
      guest.prepareData()
      strictEqual(guest.call(LHCALL.LGUEST_INIT, wrong(guest)), 'again')
    }
    this.#begin()
  }

  #begin(): void {
    const guest = new TestGuest({ listen: this.#listen, pool: 256, ram: this.#ram })
    guest.prepareData()
    for (const root of roots) guest.mock.ram.copyWithin(root, PGDIR, PGDIR + 32)
    guest.call(LHCALL.LGUEST_INIT, DATA)
    guest.mock.log.length = 0
    this.#guest = guest
    this.#ram = guest.mock.ram
    this.#model = new Model(guest.mock.ram, words(guest, State.IDT, 512), words(guest, State.GDT, 64))
    for (const [offset, value] of [
      [Reg.EAX, LHCALL.LGUEST_INIT],
      [Reg.EBX, DATA],
      [Reg.TRAPNUM, 0x1f],
    ] as const)
      this.#model.regs.set(offset, value)
  }

  play(next: Step): void {
    const model = this.#model
    if (model.sleeping && next.kind !== 'advance') this.#advance(50_000_000)
    if (model !== this.#model) return
    if (model.sleeping && next.kind !== 'advance') return this.#begin()
    this.#step(next)
  }

  finish(): void {}

  #step(next: Step): void {
    const [guest, model] = [this.#guest, this.#model]
    switch (next.kind) {
      case 'call':
        if (next.later) {
          const slot = this.#freeSlot()
          if (slot === undefined) return
          this.#poke(DATA + Data.HCALL_STATUS + slot, 0)
          for (const [i, word] of [next.number, ...next.words].entries())
            this.#poke32(DATA + Data.HCALLS + 20 * slot + 4 * i, word)
          return
        }
        for (const [i, offset] of [Reg.EAX, Reg.EBX, Reg.ECX, Reg.EDX, Reg.ESI].entries())
          this.#set(offset, [next.number, ...next.words][i] as number)
        return this.#both(
          () => guest.trap(0x1f),
          () => model.trap(0x1f, 0),
        )
      case 'fault':
        return this.#both(
          () => guest.fault(next.address, next.error),
          () => model.trap(14, next.error, next.address),
        )
      case 'trap':
        this.#set(Reg.EIP, KERNEL + ENTRY)
        for (const [i, byte] of next.code.entries()) this.#poke(ENTRY + i, byte)
        return this.#both(
          () => guest.trap(next.vector, next.error),
          () => model.trap(next.vector, next.error),
        )
      case 'field':
        return this.#poke32(DATA + next.offset, next.value)
      case 'entry':
        this.#poke32(PTES + 8 * next.page, next.low)
        return this.#poke32(PTES + 8 * next.page + 4, next.high)
      case 'mode':
        this.#set(Reg.CS, next.user ? 0x73 : 0x61)
        this.#set(Reg.SS, next.user ? 0x7b : 0x69)
        this.#set(Reg.ESP, next.user ? 0x5f00 : STACK - 64)
        return this.#set(Reg.EIP, next.quiet ? KERNEL + 0x1008 : KERNEL + 0x2000)
      case 'advance':
        return this.#advance(next.nanoseconds)
    }
  }

  #advance(nanoseconds: number): void {
    const [guest, model] = [this.#guest, this.#model]
    guest.mock.advance(nanoseconds)
    model.advance(nanoseconds)
    const up = (guest.mock.vcpus[0].line?.() ?? -1) >= 0
    strictEqual(up, model.kicked)
    if (!up) return
    const { sleeping } = model
    this.#both(
      () => (sleeping ? guest.enter() : guest.trap(0xfd)),
      () => model.trap(0xfd, 0),
    )
  }

  /** Where the guest would put the next call that waits. */
  #freeSlot(): number | undefined {
    for (let i = 0; i < 64; i++) {
      const slot = (this.#model.next + i) % 64
      if (this.#model.ram[DATA + Data.HCALL_STATUS + slot] === 0xff) return slot
    }
    return undefined
  }

  #both(real: () => 'go' | 'again', expected: () => boolean): void {
    const [guest, model] = [this.#guest, this.#model]
    const answer = real()
    try {
      strictEqual(answer, expected() ? 'go' : 'again')
    } catch (error) {
      if (!(error instanceof Dead)) throw error
      this.#buried(error.message)
      return this.#begin()
    }
    deepStrictEqual(guest.mock.log.splice(0), model.log.splice(0))
    same(guest.mock.ram.subarray(0, LIMIT), model.ram)
    deepStrictEqual(
      registers.map((offset) => guest.reg(offset)),
      registers.map((offset) => model.reg(offset) >>> 0),
    )
    same(words(guest, State.IDT, 512), model.idt)
    same(words(guest, State.GDT, 64), model.gdt)
    if (answer === 'go')
      deepStrictEqual(
        probes.map((at) => guest.shadow(at) ?? 0n),
        probes.map((at) => model.shadow(at) ?? 0n),
      )
  }

  #buried(reason: string): void {
    const last = this.#guest.mock.log.slice(this.#guest.mock.log.indexOf('park 0') + 1)
    if (reason === 'restart') return deepStrictEqual(last, ['reset'])
    const [line = '', after] = last
    if (reason === 'CRASH') {
      ok(line.startsWith('report lguest: CRASH: '), line)
      strictEqual(after, 'power-off')
    } else ok(line.startsWith(`crash lguest: ${reason}`), `${reason}: ${line}`)
  }

  #set(offset: RegOffset, value: number): void {
    this.#guest.setReg(offset, value)
    this.#model.regs.set(offset, value >>> 0)
  }

  #poke(at: number, byte: number): void {
    this.#guest.mock.ram[at] = byte
    this.#model.ram[at] = byte
  }

  #poke32(at: number, value: number): void {
    for (let i = 0; i < 4; i++) this.#poke(at + i, (value >>> (8 * i)) & 0xff)
  }
}

const words = ({ mock, map }: TestGuest, offset: number, count: number): Uint32Array =>
  new Uint32Array(mock.ram.buffer, map.state * PAGE + offset, count)

/** As deepStrictEqual, which takes its time. */
function same(a: Uint8Array | Uint32Array, b: Uint8Array | Uint32Array): void {
  if (bytesOf(a).compare(bytesOf(b)) !== 0) deepStrictEqual(a.slice(), b)
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint8Array | Uint32Array): Buffer =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)

export const scenario: Scenario<number | undefined, Step> = {
  requests: hypercalls,
  setting: often(
    4,
    fc.constant(undefined),
    fc.nat(births.length - 1).map((n): number | undefined => n),
  ),
  step,
  start: (stillborn, listen) => new LguestSession(stillborn, listen),
  describe: (each) => JSON.stringify(each),
}
