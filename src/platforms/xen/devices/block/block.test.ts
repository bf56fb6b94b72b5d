import * as fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { type Disk, MemoryBlocks, MemoryDisk, OverlayDisk } from '../../../../backends/disk.ts'
import { TestMachine, TestRing } from '../testing.ts'
import { BlockBackend, diskName, virtualDevice } from './backend.ts'
import { blockDeclarations, Operation, type Protocol } from './requests.ts'

const FRONT = '/local/domain/1/device/vbd/51712'
const BACK = '/local/domain/0/backend/vbd/1/51712'
const RING = 8
const PORT = 5
const SECTORS = 64

let machine: TestMachine
let bytes: Uint8Array
let backend: BlockBackend
let ring: TestRing
let nextId: bigint

interface Shape {
  operation: number
  sector?: bigint
  segments?: readonly { reference: number; first?: number; last?: number }[]
  count?: number
  indirect?: { operation: number; pages: readonly number[] }
  discard?: bigint
}

function request(shape: Shape, protocol: Protocol = 'x86_64-abi'): Uint8Array {
  const wide = protocol === 'x86_64-abi'
  const view = new DataView(new ArrayBuffer(wide ? 112 : 108))
  const shift = wide ? 0 : -4
  view.setUint8(0, shape.operation)
  view.setBigUint64(8 + shift, nextId++, true)
  view.setBigUint64(16 + shift, shape.sector ?? 0n, true)
  const segments = shape.segments ?? []
  if (shape.indirect) {
    view.setUint8(1, shape.indirect.operation)
    view.setUint16(2, shape.count ?? segments.length, true)
    for (const [i, page] of shape.indirect.pages.entries()) view.setUint32(28 + shift + 4 * i, page, true)
  } else if (shape.discard !== undefined) view.setBigUint64(24 + shift, shape.discard, true)
  else {
    view.setUint8(1, shape.count ?? segments.length)
    for (const [i, { reference, first = 0, last = 7 }] of segments.slice(0, 11).entries()) {
      view.setUint32(24 + shift + 8 * i, reference, true)
      view.setUint8(28 + shift + 8 * i, first)
      view.setUint8(29 + shift + 8 * i, last)
    }
  }
  return new Uint8Array(view.buffer)
}

function connect(disk: Disk, nodes: Record<string, string | number> = {}, entrySize = 112): void {
  machine = new TestMachine()
  backend = new BlockBackend(machine.parts, { disk, index: 0, queues: 2 })
  ring = new TestRing(machine.grant(RING), entrySize)
  machine.offer(PORT)
  machine.write(FRONT, { 'ring-ref': RING, 'event-channel': PORT, protocol: 'x86_64-abi', ...nodes })
  machine.write(FRONT, { state: 3 })
}

/** Statuses of requests, in the order of their ids. */
function submit(shapes: readonly Shape[], protocol?: Protocol): number[] {
  nextId = 0n
  for (const shape of shapes) ring.push(request(shape, protocol))
  machine.notify(PORT)
  const responses = ring.responses(protocol === 'x86_32-abi' ? 12 : 16)
  const byId = responses.toSorted((a, b) => Number(a.getBigUint64(0, true) - b.getBigUint64(0, true)))
  expect(byId.map((view) => view.getBigUint64(0, true))).toEqual(shapes.map((_, i) => BigInt(i)))
  return byId.map((view) => view.getInt16(10, true))
}

beforeEach(() => {
  nextId = 0n
  bytes = Uint8Array.from({ length: SECTORS * 512 }, (_, i) => (i * 7 + (i >> 9)) & 0xff)
})

test('names and numbers of disks', () => {
  expect([0, 1, 15, 25, 26, 27].map(diskName)).toEqual(['xvda', 'xvdb', 'xvdp', 'xvdz', 'xvdaa', 'xvdab'])
  expect([0, 1, 15, 16].map(virtualDevice)).toEqual([51712, 51728, 51952, 0x10001000])
})

