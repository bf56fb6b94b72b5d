import * as fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { NetworkPort } from '../../../../backends/network/port.ts'
import { UserNetwork } from '../../../../backends/network/user.ts'
import { TestMachine, TestRing } from '../testing.ts'
import { NetBackend } from './backend.ts'
import { netDeclarations } from './requests.ts'

const FRONT = '/local/domain/1/device/vif/0'
const BACK = '/local/domain/0/backend/vif/1/0'
const [TX, RX, TX_PORT, RX_PORT] = [8, 9, 5, 6]

let machine: TestMachine
let backend: NetBackend
let tx: TestRing
let rx: TestRing
/** What came out of the card, and the way in. */
let sent: Uint8Array[]
let deliver: ((frame: Uint8Array) => void) | undefined

const cable: NetworkPort = {
  send: (frame) => void sent.push(frame),
  attach: (receive) => {
    deliver = receive
  },
}

function connect(port: NetworkPort = cable, nodes: Record<string, number> = {}): void {
  sent = []
  machine = new TestMachine()
  backend = new NetBackend(machine.parts, { port, index: 0, mac: '00:16:3e:00:00:01', queues: 2 })
  rings()
  machine.write(FRONT, {
    'tx-ring-ref': TX,
    'rx-ring-ref': RX,
    'event-channel-tx': TX_PORT,
    'event-channel-rx': RX_PORT,
    'request-rx-copy': 1,
    ...nodes,
  })
  machine.write(FRONT, { state: 4 })
}

function rings(): void {
  tx = new TestRing(machine.grant(TX), 12)
  rx = new TestRing(machine.grant(RX), 8)
  machine.offer(TX_PORT)
  machine.offer(RX_PORT)
}

interface Slot {
  reference?: number
  offset?: number
  flags?: number
  id?: number
  size?: number
}

function slot({ reference = 20, offset = 0, flags = 0, id = 0, size = 60 }: Slot): Uint8Array {
  const view = new DataView(new ArrayBuffer(12))
  view.setUint32(0, reference, true)
  for (const [i, value] of [offset, flags, id, size].entries()) view.setUint16(4 + 2 * i, value, true)
  return new Uint8Array(view.buffer)
}

const extra = (type: number, more: number, ...body: number[]) =>
  Uint8Array.from({ length: 12 }, (_, i) => [type, more, ...body][i] ?? 0)

function transmit(...slots: Uint8Array[]): [id: number, status: number][] {
  for (const bytes of slots) tx.push(bytes)
  machine.notify(TX_PORT)
  return tx.responses(4).map((view) => [view.getUint16(0, true), view.getInt16(2, true)])
}

function offerPage(id: number, reference: number): void {
  const view = new DataView(new ArrayBuffer(8))
  view.setUint16(0, id, true)
  view.setUint32(4, reference, true)
  rx.push(new Uint8Array(view.buffer))
}

const received = () =>
  rx.responses(8).map((view) => ({
    id: view.getUint16(0, true),
    flags: view.getUint16(4, true),
    status: view.getInt16(6, true),
  }))

beforeEach(() => {
  connect()
  machine.grant(20, false).bytes.set(Uint8Array.from({ length: 4096 }, (_, i) => i * 5))
})

test('what the backend says, and that it closes and comes back', () => {
  const say = Object.fromEntries(machine.store.list(BACK).map((name) => [name, machine.store.read(`${BACK}/${name}`)]))
  expect(say).toMatchObject({
    state: '4',
    'feature-rx-copy': '1',
    'feature-sg': '1',
    'feature-gso-tcpv4': '1',
    'feature-split-event-channels': '1',
    'multi-queue-max-queues': '2',
    mac: '00:16:3e:00:00:01',
  })
  machine.write(FRONT, { state: 5 })
  machine.write(FRONT, { state: 6 })
  expect(machine.store.read(`${BACK}/state`)).toBe('6')
  expect([machine.mapped.size, machine.connected(TX_PORT), deliver]).toEqual([0, false, undefined])
  machine.write(FRONT, { state: 1 })
  expect(machine.store.read(`${BACK}/state`)).toBe('2')
  rings()
  machine.write(FRONT, { state: 4 })
  expect(machine.store.read(`${BACK}/state`)).toBe('4')
  expect(transmit(slot({ id: 3 }))).toEqual([[3, 0]])
  backend.close()
  expect(machine.mapped.size).toBe(0)
})

