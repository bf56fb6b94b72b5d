/**
 * Random requests on the rings of a guest of Xen's, good, bad and garbage: store, disk, network, console, on each kind of
 * guest. Beside them stand models of the disk, of the guest's pages and of a few nodes of the store. Garbage in the store's
 * ring ends its connection, so it comes last.
 */
import { deepStrictEqual, match, ok, strictEqual } from 'node:assert'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import type { Declaration } from '../../src/paravirt/requests.ts'
import { ringRequests } from '../../src/platforms/xen/backends.ts'
import { MessageType as T } from '../../src/platforms/xen/store/wire.ts'
import { save, type Stateful } from '../../src/snapshot/stateful.ts'
import type { Scenario, Session } from './runner.ts'
import { often } from './values.ts'
import { isGranted, type KindName, kinds, readOnly, Ref, RingGuest, SECTORS, type Setting } from './xen-rings-guest.ts'

const SECTOR = 512
const Operation = { READ: 0, WRITE: 1, BARRIER: 2, FLUSH: 3, DISCARD: 5, INDIRECT: 6 } as const
const Result = { OKAY: 0, ERROR: -1, EOPNOTSUPP: -2 } as const

type Segment = { readonly reference: number; readonly first: number; readonly last: number }
type Step =
  | { readonly on: 'store'; readonly type: number; readonly payload: string; readonly transaction: number }
  | {
      readonly on: 'block'
      readonly operation: number
      readonly inner: number
      readonly sector: number
      readonly segments: readonly Segment[]
    }
  | { readonly on: 'packet'; readonly reference: number; readonly offset: number; readonly size: number }
  | { readonly on: 'group'; readonly leave: boolean; readonly group: number }
  | { readonly on: 'receive'; readonly reference: number }
  | { readonly on: 'console'; readonly text: string }
  | {
      readonly on: 'garbage'
      readonly ring: 'block' | 'tx' | 'rx' | 'console'
      readonly at: number
      readonly value: number
    }

const reference = often(9, fc.integer({ min: Ref.DATA, max: Ref.DATA + 15 }), fc.constantFrom(2, 60, 5000, 0xffffffff))
const segment: fc.Arbitrary<Segment> = fc
  .record({ reference, first: fc.nat(7), length: fc.nat(7), bad: often(30, fc.constant(false), fc.constant(true)) })
  .map(({ reference: page, first, length, bad }) => ({
    reference: page,
    first,
    last: bad ? first + 8 - length - 1 - first * 2 : Math.min(7, first + length),
  }))
  .map((each) => ({ ...each, last: each.last & 0xff }))
const path = often(
  12,
  fc.constantFrom('data/0', 'data/1', 'data/2', 'data/2/3', 'data'),
  fc.constantFrom(
    '/tool',
    '/',
    'a b',
    '',
    '/local/domain/0',
    '@introduceDomain',
    'data/none',
    'none/at/all',
    'memory/target',
  ),
)
const transaction = often(2, fc.constant(0), fc.integer({ min: 1, max: 4 }))
const message = (type: number, payload: fc.Arbitrary<string>, inside = transaction): fc.Arbitrary<Step> =>
  fc.record({ on: fc.constant('store' as const), type: fc.constant(type), payload, transaction: inside })
const ofPath = (type: number, rest: fc.Arbitrary<string> = fc.constant('')) =>
  message(
    type,
    fc.tuple(path, rest).map(([first, second]) => `${first}\0${second}`),
  )
