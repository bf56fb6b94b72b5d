/** Message channels by all three ways: four bytes at a time, by the high-bandwidth port, by a hypercall. */
import { describe, expect, it } from 'vitest'
import { cpuModel } from '../../cpu/models.ts'
import type { Register } from '../../paravirt/effects.ts'
import { Mock, type MockVcpu } from '../../paravirt/mock.ts'
import { type Event, Observer } from '../../paravirt/observe.ts'
import { chosenFeatures } from '../../paravirt/platform.ts'
import { vmware, VmwarePlatform } from './index.ts'

const MAGIC = 0x564d5868
const RPCI = 0x49435052
const COOKIE = 0x80000000
const HIGH_PORT = 0x5659
const [OPEN, SENDSIZE, SENDPAYLOAD, RECVSIZE, RECVPAYLOAD, RECVSTATUS, CLOSE] = [0, 1, 2, 3, 4, 5, 6]

interface Channel {
  id: number
  high: number
  low: number
}

function setUp(features: readonly string[] = []) {
  const mock = new Mock()
  const observer = new Observer(() => 0)
  const events: Event[] = []
  observer.listen((event) => events.push(event))
  const on = chosenFeatures(vmware, features)
  const platform = new VmwarePlatform({ effects: mock.effects, model: cpuModel('inorder'), features: on, observer })
  const { registers } = mock.vcpus[0] as MockVcpu
  const set = (values: Partial<Record<Register, number>>) => {
    for (const [name, value] of Object.entries(values)) registers.set(name as Register, BigInt(value >>> 0))
  }
  const low = (name: Register) => mock.effects.cpu.low(0, name)
  const message = (type: number, channel: Channel, ebx = 0) => {
    set({ rax: MAGIC, rcx: 30 | (type << 16), rdx: (channel.id << 16) | 0x5658, rbx: ebx })
    set({ rsi: channel.high, rdi: channel.low })
    const eax = platform.portIn(0, 0x5658, 4)
    expect(eax).toBe(MAGIC)
    return { status: low('rcx') >>> 16, value: low('rbx'), type: low('rdx') >>> 16 }
  }
  const open = (protocol = RPCI + COOKIE): Channel & { status: number } => {
    const { status, type } = message(OPEN, { id: 0, high: 0, low: 0 }, protocol)
    return { status, id: type, high: low('rsi'), low: low('rdi') }
  }
  const send = (channel: Channel, text: string) => {
    const bytes = new TextEncoder().encode(text)
    expect(message(SENDSIZE, channel, bytes.length).status).toBe(0x81)
    for (let i = 0; i < bytes.length; i += 4) {
      const word = [0, 1, 2, 3].reduce((sum, j) => sum | ((bytes[i + j] ?? 0xee) << (8 * j)), 0)
      expect(message(SENDPAYLOAD, channel, word).status).toBe(1)
    }
  }
  const receive = (channel: Channel): string | undefined => {
    const { status, value, type } = message(RECVSIZE, channel)
    if (!(status & 2)) return undefined
    expect([status, type]).toEqual([0x83, 1])
    const bytes: number[] = []
    while (bytes.length < value) {
      const piece = message(RECVPAYLOAD, channel, 1)
      expect([piece.status, piece.type]).toEqual([1, 2])
      for (let j = 0; j < 4; j++) bytes.push((piece.value >>> (8 * j)) & 0xff)
    }
    expect(message(RECVSTATUS, channel, 1).status).toBe(1)
    return new TextDecoder().decode(Uint8Array.from(bytes.slice(0, value)))
  }
  /** REP OUTSB and REP INSB, as the core does them. */
  const repOut = (channel: Channel, text: string, count = text.length) => {
    set({
      rax: MAGIC,
      rbx: 0x10000,
      rcx: count,
      rdx: (channel.id << 16) | HIGH_PORT,
      rbp: channel.high,
      rdi: channel.low,
    })
    for (let i = 0; i < count; i++) {
      expect(platform.portOut(0, HIGH_PORT, 1, text.charCodeAt(i) & 0xff)).toBe(true)
      set({ rcx: low('rcx') - 1 })
    }
    return low('rbx') >>> 16
  }
  const repIn = (channel: Channel, count: number) => {
    set({
      rax: MAGIC,
      rbx: 0x10000,
      rcx: count,
      rdx: (channel.id << 16) | HIGH_PORT,
      rsi: channel.high,
      rbp: channel.low,
    })
    let text = ''
    for (let i = 0; i < count; i++) {
      text += String.fromCharCode(platform.portIn(0, HIGH_PORT, 1) as number)
      set({ rcx: low('rcx') - 1 })
    }
    return { status: low('rbx') >>> 16, text }
  }
  return { ...mock, platform, events, set, low, message, open, send, receive, repOut, repIn }
}

