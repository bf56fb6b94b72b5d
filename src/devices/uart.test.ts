import { beforeEach, expect, test } from 'vitest'
import { CountedClock } from '../machine/clock.ts'
import { Uart } from './uart.ts'

/** Nanoseconds of one 8N1 character at 115200 baud. */
const CHARACTER = 86805

const RBR = 0
const IER = 1
const IIR = 2
const FCR = 2
const LCR = 3
const MCR = 4
const LSR = 5
const MSR = 6
const SCR = 7

let time: number
let clock: CountedClock
let uart: Uart
let irq: boolean[]
let sent: string
const read = (register: number) => uart.read(0x3f8 + register)
const write = (register: number, value: number) => uart.write(0x3f8 + register, 1, value)

function advance(ns: number) {
  const end = time + ns
  while (clock.nextDeadline() <= end) {
    time = Math.max(time, clock.nextDeadline())
    clock.runDue()
  }
  time = end
}

beforeEach(() => {
  time = 1000
  clock = new CountedClock(() => time)
  irq = []
  sent = ''
  uart = new Uart({
    clock,
    setIrq: (level) => irq.push(level),
    onTransmit: (byte) => (sent += String.fromCharCode(byte)),
  })
  write(LCR, 0x80)
  write(0, 1)
  write(1, 0)
  write(LCR, 3)
})

test('is recognised as a 16550A: IER, scratch, FIFO identification, loopback of the modem lines', () => {
  write(IER, 0xff)
  expect(read(IER)).toBe(0x0f)
  write(IER, 0)
  write(SCR, 0xae)
  expect(read(SCR)).toBe(0xae)
  expect(read(IIR)).toBe(0x01)
  write(FCR, 1)
  expect(read(IIR)).toBe(0xc1)
  write(FCR, 0x21)
  expect(read(IIR)).toBe(0xc1)
  write(FCR, 0)
  expect(read(IIR)).toBe(0x01)
  expect(read(MSR)).toBe(0xb0)
  write(MCR, 0x1a)
  expect(read(MSR) & 0xf0).toBe(0x90)
  write(MCR, 0)
})

test('the divisor latch hides behind DLAB', () => {
  write(LCR, 0x83)
  write(0, 0x34)
  write(1, 0x12)
  expect([read(0), read(1)]).toEqual([0x34, 0x12])
  write(LCR, 3)
  expect(read(IER)).toBe(0)
  expect(sent).toBe('')
})

test('transmits at once and stays empty', () => {
  write(0, 0x41)
  expect(sent).toBe('A')
  expect(read(LSR)).toBe(0x60)
})

test('THRE interrupts when enabled, goes by reading IIR, comes back after a character, each time as an edge', () => {
  write(MCR, 8)
  write(IER, 2)
  expect(irq).toEqual([true])
  expect(read(IIR)).toBe(2)
  expect(irq).toEqual([true, false])
  expect(read(IIR)).toBe(1)
  write(IER, 2)
  expect(read(IIR)).toBe(1)
  write(0, 0x42)
  write(0, 0x43)
  expect(irq).toEqual([true, false, true, false, true])
  write(IER, 0)
  write(IER, 2)
  expect(read(IIR)).toBe(2)
})

test('OUT2 gates the interrupt line', () => {
  write(IER, 2)
  expect(irq).toEqual([])
  write(MCR, 8)
  expect(irq).toEqual([true])
  write(MCR, 0x18)
  expect(irq).toEqual([true, false])
})

test('a character below the trigger level interrupts after four character times', () => {
  write(FCR, 0x81)
  write(MCR, 0xb)
  write(IER, 1)
  uart.receive([0x61])
  advance(0)
  expect(read(LSR)).toBe(0x61)
  expect(irq).toEqual([])
  advance(4 * CHARACTER - 10)
  expect(irq).toEqual([])
  advance(10)
  expect(read(IIR)).toBe(0xcc)
  expect(irq).toEqual([true])
  expect(read(RBR)).toBe(0x61)
  expect(irq).toEqual([true, false])
  expect(read(LSR)).toBe(0x60)
})

