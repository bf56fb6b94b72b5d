import { beforeEach, expect, test } from 'vitest'
import { CountedClock } from '../../machine/clock.ts'
import { Lapic } from './lapic.ts'
import { readApicMsr, readXapic, writeApicMsr, writeXapic } from './registers.ts'

const FEATURES = { physicalBits: 39, x2apic: true }

let time: number
let offset: number
let clock: CountedClock
let apic: Lapic
let log: string[]
let pending: boolean

const read = (register: number) => readXapic(apic, register, 4)
const write = (register: number, value: number) => writeXapic(apic, register, 4, value)
const wrmsr = (index: number, low: number, high = 0) => writeApicMsr(apic, index, low, high, FEATURES)
const rdmsr = (index: number) => readApicMsr(apic, index)
const interrupt = (vector: number, level = false) => apic.deliver(0, vector, level)

beforeEach(() => {
  time = 0
  offset = 0
  log = []
  pending = false
  clock = new CountedClock(() => time)
  apic = new Lapic(
    0,
    clock,
    {
      setInterruptPending: (value) => (pending = value),
      nmi: () => log.push('nmi'),
      init: () => log.push('init'),
      sipi: (vector) => log.push(`sipi ${vector}`),
      tscOffset: () => offset,
    },
    {
      send: (_, mode, vector, shorthand, logical, destination) =>
        log.push(`send ${mode} ${vector} ${shorthand} ${logical ? 'logical' : 'physical'} ${destination}`),
      endOfInterrupt: (vector) => log.push(`eoi ${vector}`),
      acknowledgePic: () => (apic.setLint(0, false), 0x30),
    },
  )
  write(0xf0, 0x1ff)
})

test('power-up values', () => {
  apic.reset()
  expect(read(0x30)).toBe(0x00050014)
  expect(read(0xf0)).toBe(0xff)
  expect(read(0xe0)).toBe(0xffffffff)
  for (let lvt = 0x320; lvt <= 0x370; lvt += 16) expect(read(lvt)).toBe(0x10000)
  expect(rdmsr(0x1b)).toBe(0xfee00900n)
})

test('priority classes: a higher class interrupts, the same or a lower one waits', () => {
  interrupt(0x41)
  expect(pending).toBe(true)
  expect(apic.acknowledge()).toBe(0x41)
  expect(pending).toBe(false)
  expect(read(0xa0)).toBe(0x40)
  interrupt(0x4f)
  interrupt(0x31)
  expect(pending).toBe(false)
  interrupt(0x51)
  expect(apic.acknowledge()).toBe(0x51)
  expect([read(0x120), read(0x220), read(0x210)]).toEqual([0x20002, 0x8000, 0x20000])
  write(0xb0, 0)
  expect(pending).toBe(false)
  write(0xb0, 0)
  expect(apic.acknowledge()).toBe(0x4f)
  write(0xb0, 0)
  expect(apic.acknowledge()).toBe(0x31)
  write(0xb0, 0)
  expect(apic.acknowledge()).toBe(-1)
})

test('TPR holds interrupts back and shows in PPR', () => {
  write(0x80, 0x45)
  expect(read(0xa0)).toBe(0x45)
  interrupt(0x4f)
  expect(pending).toBe(false)
  interrupt(0x50)
  expect(pending).toBe(true)
  write(0x80, 0x50)
  expect(pending).toBe(false)
  apic.writeTpr(0)
  expect(apic.acknowledge()).toBe(0x50)
})

test('EOI of a level-triggered vector reaches the I/O APICs, of an edge one does not', () => {
  interrupt(0x61, true)
  interrupt(0x71)
  expect(read(0x1b0)).toBe(2)
  apic.acknowledge()
  write(0xb0, 0)
  apic.acknowledge()
  write(0xb0, 0)
  expect(log).toEqual(['eoi 97'])
  interrupt(0x61)
  expect(read(0x1b0)).toBe(0)
})

test('software disable masks local interrupts and refuses messages, but not NMI, INIT, SIPI', () => {
  write(0x350, 0x700)
  write(0xf0, 0xff)
  expect(read(0x350)).toBe(0x10700)
  write(0x350, 0x700)
  expect(read(0x350)).toBe(0x10700)
  interrupt(0x41)
  expect(pending).toBe(false)
  apic.deliver(4, 0, false)
  apic.deliver(5, 0, false)
  apic.deliver(6, 0x9a, false)
  expect(log).toEqual(['nmi', 'init', 'sipi 154'])
})

test('INIT resets the APIC, id and base excepted', () => {
  write(0x80, 0x20)
  write(0xd0, 0x01000000)
  interrupt(0x55)
  apic.deliver(5, 0, false)
  expect([read(0x80), read(0xd0), read(0x220), read(0xf0)]).toEqual([0, 0, 0, 0xff])
  expect(pending).toBe(false)
  expect(rdmsr(0x1b)).toBe(0xfee00900n)
})

test('illegal vectors: sent, received, and the error interrupt', () => {
  write(0x370, 0xfe)
  write(0x300, 0x0000f)
  expect(log).toEqual([])
  expect(read(0x280)).toBe(0)
  write(0x280, 0)
  expect(read(0x280)).toBe(0x20)
  expect(apic.acknowledge()).toBe(0xfe)
  interrupt(5)
  read(0x3f0)
  write(0x280, 0)
  expect(read(0x280)).toBe(0xc0)
  write(0x280, 0)
  expect(read(0x280)).toBe(0)
})

