/** The Launcher's devices: descriptors on their page, what their state and queues do, and rings that are none. */
import { describe, expect, test } from 'vitest'
import { MemoryDisk } from '../../../backends/disk.ts'
import type { RingWatch } from '../../../paravirt/observe.ts'
import { traceLine } from '../../../paravirt/trace.ts'
import { Data, LHCALL, Reg } from '../abi.ts'
import { PAGE } from '../frames.ts'
import { MEMORY, TestGuest } from '../testing.ts'

const QUEUE_BYTES = 3 * PAGE
const AVAIL = 256 * 16
const USED = 2 * PAGE
const Flag = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const
const DRIVER_OK = 4
/** Where buffers are. */
const BUFFER = 0x40000
const HEADER = 0x41000
const STATUS = 0x42000
const SECTORS = 16

/** Descriptors begin at the end of RAM; a disk, the source of random numbers, four consoles. */
const guestWith = (disk?: Uint8Array, refusal?: RingWatch['refusal']) => {
  const disks = disk ? [new MemoryDisk(disk)] : []
  const guest = TestGuest.ready({ features: ['rng'], devices: { disks, networks: [] }, refusal })
  const u16 = (at: number) => guest.view.getUint16(at, true)
  return {
    guest,
    u16,
    bytes: (at: number, length: number) => [...guest.mock.ram.subarray(at, at + length)],
    /** The guest's driver says so. */
    status(descriptor: number, value: number) {
      guest.view.setUint8(descriptor + 4, value)
      guest.call(LHCALL.NOTIFY, descriptor)
    },
    describe(queue: number, i: number, address: number, length: number, flags = 0, next = 0) {
      guest.view.setBigUint64(queue + 16 * i, BigInt(address), true)
      guest.view.setUint32(queue + 16 * i + 8, length, true)
      guest.view.setUint16(queue + 16 * i + 12, flags, true)
      guest.view.setUint16(queue + 16 * i + 14, next, true)
    },
    offer(queue: number, ...heads: readonly number[]) {
      for (const head of heads) {
        const index = u16(queue + AVAIL + 2)
        guest.view.setUint16(queue + AVAIL + 4 + 2 * (index % 256), head, true)
        guest.view.setUint16(queue + AVAIL + 2, index + 1, true)
      }
      guest.call(LHCALL.NOTIFY, queue)
    },
    /** Index of the used ring, and its elements. */
    used: (queue: number) =>
      Array.from({ length: u16(queue + USED + 2) }, (_, i) =>
        [0, 4].map((part) => guest.view.getUint32(queue + USED + 4 + 8 * i + part, true)),
      ),
    death: () => guest.mock.log.filter((line) => line.startsWith('crash ')).map((line) => line.slice(14)),
  }
}
type Rig = ReturnType<typeof guestWith>

const HANDLER = 0xc0030000
/** A handler of interrupt 1, the first queue's; interrupts are on. */
function handle({ guest }: Rig): void {
  guest.call(LHCALL.LOAD_IDT_ENTRY, 33, 0x600000 | (HANDLER & 0xffff), ((HANDLER & 0xffff0000) | 0x8e00) >>> 0)
  guest.setField(Data.IRQ_ENABLED, 0x200)
  guest.setField(Data.BLOCKED_INTERRUPTS, 0)
}

const DISK_DESCRIPTOR = MEMORY
/** Type, queues, bytes of features, of configuration, status; a queue; features twice; capacity, size, segments. */
const DISK_BYTES = 5 + 8 + 2 + 16
const DISK_QUEUE = MEMORY + PAGE
const RNG_DESCRIPTOR = MEMORY + DISK_BYTES
const RNG_QUEUE = DISK_QUEUE + QUEUE_BYTES
const CONSOLE_DESCRIPTOR = RNG_DESCRIPTOR + 5 + 8
const CONSOLE_IN = RNG_QUEUE + QUEUE_BYTES
const CONSOLE_OUT = CONSOLE_IN + QUEUE_BYTES