describe('the store', () => {
  test('what the backend says', () => {
    connect(new MemoryDisk(bytes))
    const say = Object.fromEntries(
      machine.store.list(BACK).map((name) => [name, machine.store.read(`${BACK}/${name}`)]),
    )
    expect(say).toMatchObject({
      state: '4',
      sectors: '64',
      'sector-size': '512',
      'physical-sector-size': '512',
      info: '0',
      'feature-flush-cache': '1',
      'feature-barrier': '1',
      'feature-discard': '1',
      'discard-granularity': '4096',
      'feature-persistent': '1',
      'feature-max-indirect-segments': '256',
      'multi-queue-max-queues': '2',
      'max-ring-page-order': '4',
      frontend: FRONT,
      mode: 'w',
    })
    expect(machine.store.read(`${FRONT}/backend`)).toBe(BACK)
  })

  test('closing and connecting again', () => {
    connect(new MemoryDisk(bytes))
    expect(machine.mapped.size).toBe(1)
    machine.write(FRONT, { state: 5 })
    expect(machine.store.read(`${BACK}/state`)).toBe('5')
    machine.write(FRONT, { state: 6 })
    expect(machine.store.read(`${BACK}/state`)).toBe('6')
    expect(machine.mapped.size).toBe(0)
    expect(machine.connected(PORT)).toBe(false)
    machine.write(FRONT, { state: 1 })
    expect(machine.store.read(`${BACK}/state`)).toBe('2')
    ring = new TestRing(machine.grant(RING), 112)
    machine.write(FRONT, { state: 3 })
    expect(machine.store.read(`${BACK}/state`)).toBe('4')
    machine.grant(20)
    expect(submit([{ operation: Operation.READ, segments: [{ reference: 20 }] }])).toEqual([0])
    backend.close()
    expect(machine.mapped.size).toBe(0)
  })

  test.each([
    ['no such grant', { 'ring-ref': 99 }],
    ['no reference', { 'ring-ref': 'x' }],
    ['no such port', { 'event-channel': 77 }],
    ['another protocol', { protocol: 'arm-abi' }],
    ['too many queues', { 'multi-queue-num-queues': 3 }],
    ['no queue', { 'multi-queue-num-queues': 0 }],
    ['a ring too large', { 'ring-page-order': 5 }],
    ['a state that is none', { state: 9 }],
  ])('%s: it closes and says why', (_, nodes) => {
    connect(new MemoryDisk(bytes), nodes)
    machine.write(FRONT, nodes)
    expect(machine.store.read(`${BACK}/state`)).toBe('5')
    expect(machine.store.read('/local/domain/0/error/backend/vbd/1/51712/error')).toMatch(/^-\d+ /)
    expect(machine.mapped.size).toBe('state' in nodes ? 1 : 0)
  })

  test('two queues of two pages each', () => {
    machine = new TestMachine()
    backend = new BlockBackend(machine.parts, { disk: new MemoryDisk(bytes), index: 0, queues: 2 })
    const pages = [31, 32, 41, 42].map((reference) => machine.grant(reference))
    for (const [i, port] of [6, 7].entries()) {
      machine.offer(port)
      const [a, b] = i === 0 ? [31, 32] : [41, 42]
      machine.write(`${FRONT}/queue-${i}`, {
        'ring-ref0': a as number,
        'ring-ref1': b as number,
        'event-channel': port,
      })
    }
    machine.write(FRONT, { 'multi-queue-num-queues': 2, 'ring-page-order': 1 })
    machine.write(FRONT, { state: 3 })
    expect(machine.store.read(`${BACK}/state`)).toBe('4')
    const target = machine.grant(50)
    // Entry 36 of the second ring lies across its pages.
    const [, , first, second] = pages as [unknown, unknown, (typeof pages)[0], (typeof pages)[0]]
    const entry = request({ operation: Operation.READ, sector: 8n, segments: [{ reference: 50 }] })
    for (let i = 0; i < 37; i++)
      for (const [j, byte] of entry.entries()) {
        const at = 64 + 112 * i + j
        ;(at < 4096 ? first : second).bytes[at % 4096] = byte
      }
    first.view.setUint32(0, 37, true)
    machine.notify(7)
    expect(first.view.getUint32(8, true)).toBe(37)
    expect(target.bytes).toEqual(bytes.slice(4096, 8192))
  })
})