const value = often(6, fc.constantFrom('1', 'two', 'x'.repeat(300)), fc.constant('y'.repeat(2100)))
const permissions = fc.constantFrom('n1\0', 'r1\0r0\0', 'n0\0', 'n7\0', 'x1\0', '', `n1\0${'r0\0'.repeat(6)}`)
const storeStep = fc.oneof(
  ofPath(T.READ),
  ofPath(T.DIRECTORY),
  ofPath(T.GET_PERMS),
  { weight: 3, arbitrary: ofPath(T.WRITE, value) },
  ofPath(T.MKDIR),
  ofPath(T.RM),
  ofPath(T.SET_PERMS, permissions),
  ofPath(T.DIRECTORY_PART, fc.constantFrom('0\0', '3\0', 'x\0', '')),
  ofPath(T.WATCH, fc.constantFrom('t\0', 'u\0', '')),
  ofPath(T.UNWATCH, fc.constantFrom('t\0', 'u\0', '')),
  { weight: 4, arbitrary: message(T.TRANSACTION_START, fc.constant('\0'), often(4, fc.constant(0), transaction)) },
  message(
    T.TRANSACTION_END,
    often(9, fc.constantFrom('T\0', 'F\0'), fc.constantFrom('', 'X\0')),
    fc.integer({ min: 0, max: 5 }),
  ),
  message(T.GET_DOMAIN_PATH, fc.constantFrom('1\0', '0\0', 'x\0', '')),
  message(T.RESET_WATCHES, fc.constant('\0')),
  message(-1, fc.constant('1\0')).chain((each) =>
    fc
      .constantFrom(
        T.CONTROL,
        T.INTRODUCE,
        T.RELEASE,
        T.IS_DOMAIN_INTRODUCED,
        T.RESUME,
        T.SET_TARGET,
        15,
        16,
        20,
        23,
        0xffffffff,
      )
      .map((type) => ({ ...each, type }) as Step),
  ),
)
const word = fc.oneof(fc.nat(64), fc.integer({ min: 0, max: 0xffffffff }))

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: storeStep },
  {
    weight: 8,
    arbitrary: fc.record({
      on: fc.constant('block' as const),
      operation: fc.constantFrom(0, 0, 1, 1, 2, 3, 5, 6, 6, 4),
      inner: fc.constantFrom(0, 0, 1, 1, 2, 5),
      sector: often(9, fc.nat(SECTORS - 24), fc.constantFrom(SECTORS - 1, SECTORS, 2 ** 32)),
      segments: often(12, fc.array(segment, { minLength: 1, maxLength: 3 }), fc.array(segment, { maxLength: 14 })),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      on: fc.constant('packet' as const),
      reference,
      offset: fc.constantFrom(0, 0, 100, 2048),
      size: fc.constantFrom(14, 60, 1514, 2048, 13, 0),
    }),
  },
  { weight: 1, arbitrary: fc.record({ on: fc.constant('group' as const), leave: fc.boolean(), group: fc.nat(99) }) },
  { weight: 2, arbitrary: fc.record({ on: fc.constant('receive' as const), reference }) },
  { weight: 1, arbitrary: fc.record({ on: fc.constant('console' as const), text: fc.string({ maxLength: 3000 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      on: fc.constant('garbage' as const),
      ring: fc.constantFrom('block', 'tx', 'rx', 'console'),
      at: fc.nat(1023),
      value: word,
    }),
  },
)

class RingSession implements Session<Step> {
  readonly #guest: RingGuest
  /** What the disk holds, and pages that the guest has granted, by reference. */
  readonly #disk: Uint8Array
  readonly #pages = new Map<number, Uint8Array>()
  /** Nodes whose value is known; undefined: there is none. */
  readonly #nodes = new Map<string, string | undefined>()
  #requests = 0
  readonly #groups: number[] = []

  constructor(setting: Setting, listen: RingGuestListener) {
    this.#guest = new RingGuest(setting, listen)
    this.#disk = this.#guest.disk.slice()
    for (let page = Ref.DATA; isGranted(page); page++) {
      this.#guest.granted(page).bytes.fill(page)
      this.#pages.set(page, this.#guest.granted(page).bytes.slice())
    }
    this.#guest.events.length = 0
  }

  play(each: Step): void {
    switch (each.on) {
      case 'store':
        return this.#store(each.type, each.payload, each.transaction)
      case 'block':
        return this.#block(each)
      case 'packet':
        return this.#packet(each.reference, each.offset, each.size)
      case 'group':
        return this.#group(each.group, each.leave)
      case 'receive':
        return this.#receive(each.reference)
      case 'console':
        return this.#console(each.text)
      default:
        return this.#garbage(each.ring, each.at, each.value)
    }
  }

  /** What was told since the last time: one request, with a declared answer. */
  #told(): { readonly name: string; readonly result: bigint | string } {
    const { events } = this.#guest
    strictEqual(events.length, 1)
    const [{ request, result }] = events.splice(0) as [(typeof events)[number]]
    ok(typeof result === 'bigint' || Object.hasOwn(request.errors, result), `${request.name} ${result}`)
    return { name: request.name, result }
  }

  #store(type: number, payload: string, inside: number): void {
    const answer = this.#guest.store.ask(type, payload, inside)
    const { name, result } = this.#told()
    strictEqual(answer.startsWith('!') ? answer.slice(1) : 0n, result, name)
    if (typeof result === 'string') return
    const [first = '', ...rest] = payload.split('\0')
    // What a transaction changes is seen when it ends.
    if (type === T.TRANSACTION_END) this.#nodes.clear()
    else if (inside === 0 && (type === T.WRITE || type === T.MKDIR)) {
      // Those above it are made, too.
      for (const [node, known] of this.#nodes)
        if (known === undefined && `${first}/`.startsWith(`${node}/`)) this.#nodes.delete(node)
      if (type === T.WRITE) this.#nodes.set(first, rest.join('\0'))
    } else if (inside === 0 && type === T.RM) {
      for (const node of this.#nodes.keys()) if (node.startsWith(`${first}/`)) this.#nodes.set(node, undefined)
      this.#nodes.set(first, undefined)
    } else if (inside === 0 && type === T.READ && this.#nodes.has(first)) strictEqual(answer, this.#nodes.get(first))
  }

  /** Whether a page can be had for a request. */
  #usable(page: number, writing: boolean): boolean {
    return isGranted(page) && !((writing || this.#guest.setting.persistent) && readOnly(page))
  }

  #block({ operation, inner, sector, segments }: Extract<Step, { on: 'block' }>): void {
    const { block, setting } = this.#guest
    const id = this.#requests++
    const view = new DataView(new ArrayBuffer(112))
    view.setUint8(0, operation)
    view.setBigUint64(8, BigInt(id), true)
    view.setBigUint64(16, BigInt(sector), true)
    const put = (to: DataView, at: number, list: readonly Segment[]) => {
      for (const [i, { reference: page, first, last }] of list.entries()) {
        to.setUint32(at + 8 * i, page, true)
        to.setUint8(at + 8 * i + 4, first)
        to.setUint8(at + 8 * i + 5, last)
      }
    }
    if (operation === Operation.INDIRECT) {
      view.setUint8(1, inner)
      view.setUint16(2, segments.length, true)
      view.setUint32(28, Ref.LIST, true)
      const list = this.#guest.granted(Ref.LIST)
      put(list.view, 0, segments)
      this.#pages.set(Ref.LIST, list.bytes.slice())
    } else if (operation === Operation.DISCARD) view.setBigUint64(24, BigInt(segments.length), true)
    else {
      view.setUint8(1, segments.length)
      put(view, 24, segments.slice(0, 11))
    }
    const expected = this.#expected(operation, inner, sector, segments)
    block.push(new Uint8Array(view.buffer))
    this.#guest.notify('block')
    const [response, ...more] = block.responses(16)
    strictEqual(more.length, 0)
    ok(response, 'no answer')
    const done = operation === Operation.INDIRECT ? inner : operation
    deepStrictEqual(
      [response.getBigUint64(0, true), response.getUint8(8), response.getInt16(10, true)],
      [BigInt(id), done, expected],
    )
    const { result } = this.#told()
    const names = { [Result.OKAY]: 0n, [Result.ERROR]: 'BLKIF_RSP_ERROR', [Result.EOPNOTSUPP]: 'BLKIF_RSP_EOPNOTSUPP' }
    strictEqual(result, names[expected])
    strictEqual(Buffer.compare(this.#guest.disk, this.#disk), 0, 'the disk')
    for (const { reference: page } of segments) this.#checkPage(page)
    ok(setting.disk !== 'read-only' || done === Operation.READ || expected !== Result.OKAY)
  }

  /** The answer to a request; the models are changed as it would. */
  #expected(operation: number, inner: number, sector: number, segments: readonly Segment[]): -2 | -1 | 0 {
    const { disk: kind } = this.#guest.setting
    const count = segments.length
    if (operation === Operation.DISCARD) {
      if (kind === 'read-only' || (count > 0 && sector + count > SECTORS)) return Result.ERROR
      if (kind === 'raw') return Result.EOPNOTSUPP
      if (count === 0) return Result.ERROR
      this.#disk.fill(0, SECTOR * sector, SECTOR * (sector + count))
      return Result.OKAY
    }
    const indirect = operation === Operation.INDIRECT
    const does = indirect ? inner : operation
    if (does > Operation.FLUSH) return indirect ? Result.ERROR : Result.EOPNOTSUPP
    if (indirect && does !== Operation.READ && does !== Operation.WRITE) return Result.ERROR
    const flushes = does === Operation.BARRIER || does === Operation.FLUSH
    if ((count === 0 && !flushes) || (count > 11 && !indirect)) return Result.ERROR
    if (segments.some(({ first, last }) => first > last || last > 7)) return Result.ERROR
    const reading = does === Operation.READ
    const sectors = segments.reduce((sum, { first, last }) => sum + last - first + 1, 0)
    if ((!reading && kind === 'read-only') || (count > 0 && sector + sectors > SECTORS)) return Result.ERROR
    if (segments.some(({ reference: page }) => !this.#usable(page, reading))) return Result.ERROR
    let at = SECTOR * sector
    for (const { reference: page, first, last } of segments) {
      const [from, to] = [SECTOR * first, SECTOR * (last + 1)]
      const bytes = this.#pages.get(page) as Uint8Array
      if (reading) bytes.set(this.#disk.subarray(at, at + to - from), from)
      else this.#disk.set(bytes.subarray(from, to), at)
      at += to - from
    }
    return Result.OKAY
  }

  #checkPage(page: number): void {
    const bytes = this.#pages.get(page)
    if (bytes) strictEqual(Buffer.compare(this.#guest.granted(page).bytes, bytes), 0, `page ${page}`)
  }

  #slot(page: number, offset: number, flags: number, id: number, size: number): Uint8Array {
    const view = new DataView(new ArrayBuffer(12))
    view.setUint32(0, page, true)
    for (const [i, half] of [offset, flags, id, size].entries()) view.setUint16(4 + 2 * i, half, true)
    return new Uint8Array(view.buffer)
  }

  /** Responses on the transmit ring: ids and statuses. */
  #sent(): number[][] {
    this.#guest.notify('net')
    return this.#guest.tx.responses(4).map((view) => [view.getUint16(0, true), view.getInt16(2, true)])
  }

  #packet(page: number, offset: number, size: number): void {
    const id = this.#requests++ & 0xffff
    this.#guest.tx.push(this.#slot(page, offset, 0, id, size))
    const status = size >= 14 && isGranted(page) ? 0 : -1
    deepStrictEqual(this.#sent(), [[id, status]])
    deepStrictEqual(this.#told(), { name: 'netif_tx_request', result: status === 0 ? 0n : 'NETIF_RSP_ERROR' })
  }

  #group(group: number, leave: boolean): void {
    const id = this.#requests++ & 0xffff
    this.#guest.tx.push(this.#slot(0, 0, 8, id, 60))
    this.#guest.tx.push(Uint8Array.of(leave ? 3 : 2, 0, 1, 0, 0x5e, 0, 0, group, 0, 0, 0, 0))
    const full = !leave && this.#groups.length >= 64
    const index = this.#groups.indexOf(group)
    if (!leave && !full) this.#groups.push(group)
    else if (leave && index >= 0) this.#groups.splice(index, 1)
    deepStrictEqual(this.#sent(), [
      [id, full ? -1 : 0],
      [0, 1],
    ])
    const name = `XEN_NETIF_EXTRA_TYPE_MCAST_${leave ? 'DEL' : 'ADD'}`
    deepStrictEqual(this.#told(), { name, result: full ? 'NETIF_RSP_ERROR' : 0n })
  }

  /** A page is offered, the gateway is asked for its address, and the answer is in the page. */
  #receive(page: number): void {
    const { rx, tx } = this.#guest
    const id = this.#requests++ & 0xffff
    const offer = new DataView(new ArrayBuffer(8))
    offer.setUint16(0, id, true)
    offer.setUint32(4, page, true)
    rx.push(new Uint8Array(offer.buffer))
    const ask = Ref.LIST
    const arp = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x16, 0x3e, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]
    const addresses = [0, 0x16, 0x3e, 0, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]
    const asking = this.#guest.granted(ask)
    asking.bytes.set([...arp, ...addresses])
    this.#pages.set(ask, asking.bytes.slice())
    tx.push(this.#slot(ask, 0, 0, id, 60))
    deepStrictEqual(this.#sent(), [[id, 0]])
    const answers = rx.responses(8).map((view) => [view.getUint16(0, true), view.getInt16(6, true)])
    const good = isGranted(page) && !readOnly(page)
    strictEqual(answers.length, 1)
    const [[answered, status]] = answers as [[number, number]]
    deepStrictEqual([answered, status > 0], [id, good])
    strictEqual(this.#guest.events.length, 2)
    this.#guest.events.shift()
    deepStrictEqual(this.#told(), { name: 'netif_rx_request', result: good ? BigInt(status) : 'NETIF_RSP_ERROR' })
    if (!good) return
    const { bytes } = this.#guest.granted(page)
    strictEqual(bytes[21], 2, 'an ARP reply')
    this.#pages.get(page)?.set(bytes.subarray(0, status))
    this.#checkPage(page)
  }

  #console(text: string): void {
    const { console, mock } = this.#guest
    const bytes = new TextEncoder().encode(text).subarray(0, 2048)
    const producer = console.view.getUint32(0xc0c, true)
    for (const [i, byte] of bytes.entries()) console.bytes[0x400 + ((producer + i) & 2047)] = byte
    console.view.setUint32(0xc0c, producer + bytes.length, true)
    mock.log.length = 0
    this.#guest.notify('console')
    strictEqual(console.view.getUint32(0xc08, true), (producer + bytes.length) >>> 0)
    if (bytes.length === 0) return
    ok(mock.log.some((line) => line.startsWith('console 0 ')))
    deepStrictEqual(this.#told(), { name: 'xencons_interface.out', result: BigInt(bytes.length) })
  }

  /** A word somewhere in a ring; afterwards the device is connected again, and the models are what there is. */
  #garbage(ring: 'block' | 'tx' | 'rx' | 'console', at: number, word32: number): void {
    const guest = this.#guest
    const page = ring === 'console' ? guest.console : guest[ring].page
    // Mostly among the indices.
    page.view.setUint32(ring === 'console' ? 0xc00 + (at & 12) : at & 1 ? at & 12 : 4 * at, word32, true)
    guest.notify(ring === 'tx' || ring === 'rx' ? 'net' : ring)
    if (ring === 'console') for (const index of [0xc00, 0xc04, 0xc08, 0xc0c]) page.view.setUint32(index, 0, true)
    else if (ring === 'block') guest.connectBlock()
    else {
      guest.connectNet()
      this.#groups.length = 0
    }
    this.#disk.set(guest.disk)
    for (const [each, bytes] of this.#pages) if (!readOnly(each)) bytes.set(guest.granted(each).bytes)
    guest.events.length = 0
  }

  finish(): void {
    const guest = this.#guest
    const { dom0 } = guest.domain
    ok(size(dom0 as Stateful) < 1 << 20, 'dom0 keeps too much')
    this.#storeGarbage()
    dom0?.close()
    guest.checkGrants()
    guest.checkMemory(new Map([...this.#pages].filter(([page]) => readOnly(page))))
  }

  /** Whatever is in the ring, the connection ends and says why, or goes on. */
  #storeGarbage(): void {
    const { page } = this.#guest.store
    for (let i = 0; i < 4; i++) {
      page.view.setUint32(2048 + 4 * i, Math.imul(this.#requests + 1, 2654435761) >>> i, true)
      this.#guest.notify('store')
    }
    match(String(page.view.getUint32(2072, true)), /^[0-3]$/)
    ok(this.#guest.events.length <= 1024 / 16, 'more requests than there is room for')
  }
}

type RingGuestListener = ConstructorParameters<typeof RingGuest>[1]

/** Characters of what a snapshot would have of it. */
const size = (part: Stateful): number =>
  JSON.stringify(save(part), (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each)).length

/** What takes many requests: store/errors.test.ts, net.test.ts. */
const elsewhere = new Set([
  ...['READ', 'GET_PERMS', 'DIRECTORY', 'DIRECTORY_PART', 'RM', 'MKDIR', 'TRANSACTION_END'].map(
    (name) => `XS_${name} ENOSPC`,
  ),
  ...['WATCH', 'WRITE', 'MKDIR', 'SET_PERMS'].map((name) => `XS_${name} ENOMEM`),
  'XS_DIRECTORY E2BIG',
  'XS_WATCH E2BIG',
  'XS_TRANSACTION_START ENOSPC',
  'XS_TRANSACTION_END ENOMEM',
  'XEN_NETIF_EXTRA_TYPE_MCAST_ADD NETIF_RSP_ERROR',
])
const requests = ringRequests.map((request): Declaration => {
  const errors = Object.entries(request.errors).filter(([name]) => !elsewhere.has(`${request.name} ${name}`))
  return { ...request, errors: Object.fromEntries(errors) }
})

export const scenario: Scenario<Setting, Step> = {
  requests,
  setting: fc.record({
    kind: fc.constantFrom<KindName>(...kinds),
    disk: often(2, fc.constant('memory' as const), fc.constantFrom('raw', 'read-only')),
    persistent: fc.boolean(),
  }),
  step,
  start: (setting, listen) => new RingSession(setting, listen),
  describe: (each) => inspect(each, { breakLength: Infinity, maxStringLength: 100 }),
}
