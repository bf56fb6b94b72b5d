import { beforeEach, expect, test } from 'vitest'
import { CountedClock } from '../machine/clock.ts'
import { Ports } from '../machine/bus.ts'
import { AcpiPm } from './acpi-pm.ts'

let time: number
let clock: CountedClock
let ports: Ports
let pm: AcpiPm
let sci: boolean
let off: number

beforeEach(() => {
  time = 0
  sci = false
  off = 0
  clock = new CountedClock(() => time)
  ports = new Ports()
  pm = new AcpiPm({ clock, setSci: (level) => (sci = level), onPowerOff: () => off++ })
  ports.register(0x600, 0x605, pm, 2)
  ports.register(0x608, 0x60b, pm, 4)
})

test('the timer runs at 3.579545 MHz with 32 bits and can be read in parts', () => {
  time = 1e9
  expect(ports.read(0x608, 4)).toBe(3579545)
  expect(ports.read(0x608, 2) | (ports.read(0x60a, 2) << 16)).toBe(3579545)
  expect(ports.read(0x60a, 1)).toBe(3579545 >> 16)
  time = 1200e9
  expect(ports.read(0x608, 4)).toBe(Math.floor((1200e9 * 315) / 88000) - 2 ** 32)
  ports.write(0x608, 4, 0)
  expect(ports.read(0x608, 4)).toBeGreaterThan(0)
})

test('the timer sets its status when its highest bit changes, and interrupts if enabled', () => {
  time = 600e9
  expect(ports.read(0x600, 2)).toBe(1)
  ports.write(0x600, 2, 1)
  expect(ports.read(0x600, 2)).toBe(0)
  ports.write(0x602, 2, 1)
  time = clock.nextDeadline()
  expect(time).toBeGreaterThan(1199e9)
  clock.runDue()
  expect(sci).toBe(true)
  expect(clock.nextDeadline()).toBe(Infinity)
  ports.write(0x600, 2, 1)
  expect(sci).toBe(false)
})

test('the power button raises the SCI until its status is cleared', () => {
  pm.pressPowerButton()
  expect(sci).toBe(false)
  ports.write(0x602, 2, 0x100)
  expect(sci).toBe(true)
  expect(ports.read(0x600, 4)).toBe(0x01000100)
  ports.write(0x601, 1, 1)
  expect(sci).toBe(false)
})

test('SLP_EN with the type of S5 powers off, other types do nothing; SCI_EN is always 1', () => {
  expect(ports.read(0x604, 2)).toBe(1)
  ports.write(0x604, 2, 0x2000)
  ports.write(0x604, 2, 0x1400)
  expect(off).toBe(0)
  expect(ports.read(0x604, 2)).toBe(0x1401)
  ports.write(0x604, 2, 0x3400)
  expect(off).toBe(1)
  expect(ports.read(0x604, 2)).toBe(0x1401)
})
