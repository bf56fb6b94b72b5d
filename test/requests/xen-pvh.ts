/** Xen's interface of a PVH guest for `runner.ts`: commands drawn from the declarations, and the domain beside its model. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import type { Event } from '../../src/paravirt/observe.ts'
import type { Declaration } from '../../src/paravirt/requests.ts'
import { DOM0, DOMID, DOMU } from '../../src/platforms/xen/constants.ts'
import type { BackendPort } from '../../src/platforms/xen/events/channel.ts'
import type { Held } from '../../src/platforms/xen/grants/table.ts'
import type { Command } from '../../src/platforms/xen/hypercalls/declare.ts'
import { hypercalls } from '../../src/platforms/xen/hypercalls/index.ts'
import { BUFFER, type Guest, NOWHERE, setUp } from '../../src/platforms/xen/testing.ts'
import type { Scenario } from './runner.ts'
import { often, valueOf, type World } from './values.ts'
import { FRAMES, PAGES, VCPUS, XenModel } from './xen-model.ts'

type Step =
  | {
      readonly kind: 'command'
      readonly name: string
      readonly values: Values
      readonly vcpu: number
      readonly nowhere: boolean
      readonly wild: boolean
    }
  | { readonly kind: 'consume' }
  /** Go on with a reset that was cut short. */
  | { readonly kind: 'goOn' }
  | { readonly kind: 'mask'; readonly port: number }
  | { readonly kind: 'flood' }
  | {
      readonly kind: 'grant'
      readonly ref: number
      readonly flags: number
      readonly domid: number
      readonly frame: number
    }
  | { readonly kind: 'hold'; readonly ref: number; readonly writable: boolean }
  | { readonly kind: 'release'; readonly pick: number }
  | { readonly kind: 'connect'; readonly port: number }
  | { readonly kind: 'backend'; readonly pick: number; readonly close: boolean }

type Values = Readonly<Record<string, bigint>>

const PAGE = 4096
const world: World = { vcpus: VCPUS, memory: PAGES * PAGE }
/** Where the table of grants is mapped, and what no step moves. */
const FIXED = new Set([Math.floor(BUFFER / PAGE)])

const played = new Set(Object.keys(new XenModel().calls))
const commands: readonly Command[] = hypercalls
  .flatMap((call) => call.commands ?? [])
  .filter(({ name, guest }) => played.has(name) && guest !== 'pv')

const ports = often(8, fc.nat(12), fc.constantFrom(40, 64, 70, 1023, 1024, 0xffff_ffff)).map(BigInt)
const gfn = often(
  9,
  fc.integer({ min: 100, max: 130 }).map(BigInt),
  fc.constantFrom(300n, 301n, 5000n, 1n << 40n, 0n).filter((each) => each !== 0n),
)
const domid = often(9, fc.constantFrom(DOMID.SELF, DOMU), fc.constantFrom(DOM0, 9, 0xffff)).map(BigInt)
/** Members that valueOf cannot guess. */
const members: Readonly<Record<string, fc.Arbitrary<bigint>>> = {
  port: ports,
  remote_port: ports,
  dom: domid,
  domid,
  remote_dom: often(4, fc.constantFrom(DOMID.SELF, DOMU, DOM0), fc.constantFrom(9, 0xffff)).map(BigInt),
  control_gfn: gfn,
  array_gfn: gfn,
  gpfn: gfn,
  offset: fc.constantFrom(0n, 72n, 144n, 4024n, 4032n, 4n),
  idx: often(
    6,
    fc.oneof(fc.nat(3).map(BigInt), gfn),
    fc.constantFrom(64n, 1n << 31n, (1n << 31n) + 7n, (1n << 31n) + 8n, 1n << 40n),
  ),
  space: often(8, fc.nat(2), fc.constantFrom(4, 5, 9)).map(BigInt),
  priority: often(8, fc.nat(15), fc.constant(16)).map(BigInt),
  virq: often(8, fc.constantFrom(0, 1, 2, 13), fc.constantFrom(23, 24, 99)).map(BigInt),
  index: often(6, fc.constantFrom(1, 2, 17, 18, 34, 36), fc.constantFrom(4, 5, 39, 1000)).map(BigInt),
  value: often(3, fc.constantFrom(0n, 4n, 8n, 3n), fc.bigInt(0n, (1n << 64n) - 1n)),
  version: often(8, fc.constantFrom(1n, 2n), fc.constant(3n)),
  ref_a: often(8, fc.integer({ min: 8, max: 12 }), fc.constant(50_000)).map(BigInt),
  ref_b: often(8, fc.integer({ min: 8, max: 12 }), fc.constant(50_000)).map(BigInt),
  id: often(8, fc.nat(2), fc.constant(3)).map(BigInt),
  size: fc.constant(0n),
  timeout: often(3, fc.constant(0n), fc.nat(1000).map(BigInt)),
}

