import { globSync } from 'node:fs'
import { join } from 'node:path'
import { decode, encode } from 'cborg/extended'
import { describe, expect, test } from 'vitest'
import { SnapshotError } from './error.ts'
import { forgotten, forgottenIn } from './forgotten.ts'
import { load, save, type Saved, type Stateful, type Transfer } from './stateful.ts'

/** Fields that are no state, and why. Whatever is not here and not handed over is forgotten. */
const notState: Readonly<Record<string, readonly string[]>> = {
  'of the host, or counted for the user': [
    'Observer.*',
    'Census.*',
    'SharedCounts.*',
    'Machine.*',
    'Hooks.*',
    'Debugger.*',
    'ExitCounts.*',
    'RunState.*',
    'SerialOutput.*',
    'Rate.*',
  ],
  'who is connected to whom': [
    'Ports.#entries',
    'Ports.#owner',
    'Mmio.#regions',
    'Mmio.#last',
    'Clock.onEarlier',
    'Clock.onLate',
    'Interrupts.#timer',
    'Interrupts.#levels',
    'Interrupts.#cpus',
    'Backdoor.#vmware',
    'Overlay.#overlays',
    'Hypercalls.#partition',
    'Synic.#senders',
    'Frames.#onShare',
    'XenPvhPlatform.#kind',
    'XenHvmPlatform.pci',
    'StoreClient.#server',
    'Outstanding.account',
    'Connection.account',
    'Database.#accounts',
    'StoreRing.#server',
    'StoreRing.#page',
    'StoreServer.#afterwards',
    'PvhKind.#domain',
    'PvKind.#domain',
    'Batch.#frames',
    'FrameTable.tlbs',
    'PvGrants.#mm',
    'Call.domain',
    'Call.#dispatch',
    'Hypercalls.#domain',
    'Hypercalls.#table',
    'End.#events',
    'End.onNotify',
    'DomainControl.#store',
    'ConsoleBackend.#page',
    'BackRing.#pages',
    'Frontend.#store',
    'Backend.#stop',
    'NetDevice.#onFrame',
    'UserNetwork.#ports',
    'UserPort.receive',
    'LguestPlatform.#lg',
    'Segments.#lg',
    'Shadows.#lg',
    'Traps.#lg',
    'Traps.#shadows',
    'Device.#lg',
    'Devices.#lg',
    'Virtqueue.#lg',
  ],
  'the same in each machine with these devices': [
    'StoreClient.#nextToken',
    'UserNetwork.#names',
    'FifoEvents.maxPorts',
  ],
  'saved by its holder': ['End.closed', 'MemoryBlocks.#blocks'],
  'the clock’s': ['Watchdogs.#deadlines', 'Pollers.#timeouts', 'Domain.#deadlines', 'Domain.#used'],
  'follows from other fields': ['Interrupts.#lapicPages', 'RealClock.#origin'],
  'said again by the platform when it is loaded': [
    'Lapic.#assist',
    'Lapic.onEoi',
    'Lapic.onEnabled',
    'Interrupts.#levels',
  ],
  'only inside a slice': ['Vcpus.#current', 'Vcpus.#slice'],
  'how fast the host is': ['Rate.*'],
  'made for one request': ['GuestBuffers.*', 'Extents.*', 'Copies.*'],
  'only within a request': [
    'EventLine.#lowered',
    'StoreClient.#transaction',
    'StoreClient.#delivering',
    'StoreRing.#busy',
    'Connection.transaction',
    'Connection.#current',
    'BlockPages.#borrowed',
    'BlockQueue.#moved',
    'Batch.#call',
    'Batch.#count',
    'Batch.#index',
    'Batch.#before',
    'Batch.#limit',
    'Batch.#sliced',
    'GuestArray.#vcpu',
    'GuestArray.#size',
    'GuestArray.#low',
    'GuestArray.#high',
    'GuestArray.#at',
    'GuestArray.#left',
    'Call.vcpu',
    'Call.wide',
    'Call.#low',
    'Call.#high',
  ],
  'a buffer that is filled before each use': [
    'StealClock.#bytes',
    'StealClock.#view',
    'StealTime.#head',
    'StealTime.#view',
    'Block.wide',
    'Runstate.#block',
    'StoreRing.#word',
    'Batch.#word',
    'Batch.#view',
    'GuestArray.words',
    'GuestArray.#bytes',
    'Call.block',
    'Call.entry',
    'ConsoleBackend.#word',
    'BackRing.#word',
    'BlockDevice.#scratch',
    'OverlayDisk.#block',
  ],
}

