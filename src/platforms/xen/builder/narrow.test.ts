/** Domains of 32 bits: images, where everything lies, page tables of three levels, start_info. */
import { describe, expect, it } from 'vitest'
import { writeElf } from '../../../boot/elf.ts'
import { elfKernel } from '../../../boot/entries.ts'
import { legacyNotes, NoteType, noteText, readNotes, writeNotes, type XenNote } from '../../../boot/xen-notes.ts'
import { Mock } from '../../../paravirt/mock.ts'
import { Frames } from '../frames.ts'
import { GuestMemory } from '../guest-memory.ts'
import { createMm, pvFrames } from '../mm/create.ts'
import { ACCESSED, DIRTY, PRESENT, RW, USER } from '../mm/entries.ts'
import { PAE_XEN, PINNED, TYPE, Type } from '../mm/frame-table.ts'
import { audit } from '../mm/testing.ts'
import { buildPv } from './build.ts'
import { hypercallPage } from './hypercall-page.ts'
import { pvImage, pvRefusal } from './image.ts'

const PAGES = 4096
const word = (type: number, value: number): XenNote => {
  const desc = new Uint8Array(4)
  new DataView(desc.buffer).setUint32(0, value, true)
  return { type, desc }
}
const text = (type: number, value: string): XenNote => ({ type, desc: new TextEncoder().encode(`${value}\0`) })
const notes = (base: number, pae = 'yes'): XenNote[] => [
  text(NoteType.XEN_VERSION, 'xen-3.0'),
  text(NoteType.LOADER, 'generic'),
  text(NoteType.PAE_MODE, pae),
  word(NoteType.VIRT_BASE, base),
  word(NoteType.ENTRY, base + 0x100000),
  word(NoteType.HYPERCALL_PAGE, base + 0x101000),
]
const kernel = (list: readonly XenNote[]) => {
  const bytes = new Uint8Array(0x3000).fill(0x90)
  const segments = [{ address: 0x100000, bytes, size: bytes.length }]
  const elf = { bits: 32, segments, entry: 0x100000, headerEntry: 0x100000n, pvh: undefined, notes: list } as const
  return elfKernel(writeElf(elf), 'kernel')
}

function build(base: number, initrd?: Uint8Array) {
  const mock = new Mock({ pages: PAGES, frames: pvFrames(PAGES * 4096) })
  const { memory } = mock.effects
  const frames = new Frames(memory)
  const guest = new GuestMemory(mock.effects, () => ({ mayAccess: () => true }))
  const mm = createMm({ effects: mock.effects, xen: frames, guest, narrow: true })
  const domain = buildPv(memory, mm, {
    image: pvImage(kernel(notes(base)), 32),
    initrd,
    cmdline: 'console=hvc0',
    pages: PAGES,
    sharedInfo: frames.sharedPage().frame,
    ports: { store: 1, console: 2 },
  })
  expect(audit(mm.frames)).toEqual([])
  mm.setKernelRoot(0, domain.root)
  const view = new DataView(mock.ram.buffer)
  const entryOf = (linear: bigint) => mm.findL1(0, Number(linear), 0)
  const frameOf = (linear: bigint) => (mm.frames.words[entryOf(linear)] as number) >>> 12
  return { mock, mm, domain, view, entryOf, frameOf }
}

