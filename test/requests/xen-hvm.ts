/** What an HVM guest of Xen has beside PVH's interface, for `runner.ts`: ports, configuration space, the interrupt line. */
import { deepStrictEqual, strictEqual } from 'node:assert'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import type { Event } from '../../src/paravirt/observe.ts'
import { ports } from '../../src/platforms/xen/hvm/ports.ts'
import { setUpHvm } from '../../src/platforms/xen/testing.ts'
import type { Scenario } from './runner.ts'
import { often } from './values.ts'

type Step =
  | { readonly kind: 'in'; readonly port: number; readonly size: number }
  | { readonly kind: 'out'; readonly port: number; readonly size: number; readonly value: number }
  | { readonly kind: 'config'; readonly register: number; readonly size: number; readonly value: number }
  | { readonly kind: 'callback'; readonly type: number; readonly low: number }
  | { readonly kind: 'pending'; readonly value: number }

const PAGES = 256
const SELF = 0x7ff0

const sizes = fc.constantFrom(1, 2, 4)
const somePort = often(
  9,
  fc.integer({ min: 0x10, max: 0x13 }),
  fc.oneof(fc.integer({ min: 0xf, max: 0x20 }), fc.constantFrom(0xc000, 0xc004, 0xc0ff, 0xc100, 0xd000, 0xd008)),
)
const values = often(2, fc.nat(7), fc.nat(0xffff_ffff))
const known = fc.constantFrom(...ports).chain(({ number, bytes, read, write }): fc.Arbitrary<Step> => {
  const access = { port: fc.constant(number), size: fc.constant(bytes) }
  const reading = fc.record({ kind: fc.constant('in' as const), ...access })
  const writing = fc.record({ kind: fc.constant('out' as const), ...access, value: values })
  return read && write ? fc.oneof(reading, writing) : read ? reading : writing
})
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 150, arbitrary: known },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('in' as const), port: somePort, size: sizes }) },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('out' as const), port: somePort, size: sizes, value: values }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('config' as const),
      register: fc.constantFrom(0, 4, 5, 8, 0x10, 0x11, 0x14, 0x3c),
      size: sizes,
      value: fc.oneof(values, fc.constantFrom(0xc000, 0xd001, 0xffff_ffff)),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('callback' as const),
      type: often(6, fc.nat(2), fc.constantFrom(3, 255)),
      low: fc.oneof(fc.nat(50), fc.nat(0xffff)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pending' as const), value: fc.nat(1) }) },
)

/** Reads by place and size; everything else is ones. */
const reads: Readonly<Record<string, number>> = { '16 2': 0x49d2, '18 1': 1 }
const ones = (bytes: number) => (bytes === 4 ? 0xffff_ffff : (1 << (8 * bytes)) - 1)

class Session {
  readonly #guest = setUpHvm({ pages: PAGES })
  // The model.
  #flags = 0
  #io = true
  /** The first register of addresses. */
  #base = 0xc001
  #gsis: number[] = []
  #text = ''

  constructor(listen: (event: Event) => void) {
    this.#guest.observer.listen(listen)
    this.#guest.done()
  }

  play(step: Step): void {
    const { platform, op, view, info } = this.#guest
    switch (step.kind) {
      case 'in':
        strictEqual(platform.portIn(0, step.port, step.size), this.#read(step.port, step.size))
        break
      case 'out':
        strictEqual(
          platform.portOut(0, step.port, step.size, step.value),
          this.#write(step.port, step.size, step.value),
        )
        break
      case 'config':
        platform.pci[0]!.function.write(step.register, step.size, step.value)
        this.#configure(step)
        break
      case 'callback':
        op('HVMOP_set_param', { domid: SELF, index: 0, value: (BigInt(step.type) << 56n) | BigInt(step.low) })
        this.#gsis = linesOf(step.type, step.low)
        break
      case 'pending':
        view.setUint8(info(0), step.value)
    }
    this.#check()
  }

  #offset(at: number): number | undefined {
    const offset = at - (this.#base & ~3)
    return this.#io && offset >= 0 && offset < 256 ? offset : undefined
  }

  #read(at: number, bytes: number): number | undefined {
    const flags = bytes === 1 && (at === 0x10 || (this.#offset(at) === 0 && (at < 0x10 || at > 0x1f)))
    if (flags) return this.#flags
    if (at >= 0x10 && at < 0x20) return reads[`${at} ${bytes}`] ?? ones(bytes)
    return this.#offset(at) === undefined ? undefined : ones(bytes)
  }

  #write(at: number, bytes: number, value: number): boolean {
    const fixed = at >= 0x10 && at < 0x20
    const offset = fixed ? undefined : this.#offset(at)
    if (!fixed && offset === undefined) return false
    if (bytes !== 1) return true
    if (at === 0x10 || offset === 0) this.#flags = value & 1
    else if (at === 0x12 || (offset !== undefined && offset !== 4 && offset !== 8))
      this.#text += String.fromCharCode(value & 0xff)
    return true
  }

  #configure({ register, size, value }: Extract<Step, { kind: 'config' }>): void {
    for (let i = 0; i < size; i++) {
      const byte = (value >>> (8 * i)) & 0xff
      const at = register + i
      if (at === 4) this.#io = (byte & 1) !== 0
      const shift = 8 * (at - 0x10)
      if (at > 0x10 && at < 0x14) this.#base = ((this.#base & ~(0xff << shift)) | (byte << shift)) >>> 0
    }
  }

  #check(): void {
    const { mock, done, view, info } = this.#guest
    strictEqual(mock.effects.memory.kind(0xf0), this.#flags ? 'rom' : 'ram')
    deepStrictEqual(
      [...mock.levels.keys()].sort((a, b) => a - b),
      [...new Set(this.#gsis)].sort((a, b) => a - b),
    )
    for (const up of mock.levels.values()) strictEqual(up(), view.getUint8(info(0)) !== 0)
    const written = done().flatMap((line) => /^console 0 (.*)$/.exec(line)?.[1] ?? [])
    strictEqual(written.map((text) => JSON.parse(text) as string).join(''), this.#text)
    this.#text = ''
  }

  finish(): void {
    this.#check()
  }
}

function linesOf(type: number, low: number): number[] {
  const gsi = low & 0xff
  if (type === 0) return gsi > 0 && gsi < 48 ? [gsi] : []
  if (type !== 1) return []
  const [device, pin] = [(low >> 11) & 31, low & 3]
  return [16 + ((device * 4 + Math.floor(device / 8) + pin) % 32), [5, 10, 11, 5][(device + pin) % 4]!]
}

export const scenario: Scenario<null, Step> = {
  requests: ports,
  setting: fc.constant(null),
  step: anyStep,
  start: (_, listen) => new Session(listen),
  describe: (each) => inspect(each, { breakLength: Infinity }),
}
