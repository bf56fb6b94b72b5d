import { beforeEach, expect, test } from 'vitest'
import { CountedClock } from './clock.ts'
import { createPc } from './pc.ts'
import type { Pc } from './pc.ts'

const LAPIC = 0xfee00000
const IOAPIC = 0xfec00000

let time: number
let clock: CountedClock
let pc: Pc
let log: string[]
let pending: boolean[]

const out = (port: number, ...values: number[]) => values.forEach((value) => pc.ports.write(port, 1, value))
const lapicRead = (vcpu: number, register: number) => pc.mmio.read(LAPIC + register, 4, vcpu)
const lapicWrite = (vcpu: number, register: number, value: number) => pc.mmio.write(LAPIC + register, 4, value, vcpu)

function ioapicWrite(register: number, value: number) {
  pc.mmio.write(IOAPIC, 4, register, 0)
  pc.mmio.write(IOAPIC + 0x10, 4, value, 0)
}

function advance(ns: number) {
  const end = time + ns
  while (clock.nextDeadline() <= end) {
    time = Math.max(time, clock.nextDeadline())
    clock.runDue()
  }
  time = end
}

function initialisePics() {
  out(0x20, 0x11)
  out(0x21, 0x30, 4, 1, 0xff)
  out(0xa0, 0x11)
  out(0xa1, 0x38, 2, 1, 0xff)
}

/** Linux's tick: counter 0, mode 2, 250 Hz. */
function startTick() {
  out(0x43, 0x34)
  out(0x40, 4773 & 0xff, 4773 >> 8)
}

beforeEach(() => {
  time = 0
  log = []
  pending = [false, false, false]
  clock = new CountedClock(() => time)
  pc = createPc({
    clock,
    physicalBits: 39,
    x2apic: true,
    serial: [() => {}, () => {}, () => {}],
    epoch: 0,
    onPowerOff: () => log.push('off'),
    onReset: (reason) => log.push(`reset ${reason}`),
    cpus: [0, 1, 2].map((index) => ({
      setInterruptPending: (value) => (pending[index] = value),
      nmi: () => log.push(`nmi ${index}`),
      init: () => log.push(`init ${index}`),
      sipi: (vector) => log.push(`sipi ${index} ${vector}`),
      tscOffset: () => 0,
    })),
  })
  for (const vcpu of [0, 1, 2]) lapicWrite(vcpu, 0xf0, 0x1ff)
})

test('virtual wire: the 8259 pair reaches the boot processor only', () => {
  initialisePics()
  out(0x21, 0xef)
  pc.interrupts.setIsaIrq(4, true)
  expect(pending).toEqual([true, false, false])
  expect(pc.interrupts.acknowledge(0)).toBe(0x34)
  expect(pending[0]).toBe(false)
  expect(pc.interrupts.acknowledge(0)).toBe(-1)
})

test('the PIT ticks through I/O APIC pin 2, and nothing is armed once the pin is masked', () => {
  initialisePics()
  startTick()
  expect(clock.nextDeadline()).toBe(Infinity)
  advance(100e6)
  ioapicWrite(0x14, 0x30)
  expect(pending[0]).toBe(false)
  let ticks = 0
  for (let i = 0; i < 40; i++) {
    advance(4e6)
    if (!pending[0]) continue
    expect(pc.interrupts.acknowledge(0)).toBe(0x30)
    lapicWrite(0, 0xb0, 0)
    ticks++
  }
  expect(ticks).toBeGreaterThanOrEqual(39)
  ioapicWrite(0x14, 0x10030)
  expect(clock.nextDeadline()).toBe(Infinity)
})

test('the PIT ticks through the 8259 pair as ExtINT, an edge that came while masked included', () => {
  initialisePics()
  startTick()
  advance(100e6)
  expect(pending[0]).toBe(false)
  out(0x21, 0xfe)
  expect(pc.interrupts.acknowledge(0)).toBe(0x30)
  out(0x20, 0x60)
  expect(pending[0]).toBe(false)
  advance(4.1e6)
  expect(pc.interrupts.acknowledge(0)).toBe(0x30)
})

