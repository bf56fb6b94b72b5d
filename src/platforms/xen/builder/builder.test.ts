import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { elfImage, wordNote } from '../../../../test/boot/synthetic.ts'
import { elfKernel } from '../../../boot/entries.ts'
import {
  legacyNotes,
  NoteType,
  noteNumber,
  noteText,
  readNotes,
  writeNotes,
  type XenNote,
} from '../../../boot/xen-notes.ts'
import { Mock } from '../../../paravirt/mock.ts'
import { ACCESSED, DIRTY, GUEST_KERNEL, PRESENT, RW, USER } from '../mm/entries.ts'
import { Owner, PINNED, Type, TYPE } from '../mm/frame-table.ts'
import { audit } from '../mm/testing.ts'
import { createMm, pvFrames } from '../mm/create.ts'
import { Frames } from '../frames.ts'
import { GuestMemory } from '../guest-memory.ts'
import { buildPv } from './build.ts'
import { hypercallPage } from './hypercall-page.ts'
import { type PvImage, pvImage } from './image.ts'
import { planDomain } from './plan.ts'
import { startInfo } from './start-info.ts'

const text = (type: number, value: string): XenNote => ({ type, desc: new TextEncoder().encode(`${value}\0`) })
const linux = [
  text(NoteType.GUEST_OS, 'linux'),
  text(NoteType.XEN_VERSION, 'xen-3.0'),
  text(NoteType.LOADER, 'generic'),
  text(NoteType.FEATURES, '!writable_page_tables|pae_pgdir_above_4gb'),
  wordNote(NoteType.VIRT_BASE, 0xffffffff80000000n),
  wordNote(NoteType.ENTRY, 0xffffffff81000000n),
  wordNote(NoteType.INIT_P2M, 0x8000000000n),
  wordNote(NoteType.MOD_START_PFN, 1n),
]
const kernel = (notes: readonly XenNote[]) => elfKernel(elfImage({ notes, pvh: undefined }), 'k')
const image = (notes: readonly XenNote[] = linux) => pvImage(kernel(notes))

describe('notes', () => {
  it('are read as they were written, others are skipped', () => {
    const bytes = writeNotes(linux)
    expect(readNotes(bytes)).toEqual(linux.map(({ type, desc }) => ({ type, desc })))
    bytes[12] = 0x59
    expect(readNotes(bytes)).toHaveLength(linux.length - 1)
    expect(readNotes(bytes.subarray(0, bytes.length - 9))).toHaveLength(linux.length - 2)
  })

  it('of the old kind stand for new ones', () => {
    const section =
      'GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000,HYPERCALL_PAGE=0x2,LOADER=generic,PAE'
    const notes = legacyNotes(new TextEncoder().encode(`${section}\0junk=1`))
    expect(noteText(notes, NoteType.XEN_VERSION)).toBe('xen-3.0')
    expect(noteNumber(notes, NoteType.PADDR_OFFSET)).toBe(0xffffffff80000000n)
    expect(noteNumber(notes, NoteType.HYPERCALL_PAGE)).toBe(0xffffffff80002000n)
    expect(noteNumber(notes, NoteType.ENTRY)).toBeUndefined()
  })
})

describe('images', () => {
  it('are what their notes say', () => {
    expect(image()).toMatchObject({
      firstPage: 0x1000,
      endPage: 0x1208,
      bits: 64,
      base: 0xffffffff80000000n,
      entry: 0xffffffff81000000n,
      p2m: 0x8000000000n,
      unmappedInitrd: true,
      hypercallPage: undefined,
    })
  })

  const without = (type: number) => linux.filter((note) => note.type !== type)
  it.each([
    ['no notes', [], /no ELF notes/],
    ['PVH only', [wordNote(NoteType.PHYS32_ENTRY, 0x1000000n)], /use --on xen-pvh/],
    ['another Xen', [...without(NoteType.XEN_VERSION), text(NoteType.XEN_VERSION, 'xen-2.0')], /another Xen/],
    ['another loader', [text(NoteType.XEN_VERSION, 'xen-3.0'), text(NoteType.LOADER, 'mine')], /another loader/],
    ['a dom0 kernel', [...without(NoteType.FEATURES), text(NoteType.FEATURES, '!dom0')], /privileged domain/],
    ['an unknown need', [...without(NoteType.FEATURES), text(NoteType.FEATURES, '!tea')], /tea/],
    ['a bad entry', [...without(NoteType.ENTRY), wordNote(NoteType.ENTRY, 5n)], /entry point 0x5/],
    ['a bad p2m', [...without(NoteType.INIT_P2M), wordNote(NoteType.INIT_P2M, 0xffffffff81001000n)], /p2m/],
    ['a bad hypercall page', [...linux, wordNote(NoteType.HYPERCALL_PAGE, 0x1000n)], /page for hypercalls/],
  ])('with %s are refused', (_, notes, message) => {
    expect(() => image(notes)).toThrow(message)
  })

  it('of GRUB begin at virtual address 0', () => {
    let bytes: Uint8Array
    try {
      bytes = readFileSync('/usr/lib/grub-xen/grub-x86_64-xen.bin')
    } catch {
      return
    }
    expect(pvImage(elfKernel(bytes, 'grub'))).toMatchObject({ base: 0n, entry: 0n, firstPage: 0, p2m: undefined })
  })
})