describe('images', () => {
  it('of 32 bits are for xen-pv32, those of 64 not', () => {
    const image = kernel(notes(0xc0000000))
    expect(pvRefusal(image, 32)).toBeUndefined()
    expect(pvRefusal(image, 64)).toMatch(/32-bit kernel; --on xen-pv32/)
    expect(pvImage(image, 32)).toMatchObject({ bits: 32, base: 0xc0000000n, entry: 0xc0100000n, p2m: undefined })
  })

  it('without PAE are refused', () => {
    expect(pvRefusal(kernel(notes(0xc0000000, 'no')), 32)).toMatch(/without PAE/)
    expect(pvRefusal(kernel(notes(0xc0000000, 'bimodal')), 32)).toBeUndefined()
  })

  it('say so in old sections too', () => {
    const old = legacyNotes(new TextEncoder().encode('XEN_VER=xen-3.0,LOADER=generic,PAE=yes,VIRT_BASE=0xC0000000'))
    expect(noteText(old, NoteType.PAE_MODE)).toBe('yes')
    expect(pvRefusal(kernel([...old, word(NoteType.ENTRY, 0xc0100000)]), 32)).toBeUndefined()
  })

  it('of GRUB end before their last note’s size does', () => {
    const bytes = writeNotes([text(NoteType.LOADER, 'generic'), text(NoteType.PAE_MODE, 'yes')])
    new DataView(bytes.buffer).setUint32(24 + 4, 12, true)
    expect(noteText(readNotes(bytes), NoteType.PAE_MODE)).toBe('yes')
  })
})

it.each([
  ['in the last GiB', 0xc0000000, 3],
  ['below it', 0, 0],
])('a domain %s: tables of three levels, pinned, with an L2 table for the last GiB', (_, base, slot) => {
  const { mm, domain, view, entryOf, frameOf, mock } = build(base, new Uint8Array(5000).fill(0x77))
  const { frames } = mm
  const words = (table: number, index: number) => frames.words[(table << 10) + 2 * index] as number
  expect((frames.types[domain.root] as number) & (TYPE | PINNED)).toBe(Type.L3 | PINNED)
  expect(words(domain.root, slot) & 0xfff).toBe(PRESENT | RW | USER)
  const last = words(domain.root, 3) >>> 12
  expect((frames.types[last] as number) & (TYPE | PAE_XEN)).toBe(Type.L2 | PAE_XEN)
  expect(words(words(domain.root, slot) >>> 12, 0) & 0xfff).toBe(PRESENT | RW | ACCESSED | DIRTY | USER)
  // The kernel's pages are ring 1's, writable but for tables.
  expect((frames.words[entryOf(domain.stack - 4n)] as number) & 0xfff).toBe(PRESENT | RW | ACCESSED)
  const start = frameOf(domain.startInfo) * 4096
  const long = (at: number) => view.getUint32(start + at, true)
  expect(new TextDecoder().decode(mock.ram.subarray(start, start + 16))).toBe('xen-3.0-x86_32p\0')
  expect([long(0x20), long(0x28), long(0x30), long(0x38)]).toEqual([PAGES, 0x10, 1, 2])
  expect((frames.words[entryOf(BigInt(long(0x3c)))] as number) & (PRESENT | RW)).toBe(PRESENT)
  expect([frames.words[entryOf(BigInt(long(0x3c)))]! >>> 12, long(0x40) >= 3]).toEqual([domain.root, true])
  // The p2m list has words; what it says the machine-to-physical table says too.
  const list = frameOf(BigInt(long(0x44))) * 4096
  expect(frames.pfnOf(view.getUint32(list + 4 * 7, true))).toBe(7)
  // The initrd is mapped.
  const initrd = frameOf(BigInt(long(0x48))) * 4096
  expect([mock.ram[initrd + 4095], long(0x4c)]).toEqual([0x77, 5000])
  expect(new TextDecoder().decode(mock.ram.subarray(start + 0x50, start + 0x5c))).toBe('console=hvc0')
  const page = frameOf(BigInt(base + 0x101000)) * 4096
  expect([...mock.ram.subarray(page, page + 4096)]).toEqual([...hypercallPage(32)])
})

it('the page of hypercalls makes them by INT 0x82', () => {
  const page = hypercallPage(32)
  expect([...page.subarray(32, 41)]).toEqual([0xb8, 1, 0, 0, 0, 0xcd, 0x82, 0xc3, 0xcc])
  expect([...page.subarray(23 * 32, 23 * 32 + 9)]).toEqual([0x50, 0xb8, 23, 0, 0, 0, 0xcd, 0x82, 0xcc])
})