describe('descriptors', () => {
  test('of a disk: a queue of 256 entries, features offered and none accepted yet, its size in sectors', () => {
    const { bytes } = guestWith(new Uint8Array(SECTORS * 512))
    const frame = DISK_QUEUE / PAGE
    const configuration = [SECTORS, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 254, 0, 0, 0]
    expect(bytes(DISK_DESCRIPTOR, DISK_BYTES)).toEqual(
      [[2, 1, 1, 16, 0], [0, 1, 1, 0, frame & 255, frame >> 8, 0, 0], [0b101, 0], configuration].flat(),
    )
  })

  test('stand one after another, and end with a type that is none', () => {
    const { bytes } = guestWith(new Uint8Array(SECTORS * 512))
    expect(bytes(RNG_DESCRIPTOR, 5)).toEqual([4, 1, 0, 0, 0])
    expect(bytes(CONSOLE_DESCRIPTOR, 5)).toEqual([3, 2, 0, 0, 0])
    const consoles = Array.from({ length: 5 }, (_, i) => bytes(CONSOLE_DESCRIPTOR + 21 * i, 1)[0])
    expect(consoles.filter((type) => type === 3).length).toBeGreaterThan(0)
    expect(consoles.at(-1)).toBe(0)
  })

  test('a status of 0 resets: accepted features and rings are forgotten', () => {
    const { guest, bytes, status, describe: put, offer } = guestWith(new Uint8Array(SECTORS * 512))
    guest.view.setUint8(DISK_DESCRIPTOR + 14, 0b101)
    status(DISK_DESCRIPTOR, DRIVER_OK)
    put(DISK_QUEUE, 0, HEADER, 16, Flag.NEXT, 1)
    put(DISK_QUEUE, 1, STATUS, 1, Flag.WRITE)
    offer(DISK_QUEUE, 0)
    status(DISK_DESCRIPTOR, 0)
    expect(bytes(DISK_DESCRIPTOR + 13, 2)).toEqual([0b101, 0])
    expect(bytes(DISK_QUEUE, QUEUE_BYTES).every((byte) => byte === 0)).toBe(true)
  })
})

describe('queues', () => {
  const read = (r: Rig, sector: number, length: number) => {
    r.guest.view.setUint32(HEADER, 0, true)
    r.guest.view.setBigUint64(HEADER + 8, BigInt(sector), true)
    r.describe(DISK_QUEUE, 0, HEADER, 16, Flag.NEXT, 1)
    r.describe(DISK_QUEUE, 1, BUFFER, length, Flag.WRITE | Flag.NEXT, 2)
    r.describe(DISK_QUEUE, 2, STATUS, 1, Flag.WRITE)
    r.offer(DISK_QUEUE, 0)
  }

  test('a read of a disk goes back with its length, and an interrupt', () => {
    const r = guestWith(Uint8Array.from({ length: SECTORS * 512 }, (_, i) => i >> 9))
    r.status(DISK_DESCRIPTOR, DRIVER_OK)
    handle(r)
    read(r, 3, 1024)
    expect(r.used(DISK_QUEUE)).toEqual([[0, 1025]])
    expect([r.bytes(BUFFER, 1)[0], r.bytes(BUFFER + 512, 1)[0], r.bytes(STATUS, 1)[0]]).toEqual([3, 4, 0])
    expect([r.guest.reg(Reg.EIP), r.death()]).toEqual([HANDLER, []])
  })

  test('an indirect table; no interrupt for who wants none', () => {
    const r = guestWith()
    const [queue, descriptor] = [MEMORY + PAGE, MEMORY]
    r.status(descriptor, DRIVER_OK)
    r.guest.view.setUint16(queue + AVAIL, 1, true)
    r.describe(BUFFER, 0, 0x50000, 8, Flag.WRITE | Flag.NEXT, 1)
    r.describe(BUFFER, 1, 0x50010, 4, Flag.WRITE)
    r.describe(queue, 7, BUFFER, 32, Flag.INDIRECT)
    handle(r)
    const before = r.guest.reg(Reg.EIP)
    r.offer(queue, 7)
    expect(r.used(queue)).toEqual([[7, 12]])
    expect(r.guest.reg(Reg.EIP)).toBe(before)
  })

  test('what is written to the console comes out; a driver that began late finds what waits', () => {
    const r = guestWith(new Uint8Array(512))
    r.guest.mock.ram.set(new TextEncoder().encode('hello'), BUFFER)
    r.describe(CONSOLE_OUT, 0, BUFFER, 5)
    r.offer(CONSOLE_OUT, 0)
    expect(r.guest.mock.log).toContain('console 0 "hello"')
    expect(r.used(CONSOLE_OUT)).toEqual([[0, 0]])
  })

  test('what is typed before there is a driver waits for it', () => {
    const r = guestWith(new Uint8Array(512))
    const typed = new TextEncoder().encode('uname')
    r.guest.mock.effects.consoles[0]?.onInput?.(typed)
    r.describe(CONSOLE_IN, 0, BUFFER, 64, Flag.WRITE)
    r.offer(CONSOLE_IN, 0)
    expect([r.used(CONSOLE_IN), r.bytes(BUFFER, 5)]).toEqual([[[0, 5]], [...typed]])
  })
})