test('ICR: destinations, shorthands, what is never sent', () => {
  write(0x310, 0x02000000)
  write(0x300, 0x000c4500)
  write(0x300, 0x00008500)
  write(0x300, 0x0000469a)
  write(0x300, 0x00000841)
  write(0x300, 0x00040042)
  write(0x300, 0x00044400)
  expect(log).toEqual([
    'send 5 0 3 physical 2',
    'send 6 154 0 physical 2',
    'send 0 65 0 logical 2',
    'send 0 66 1 physical 2',
  ])
  expect(read(0x300)).toBe(0x44400)
})

test('destinations: physical, flat, cluster, x2APIC, broadcast', () => {
  expect(apic.matches(false, 0, false)).toBe(true)
  expect(apic.matches(false, 1, false)).toBe(false)
  expect(apic.matches(false, 0xff, false)).toBe(true)
  write(0xd0, 0x04000000)
  expect(apic.matches(true, 6, false)).toBe(true)
  expect(apic.matches(true, 3, false)).toBe(false)
  write(0xd0, 0x32000000)
  write(0xe0, 0x0fffffff)
  expect(apic.matches(true, 0x36, false)).toBe(true)
  expect(apic.matches(true, 0x26, false)).toBe(false)
  expect(apic.matches(true, 0xf2, false)).toBe(true)
  wrmsr(0x1b, 0xfee00d00)
  expect(rdmsr(0x80d)).toBe(1n)
  expect(apic.matches(true, 0x00000003, true)).toBe(true)
  expect(apic.matches(true, 0x00010001, true)).toBe(false)
  expect(apic.matches(true, 0xffffffff, true)).toBe(true)
})

test('LINT0 as ExtINT follows the line and takes the vector from the 8259', () => {
  apic.setLint(0, true)
  expect(pending).toBe(false)
  write(0x350, 0x700)
  expect(pending).toBe(true)
  apic.setLint(0, false)
  expect(pending).toBe(false)
  apic.setLint(0, true)
  expect(apic.acknowledge()).toBe(0x30)
  expect(pending).toBe(false)
  expect(read(0x110)).toBe(0)
})

test('LINT0 fixed and level: remote IRR until EOI, again while the line is high', () => {
  write(0x350, 0x8041)
  apic.setLint(0, true)
  expect(read(0x350)).toBe(0xc041)
  expect(apic.acknowledge()).toBe(0x41)
  write(0xb0, 0)
  expect(apic.acknowledge()).toBe(0x41)
  apic.setLint(0, false)
  write(0xb0, 0)
  expect(read(0x350)).toBe(0x8041)
  expect(apic.acknowledge()).toBe(-1)
})

test('LINT1 as NMI is an edge', () => {
  write(0x360, 0x400)
  apic.setLint(1, true)
  apic.setLint(1, true)
  expect(log).toEqual(['nmi'])
})

test('disabled by IA32_APIC_BASE, LINT0 is INTR and messages are lost', () => {
  expect(wrmsr(0x1b, 0xfee00100)).toBe(true)
  interrupt(0x41)
  expect(pending).toBe(false)
  apic.setLint(0, true)
  expect(pending).toBe(true)
  expect(apic.acknowledge()).toBe(0x30)
})

test('IA32_APIC_BASE refuses reserved bits and illegal transitions', () => {
  expect(wrmsr(0x1b, 0xfee00901)).toBe(false)
  expect(wrmsr(0x1b, 0xfee00900, 0x80)).toBe(false)
  expect(wrmsr(0x1b, 0xfee00500)).toBe(false)
  expect(writeApicMsr(apic, 0x1b, 0xfee00d00, 0, { physicalBits: 39, x2apic: false })).toBe(false)
  expect(wrmsr(0x1b, 0xfee00d00)).toBe(true)
  expect(wrmsr(0x1b, 0xfee00900)).toBe(false)
  expect(wrmsr(0x1b, 0xfee00100)).toBe(true)
  expect(wrmsr(0x1b, 0xfee00d00)).toBe(false)
  expect(wrmsr(0x1b, 0xd0000900, 2)).toBe(true)
  expect(rdmsr(0x1b)).toBe(0x2d0000900n)
})

test('x2APIC MSRs: reserved bits, read-only and write-only registers', () => {
  expect(rdmsr(0x802)).toBeUndefined()
  expect(wrmsr(0x80b, 0)).toBe(false)
  wrmsr(0x1b, 0xfee00d00)
  expect(rdmsr(0x802)).toBe(0n)
  expect(rdmsr(0x803)).toBe(0x50014n)
  expect(wrmsr(0x802, 0)).toBe(false)
  expect(rdmsr(0x80b)).toBeUndefined()
  expect(wrmsr(0x80b, 1)).toBe(false)
  expect(wrmsr(0x80b, 0)).toBe(true)
  expect(rdmsr(0x80e)).toBeUndefined()
  expect(rdmsr(0x831)).toBeUndefined()
  expect(wrmsr(0x808, 0x100)).toBe(false)
  expect(wrmsr(0x808, 0x10, 1)).toBe(false)
  expect(wrmsr(0x830, 0x41, 5)).toBe(true)
  expect(rdmsr(0x830)).toBe(0x500000041n)
  expect(wrmsr(0x83f, 0x42)).toBe(true)
  expect(log).toEqual(['send 0 65 0 physical 5', 'send 0 66 1 physical 0'])
})