describe('requests', () => {
  test('read and write, from any sector of a page', () => {
    connect(new MemoryDisk(bytes))
    const from = machine.grant(20, false)
    from.bytes.fill(0xaa)
    const to = machine.grant(21)
    expect(
      submit([
        { operation: Operation.WRITE, sector: 3n, segments: [{ reference: 20, first: 2, last: 3 }] },
        {
          operation: Operation.READ,
          sector: 2n,
          segments: [
            { reference: 21, first: 7, last: 7 },
            { reference: 21, first: 0, last: 2 },
          ],
        },
      ]),
    ).toEqual([0, 0])
    expect(bytes.slice(3 * 512, 5 * 512).every((byte) => byte === 0xaa)).toBe(true)
    expect(to.bytes.slice(7 * 512)).toEqual(bytes.slice(2 * 512, 3 * 512))
    expect(to.bytes.slice(0, 3 * 512)).toEqual(bytes.slice(3 * 512, 6 * 512))
    expect(machine.mapped.size).toBe(1)
    expect(machine.raised.get(PORT)).toBe(1)
  })

  test('flush, barrier and discard', () => {
    connect(new MemoryDisk(bytes))
    machine.grant(20).bytes.fill(1)
    expect(
      submit([
        { operation: Operation.FLUSH_DISKCACHE },
        { operation: Operation.FLUSH_DISKCACHE, segments: [{ reference: 20 }] },
        { operation: Operation.WRITE_BARRIER, sector: 8n, segments: [{ reference: 20 }] },
        { operation: Operation.DISCARD, sector: 0n, discard: 4n },
        { operation: Operation.DISCARD, sector: 60n, discard: 5n },
        { operation: Operation.DISCARD, sector: 60n, discard: 0n },
        { operation: 4 },
        { operation: 9 },
      ]),
    ).toEqual([0, 0, 0, 0, -1, -1, -2, -2])
    expect(bytes.slice(4 * 512 - 1, 4 * 512 + 1)).toEqual(Uint8Array.of(0, 1))
  })

  test('segments in pages of their own', () => {
    connect(new MemoryDisk(new Uint8Array(600 * 512)))
    const list = machine.grant(30, false)
    for (let i = 0; i < 60; i++) {
      machine.grant(100 + i).bytes.fill(i)
      list.view.setUint32(8 * i, 100 + i, true)
      list.view.setUint8(8 * i + 5, 7)
    }
    const shape = { operation: Operation.INDIRECT, count: 60 }
    expect(
      submit([
        { ...shape, sector: 1n, indirect: { operation: Operation.WRITE, pages: [30] } },
        { ...shape, sector: 1n, indirect: { operation: Operation.READ, pages: [30] } },
        { ...shape, indirect: { operation: Operation.FLUSH_DISKCACHE, pages: [30] } },
        { ...shape, count: 257, indirect: { operation: Operation.READ, pages: [30] } },
        { ...shape, count: 0, indirect: { operation: Operation.READ, pages: [30] } },
        { ...shape, indirect: { operation: Operation.READ, pages: [31] } },
      ]),
    ).toEqual([0, 0, -1, -1, -1, -1])
    list.view.setUint8(8 * 59 + 5, 8)
    expect(submit([{ ...shape, indirect: { operation: Operation.READ, pages: [30] } }])).toEqual([-1])
    expect(machine.mapped.size).toBe(1)
  })

  test('a 32-bit guest', () => {
    connect(new MemoryDisk(bytes), { protocol: 'x86_32-abi' }, 108)
    const to = machine.grant(20)
    expect(
      submit(
        [
          { operation: Operation.READ, sector: 8n, segments: [{ reference: 20 }] },
          { operation: Operation.DISCARD, sector: 0n, discard: 1n },
        ],
        'x86_32-abi',
      ),
    ).toEqual([0, 0])
    expect(to.bytes).toEqual(bytes.slice(4096, 8192))
    expect(bytes[0]).toBe(0)
  })

  test('persistent grants stay mapped until the frontend is gone', () => {
    connect(new MemoryDisk(bytes), { 'feature-persistent': 1 })
    for (let i = 0; i < 4; i++) machine.grant(20 + i)
    const shapes = [0, 1, 2, 3, 0, 1].map((i) => ({
      operation: Operation.READ,
      segments: [{ reference: 20 + i }],
    }))
    expect(submit(shapes)).toEqual([0, 0, 0, 0, 0, 0])
    expect([...machine.mapped.values()]).toEqual([1, 1, 1, 1, 1])
    // A page that is granted for reading only cannot be kept.
    machine.grant(40, false)
    expect(submit([{ operation: Operation.WRITE, segments: [{ reference: 40 }] }])).toEqual([-1])
    machine.write(FRONT, { state: 6 })
    expect(machine.mapped.size).toBe(0)
  })

  test('what is wrong with a request is its answer', () => {
    connect(new MemoryDisk(bytes))
    machine.grant(20)
    machine.grant(21, false)
    const one = [{ reference: 20 }]
    expect(
      submit([
        { operation: Operation.READ, segments: [{ reference: 99 }] },
        { operation: Operation.READ, segments: [{ reference: 21 }] },
        { operation: Operation.WRITE, segments: [{ reference: 21 }] },
        { operation: Operation.READ, segments: [{ reference: 20, first: 5, last: 4 }] },
        { operation: Operation.READ, segments: [{ reference: 20, first: 0, last: 8 }] },
        { operation: Operation.READ, count: 0 },
        { operation: Operation.READ, count: 12, segments: Array.from({ length: 11 }, () => ({ reference: 20 })) },
        { operation: Operation.READ, sector: 57n, segments: one },
        { operation: Operation.READ, sector: 56n, segments: one },
        { operation: Operation.READ, sector: 0xfffffffffffffff8n, segments: one },
      ]),
    ).toEqual([-1, -1, 0, -1, -1, -1, -1, -1, 0, -1])
    expect(machine.mapped.size).toBe(1)
  })

  test('a disk that can only be read', () => {
    connect(new MemoryDisk(bytes, true))
    expect(machine.store.read(`${BACK}/info`)).toBe('4')
    expect(machine.store.read(`${BACK}/mode`)).toBe('r')
    expect(machine.store.read(`${BACK}/feature-discard`)).toBe('0')
    machine.grant(20)
    expect(
      submit([
        { operation: Operation.READ, segments: [{ reference: 20 }] },
        { operation: Operation.WRITE, segments: [{ reference: 20 }] },
        { operation: Operation.FLUSH_DISKCACHE },
        { operation: Operation.DISCARD, discard: 1n },
      ]),
    ).toEqual([0, -1, -1, -1])
  })

  test('a medium that fails, and a flush that takes its time', () => {
    let finish: ((error?: Error) => void) | undefined
    const disk: Disk = {
      size: 4096,
      readOnly: false,
      read: () => {
        throw new Error('bad sector')
      },
      write: () => {},
      flush: (done) => {
        finish = done
      },
      close: () => {},
    }
    connect(disk)
    machine.grant(20)
    nextId = 0n
    ring.push(request({ operation: Operation.FLUSH_DISKCACHE }))
    ring.push(request({ operation: Operation.READ, segments: [{ reference: 20 }] }))
    ring.push(request({ operation: Operation.DISCARD, discard: 1n }))
    machine.notify(PORT)
    const ids = () => ring.responses(16).map((view) => [Number(view.getBigUint64(0, true)), view.getInt16(10, true)])
    expect(ids()).toEqual([
      [1, -1],
      [2, -2],
    ])
    expect(machine.reports).toEqual(['xvda: read: bad sector'])
    finish?.()
    expect(ids()).toEqual([[0, 0]])
    expect(machine.wakes).toBe(1)
    nextId = 9n
    ring.push(request({ operation: Operation.FLUSH_DISKCACHE }))
    machine.notify(PORT)
    machine.write(FRONT, { state: 6 })
    finish?.()
    expect(ids()).toEqual([])
  })

  test('an impossible producer stops the ring, and only that', () => {
    connect(new MemoryDisk(bytes))
    machine.grant(20)
    ring.page.view.setUint32(0, 33, true)
    machine.notify(PORT)
    expect(ring.responses(16)).toEqual([])
    ring.page.view.setUint32(0, 0, true)
    ring.push(request({ operation: Operation.READ, segments: [{ reference: 20 }] }))
    machine.notify(PORT)
    expect(ring.responses(16)).toEqual([])
    machine.write(FRONT, { state: 6 })
    machine.write(FRONT, { state: 1 })
    ring = new TestRing(machine.grant(RING), 112)
    machine.write(FRONT, { state: 3 })
    expect(submit([{ operation: Operation.READ, segments: [{ reference: 20 }] }])).toEqual([0])
  })
})

