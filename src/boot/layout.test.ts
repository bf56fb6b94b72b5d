import { describe, expect, test } from 'vitest'
import { bytesOf, elfImage } from '../../test/boot/synthetic.ts'
import { BootError } from './error.ts'
import { parseElf } from './elf.ts'
import type { Kernel, Method } from './entries.ts'
import { layoutBoot } from './layout.ts'

const MIB = 2 ** 20
const elf = parseElf(elfImage(), 'test')
const setupHeader = new Uint8Array(0x26c - 0x1f1).fill(0xee)
const kernel: Kernel = {
  name: 'test',
  version: '6.1',
  bits: 64,
  compression: 'xz',
  elf,
  image: {
    protocol: 0x20f,
    version: '6.1',
    setupHeader,
    protectedMode: bytesOf(0x3000),
    prefAddress: 0x1000000,
    initSize: 32 * MIB,
    has64BitEntry: true,
    cmdlineSize: 2047,
    initrdAddrMax: 0x7fffffff,
    payload: undefined,
  },
  entries: { pvh: 0x1000850, '64': 0x1000000, '32': 0x1000000, image64: 0x1000200, image32: 0x1000000 },
}
const initrd = bytesOf(5000)

/** Physical memory as a machine would have it after the pieces are in place. */
function boot(method: Method, options: Partial<Parameters<typeof layoutBoot>[0]> = {}) {
  const result = layoutBoot({
    kernel,
    initrd,
    cmdline: 'console=ttyS0',
    memory: 256 * MIB,
    rsdp: 0xe0000,
    method,
    ...options,
  })
  const memory = new Uint8Array(options.memory ?? 256 * MIB)
  for (const { address, bytes } of result.pieces) memory.set(bytes, address)
  const view = new DataView(memory.buffer)
  return {
    ...result,
    memory,
    u32: (at: number) => view.getUint32(at, true),
    u64: (at: number) => Number(view.getBigUint64(at, true)),
    u8: (at: number) => memory[at]!,
  }
}

const text = (memory: Uint8Array, at: number) => new TextDecoder().decode(memory.subarray(at, memory.indexOf(0, at)))

const map = [
  [0, 0x9fc00, 1],
  [0x9fc00, 0x400, 2],
  [0xe0000, 0x20000, 2],
  [0x100000, 255 * MIB, 1],
]

describe('PVH', () => {
  test('start information, version 1', () => {
    const { entry, memory, u32, u64 } = boot('pvh')
    const at = entry.rbx
    expect([u32(at), u32(at + 4), u32(at + 8), u32(at + 12)]).toEqual([0x336ec578, 1, 0, 1])
    expect(text(memory, u64(at + 24))).toBe('console=ttyS0')
    expect(u64(at + 32)).toBe(0xe0000)
    const modules = u64(at + 16)
    expect(memory.subarray(u64(modules), u64(modules) + u64(modules + 8))).toEqual(initrd)
    const memmap = u64(at + 40)
    const entries = Array.from({ length: u32(at + 48) }, (_, i) => memmap + i * 24)
    expect(entries.map((e) => [u64(e), u64(e + 8), u32(e + 16)])).toEqual(map)
    expect(u64(modules) % 4096).toBe(0)
  })

  test('the state of the processor', () => {
    const { entry } = boot('pvh')
    expect(entry).toMatchObject({ mode: 'protected', rip: 0x1000850, cr0: 0x11, cr3: 0, cr4: 0, efer: 0, rflags: 2 })
    expect(entry.cs).toEqual({ selector: 0x10, base: 0, limit: 0xffffffff, attributes: 0xc9b })
    expect(entry.data).toEqual({ selector: 0x18, base: 0, limit: 0xffffffff, attributes: 0xc93 })
    expect(entry.tr).toMatchObject({ base: 0, limit: 0x67, attributes: 0x8b })
  })

  test('without an initrd there is no module', () => {
    const { entry, u32, u64 } = boot('pvh', { initrd: undefined })
    expect([u32(entry.rbx + 12), u64(entry.rbx + 16)]).toEqual([0, 0])
  })
})