/** How often a vCPU is interrupted with vector 0x30 until nothing waits. */
function takeAll(eoi: () => void): number {
  let taken = 0
  for (; pending[0]; taken++) {
    expect(pc.interrupts.acknowledge(0)).toBe(0x30)
    eoi()
  }
  return taken
}

/** The host did not let the machine run for ten ticks. */
function stall() {
  time += 40.1e6
  clock.runDue()
}

test("an ISA edge waits at the 8259 pair until it is taken, though the PIT's OUT is high", () => {
  initialisePics()
  out(0x43, 0x3a) // mode 5, as Linux stops the PIT on VMI
  out(0x21, 0xfe)
  for (let i = 0; i < 3; i++) {
    pc.interrupts.pulseIsaIrq(0)
    expect(pending[0]).toBe(true)
    expect(pc.interrupts.acknowledge(0)).toBe(0x30)
    out(0x20, 0x20)
    expect(pending[0]).toBe(false)
  }
})

test('ticks of a time in which nothing ran come one after the other, by either way', () => {
  initialisePics()
  startTick()
  ioapicWrite(0x14, 0x30)
  const apicEoi = () => lapicWrite(0, 0xb0, 0)
  stall()
  expect(takeAll(apicEoi)).toBe(10)
  // Or the vCPU did not take them.
  advance(40.1e6)
  expect(takeAll(apicEoi)).toBe(10)
  expect(takeAll(apicEoi)).toBe(0)
  ioapicWrite(0x14, 0x10030)
  out(0x21, 0xfe)
  const picEoi = () => out(0x20, 0x60)
  takeAll(picEoi)
  stall()
  expect(takeAll(picEoi)).toBe(10)
  advance(8.1e6)
  expect(takeAll(picEoi)).toBe(2)
})

test('no tick is owed for a time in which IRQ 0 was masked, for an old count or for a period that could not be caught up with', () => {
  initialisePics()
  startTick()
  ioapicWrite(0x14, 0x30)
  stall()
  ioapicWrite(0x14, 0x10030)
  ioapicWrite(0x14, 0x30)
  expect(takeAll(() => lapicWrite(0, 0xb0, 0))).toBe(1)
  stall()
  startTick()
  expect(takeAll(() => lapicWrite(0, 0xb0, 0))).toBe(1)
  out(0x43, 0x34)
  out(0x40, 100, 0)
  stall()
  expect(takeAll(() => lapicWrite(0, 0xb0, 0))).toBe(1)
})

test('a level-triggered pin goes through the whole cycle', () => {
  ioapicWrite(0x22, 0x8051)
  pc.interrupts.setIsaIrq(9, true)
  expect(pc.interrupts.acknowledge(0)).toBe(0x51)
  pc.interrupts.setIsaIrq(9, false)
  lapicWrite(0, 0xb0, 0)
  expect(pending[0]).toBe(false)
  pc.interrupts.setIsaIrq(9, true)
  expect(pc.interrupts.acknowledge(0)).toBe(0x51)
  lapicWrite(0, 0xb0, 0)
  expect(pending[0]).toBe(true)
})

test('SMP start-up as Linux does it', () => {
  lapicWrite(0, 0x310, 0x01000000)
  lapicWrite(0, 0x300, 0xc500)
  lapicWrite(0, 0x300, 0x8500)
  lapicWrite(0, 0x300, 0x699)
  lapicWrite(0, 0x300, 0x699)
  lapicWrite(0, 0x310, 0x07000000)
  lapicWrite(0, 0x300, 0xc500)
  expect(log).toEqual(['init 1', 'sipi 1 153', 'sipi 1 153'])
})

test('shorthands reach all, all but self, self', () => {
  lapicWrite(1, 0x300, 0xc00f3)
  expect(pending).toEqual([true, false, true])
  lapicWrite(1, 0x300, 0x400f4)
  expect(pending).toEqual([true, true, true])
  expect(pc.interrupts.acknowledge(1)).toBe(0xf4)
  lapicWrite(2, 0x300, 0xc0400)
  expect(log).toEqual(['nmi 0', 'nmi 1'])
})