test('polling LSR does not put the character timeout off', () => {
  write(FCR, 0x81)
  write(MCR, 0xb)
  write(IER, 1)
  uart.receive([0x61])
  for (let i = 0; i < 5; i++) {
    advance(CHARACTER)
    read(LSR)
  }
  expect(read(IIR)).toBe(0xcc)
})

test('characters come at line speed and never more than the FIFO holds', () => {
  write(FCR, 0x81)
  write(MCR, 0xb)
  write(IER, 1)
  uart.receive(Array.from({ length: 100 }, (_, i) => i))
  advance(0)
  advance(6 * CHARACTER)
  expect(irq).toEqual([])
  advance(CHARACTER)
  expect(read(IIR)).toBe(0xc4)
  advance(100 * CHARACTER)
  expect(uart.queued).toBe(84)
  const got = []
  while (got.length < 100) {
    if (read(LSR) & 1) got.push(read(RBR))
    else advance(CHARACTER)
  }
  expect(got).toEqual(Array.from({ length: 100 }, (_, i) => i))
  expect(read(LSR)).toBe(0x60)
  expect(clock.nextDeadline()).toBe(Infinity)
})

test('the peer waits for RTS', () => {
  uart.receive([1])
  advance(10 * CHARACTER)
  expect(read(LSR)).toBe(0x60)
  write(MCR, 2)
  advance(0)
  expect(read(LSR)).toBe(0x61)
})

test('loopback returns characters and overruns; the line status interrupt has priority', () => {
  write(FCR, 1)
  write(MCR, 0x10)
  write(IER, 7)
  for (let i = 0; i < 17; i++) write(0, i)
  expect(sent).toBe('')
  expect(read(IIR)).toBe(0xc6)
  expect(read(LSR)).toBe(0x63)
  expect(read(LSR)).toBe(0x61)
  expect(read(IIR)).toBe(0xc4)
  for (let i = 0; i < 16; i++) expect(read(RBR)).toBe(i)
  expect(read(IIR)).toBe(0xc2)
  expect(read(IIR)).toBe(0xc1)
})

test('without FIFOs an overrun replaces the character', () => {
  write(MCR, 0x10)
  write(0, 1)
  write(0, 2)
  expect(read(LSR)).toBe(0x63)
  expect(read(RBR)).toBe(2)
  expect(read(LSR)).toBe(0x60)
})

test('a break in loopback is a zero with an error that waits for its turn', () => {
  write(FCR, 1)
  write(MCR, 0x10)
  write(0, 0x55)
  write(LCR, 0x43)
  expect(read(LSR)).toBe(0xe1)
  expect(read(RBR)).toBe(0x55)
  expect(read(LSR)).toBe(0xf1)
  expect(read(LSR)).toBe(0x61)
  expect(read(RBR)).toBe(0)
})

test('modem status changes are remembered until read', () => {
  write(MCR, 0x10)
  expect(read(MSR)).toBe(0x0b)
  write(MCR, 0x14)
  expect(read(MSR)).toBe(0x40)
  write(MCR, 0x10)
  write(IER, 8)
  expect(read(IIR)).toBe(0)
  expect(read(MSR)).toBe(0x04)
  expect(read(IIR)).toBe(1)
})

test('switching the FIFOs clears the receiver', () => {
  write(FCR, 1)
  write(MCR, 2)
  uart.receive([1, 2, 3])
  advance(10 * CHARACTER)
  write(FCR, 0)
  expect(read(LSR)).toBe(0x60)
})

test('a fast peer fills the FIFO as it is read, in bursts', () => {
  uart = new Uart({ clock, setIrq: () => {}, onTransmit: () => {}, fast: true })
  write(LCR, 3)
  write(FCR, 1)
  write(MCR, 2)
  uart.receive(Array.from({ length: 600 }, (_, i) => i & 0xff))
  const drain = () => {
    const got: number[] = []
    while (read(LSR) & 1) got.push(read(RBR))
    return got
  }
  advance(0)
  expect(drain()).toEqual(Array.from({ length: 256 }, (_, i) => i))
  advance(200_000)
  expect(drain()).toEqual([])
  advance(100_000)
  expect(drain()).toHaveLength(256)
  write(MCR, 0)
  advance(1e6)
  expect(drain()).toEqual([])
  write(MCR, 2)
  advance(1)
  expect(drain()).toHaveLength(88)
})