test.each([
  ['no copying', { 'request-rx-copy': 0 }],
  ['too many queues', { 'multi-queue-num-queues': 3 }],
  ['no such grant', { 'rx-ring-ref': 99 }],
  ['no such port', { 'event-channel-rx': 77 }],
])('%s: it closes and says why', (_, nodes) => {
  connect(cable, nodes as Record<string, number>)
  expect(machine.store.read(`${BACK}/state`)).toBe('5')
  expect(machine.store.read('/local/domain/0/error/backend/vif/1/0/error')).toMatch(/^-\d+ /)
  expect([machine.mapped.size, machine.connected(TX_PORT)]).toEqual([0, false])
})

describe('to the network', () => {
  test('a packet in one slot, and one in three', () => {
    machine.grant(21, false).bytes.fill(1)
    expect(
      transmit(
        slot({ id: 1, offset: 100, size: 80 }),
        slot({ id: 2, size: 1100, flags: 4 }),
        slot({ id: 3, reference: 21, size: 500, flags: 4 }),
        slot({ id: 4, reference: 21, offset: 4000, size: 96 }),
      ),
    ).toEqual([
      [1, 0],
      [2, 0],
      [3, 0],
      [4, 0],
    ])
    expect(sent.map((frame) => frame.length)).toEqual([80, 1100])
    expect(sent[0]?.[1]).toBe((101 * 5) & 0xff)
    expect(Array.from(sent[1]?.subarray(503, 506) ?? [])).toEqual([(503 * 5) & 0xff, 1, 1])
    expect(machine.raised.get(TX_PORT)).toBe(1)
    expect(machine.mapped.size).toBe(2)
  })

  test('mistakes that cost a packet', () => {
    expect(
      transmit(
        slot({ id: 1, reference: 99 }),
        slot({ id: 2, size: 13 }),
        slot({ id: 3, size: 100, flags: 4 }),
        slot({ id: 4, size: 101 }),
        slot({ id: 5, size: 100, flags: 1 }),
      ),
    ).toEqual([
      [1, -1],
      [2, -1],
      [3, -1],
      [4, -1],
      // There is no checksum to complete in it: it is dropped behind the ring.
      [5, 0],
    ])
    expect(sent).toEqual([])
  })

  test.each([
    ['a slot that crosses a page', [slot({ offset: 4090, size: 60 })]],
    ['a packet without its end', [slot({ flags: 4 })]],
    ['extra information that is not there', [slot({ flags: 8 })]],
    ['extra information of no type', [slot({ flags: 8 }), extra(9, 0)]],
    ['segments of nothing', [slot({ flags: 8 }), extra(1, 0, 0, 0, 1)]],
    ['far too many slots', Array.from({ length: 25 }, () => slot({ flags: 4, size: 10 }))],
  ])('%s ends the device', (_, slots) => {
    transmit(...slots)
    expect(machine.connected(TX_PORT)).toBe(false)
    expect(machine.reports[0]).toMatch(/disabled/)
    expect(machine.mapped.size).toBe(0)
  })

  test('too many requests end the device', () => {
    tx.page.view.setUint32(0, 257, true)
    machine.notify(TX_PORT)
    expect(machine.connected(TX_PORT)).toBe(false)
  })

  test('groups', () => {
    connect(cable, { 'request-multicast-control': 1 })
    const group = [0x33, 0x33, 0, 0, 0, 1]
    expect(transmit(slot({ id: 1, flags: 8 }), extra(2, 0, ...group))).toEqual([
      [1, 0],
      [0, 1],
    ])
    for (let i = 0; i < 4; i++) {
      machine.grant(40 + i)
      offerPage(i, 40 + i)
    }
    for (const to of [group, [0x33, 0x33, 0, 0, 0, 2], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0, 0x16, 0x3e, 0, 0, 1]])
      deliver?.(Uint8Array.from({ length: 60 }, (_, i) => to[i] ?? 0))
    machine.run()
    expect(received().map(({ status }) => status)).toEqual([60, 60, 60])
    // As often as they were asked for.
    transmit(slot({ id: 2, flags: 8 }), extra(2, 0, ...group))
    transmit(slot({ id: 2, flags: 8 }), extra(3, 0, ...group))
    deliver?.(Uint8Array.from({ length: 60 }, (_, i) => group[i] ?? 0))
    machine.run()
    offerPage(4, 40)
    machine.notify(RX_PORT)
    expect(received()).toHaveLength(1)
    transmit(slot({ id: 2, flags: 8 }), extra(3, 0, ...group))
    deliver?.(Uint8Array.from({ length: 60 }, (_, i) => group[i] ?? 0))
    machine.run()
    expect(received()).toEqual([])
  })
})