test('no part of a machine forgets a field of its state', () => {
  const source = join(import.meta.dirname, '..')
  const paths = globSync(join(source, '{backends,devices,machine,paravirt,platforms}/**/*.ts')).filter(
    (path) => !/\.test\.ts$|\/testing\.ts$|\/mock\.ts$/.test(path),
  )
  const excused = Object.values(notState).flat()
  const found = forgotten(paths)
  const matches = (field: string, excuse: string) => field === excuse || excuse === field.replace(/\..*/, '.*')
  expect(found.filter((field) => !excused.some((excuse) => matches(field, excuse)))).toEqual([])
  expect(excused.filter((excuse) => !found.some((field) => matches(field, excuse)))).toEqual([])
})

test('what counts as state', () => {
  const text = `class Part implements Stateful {
    static made = 0
    readonly id: number
    readonly #names: ReadonlyMap<string, number>
    readonly #limit = 5
    #count = 0
    #given: number | undefined
    readonly #ram = new Uint8Array(8)
    readonly values: number[]
    readonly #timer: Inner
    readonly #timers: readonly Inner[]
    transfer(state) { this.#given = state.field('given', this.#given) }
  }`
  const found = forgottenIn('part.ts', text, new Set(['Inner']))
  expect(found).toEqual(['Part.#count', 'Part.#ram', 'Part.values', 'Part.#timer', 'Part.#timers'])
})

class Inner implements Stateful {
  value = 1
  transfer(state: Transfer): void {
    this.value = state.field('value', this.value)
  }
}

class Part implements Stateful {
  number = Infinity
  big = 5n
  maybe: bigint | undefined = 3n
  readonly bytes = new Uint16Array(3)
  readonly list: boolean[] = []
  readonly map = new Map<number, Uint8Array>()
  readonly inner = new Inner()
  readonly others = [new Inner(), new Inner()]
  transfer(state: Transfer): void {
    this.number = state.field('number', this.number)
    this.big = state.field('big', this.big)
    this.maybe = state.field('maybe', this.maybe)
    state.array('bytes', this.bytes)
    state.list('list', this.list)
    state.map('map', this.map)
    state.part('inner', this.inner)
    state.parts('others', this.others)
  }
}

function changed(): Part {
  const part = new Part()
  part.number = 7
  part.big = 1n << 63n
  part.maybe = undefined
  part.bytes.set([1, 0xffff, 3])
  part.list.push(true, false)
  part.map.set(4, Uint8Array.of(9))
  part.inner.value = 2
  part.others[1]!.value = 3
  return part
}

describe('a state', () => {
  test('is the same after it was saved, packed, unpacked and loaded', () => {
    const part = changed()
    const copy = new Part()
    load(copy, decode(encode(save(part))))
    expect(copy).toEqual(part)
    expect(save(copy)).toEqual(save(part))
  })

  test('does not change with the part that it was taken of', () => {
    const part = changed()
    const saved = save(part)
    part.bytes.fill(0)
    part.list.length = 0
    expect(saved['bytes']).toEqual(Uint8Array.of(1, 0, 0xff, 0xff, 3, 0))
    expect(saved['list']).toEqual([true, false])
  })

  const cases: readonly [string, (saved: Saved) => void, string][] = [
    ['lacks a field', (saved) => delete saved['number'], "machine has no 'number'"],
    ['has another field', (saved) => (saved['more'] = 1), "machine has no use for 'more'"],
    ['has a field of another kind', (saved) => (saved['big'] = 5), "'big' of machine is number instead of bigint"],
    [
      'has too few bytes',
      (saved) => (saved['bytes'] = Uint8Array.of(1)),
      "'bytes' of machine has 1 bytes instead of 6",
    ],
    ['lacks a part', (saved) => (saved['others'] = []), 'machine.others has 0 parts instead of 2'],
    ['has a part without a field', (saved) => (saved['inner'] = {}), "machine.inner has no 'value'"],
    ['has no part', (saved) => (saved['inner'] = 5), 'machine.inner has no state'],
  ]
  test.each(cases)('that %s is refused', (_, change, message) => {
    const saved = save(changed())
    change(saved)
    expect(() => load(new Part(), saved)).toThrow(new SnapshotError(message))
  })

  test('has no two fields of one name', () => {
    const part: Stateful = {
      transfer: (state) => {
        state.field('a', 1)
        state.field('a', 2)
      },
    }
    expect(() => save(part)).toThrow("two fields of a state are called 'a'")
  })
})