describe('a ring that is none ends the guest, in the Launcher’s words', () => {
  const disk = (change: (r: Rig) => void) => (r: Rig) => {
    r.guest.view.setUint32(HEADER, 0, true)
    r.describe(DISK_QUEUE, 0, HEADER, 16, Flag.NEXT, 1)
    r.describe(DISK_QUEUE, 1, STATUS, 1, Flag.WRITE)
    change(r)
    r.offer(DISK_QUEUE, 0)
  }
  const END = MEMORY + PAGE + 10 * QUEUE_BYTES

  test.each<[string, (r: Rig) => void]>([
    [
      'Guest moved used index from 0 to 300',
      (r) => {
        r.guest.view.setUint16(DISK_QUEUE + AVAIL + 2, 300, true)
        r.guest.call(LHCALL.NOTIFY, DISK_QUEUE)
      },
    ],
    ['Guest says index 256 is available', (r) => r.offer(DISK_QUEUE, 256)],
    ['Desc next is 256', disk((r) => r.describe(DISK_QUEUE, 0, HEADER, 16, Flag.NEXT, 256))],
    ['Looped descriptor', disk((r) => r.describe(DISK_QUEUE, 0, HEADER, 16, Flag.NEXT, 0))],
    [
      'Descriptor has out after in',
      disk((r) => {
        r.describe(DISK_QUEUE, 0, STATUS, 1, Flag.WRITE | Flag.NEXT, 1)
        r.describe(DISK_QUEUE, 1, HEADER, 16)
      }),
    ],
    ['Invalid size for indirect buffer table', disk((r) => r.describe(DISK_QUEUE, 0, BUFFER, 24, Flag.INDIRECT))],
    [
      'Desc next is 1',
      disk((r) => {
        r.describe(BUFFER, 0, HEADER, 16, Flag.NEXT, 1)
        r.describe(DISK_QUEUE, 0, BUFFER, 16, Flag.INDIRECT)
      }),
    ],
    ['Invalid address 0x40000000', disk((r) => r.describe(DISK_QUEUE, 0, 0x40000000, 16))],
    [`Invalid address 0x${(END - 8).toString(16)}`, disk((r) => r.describe(DISK_QUEUE, 0, END - 8, 16))],
    ['Bad virtblk cmd 0 out=1 in=0', disk((r) => r.describe(DISK_QUEUE, 0, HEADER, 16))],
    ['Bad virtblk cmd 0 out=0 in=1', disk((r) => r.describe(DISK_QUEUE, 0, STATUS, 1, Flag.WRITE))],
    [
      'Bad iovec size 15 for struct virtio_blk_outhdr',
      disk((r) => r.describe(DISK_QUEUE, 0, HEADER, 15, Flag.NEXT, 1)),
    ],
    ['Bad iovec size 2 for u8', disk((r) => r.describe(DISK_QUEUE, 1, STATUS, 2, Flag.WRITE))],
    [
      'Write past end 8192+512',
      disk((r) => {
        r.guest.view.setUint32(HEADER, 1, true)
        r.guest.view.setBigUint64(HEADER + 8, BigInt(SECTORS), true)
        r.describe(DISK_QUEUE, 0, HEADER, 16, Flag.NEXT, 3)
        r.describe(DISK_QUEUE, 3, BUFFER, 512, Flag.NEXT, 1)
      }),
    ],
    [
      'Output buffers in rng?',
      (r) => {
        r.describe(RNG_QUEUE, 0, BUFFER, 16)
        r.offer(RNG_QUEUE, 0)
      },
    ],
    [
      'Input buffers in console output queue?',
      (r) => {
        r.describe(CONSOLE_OUT, 0, BUFFER, 16, Flag.WRITE)
        r.offer(CONSOLE_OUT, 0)
      },
    ],
    [
      'Output buffers in console in queue?',
      (r) => {
        r.status(CONSOLE_DESCRIPTOR, DRIVER_OK)
        r.guest.mock.effects.consoles[0]?.onInput?.(Uint8Array.of(1))
        r.describe(CONSOLE_IN, 0, BUFFER, 16)
        r.offer(CONSOLE_IN, 0)
      },
    ],
  ])('%s', (words, act) => {
    const r = guestWith(new Uint8Array(SECTORS * 512))
    act(r)
    expect(r.death()).toEqual([words])
  })
})

