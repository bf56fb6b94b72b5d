import { describe, expect, test } from 'vitest'
import { elfKernel, type Kernel } from '../../../boot/entries.ts'
import { writeElf } from '../../../boot/elf.ts'
import { BootError } from '../../../boot/error.ts'
import { setUpHvm } from '../testing.ts'
import { intxRoute } from './event-line.ts'

describe('the platform device', () => {
  test('its ports answer by size, and ones where nothing is', () => {
    const { platform } = setUpHvm()
    expect(platform.portIn(0, 0x10, 2)).toBe(0x49d2)
    expect(platform.portIn(0, 0x12, 1)).toBe(1)
    expect(platform.portIn(0, 0x10, 4)).toBe(0xffffffff)
    expect(platform.portIn(0, 0x1f, 1)).toBe(0xff)
    expect(platform.portIn(0, 0x20, 1)).toBeUndefined()
    expect(platform.portOut(0, 0x0f, 1, 1)).toBe(false)
  })

  test('unplugging is told to those who watch', () => {
    const { platform, events } = setUpHvm()
    expect(platform.portOut(0, 0x10, 2, 3)).toBe(true)
    expect(events.map(({ request, args }) => [request.name, args])).toEqual([['XEN_IOPORT_UNPLUG', [3n]]])
  })

  test('the log is the console', () => {
    const { platform, done } = setUpHvm()
    done()
    for (const byte of new TextEncoder().encode('ab')) platform.portOut(0, 0x12, 1, byte)
    expect(done()).toEqual(['console 0 "a"', 'console 0 "b"'])
  })

  test('the lock makes ROM of 0xc0000 to 0xfffff', () => {
    const { platform, mock } = setUpHvm()
    const kinds = () => [0xbf, 0xc0, 0xff, 0x100].map((frame) => mock.effects.memory.kind(frame))
    platform.portOut(0, 0x10, 1, 0xff)
    expect(kinds()).toEqual(['ram', 'rom', 'rom', 'none'])
    expect(platform.portIn(0, 0x10, 1)).toBe(1)
    platform.portOut(0, 0x10, 1, 0xfe)
    expect(kinds()).toEqual(['ram', 'ram', 'ram', 'none'])
  })

  test('its window of ports is where the guest puts it, while it is on', () => {
    const { platform } = setUpHvm()
    const [slot] = platform.pci
    const pci = slot!.function
    expect([platform.portIn(0, 0xc000, 1), platform.portIn(0, 0xc004, 1)]).toEqual([0, 0xff])
    pci.write(0x10, 4, 0xd000)
    expect([platform.portIn(0, 0xc000, 1), platform.portIn(0, 0xd000, 1)]).toEqual([undefined, 0])
    platform.portOut(0, 0xd000, 1, 1)
    expect(platform.portIn(0, 0x10, 1)).toBe(1)
    pci.write(4, 2, 2)
    expect(platform.portIn(0, 0xd000, 1)).toBeUndefined()
  })

  test('its memory lies above the guest’s, and Xen’s pages can be mapped there', () => {
    const { platform, domain, op } = setUpHvm({ pages: 4096 })
    const base = platform.pci[0]!.function.read(0x14, 4) & ~15
    expect(base).toBe(16 << 20)
    expect(op('XENMEM_add_to_physmap', { domid: 0x7ff0, space: 0, gpfn: base / 4096 + 3 }).answer).toBe(0)
    expect(domain.sharedInfo.frame).toBe(base / 4096 + 3)
  })
})