test('garbage in the ring: an answer for each request or none, nothing beyond the disk, nothing left mapped', () => {
  const word = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 0xffffffff }))
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          entry: fc.uint8Array({ minLength: 112, maxLength: 112 }),
          operation: fc.nat(7),
          words: fc.array(word, { maxLength: 6 }),
          producer: fc.option(word, { freq: 20 }),
        }),
        { maxLength: 20 },
      ),
      fc.boolean(),
      (steps, overlay) => {
        const base = new MemoryDisk(bytes)
        const content = bytes.slice()
        connect(overlay ? new OverlayDisk(base, new MemoryBlocks()) : base, { 'feature-persistent': overlay ? 1 : 0 })
        for (let i = 16; i < 32; i++) machine.grant(i, i % 3 !== 0)
        for (const { entry, operation, words, producer } of steps) {
          const view = new DataView(entry.buffer, entry.byteOffset, entry.length)
          entry[0] = operation
          for (const [i, value] of words.entries()) view.setUint32(16 + 4 * i, value, true)
          ring.push(entry)
          if (producer !== null) ring.page.view.setUint32(0, producer, true)
          const before = ring.page.view.getUint32(8, true)
          machine.notify(PORT)
          expect((ring.page.view.getUint32(8, true) - before) >>> 0).toBeLessThanOrEqual(ring.entries)
        }
        expect(overlay && Buffer.compare(bytes, content) !== 0).toBe(false)
        backend.close()
        expect(machine.mapped.size).toBe(0)
      },
    ),
    { numRuns: 100 },
  )
})