test('lowest priority goes to one processor, that with the lowest PPR', () => {
  for (const vcpu of [0, 1, 2]) lapicWrite(vcpu, 0xd0, 0x01000000 << vcpu)
  lapicWrite(0, 0x80, 0x20)
  lapicWrite(1, 0x80, 0x10)
  lapicWrite(2, 0x80, 0x30)
  ioapicWrite(0x13, 0x07000000)
  ioapicWrite(0x12, 0x941)
  pc.interrupts.setIsaIrq(1, true)
  expect(pending).toEqual([false, true, false])
})

test('each processor has its own registers at the same address, and may move them', () => {
  expect([0, 1, 2].map((vcpu) => lapicRead(vcpu, 0x20) >>> 24)).toEqual([0, 1, 2])
  expect(pc.interrupts.wrmsr(1, 0x1b, 0xd0000800, 1)).toBe(true)
  expect(lapicRead(1, 0x20)).toBe(0xffffffff)
  expect(pc.mmio.read(0x1d0000020, 4, 1)).toBe(0x01000000)
  expect(pc.mmio.read(0x1d0000020, 4, 0)).toBe(0xffffffff)
  expect(pc.interrupts.wrmsr(1, 0x1b, 0xfec00800, 0)).toBe(true)
  expect(pc.mmio.read(0x1d0000020, 4, 1)).toBe(0xffffffff)
  expect(pc.mmio.read(IOAPIC, 4, 1)).toBe(0)
  expect(pc.interrupts.wrmsr(1, 0x1b, 0xfee00800, 0)).toBe(true)
  expect(lapicRead(1, 0x20)).toBe(0x01000000)
  expect(pc.interrupts.wrmsr(0, 0x1b, 0xfee00d00, 0)).toBe(true)
  expect(lapicRead(0, 0x20)).toBe(0xffffffff)
  expect(pc.interrupts.rdmsr(0, 0x802)).toBe(0n)
})

test('CR8 is the upper half of TPR', () => {
  pc.interrupts.writeCr8(2, 5)
  expect(lapicRead(2, 0x80)).toBe(0x50)
  lapicWrite(2, 0x80, 0x7f)
  expect(pc.interrupts.readCr8(2)).toBe(7)
})

test('the UART interrupts by IRQ 4', () => {
  ioapicWrite(0x18, 0x44)
  out(0x3fc, 8)
  out(0x3f9, 2)
  expect(pc.interrupts.acknowledge(0)).toBe(0x44)
})

test('COM1 and COM3 share IRQ 4: it is up while either wants it', () => {
  initialisePics()
  out(0x21, 0xef)
  for (const port of [0x3f8, 0x3e8]) {
    out(port + 4, 8)
    out(port + 1, 2)
  }
  out(0x3f9, 0)
  expect(pending[0]).toBe(true)
  out(0x3e9, 0)
  expect(pending[0]).toBe(false)
})

test('port 0x61 gates counter 2 and shows its OUT; TSC calibration by it takes the time it should', () => {
  out(0x61, 1)
  out(0x43, 0xb0)
  out(0x42, 0x9c, 0x2e)
  expect(pc.ports.read(0x61, 1) & 0x21).toBe(1)
  advance(10_010_000)
  expect(pc.ports.read(0x61, 1) & 0x21).toBe(0x21)
})

test('IRQ 13 is cleared by port 0xf0', () => {
  ioapicWrite(0x2a, 0x804d)
  pc.systemControl!.fpuError()
  out(0xf0, 0)
  expect(pc.interrupts.acknowledge(0)).toBe(0x4d)
  lapicWrite(0, 0xb0, 0)
  expect(pending[0]).toBe(false)
})

test('every usual way to reset and to power off', () => {
  out(0x92, 3)
  out(0x64, 0xfe)
  out(0xcf9, 2)
  out(0xcf9, 6)
  out(0xcf9, 6)
  pc.ports.write(0x604, 2, 0x3400)
  expect(log).toEqual(['reset port 0x92', 'reset keyboard controller', 'reset port 0xcf9', 'off'])
})

test('an idle machine, as Linux leaves it, has no deadline', () => {
  initialisePics()
  startTick()
  out(0x43, 0x30)
  out(0x40, 0, 0)
  expect(clock.nextDeadline()).toBe(Infinity)
  ioapicWrite(0x14, 0x30)
  advance(1e9)
  expect(clock.nextDeadline()).toBe(Infinity)
})