/** Debian's 6.1 kernel as xl started it with 256 MiB (measured on Xen 4.17). */
const debian: PvImage = {
  bits: 64,
  segments: [],
  firstPage: 0x1000,
  endPage: 0x4a00,
  base: 0xffffffff80000000n,
  entry: 0xffffffff830791c0n,
  hypercallPage: undefined,
  p2m: 0x8000000000n,
  unmappedInitrd: true,
}

describe('the plan', () => {
  it('is where libxl puts everything', () => {
    const plan = planDomain(debian, 65536, 0x21f * 4096)
    expect(plan).toMatchObject({
      startInfo: 0x4a00,
      store: 0x4a01,
      console: 0x4a02,
      stack: 0x4a2c,
      initrd: { page: 0x4c00, mapped: false },
      p2m: { page: 0x4e1f, pages: 0x83, address: 0x8000000000n },
    })
    const [own, list] = plan.mappings
    expect([own.firstTable, own.tablePages]).toEqual([0x4a03, 0x29])
    expect(own.levels.map(({ count }) => count)).toEqual([38, 1, 1, 1])
    expect(list.levels.map(({ count }) => count)).toEqual([1, 1, 1, 0])
    expect(plan.address(plan.startInfo)).toBe(0xffffffff84a00000n)
  })

  it('maps initrd and p2m list where a kernel wants that', () => {
    const plan = planDomain({ ...debian, p2m: undefined, unmappedInitrd: false }, 65536, 10 * 4096)
    expect(plan).toMatchObject({
      initrd: { page: 0x4a00, mapped: true },
      p2m: { page: 0x4a0a, pages: 0x80, address: 0xffffffff84a0a000n },
      startInfo: 0x4a8a,
    })
    expect(plan.mappings).toHaveLength(1)
  })

  it('says how much memory it needs', () => {
    expect(() => planDomain(debian, 0x4b00, 0)).toThrow(
      /memory: 75 MiB is too little for this kernel; give at least 1\d\d/,
    )
  })
})

describe('start_info', () => {
  it('has each member in its place', () => {
    const bytes = startInfo(64, {
      pages: 1,
      sharedInfo: 0x2000,
      flags: 0x18,
      store: { frame: 3, port: 4 },
      console: { frame: 5, port: 6 },
      tables: { address: 7n, count: 8 },
      p2m: 9n,
      module: { start: 10n, length: 11 },
      cmdline: new TextEncoder().encode('x'.repeat(2000)),
      p2mPages: { first: 12, count: 13 },
    })
    const view = new DataView(bytes.buffer)
    const longs = [0x20, 0x28, 0x38, 0x48, 0x58, 0x60, 0x68, 0x70, 0x78, 0x480, 0x488].map((at) =>
      view.getBigUint64(at, true),
    )
    expect(longs).toEqual([1n, 0x2000n, 3n, 5n, 7n, 8n, 9n, 10n, 11n, 12n, 13n])
    expect([0x30, 0x40, 0x50].map((at) => view.getUint32(at, true))).toEqual([0x18, 4, 6])
    expect(bytes[0x80 + 1022]).toBe(0x78)
    expect(bytes[0x80 + 1023]).toBe(0)
  })
})

it('the page of hypercalls has a stub for each number', () => {
  const page = hypercallPage(64)
  expect([...page.subarray(32, 46)]).toEqual([0x51, 0x41, 0x53, 0xb8, 1, 0, 0, 0, 0x0f, 5, 0x41, 0x5b, 0x59, 0xc3])
  expect([...page.subarray(23 * 32, 23 * 32 + 12)]).toEqual([0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 5, 0xcc])
})