describe('requests are told', () => {
  beforeEach(() => {
    connect(new MemoryDisk(bytes))
    machine.grant(20)
    machine.grant(21)
    machine.takeTrace()
  })

  test('with what they ask and what they were answered', () => {
    submit([
      { operation: 0, sector: 8n, segments: [{ reference: 20 }, { reference: 21 }] },
      { operation: 1, sector: 64n, segments: [{ reference: 20 }] },
      { operation: 5, sector: 0n, discard: 16n },
      { operation: 3 },
      { operation: 6, sector: 8n, indirect: { operation: 1, pages: [99] }, count: 300 },
      { operation: 4 },
    ])
    expect(machine.takeTrace()).toEqual([
      '-  BLKIF_OP_READ(device="vbd/51712", id=0, sector_number=8, nr_segments=2) = 0',
      '-  BLKIF_OP_WRITE(device="vbd/51712", id=1, sector_number=64, nr_segments=1) = BLKIF_RSP_ERROR',
      '-  BLKIF_OP_DISCARD(device="vbd/51712", id=2, sector_number=0, nr_sectors=16) = 0',
      '-  BLKIF_OP_FLUSH_DISKCACHE(device="vbd/51712", id=3, sector_number=0, nr_segments=0) = 0',
      '-  BLKIF_OP_INDIRECT(device="vbd/51712", id=4, sector_number=8, nr_segments=300, indirect_op=BLKIF_OP_WRITE) = BLKIF_RSP_ERROR',
      '-  BLKIF_OP_unknown(device="vbd/51712", id=5, operation=4) = BLKIF_RSP_EOPNOTSUPP',
    ])
  })

  test('every declared answer is given', () => {
    const good = [{ reference: 20 }]
    const indirect = (operation: number) => ({ operation: 6, count: 1, indirect: { operation, pages: [21] } })
    for (const operation of [0, 1, 2, 3])
      submit([
        { operation, segments: good },
        { operation, segments: [{ reference: 99 }] },
      ])
    machine.grant(21).view.setUint32(0, 20, true)
    submit([indirect(0), indirect(2)])
    submit([
      { operation: 5, discard: 8n },
      { operation: 5, discard: 65n },
    ])
    const all = machine.events.splice(0)
    connect({ size: 512, readOnly: false, read: () => {}, write: () => {}, flush: (done) => done(), close: () => {} })
    // No sectors are nowhere.
    submit([
      { operation: 5, discard: 1n },
      { operation: 5, sector: 99n, discard: 0n },
    ])
    expect(machine.takeTrace().every((line) => line.endsWith(' BLKIF_RSP_EOPNOTSUPP'))).toBe(true)
    submit([{ operation: 5, discard: 1n }])
    const answered = [...all, ...machine.events].filter((each) => each.request.name.startsWith('BLKIF'))
    const wanted = blockDeclarations.flatMap(({ name, errors }) =>
      ['0', ...Object.keys(errors)].map((x) => `${name} ${x}`),
    )
    expect([...new Set(answered.map((each) => `${each.request.name} ${each.result}`))].sort()).toEqual(wanted.sort())
  })

  test('one that is refused is not carried out', () => {
    machine.refusals.set('BLKIF_OP_WRITE', 'BLKIF_RSP_ERROR').set('BLKIF_OP_DISCARD', 'BLKIF_RSP_EOPNOTSUPP')
    const before = bytes.slice()
    expect(
      submit([
        { operation: 1, segments: [{ reference: 20 }] },
        { operation: 5, discard: 8n },
      ]),
    ).toEqual([-1, -2])
    expect(bytes).toEqual(before)
    expect(machine.takeTrace().map((line) => line.split(' ').at(-1))).toEqual([
      'BLKIF_RSP_ERROR',
      'BLKIF_RSP_EOPNOTSUPP',
    ])
  })
})
