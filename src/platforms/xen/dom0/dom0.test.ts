import { beforeEach, describe, expect, test } from 'vitest'
import { MemoryDisk } from '../../../backends/disk.ts'
import { UserNetwork } from '../../../backends/network/user.ts'
import { Observer } from '../../../paravirt/observe.ts'
import type { Signals } from '../../../paravirt/signals.ts'
import { grantSharing } from '../devices/sharing.ts'
import { TestGuest, TestPage } from '../store/testing.ts'
import { MessageType as T } from '../store/wire.ts'
import { Dom0 } from './dom0.ts'

let dom0: Dom0
let guest: TestGuest
const restore = () => {
  throw new Error('there is no snapshot')
}

beforeEach(() => {
  const page = new TestPage()
  guest = new TestGuest(page)
  const signals: Signals = {
    connect: (port, listener) => {
      if (port === 1) guest.notify = listener
      return { own: port, raise: () => {}, close: () => {} }
    },
    restore,
  }
  dom0 = new Dom0({
    grants: { hold: () => -3, restore },
    page: () => page,
    signals,
    rings: new Observer(() => 0).rings,
    time: { now: () => 0, deadline: () => ({ set: () => {} }) },
    wake: () => {},
    report: () => {},
    uuid: Uint8Array.from({ length: 16 }, (_, i) => i),
    vcpus: 2,
    memory: 524288,
    store: { page, frame: 0x104, port: 1 },
    console: { frame: 0x105, port: 2 },
    consoles: new Map(),
    devices: { disks: [new MemoryDisk(new Uint8Array(4096))], networks: [new UserNetwork().plug()] },
  })
})

test('the domain finds itself and its devices', () => {
  const read = (path: string) => guest.ask(T.READ, `${path}\0`)
  expect(read('vm')).toBe('/vm/00010203-0405-0607-0809-0a0b0c0d0e0f')
  expect(read('memory/target')).toBe('524288')
  expect(guest.ask(T.DIRECTORY, 'device/vbd\0')).toBe('51712\0')
  expect(read(`${read('device/vbd/51712/backend')}/state`)).toBe('2')
  expect(read('device/vif/0/mac')).toBe('00:16:3e:00:00:01')
  expect(guest.ask(T.WRITE, 'device/vif/0/state\x003')).toBe('OK\0')
})

describe('control', () => {
  test('the guest is asked to shut down, once it says that it can', () => {
    expect(dom0.control.shutdown('poweroff')).toBe(false)
    guest.ask(T.WRITE, 'control/feature-poweroff\x001')
    guest.ask(T.WATCH, 'control/shutdown\0s\0')
    guest.takeEvents()
    expect(dom0.control.shutdown('halt')).toBe(true)
    expect(guest.takeEvents()).toEqual(['control/shutdown\0s\0'])
    expect(guest.ask(T.READ, 'control/shutdown\0')).toBe('halt')
    expect(dom0.control.shutdown('poweroff')).toBe(false)
    guest.ask(T.WRITE, 'control/shutdown\0')
    expect(dom0.control.shutdown('poweroff')).toBe(true)
    expect(dom0.control.shutdown('suspend')).toBe(false)
  })

  test('memory and SysRq', () => {
    guest.ask(T.WATCH, 'memory/target\0m\0')
    guest.takeEvents()
    dom0.control.setMemory(262144)
    expect(guest.takeEvents()).toEqual(['memory/target\0m\0'])
    dom0.control.setMemory(2 ** 30)
    expect(guest.ask(T.READ, 'memory/target\0')).toBe('524288')
    dom0.control.sysrq('s')
    expect(guest.ask(T.READ, 'control/sysrq\0')).toBe('s')
  })
})

test('a grant of part of a page lends just that part', () => {
  const page = new TestPage()
  let held = 0
  const { read, write, map } = grantSharing({
    grants: {
      hold: (reference, writable) => {
        if (reference !== 9 || writable) return -8
        held++
        return { ref: 9, frame: 3, offset: 100, length: 50, release: () => void held-- }
      },
      restore,
    },
    page: (_, release, offset, length) => ({
      bytes: page.bytes.subarray(offset, offset + length),
      write: (at, bytes) => page.write(offset + at, bytes),
      release,
    }),
  })
  page.bytes[120] = 7
  expect(read(9, 120, 2)).toEqual(Uint8Array.of(7, 0))
  expect([read(9, 99, 2), read(9, 149, 2), read(8, 0, 1), map(8, false)]).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ])
  expect(write(9, 100, Uint8Array.of(1))).toBe(false)
  expect(held).toBe(0)
})

test('when the domain is gone, the store lets go of its page', () => {
  dom0.close()
  expect(guest.page.released).toBe(true)
})