describe('a domain', () => {
  const PAGES = 8192
  function build(notes: readonly XenNote[], initrd?: Uint8Array) {
    const mock = new Mock({ pages: PAGES, frames: pvFrames(PAGES * 4096) })
    const { memory } = mock.effects
    const frames = new Frames(memory)
    const kind = { mayAccess: () => true }
    const guest = new GuestMemory(mock.effects, () => kind)
    const mm = createMm({ effects: mock.effects, xen: frames, guest })
    const domain = buildPv(memory, mm, {
      image: image(notes),
      initrd,
      cmdline: 'console=hvc0',
      pages: PAGES,
      sharedInfo: frames.sharedPage().frame,
      ports: { store: 1, console: 2 },
    })
    return { mock, mm, domain }
  }

  it('is in memory, and its page tables are valid', () => {
    const initrd = new Uint8Array(5000).fill(0x77)
    const { mock, mm, domain } = build(linux, initrd)
    const { frames } = mm
    expect(audit(frames)).toEqual([])
    expect(frames.pages).toBe(PAGES)
    expect(frames.types[domain.root] & (TYPE | PINNED)).toBe(Type.L4 | PINNED)
    mm.setKernelRoot(0, domain.root)
    const view = new DataView(mock.ram.buffer)
    const entryOf = (linear: bigint) => mm.findL1(0, Number(linear & 0xffffffffn), Number(linear >> 32n))
    const frameOf = (linear: bigint) => frames.words[entryOf(linear)] >>> 12
    const byte = (linear: bigint) => mock.ram[frameOf(linear) * 4096 + Number(linear & 4095n)]
    // The kernel, unaligned pieces of it too.
    const { segments } = image()
    for (const { address, bytes } of segments)
      for (const at of [0, 1, 4095, 4096, bytes.length - 1].filter((offset) => offset < bytes.length))
        expect(byte(0xffffffff80000000n + BigInt(address + at))).toBe(bytes[at])
    // Machine frames are no pages, and the table says which they are.
    const startFrame = frameOf(domain.startInfo)
    expect(frames.pfnOf(startFrame)).toBe(Number((domain.startInfo - 0xffffffff80000000n) >> 12n))
    expect(startFrame).not.toBe(frames.pfnOf(startFrame))
    // start_info leads to the p2m list, and from there back.
    const long = (at: number) => view.getBigUint64(startFrame * 4096 + at, true)
    expect([long(0x20), long(0x68), long(0x70) > 0n, long(0x78)]).toEqual([BigInt(PAGES), 0x8000000000n, true, 8192n])
    const list = frameOf(0x8000000000n)
    expect(Number(view.getBigUint64(list * 4096 + 8 * 5, true))).toBe(
      [...frames.owner.keys()].find((frame) => frames.owner[frame] === Owner.DOMAIN && frames.pfnOf(frame) === 5),
    )
    const initrdFrame = [...frames.owner.keys()].find((frame) => frames.pfnOf(frame) === Number(long(0x70))) as number
    expect(mock.ram[initrdFrame * 4096 + 4095]).toBe(0x77)
    // Tables are mapped, and cannot be written; the rest can, as Xen stores it.
    const table = entryOf(BigInt(long(0x58)))
    expect(frames.words[table] & (PRESENT | RW)).toBe(PRESENT)
    expect(frames.words[table] >>> 12).toBe(domain.root)
    const stack = entryOf(domain.stack - 8n)
    expect(frames.words[stack] & 0xfff).toBe(PRESENT | RW | ACCESSED | USER)
    expect(frames.words[stack + 1]).toBe(GUEST_KERNEL)
    expect(frames.words[(domain.root << 10) + 2 * 511] & 0xfff).toBe(PRESENT | RW | ACCESSED | DIRTY | USER)
  })

  it('with a page of hypercalls and its p2m list after the kernel', () => {
    const notes = [
      ...linux.filter(({ type }) => type !== NoteType.INIT_P2M && type !== NoteType.MOD_START_PFN),
      wordNote(NoteType.HYPERCALL_PAGE, 0xffffffff81005000n),
    ]
    const { mock, mm, domain } = build(notes)
    expect(audit(mm.frames)).toEqual([])
    mm.setKernelRoot(0, domain.root)
    const frame = mm.frames.words[mm.findL1(0, 0x81005000, 0xffffffff)] >>> 12
    expect([...mock.ram.subarray(frame * 4096, frame * 4096 + 4096)]).toEqual([...hypercallPage(64)])
  })
})