describe('message channels', () => {
  it('carry requests and answers four bytes at a time', () => {
    const { open, send, receive, message, log } = setUp()
    const channel = open()
    expect(channel.status).toBe(1)
    expect(receive(channel)).toBeUndefined()
    send(channel, 'log one line\n')
    expect(receive(channel)).toBe('1 ')
    expect(receive(channel)).toBeUndefined()
    expect(log).toEqual(['report log: one line'])
    send(channel, 'info-get guestinfo.a')
    expect(receive(channel)).toBe('0 No value found')
    send(channel, 'info-set guestinfo.a b c')
    expect(receive(channel)).toBe('1 ')
    send(channel, 'info-get guestinfo.a')
    expect(receive(channel)).toBe('1 b c')
    send(channel, 'whatever')
    expect(receive(channel)).toBe('0 Unknown command')
    send(channel, '')
    expect(receive(channel)).toBe('0 Unknown command')
    expect(message(CLOSE, channel).status).toBe(1)
    expect(message(CLOSE, channel).status).toBe(0)
  })

  it('carry them all at once by the high-bandwidth port', () => {
    const { open, message, repOut, repIn, events } = setUp()
    const channel = open()
    message(SENDSIZE, channel, 22)
    expect(repOut(channel, 'info-get guestinfo.abc')).toBe(1)
    const { status, value } = message(RECVSIZE, channel)
    expect([status, value]).toEqual([0x83, 16])
    events.length = 0
    expect(repIn(channel, 16)).toEqual({ status: 1, text: '0 No value found' })
    expect(events.map(({ request, result }) => [request.name, result])).toEqual([['BDOORHB_CMD_MESSAGE', 1n]])
    expect(message(RECVSTATUS, channel, 1).status).toBe(1)
  })

  it('carry them by a hypercall', () => {
    const { open, message, platform, ram, set, low, log } = setUp()
    const channel = open()
    const text = new TextEncoder().encode('info-get guestinfo.abc')
    ram.set(text, 0x1ff0)
    message(SENDSIZE, channel, text.length)
    const out = { rax: MAGIC, rbx: 0x10000, rcx: text.length, rdx: (channel.id << 16) | 3, rbp: channel.high }
    // Half of it is not there: nothing has happened when the fault is delivered.
    set({ ...out, rsi: ram.length - 4, rdi: channel.low })
    expect(platform.hypercall(0, 'vmcall')).toBe(true)
    expect([low('rcx'), low('rbx'), log]).toEqual([text.length, 0x10000, ['fault 0']])
    set({ ...out, rsi: 0x1ff0 })
    platform.hypercall(0, 'vmcall')
    expect([low('rcx'), low('rbx'), low('rsi')]).toEqual([0, 0x10000, 0x1ff0 + text.length])
    expect(message(RECVSIZE, channel).value).toBe(16)
    const into = { rax: MAGIC, rbx: 0x10000, rdx: (channel.id << 16) | 1, rsi: channel.high, rbp: channel.low }
    set({ ...into, rcx: 16, rdi: ram.length - 4 })
    platform.hypercall(0, 'vmcall')
    expect([low('rcx'), log.length]).toEqual([16, 2])
    set({ ...into, rcx: 17, rdi: 0x3000 })
    platform.hypercall(0, 'vmcall')
    expect([low('rcx'), low('rbx')]).toEqual([17, 0])
    set({ ...into, rcx: 16, rdi: 0x3000 })
    platform.hypercall(0, 'vmcall')
    expect([low('rcx'), low('rbx'), low('rdi')]).toEqual([0, 0x10000, 0x3010])
    expect(new TextDecoder().decode(ram.subarray(0x3000, 0x3010))).toBe('0 No value found')
    set({ ...into, rcx: 0x10001, rdi: 0x3000 })
    platform.hypercall(0, 'vmcall')
    expect(low('rbx')).toBe(0)
    set({ ...into, rcx: 0 })
    platform.hypercall(0, 'vmcall')
    expect(low('rbx')).toBe(0x10000)
  })

  it('fail for wrong channels, cookies, sizes and moments', () => {
    const { open, message, repOut, repIn, send } = setUp()
    const channel = open()
    for (const wrong of [
      { ...channel, id: 1 },
      { ...channel, id: 99 },
      { ...channel, low: 1 },
      { ...channel, high: 1 },
    ]) {
      for (const type of [SENDSIZE, SENDPAYLOAD, RECVSIZE, RECVPAYLOAD, RECVSTATUS, CLOSE])
        expect(message(type as number, wrong, 1).status).toBe(0)
      expect(repOut(wrong, 'x')).toBe(0)
      expect(repIn(wrong, 1).status).toBe(0)
    }
    expect(message(SENDSIZE, channel, 0x10001).status).toBe(0)
    expect(message(SENDPAYLOAD, channel, 1).status).toBe(0)
    expect(message(RECVPAYLOAD, channel, 1).status).toBe(0)
    expect(message(RECVSTATUS, channel, 1).status).toBe(0)
    message(SENDSIZE, channel, 3)
    // A byte too many fails the transfer, and so it stays to its end.
    expect(repOut(channel, 'abcde')).toBe(0)
    send(channel, 'x')
    expect(message(RECVPAYLOAD, channel, 0).status).toBe(1)
    expect(message(RECVPAYLOAD, channel, 1).status).toBe(0)
  })

  it('number eight, with and without cookies, for two protocols', () => {
    const { open, message } = setUp()
    expect(open(0x12345678).status).toBe(0)
    const channels = Array.from({ length: 8 }, () => open())
    expect(channels.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(new Set(channels.map(({ low }) => low)).size).toBe(8)
    expect(open().status).toBe(0)
    message(CLOSE, channels[3] as Channel)
    const plain = open(0x4f4c4354)
    expect(plain).toEqual({ status: 1, id: 3, high: 0, low: 0 })
    expect(message(SENDSIZE, { ...plain, low: 5 }, 4).status).toBe(0x81)
    expect(message(SENDPAYLOAD, plain, 5).status).toBe(1)
    // Nobody answers an answer.
    expect(message(RECVSIZE, plain).status).toBe(1)
  })

  it('keep no more than they are allowed to', () => {
    const { open, message, receive, platform, ram, set } = setUp()
    const channel = open()
    const put = (key: number, length: number) => {
      const text = new TextEncoder().encode(`info-set guestinfo.${key} ${'v'.repeat(length)}`)
      ram.set(text, 0x1000)
      message(SENDSIZE, channel, text.length)
      set({ rax: MAGIC, rbx: 0x10000, rcx: text.length, rdx: (channel.id << 16) | 3, rsi: 0x1000 })
      set({ rbp: channel.high, rdi: channel.low })
      platform.hypercall(0, 'vmcall')
      return receive(channel)
    }
    for (let key = 0; key < 17; key++) expect(put(key, 60_000)).toBe('1 ')
    for (let key = 17; key < 19; key++) expect(put(key, 60_000)).toBe('0 Size limit exceeded')
    expect(put(0, 5)).toBe('1 ')
    expect(put(17, 60_000)).toBe('1 ')
  })

  it('do not exist when they are switched off', () => {
    const { platform, set, low } = setUp(['no-messages'])
    set({ rax: MAGIC, rcx: 30, rbx: RPCI })
    expect(platform.portIn(0, 0x5658, 4)).toBe(0xffffffff)
    set({ rax: MAGIC, rbx: 0x10000, rcx: 1 })
    platform.portOut(0, HIGH_PORT, 1, 0)
    expect(low('rbx')).toBe(0)
  })
})