test('requests of devices are told, with what they ask and what they were answered', () => {
  const r = guestWith(new Uint8Array(SECTORS * 512))
  const told = () =>
    r.guest.events
      .splice(0)
      .filter(({ request }) => request.kind === 'ring')
      .map((event) => traceLine(event).slice(16).trim())
  r.status(DISK_DESCRIPTOR, DRIVER_OK)
  const ask = (type: number, sector: number, length: number, flags: number) => {
    r.guest.view.setUint32(HEADER, type, true)
    r.guest.view.setBigUint64(HEADER + 8, BigInt(sector), true)
    r.describe(DISK_QUEUE, 0, HEADER, 16, Flag.NEXT, 1)
    r.describe(DISK_QUEUE, 1, BUFFER, length, flags | Flag.NEXT, 2)
    r.describe(DISK_QUEUE, 2, STATUS, 1, Flag.WRITE)
    r.offer(DISK_QUEUE, 0)
  }
  ask(0, 3, 1024, Flag.WRITE)
  ask(0, SECTORS, 512, Flag.WRITE)
  ask(0x80000001, 2, 512, 0)
  ask(2, 0, 8, 0)
  r.describe(RNG_QUEUE, 0, BUFFER, 16, Flag.WRITE)
  r.offer(RNG_QUEUE, 0)
  r.guest.mock.ram.set(new TextEncoder().encode('hello'), BUFFER)
  r.describe(CONSOLE_OUT, 0, BUFFER, 5)
  r.offer(CONSOLE_OUT, 0)
  r.guest.mock.effects.consoles[0]?.onInput?.(Uint8Array.of(1, 2))
  r.describe(CONSOLE_IN, 0, BUFFER, 64, Flag.WRITE)
  r.offer(CONSOLE_IN, 0)
  expect(told()).toEqual([
    '-  VIRTIO_BLK_T_IN(device="block/0", sector=3, length=1024) = 0',
    '-  VIRTIO_BLK_T_IN(device="block/0", sector=16, length=512) = VIRTIO_BLK_S_IOERR',
    '-  VIRTIO_BLK_T_OUT(device="block/0", sector=2, length=512, barrier=1) = 0',
    '-  VIRTIO_BLK_T_SCSI_CMD(device="block/0") = VIRTIO_BLK_S_UNSUPP',
    '-  virtio_rng.requestq(device="rng/0", length=16) = 0',
    '-  virtio_console.transmitq(device="console/0", text="hello") = 0',
    '-  virtio_console.receiveq(device="console/0") = 2',
  ])
})

test('a request of a disk that somebody refuses is not carried out', () => {
  const bytes = new Uint8Array(SECTORS * 512).fill(7)
  const r = guestWith(bytes, ({ name }) => (name === 'VIRTIO_BLK_T_IN' ? 'VIRTIO_BLK_S_IOERR' : undefined))
  r.status(DISK_DESCRIPTOR, DRIVER_OK)
  r.guest.view.setUint32(HEADER, 0, true)
  r.describe(DISK_QUEUE, 0, HEADER, 16, Flag.NEXT, 1)
  r.describe(DISK_QUEUE, 1, BUFFER, 512, Flag.WRITE | Flag.NEXT, 2)
  r.describe(DISK_QUEUE, 2, STATUS, 1, Flag.WRITE)
  r.offer(DISK_QUEUE, 0)
  expect([r.bytes(STATUS, 1), r.bytes(BUFFER, 1), r.used(DISK_QUEUE)]).toEqual([[1], [0], [[0, 1]]])
})