/** Bits of a member. */
const bitsOf: Readonly<Record<string, number>> = { u8: 8, u16: 16, s16: 16, u32: 32, s32: 32 }

const someCommands = fc.constantFrom(...commands).chain(({ name, struct, element }) => {
  const values: Record<string, fc.Arbitrary<bigint>> = {}
  for (const { name: field, type, out, c } of (struct ?? element)?.list ?? [])
    if (!out)
      values[field] = (members[field] ?? valueOf(type, world)).map((value) => BigInt.asUintN(bitsOf[c] ?? 64, value))
  return fc.record({
    kind: fc.constant('command' as const),
    name: fc.constant(name),
    values: fc.record(values),
    vcpu: fc.nat(VCPUS - 1),
    nowhere: often(30, fc.constant(false), fc.constant(true)),
    wild: often(30, fc.constant(false), fc.constant(true)),
  })
})

const ref = often(10, fc.integer({ min: 8, max: 12 }), fc.constantFrom(7, 400, 50_000))
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 40, arbitrary: someCommands },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('consume' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('mask' as const), port: fc.nat(12) }) },
  {
    weight: 1,
    arbitrary: often<Step>(11, fc.constant<Step>({ kind: 'consume' }), fc.constant<Step>({ kind: 'flood' })),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'goOn' as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('grant' as const),
      ref: fc.integer({ min: 8, max: 12 }),
      flags: often(6, fc.constantFrom(1, 5), fc.constantFrom(0, 2, 3, 0x101)),
      domid: often(8, fc.constant(DOM0), fc.constant(9)),
      frame: often(8, fc.integer({ min: 140, max: 150 }), fc.constant(100_000)),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('hold' as const), ref, writable: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('release' as const), pick: fc.nat(7) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('connect' as const), port: fc.nat(12) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('backend' as const),
      pick: fc.nat(7),
      close: often(4, fc.constant(false), fc.constant(true)),
    }),
  },
)

const resetCont = {
  kind: 'command',
  name: 'EVTCHNOP_reset_cont',
  values: { dom: BigInt(DOMID.SELF) },
  vcpu: 0,
  nowhere: false,
  wild: false,
} as const

const PENDING = 0x80000000
const MASKED = 0x40000000
const LINKED = 0x20000000
const LINK = 0x1ffff

class Session {
  readonly #guest: Guest
  readonly #model = new XenModel()
  /** FIFO: where the guest has put control blocks and the array, as it wrote them itself. */
  readonly #controls = new Map<number, number>()
  readonly #array: number[] = []
  readonly #held: { readonly ref: number; readonly writable: boolean; readonly held: Held }[] = []
  readonly #backends = new Map<number, BackendPort>()

  constructor(listen: (event: Event) => void) {
    this.#guest = setUp({ vcpus: VCPUS, pages: PAGES })
    this.#guest.observer.listen(listen)
  }