describe('events by an interrupt line', () => {
  const via = (type: number, rest: number) => (BigInt(type) << 56n) | BigInt(rest)
  const callback = ({ op }: ReturnType<typeof setUpHvm>, value: bigint) =>
    op('HVMOP_set_param', { domid: 0x7ff0, index: 0, value }).answer

  test.each([
    ['GSI 5', via(0, 5), [5]],
    ['GSI 0: none', via(0, 0), []],
    ['GSI 48: none', via(0, 48), []],
    ['INTA of device 3', via(1, 3 << 11), [5, 28]],
    ['INTB of device 9', via(1, (9 << 11) | 1), [11, 22]],
    ['a vector', via(2, 0xf3), []],
    ['an unknown type: none', via(3, 5), []],
  ])('%s', (_, value, gsis) => {
    const guest = setUpHvm()
    expect(callback(guest, value)).toBe(0)
    expect([...guest.mock.levels.keys()].sort((a, b) => a - b)).toEqual(gsis)
  })

  test('it is up while vCPU 0 has an event, and has an edge for each', () => {
    const guest = setUpHvm()
    const { mock, op, view, info, done } = guest
    callback(guest, via(0, 7))
    const { port } = op('EVTCHNOP_bind_ipi', { vcpu: 0 }).out
    done()
    op('EVTCHNOP_send', { port: port! })
    expect(done().filter((line) => line.startsWith('level'))).toEqual(['level 7 0', 'level 7 1'])
    view.setUint8(info(0), 0)
    expect(mock.levels.get(7)?.()).toBe(false)
  })

  test('vCPU 1’s events have none; the next callback takes the line away', () => {
    const guest = setUpHvm()
    const { mock, op, vcpu, done } = guest
    vcpu(1).running = true
    callback(guest, via(0, 7))
    const { port } = op('EVTCHNOP_bind_ipi', { vcpu: 1 }).out
    done()
    op('EVTCHNOP_send', { port: port! })
    expect(done().filter((line) => line.startsWith('level'))).toEqual([])
    callback(guest, via(2, 0xf3))
    expect(mock.levels.size).toBe(0)
    expect(vcpu(0).line).toBeDefined()
    callback(guest, via(0, 7))
    expect(vcpu(0).line).toBeUndefined()
  })

  test('pins of devices', () => {
    expect(intxRoute(0, 0)).toEqual({ gsi: 16, isa: 5 })
    expect(intxRoute(8, 1)).toEqual({ gsi: 18, isa: 10 })
    expect(intxRoute(31, 3)).toEqual({ gsi: 16 + ((124 + 3 + 3) & 31), isa: 11 })
  })
})

describe('the builder', () => {
  const elf = (bits: 32 | 64, bytes = new Uint8Array(16).fill(1)): Kernel =>
    elfKernel(
      writeElf({
        bits,
        segments: [{ address: 0x100000, bytes, size: bytes.length }],
        entry: 0x100004,
        headerEntry: 0x100004n,
        pvh: 0x100008,
        notes: [],
      }),
      'kernel',
    )
  const build = (kernel: Kernel, method?: 'pvh' | '32') => {
    const guest = setUpHvm({ pages: 1024 })
    guest.platform.build({ kernel, cmdline: 'x', memory: 4 << 20, method })
    return { ...guest, entered: guest.vcpu(0).entered }
  }
  const linux = new TextEncoder().encode('Linux version 6.1.0 (who) #1\0')

  test('firmware begins at its entry point, in flat 32-bit mode, with start_info', () => {
    const { entered, view } = build(elf(32))
    expect(entered).toMatchObject({ mode: 'protected', rip: 0x100004, cr0: 0x11, cs: { base: 0, limit: 0xffffffff } })
    expect(view.getUint32(entered!.rbx, true)).toBe(0x336ec578)
  })

  test('Linux begins as on a PC, though it has a PVH entry', () => {
    const { entered, view } = build(elf(32, linux))
    expect(entered).toMatchObject({ mode: 'protected', rip: 0x100004, rbx: 0 })
    // boot_params: the map ends with the toolstack's pages.
    expect(view.getUint8(entered!.rsi + 0x1e8)).toBe(5)
  })

  test('a PVH entry is for PVH guests', () => {
    expect(() => build(elf(32, linux), 'pvh')).toThrow(BootError)
  })

  test('the rings are where the parameters say, reserved in the map', () => {
    const { op, domain } = build(elf(32))
    const frame = (index: number) => Number(op('HVMOP_get_param', { domid: 0x7ff0, index }).out['value'])
    const reserved = domain.memoryMap.at(-1)!
    for (const index of [1, 17]) {
      const address = BigInt(frame(index)) * 4096n
      expect(address >= reserved.address && address < reserved.address + reserved.size).toBe(true)
    }
  })
})