describe('from the network', () => {
  test('into the pages that the guest offers, and later if there are none', () => {
    const page = machine.grant(40)
    const frame = Uint8Array.from({ length: 100 }, (_, i) => i)
    deliver?.(frame)
    machine.run()
    expect(received()).toEqual([])
    offerPage(7, 40)
    machine.notify(RX_PORT)
    expect(received()).toEqual([{ id: 7, flags: 1, status: 100 }])
    expect(page.bytes.subarray(0, 100)).toEqual(frame)
    expect(machine.raised.get(RX_PORT)).toBe(1)
    expect(machine.wakes).toBe(1)
  })

  test('a long one takes several pages', () => {
    for (const reference of [40, 41, 42]) {
      machine.grant(reference)
      offerPage(reference, reference)
    }
    deliver?.(new Uint8Array(9000))
    machine.run()
    expect(received()).toEqual([
      { id: 40, flags: 5, status: 4096 },
      { id: 41, flags: 4, status: 4096 },
      { id: 42, flags: 0, status: 808 },
    ])
  })

  test('a page that is not granted for writing is an error', () => {
    offerPage(1, 20)
    deliver?.(new Uint8Array(60))
    machine.run()
    expect(received()).toEqual([{ id: 1, flags: 1, status: -1 }])
  })

  test('a guest that takes nothing does not fill the host', () => {
    for (let i = 0; i < 1000; i++) deliver?.(new Uint8Array(60))
    machine.run()
    for (let i = 0; i < 256; i++) offerPage(i, 20)
    machine.notify(RX_PORT)
    expect(received()).toHaveLength(256)
    for (let i = 0; i < 256; i++) offerPage(i, 20)
    machine.notify(RX_PORT)
    expect(received()).toHaveLength(0)
  })
})

test('a ping to the gateway of the small network comes back', () => {
  connect(new UserNetwork().plug())
  const request = [8, 0, 0xf7, 0xff, 0, 0, 0, 0]
  const ip = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0x62, 0xd1, 10, 0, 2, 15, 10, 0, 2, 2]
  const frame = [0x52, 0x55, 10, 0, 2, 2, 0, 0x16, 0x3e, 0, 0, 1, 8, 0, ...ip, ...request]
  machine.grant(20, false).bytes.set(frame)
  const page = machine.grant(40)
  offerPage(1, 40)
  expect(transmit(slot({ id: 1, size: frame.length }))).toEqual([[1, 0]])
  expect(received()).toEqual([{ id: 1, flags: 1, status: frame.length }])
  expect(Array.from(page.bytes.subarray(0, 6))).toEqual([0, 0x16, 0x3e, 0, 0, 1])
  expect(page.bytes[34]).toBe(0)
})

