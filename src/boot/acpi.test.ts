import { expect, test } from 'vitest'
import { acpiTables } from './acpi.ts'
import { eisaId, integer, packageOf } from './aml.ts'
import { mpTable } from './mptable.ts'

const BASE = 0xe0000
const image = acpiTables({ address: BASE, vcpus: 2, serialPorts: 2 })
const view = new DataView(image.buffer)
const text = (at: number, length: number) => String.fromCharCode(...image.slice(at, at + length))
const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => total + byte, 0) & 0xff

/** Offsets of the tables in the image, by signature, as found from the RSDP. */
function walk(): Map<string, number> {
  const found = new Map<string, number>()
  const add = (address: number) => found.set(text(address - BASE, 4), address - BASE)
  const xsdt = view.getUint32(24, true)
  add(xsdt)
  const entries = (view.getUint32(xsdt - BASE + 4, true) - 36) / 8
  for (let i = 0; i < entries; i++) add(Number(view.getBigUint64(xsdt - BASE + 36 + 8 * i, true)))
  const fadt = found.get('FACP')!
  add(view.getUint32(fadt + 36, true))
  add(Number(view.getBigUint64(fadt + 140, true)))
  return found
}

test('the RSDP is of revision 2 with both checksums right', () => {
  expect(text(0, 8)).toBe('RSD PTR ')
  expect(image[15]).toBe(2)
  expect(sum(image.slice(0, 20))).toBe(0)
  expect(sum(image.slice(0, 36))).toBe(0)
})

test('all tables are found from it, aligned and with right checksums', () => {
  const tables = walk()
  expect([...tables.keys()].sort()).toEqual(['APIC', 'DSDT', 'FACP', 'FACS', 'XSDT'])
  for (const [signature, at] of tables) {
    if (signature === 'FACS') continue
    expect(sum(image.slice(at, at + view.getUint32(at + 4, true)))).toBe(0)
  }
  expect((BASE + tables.get('FACS')!) % 64).toBe(0)
  expect(view.getUint32(tables.get('FACS')! + 4, true)).toBe(64)
})

test('the FADT says where the registers are', () => {
  const at = walk().get('FACP')!
  expect(view.getUint32(at + 4, true)).toBe(276)
  expect(view.getUint16(at + 46, true)).toBe(9)
  expect([56, 64, 76].map((field) => view.getUint32(at + field, true))).toEqual([0x600, 0x604, 0x608])
  expect([88, 89, 91].map((field) => image[at + field])).toEqual([4, 2, 4])
  expect(view.getUint16(at + 109, true)).toBe(7)
  expect(Array.from(image.slice(at + 116, at + 129))).toEqual([1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0, 6])
  expect([148, 172, 208].map((field) => view.getUint32(at + field + 4, true))).toEqual([0x600, 0x604, 0x608])
  expect(image[at + 108]).toBe(0x32)
})

test('the MADT lists processors, the I/O APIC, the overrides and NMI', () => {
  const at = walk().get('APIC')!
  const entries: number[][] = []
  for (let i = at + 44; i < at + view.getUint32(at + 4, true); i += image[i + 1]) {
    entries.push(Array.from(image.slice(i, i + image[i + 1])))
  }
  expect(entries).toEqual([
    [0, 8, 0, 0, 1, 0, 0, 0],
    [0, 8, 1, 1, 1, 0, 0, 0],
    [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
    [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
    [2, 10, 0, 9, 9, 0, 0, 0, 13, 0],
    [4, 6, 0xff, 0, 0, 1],
  ])
})

test('AML', () => {
  expect(eisaId('PNP0A03')).toEqual([0x0c, 0x41, 0xd0, 0x0a, 0x03])
  expect([1, 5, 0x1234, 0x12345678].map(integer)).toEqual([
    [1],
    [0x0a, 5],
    [0x0b, 0x34, 0x12],
    [0x0c, 0x78, 0x56, 0x34, 0x12],
  ])
  expect(packageOf(integer(5), integer(0))).toEqual([0x12, 5, 2, 0x0a, 5, 0])
  const long = packageOf(...Array.from({ length: 80 }, () => integer(0)))
  expect([...long.slice(0, 4), long.length]).toEqual([0x12, 0x43, 0x05, 80, 84])
})

test('the MP table is whole and its pointer leads to it', () => {
  const mp = mpTable({ address: 0x9fc00, vcpus: 32, signature: 0x806f8, features: 0x178bfbff })
  const data = new DataView(mp.buffer)
  expect(mp.length).toBeLessThanOrEqual(1024)
  expect(String.fromCharCode(...mp.slice(0, 4))).toBe('_MP_')
  expect(sum(mp.slice(0, 16))).toBe(0)
  expect(data.getUint32(4, true)).toBe(0x9fc10)
  expect(String.fromCharCode(...mp.slice(16, 20))).toBe('PCMP')
  expect(data.getUint16(20, true)).toBe(mp.length - 16)
  expect(sum(mp.slice(16))).toBe(0)
  const sizes = [20, 8, 8, 8, 8]
  let entries = 0
  for (let at = 60; at < mp.length; at += sizes[mp[at]]) entries++
  expect(data.getUint16(16 + 34, true)).toBe(entries)
  expect(entries).toBe(32 + 2 + 1 + 15 + 2)
})

test('devices on the PCI bus: a window for their memory, and where their interrupts go', () => {
  const route = { device: 3, pin: 0, gsi: 28, isa: 5 }
  const bytes = acpiTables({ address: BASE, vcpus: 1, serialPorts: 0, pci: { memory: 0x20000000, routes: [route] } })
  const at = (needle: readonly number[]) => bytes.findIndex((_, i) => needle.every((byte, k) => bytes[i + k] === byte))
  const entry = (gsi: number) => [...packageOf(integer(0x3ffff), integer(0), integer(0), integer(gsi))]
  expect(at(entry(28))).toBeGreaterThan(0)
  expect(at(entry(5))).toBeGreaterThan(0)
  // Method _PRT: if PICD, PRTA, else PRTP.
  const letters = (word: string) => [...word].map((c) => c.charCodeAt(0))
  expect(
    at([...letters('_PRT'), 0, 0xa0, 10, ...letters('PICD'), 0xa4, ...letters('PRTA'), 0xa4, ...letters('PRTP')]),
  ).toBeGreaterThan(0)
  expect(at([0x14, 13, 0x5c, ...letters('_PIC'), 1, 0x70, 0x68, ...letters('PICD')])).toBeGreaterThan(0)
  expect(at([0, 0, 0, 0x20, 0xff, 0xff, 0xbf, 0xfe])).toBeGreaterThan(0)
})