  play(step: Step): void {
    switch (step.kind) {
      case 'command':
        this.#command(step)
        break
      case 'consume':
        this.#consume()
        break
      case 'goOn':
        while (this.#model.resetting !== 0) this.#command(resetCont)
        break
      case 'mask':
        this.#mask(step.port)
        break
      case 'flood':
        for (;;) {
          const expected = this.#model.calls['EVTCHNOP_bind_ipi']?.({ vcpu: 0n }, 0)
          const { answer } = this.#guest.op('EVTCHNOP_bind_ipi', { vcpu: 0 })
          strictEqual(answer, expected?.[0])
          if (answer !== 0) break
        }
        break
      case 'grant':
        this.#model.entries.set(step.ref, step)
        this.#writeEntry(step.ref, step.flags, step.domid, step.frame)
        break
      case 'hold': {
        const expected = this.#model.hold(step.ref, step.writable)
        const held = this.#guest.domain.grants.hold(step.ref, step.writable)
        if (typeof held === 'number') strictEqual(held, expected)
        else {
          strictEqual(expected, undefined)
          this.#held.push({ ref: step.ref, writable: step.writable, held })
        }
        break
      }
      case 'release': {
        const [one] = this.#held.splice(step.pick % Math.max(1, this.#held.length), 1)
        if (!one) break
        one.held.release()
        this.#model.release(one.ref, one.writable)
        break
      }
      case 'connect': {
        const end = this.#guest.domain.events.connect(step.port, () => {})
        strictEqual(end !== undefined, this.#model.connect(step.port))
        if (end) this.#backends.set(step.port, end)
        break
      }
      case 'backend': {
        const [at, end] = [...this.#backends][step.pick % Math.max(1, this.#backends.size)] ?? []
        if (at === undefined || !end) break
        if (end.closed) this.#backends.delete(at)
        else if (step.close) {
          end.close()
          this.#model.disconnect(at)
          this.#backends.delete(at)
        } else {
          end.raise()
          this.#model.raise(at)
        }
        break
      }
      default:
    }
    this.#check()
  }

  #command({ name, values, vcpu, nowhere, wild }: Step & { kind: 'command' }): void {
    const { op } = this.#guest
    // What no step may take away, so that the test goes on.
    if (
      name.startsWith('XENMEM') &&
      (values['gpfn'] === 0n || FIXED.has(Number(values['gpfn'])) || values['space'] === 3n)
    )
      return
    // Xen's own pages carry what the test writes: it does not move frames that hold queues or entries.
    if (name.startsWith('XENMEM') && this.#inUse(values['gpfn'], values['idx'])) return
    const array = name.startsWith('GNTTABOP')
    const at = nowhere ? NOWHERE : BUFFER
    const options = { vcpu, at, ...(array ? { args: [at, 1] } : {}) }
    if (nowhere) {
      strictEqual(op(name, {}, options).answer, 'EFAULT')
      return
    }
    if (array && wild && name !== 'GNTTABOP_set_version' && name !== 'GNTTABOP_get_version') {
      strictEqual(op(name, values, { ...options, args: [at, 0xffff_ffff] }).answer, 'EINVAL')
      return
    }
    const page = values['control_gfn'] ?? values['array_gfn']
    const address = Number(values['control_gfn'] ?? 0n) * PAGE + Number(values['offset'] ?? 0n)
    if (page !== undefined) {
      // Pages of Xen's, or that are in use, would change under the guest.
      const same = values['array_gfn'] !== undefined ? this.#inUse(page) : this.#array.includes(Number(page) * PAGE)
      if (this.#model.shared.has(Number(page)) || same || [...this.#controls.values()].includes(address)) return
    }
    const expected = this.#model.calls[name]?.(values, vcpu)
    if (!expected) return
    if (page !== undefined && expected[0] === 0) {
      if (values['array_gfn'] !== undefined)
        this.#guest.mock.ram.fill(0, Number(page) * PAGE, (Number(page) + 1) * PAGE)
      else this.#guest.mock.ram.fill(0, address, address + 72)
    }
    const { answer, out } = op(name, values, options)
    strictEqual(answer, expected[0], name)
    for (const [key, value] of Object.entries(expected[1] ?? {})) strictEqual(out[key], value, `${name} ${key}`)
    if (answer !== 0) return
    if (name === 'EVTCHNOP_init_control')
      this.#controls.set(Number(values['vcpu']), Number(values['control_gfn']) * PAGE + Number(values['offset']))
    if (name === 'EVTCHNOP_expand_array') this.#array.push(Number(values['array_gfn']) * PAGE)
    if (name.startsWith('EVTCHNOP_reset')) {
      this.#controls.clear()
      this.#array.length = 0
      const { domain, mock } = this.#guest
      mock.ram.fill(0, domain.sharedInfo.address + 0x800, domain.sharedInfo.address + 0xc00)
      for (const { info } of domain.vcpus) mock.ram.fill(0, info, info + 16)
    }
  }

  #inUse(...gfns: readonly (bigint | undefined)[]): boolean {
    const used = [...this.#controls.values(), ...this.#array].map((address) => Math.floor(address / PAGE))
    const held = this.#held.map(({ held: { frame } }) => frame)
    return gfns.some((each) => each !== undefined && (used.includes(Number(each)) || held.includes(Number(each))))
  }

  #writeEntry(at: number, flags: number, dom: number, frame: number): void {
    const { domain, view } = this.#guest
    const { entries } = domain.grants
    const place = (entries.frames[0]?.address as number) + at * (entries.version === 1 ? 8 : 16)
    // A guest does not change what is in use; its bits stay.
    const used = this.#model.used(at)
    view.setUint16(place, flags | (entries.version === 1 ? used : 0), true)
    view.setUint16(place + 2, dom, true)
    view.setUint32(place + (entries.version === 1 ? 4 : 8), frame, true)
    if (entries.version === 2) view.setUint32(place + 12, 0, true)
    if (entries.version === 2 && flags & 0x100) view.setUint32(place + 4, 0, true)
  }

  #word(port: number): number {
    return (this.#array[Math.floor(port / 1024)] ?? -1) + 4 * (port % 1024)
  }

  #mask(port: number): void {
    const { view, domain } = this.#guest
    if (this.#model.fifo) {
      if (!this.#model.word(port)) return
      view.setUint32(this.#word(port), (view.getUint32(this.#word(port), true) | MASKED) >>> 0, true)
    } else {
      const at = domain.sharedInfo.address + 0xa00 + (port >> 3)
      view.setUint8(at, view.getUint8(at) | (1 << (port & 7)))
    }
    this.#model.masked.add(port)
  }

  /** As a guest's upcall does: every event that shows is taken once. */
  #consume(): void {
    const found = this.#model.fifo ? this.#consumeFifo() : this.#consumeTwoLevel()
    const seen = found.filter((port) => this.#model.pending.has(port) && !this.#model.masked.has(port))
    deepStrictEqual(
      seen.sort((a, b) => a - b),
      this.#model.visible().sort((a, b) => a - b),
    )
    for (const port of seen) this.#model.pending.delete(port)
  }

  #consumeFifo(): number[] {
    const { view, domain } = this.#guest
    const found: number[] = []
    for (const [vcpu, control] of this.#controls) {
      const ready = view.getUint32(control, true)
      view.setUint32(control, 0, true)
      view.setUint8(domain.vcpus[vcpu]?.info as number, 0)
      for (let queue = 0; queue < 16; queue++) {
        if (!(ready & (1 << queue))) continue
        const head = control + 8 + 4 * queue
        for (let port = view.getUint32(head, true), steps = 0; port !== 0; steps++) {
          ok(steps < 2000, 'a queue that does not end')
          const at = this.#word(port)
          const word = view.getUint32(at, true)
          ok(word & LINKED, `port ${port} is in a queue and not linked`)
          const shown = word & PENDING && !(word & MASKED)
          view.setUint32(at, (word & ~(LINKED | LINK | (shown ? PENDING : 0))) >>> 0, true)
          this.#model.linked.delete(port)
          if (shown) found.push(port)
          if (shown) this.#model.linked.add(port)
          port = word & LINK
        }
        view.setUint32(head, 0, true)
      }
    }
    const visible = this.#model.visible()
    for (const port of visible) if (!found.includes(port)) found.push(-1)
    for (const port of found) this.#model.pending.delete(port)
    this.#model.linked.clear()
    ok(!found.includes(-1), `events ${visible} are pending, and only ${found} are in queues`)
    return []
  }

  #consumeTwoLevel(): number[] {
    const { view, domain } = this.#guest
    const { address } = domain.sharedInfo
    const found: number[] = []
    for (const { info } of domain.vcpus) {
      view.setUint8(info, 0)
      const selector = view.getBigUint64(info + 8, true)
      view.setBigUint64(info + 8, 0n, true)
      for (let word = 0; word < 64; word++) {
        if (!((selector >> BigInt(word)) & 1n)) continue
        const pending = view.getBigUint64(address + 0x800 + 8 * word, true)
        const shown = pending & ~view.getBigUint64(address + 0xa00 + 8 * word, true)
        view.setBigUint64(address + 0x800 + 8 * word, pending & ~shown, true)
        for (let bit = 0; bit < 64; bit++) if ((shown >> BigInt(bit)) & 1n) found.push(64 * word + bit)
      }
    }
    return found
  }

  /** What holds after every step. */
  #check(): void {
    const { domain, mock, view } = this.#guest
    strictEqual(domain.kind.pages, this.#model.pages)
    for (let frame = 100; frame < 131; frame++) {
      const kind = mock.effects.memory.kind(frame)
      strictEqual(kind === 'ram', this.#model.has(BigInt(frame)), `frame ${frame}`)
    }
    const { entries } = domain.grants
    for (let at = 8; at < 13; at++) {
      const base =
        entries.version === 1
          ? (entries.frames[0]?.address as number) + 8 * at
          : (entries.status[0]?.address as number) + 2 * at
      strictEqual(view.getUint16(base, true) & 24, this.#model.used(at), `grant ${at}`)
    }
    ok(entries.frames.length <= 64 && domain.frames.lowest >= FRAMES / 2)
  }

  finish(): void {
    for (const { held } of this.#held) held.release()
    const { entries } = this.#guest.domain.grants
    strictEqual(entries.frames.length, this.#model.grantPages)
  }
}

/** What sequences like these hardly come by; unit tests do. */
const elsewhere = new Set([
  'GNTTABOP_set_version ERANGE',
  'EVTCHNOP_expand_array ENOSPC',
  'HVMOP_set_param ENODEV',
  ...['EDOM', 'EILSEQ', 'EOVERFLOW'].map((error) => `XENMEM_add_to_physmap ${error}`),
  ...['current_reservation', 'maximum_reservation', 'remove_from_physmap'].map((name) => `XENMEM_${name} EINVAL`),
])
const requests = commands.map((request): Declaration => {
  const errors = Object.entries(request.errors).filter(([name]) => !elsewhere.has(`${request.name} ${name}`))
  return { ...request, errors: Object.fromEntries(errors) }
})

export const scenario: Scenario<null, Step> = {
  requests,
  setting: fc.constant(null),
  step: anyStep,
  start: (_, listen) => new Session(listen),
  describe: (each) => inspect(each, { breakLength: Infinity }),
}