test('garbage in both rings: answers or a dead device, nothing left mapped', () => {
  const word = fc.oneof(fc.integer({ min: 0, max: 64 }), fc.integer({ min: 0, max: 0xffffffff }))
  const step = fc.record({
    reference: word,
    offset: fc.constantFrom(0, 0, 0, 4000, 65535),
    flags: fc.constantFrom(0, 0, 1, 4, 8, 12, 65535),
    size: fc.constantFrom(0, 13, 60, 1500, 4096, 65535),
    producer: fc.option(word, { freq: 20 }),
    receive: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      connect(new UserNetwork().plug())
      for (let i = 16; i < 40; i++) machine.grant(i, i % 3 !== 0)
      for (const { reference, offset, flags, size, producer, receive } of steps) {
        tx.push(slot({ reference, offset, flags, size }))
        offerPage(0, reference)
        if (producer !== null) (receive ? rx : tx).page.view.setUint32(0, producer, true)
        machine.notify(TX_PORT)
        machine.notify(RX_PORT)
      }
      backend.close()
      expect(machine.mapped.size).toBe(0)
    }),
    { numRuns: 150 },
  )
})

describe('requests are told', () => {
  const group = [1, 0, 0x5e, 0, 0, 1]

  test('with what they ask and what they were answered', () => {
    machine.takeTrace()
    machine.grant(30)
    transmit(slot({ id: 1, size: 100, flags: 5 }), slot({ id: 2, size: 40 }))
    transmit(slot({ id: 3, size: 13 }))
    transmit(slot({ id: 4, flags: 8 }), extra(2, 0, ...group))
    transmit(slot({ id: 5, flags: 8 }), extra(3, 0, ...group))
    offerPage(6, 30)
    offerPage(7, 99)
    for (let i = 0; i < 2; i++) deliver?.(new Uint8Array(60))
    machine.run()
    expect(machine.takeTrace()).toEqual([
      '-  netif_tx_request(device="vif/0", id=1, size=100, flags=csum_blank|more_data, slots=2, gso_size=0) = 0',
      '-  netif_tx_request(device="vif/0", id=3, size=13, flags=0x0, slots=1, gso_size=0) = NETIF_RSP_ERROR',
      '-  XEN_NETIF_EXTRA_TYPE_MCAST_ADD(device="vif/0", id=4, addr="01:00:5e:00:00:01") = 0',
      '-  XEN_NETIF_EXTRA_TYPE_MCAST_DEL(device="vif/0", id=5, addr="01:00:5e:00:00:01") = 0',
      '-  netif_rx_request(device="vif/0", id=6, gref=30) = 60',
      '-  netif_rx_request(device="vif/0", id=7, gref=99) = NETIF_RSP_ERROR',
    ])
  })

  test('every declared answer is given', () => {
    transmit(slot({}))
    transmit(slot({ size: 1 }))
    machine.grant(30)
    for (const reference of [30, 99]) {
      offerPage(1, reference)
      deliver?.(new Uint8Array(60))
    }
    machine.run()
    for (let i = 0; i < 65; i++) transmit(slot({ flags: 8 }), extra(2, 0, 1, 0, 0x5e, 0, 0, i))
    transmit(slot({ flags: 8 }), extra(3, 0, ...group))
    const answered = machine.events.filter(({ request }) => !request.name.startsWith('XS_'))
    const told = answered.map(
      ({ request, result }) => `${request.name} ${typeof result === 'string' ? result : 'done'}`,
    )
    const wanted = Object.values(netDeclarations).flatMap(({ name, errors }) =>
      ['done', ...Object.keys(errors)].map((each) => `${name} ${each}`),
    )
    expect([...new Set(told)].sort()).toEqual(wanted.sort())
  })

  test('one that is refused is not carried out', () => {
    for (const name of ['netif_tx_request', 'netif_rx_request', 'XEN_NETIF_EXTRA_TYPE_MCAST_ADD'])
      machine.refusals.set(name, 'NETIF_RSP_ERROR')
    const page = machine.grant(30)
    expect(transmit(slot({ id: 1 }))).toEqual([[1, -1]])
    expect(transmit(slot({ id: 2, flags: 8 }), extra(2, 0, ...group))[0]).toEqual([2, -1])
    expect(sent).toEqual([])
    offerPage(3, 30)
    deliver?.(new Uint8Array(60).fill(7))
    machine.run()
    expect(received()).toEqual([{ id: 3, flags: 1, status: -1 }])
    expect(page.bytes[0]).not.toBe(7)
  })
})