describe('the Linux boot protocols', () => {
  test('boot_params', () => {
    const { entry, memory, u8, u32, u64 } = boot('64')
    const at = entry.rsi
    expect(u8(at + 0x1ef)).toBe(0)
    expect(u32(at + 0x230)).toBe(0xeeeeeeee)
    expect([u8(at + 0x1f0), u8(at + 0x1f1), u8(at + 0x26b), u8(at + 0x26c)]).toEqual([0, 0xee, 0xee, 0])
    expect(u8(at + 0x210)).toBe(0xff)
    expect(u8(at + 0x211) & 1).toBe(1)
    expect(text(memory, u32(at + 0x228))).toBe('console=ttyS0')
    expect(memory.subarray(u32(at + 0x218), u32(at + 0x218) + u32(at + 0x21c))).toEqual(initrd)
    expect(u64(at + 0x70)).toBe(0xe0000)
    const entries = Array.from({ length: u8(at + 0x1e8) }, (_, i) => at + 0x2d0 + i * 20)
    expect(entries.map((e) => [u64(e), u64(e + 8), u32(e + 16)])).toEqual(map)
  })

  test('an ELF kernel without a setup header gets one', () => {
    const { entry, u32 } = boot('64', { kernel: { ...kernel, image: undefined } })
    expect(u32(entry.rsi + 0x202)).toBe(0x53726448)
  })

  test('64-bit entry: long mode, the low 4 GiB mapped to themselves', () => {
    const { entry, u64 } = boot('64')
    expect(entry).toMatchObject({ mode: 'long', rip: 0x1000000, cr0: 0x80000011, cr4: 0x20, efer: 0x500 })
    for (const linear of [0, 0x8000, 0x1000000, 0x3fffffff, 0x40000000, 0xfee00000, 0xffffffff]) {
      const pdpt = u64(entry.cr3)
      const directory = u64((pdpt & ~0xfff) + (linear >>> 30) * 8)
      const page = u64((directory & ~0xfff) + ((linear >>> 21) & 511) * 8)
      expect([pdpt & 0xfff, directory & 0xfff, page % 0x200000]).toEqual([3, 3, 0x83])
      expect(page - 0x83 + (linear & 0x1fffff)).toBe(linear)
    }
  })

  test.each([
    ['64', [0x00af9b000000ffffn, 0x00cf93000000ffffn, 0x00008b0000000067n]],
    ['32', [0x00cf9b000000ffffn, 0x00cf93000000ffffn, 0x00008b0000000067n]],
  ] as const)('the descriptor table for %s agrees with the hidden parts', (method, descriptors) => {
    const { entry, memory } = boot(method)
    const view = new DataView(memory.buffer)
    const at = (selector: number) => view.getBigUint64(entry.gdtr.base + selector, true)
    expect([at(entry.cs.selector), at(entry.data.selector), at(entry.tr.selector)]).toEqual(descriptors)
    expect(entry.gdtr.limit).toBe(39)
  })

  test('32-bit entry', () => {
    const { entry } = boot('32')
    expect(entry).toMatchObject({ mode: 'protected', rip: 0x1000000, rbx: 0, cr0: 0x11, efer: 0 })
    expect(entry.rsi).not.toBe(0)
  })

  test("entries of the kernel's own decompressor", () => {
    expect(boot('image64').entry).toMatchObject({ mode: 'long', rip: 0x1000200 })
    const { entry, memory } = boot('image32')
    expect(entry).toMatchObject({ mode: 'protected', rip: 0x1000000 })
    expect(memory.subarray(0x1000000, 0x1003000)).toEqual(kernel.image!.protectedMode)
  })
})

test('the best entry is the default', () => {
  const { pvh: _, ...others } = kernel.entries
  expect(layoutBoot({ kernel, cmdline: '', memory: 64 * MIB }).method).toBe('pvh')
  expect(layoutBoot({ kernel: { ...kernel, entries: others }, cmdline: '', memory: 64 * MIB }).method).toBe('64')
})

test('the initrd lies as high as RAM and the kernel allow', () => {
  const where = (memory: number, max = 0x7fffffff) => {
    const image = { ...kernel.image!, initrdAddrMax: max }
    const { pieces } = layoutBoot({ kernel: { ...kernel, image }, initrd, cmdline: '', memory })
    return pieces.find(({ bytes }) => bytes === initrd)!.address
  }
  expect(where(256 * MIB)).toBe(256 * MIB - 8192)
  expect(where(3072 * MIB)).toBe(2048 * MIB - 8192)
  expect(where(3072 * MIB, 0x37ffffff)).toBe(0x38000000 - 8192)
})

test.each<[string, Partial<Parameters<typeof layoutBoot>[0]>, RegExp]>([
  ['command line too long', { cmdline: 'x'.repeat(2048) }, /command line: 2048 bytes; this kernel takes at most 2047/],
  ['command line too long in bytes', { cmdline: 'ü'.repeat(1024) }, /command line: 2048 bytes/],
  ['NUL in the command line', { cmdline: 'a\0b' }, /NUL/],
  ['memory too small', { memory: 16 * MIB }, /memory: 16 MiB is too little for this kernel; give at least \d+ MiB/],
  [
    'memory too small for the initrd',
    { memory: 24 * MIB, initrd: new Uint8Array(8 * MIB) },
    /too little for this kernel and an initrd of 8 MiB; give at least/,
  ],
  [
    'initrd too large for the kernel',
    {
      memory: 3072 * MIB,
      kernel: { ...kernel, image: { ...kernel.image!, initrdAddrMax: 0x1ffffff } },
      initrd: new Uint8Array(20 * MIB),
    },
    /initrd: 20 MiB do not fit/,
  ],
  ['more memory than the machine takes', { memory: 4096 * MIB }, /more than the 3072 MiB/],
  ['part of a page', { memory: 64 * MIB + 1 }, /whole number of pages/],
  ['room for the decompressor', { memory: 40 * MIB, method: 'image64' }, /memory: 40 MiB is too little/],
  [
    'no such entry',
    { kernel: { ...kernel, entries: { '64': 0x1000000 } }, method: 'pvh' },
    /cannot be entered by pvh; it has 64/,
  ],
  [
    'kernel in the boot data',
    {
      kernel: {
        ...kernel,
        elf: parseElf(
          elfImage({ segments: [{ address: 0x8000, bytes: bytesOf(64), size: 64 }], entry: 0x8000, pvh: undefined }),
          'low',
        ),
        entries: { '64': 0x8000 },
      },
    },
    /lies where boot data must be/,
  ],
  [
    'kernel in the BIOS area',
    {
      kernel: {
        ...kernel,
        elf: parseElf(
          elfImage({ segments: [{ address: 0xa0000, bytes: bytesOf(64), size: 64 }], entry: 0xa0000, pvh: undefined }),
          'low',
        ),
        entries: { '64': 0xa0000 },
      },
    },
    /lies outside RAM/,
  ],
  [
    'kernel on firmware tables',
    { tables: [{ address: 0x1000010, bytes: bytesOf(16) }] },
    /lies where boot data must be/,
  ],
])('refused: %s', (_, options, message) => {
  const attempt = () => layoutBoot({ kernel, cmdline: '', memory: 256 * MIB, ...options })
  expect(attempt).toThrow(BootError)
  expect(attempt).toThrow(message)
})
