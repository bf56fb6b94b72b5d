import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { Elf } from '../boot/elf.ts'
import type { Kernel } from '../boot/entries.ts'
import { platforms } from '../platforms/index.ts'
import { possiblePlatforms } from '../platforms/refusal.ts'
import { embeddedConfig } from './config.ts'
import { inspectKernel } from './inspect.ts'
import { noteLine } from './notes.ts'

const text = (content: string) => new TextEncoder().encode(content)

function kernel(changes: Partial<Elf>, more: Partial<Kernel> = {}): Kernel {
  const bytes = changes.segments?.[0]?.bytes ?? new Uint8Array(0x1000)
  const elf: Elf = {
    bits: 64,
    segments: [{ address: 0x1000000, bytes, size: 0x2000 }],
    entry: 0x1000000,
    pvh: undefined,
    notes: [],
    headerEntry: 0x1000000n,
    ...changes,
  }
  return {
    name: 'k',
    version: '6.1.0',
    bits: elf.bits,
    compression: undefined,
    elf,
    image: undefined,
    entries: { [elf.bits === 64 ? '64' : '32']: elf.entry, ...(elf.pvh === undefined ? {} : { pvh: elf.pvh }) },
    ...more,
  }
}

describe('the embedded configuration', () => {
  const config = '#\n# Automatically generated\nCONFIG_X=y\nCONFIG_KVM_GUEST=y\nCONFIG_XEN_PV=y\n#\n'
  const packed = Buffer.concat([text('IKCFG_ST no config '), text('IKCFG_ST'), gzipSync(config), text('IKCFG_ED')])
  const segment = (bytes: Uint8Array) => ({ segments: [{ address: 0, bytes, size: bytes.length }] })

  test('is found behind its mark, not behind what looks like it', () => {
    expect(embeddedConfig(segment(packed))).toBe(config)
    expect(inspectKernel(kernel(segment(packed))).knows).toEqual(['KVM', 'Xen PV'])
  })

  test('damaged or absent', () => {
    expect(embeddedConfig(segment(packed.subarray(0, packed.length - 12)))).toBeUndefined()
    expect(embeddedConfig(segment(text('nothing')))).toBeUndefined()
    const bomb = Buffer.concat([text('IKCFG_ST'), gzipSync(new Uint8Array(64 << 20)), text('IKCFG_ED')])
    expect(embeddedConfig(segment(bomb))).toBeUndefined()
  })
})

test('notes in words', () => {
  const note = (type: number, ...desc: number[]) => noteLine({ type, desc: Uint8Array.from(desc) })
  expect(note(18, 0xd0, 0x03, 0, 1)).toBe('PHYS32_ENTRY 0x10003d0')
  expect(note(5, ...text('xen-3.0\0'))).toBe('XEN_VERSION "xen-3.0"')
  expect(note(13, 1, 0)).toBe('L1_MFN_VALID 01 00')
  expect(note(14, 0, 0)).toBe('SUSPEND_CANCEL 0x0')
  expect(note(99, 7)).toBe('note 99 07')
})

describe('which platforms will do', () => {
  const refusals = (of: Kernel) => inspectKernel(of).platforms

  test('each has an answer', () => expect(Object.keys(refusals(kernel({})))).toEqual(platforms))

  test('a 64-bit kernel without notes', () => {
    expect(refusals(kernel({}))).toMatchObject({
      native: undefined,
      kvm: undefined,
      vmi: expect.stringMatching(/64-bit/),
      'xen-hvm': undefined,
      'xen-pvh': expect.stringMatching(/CONFIG_PVH/),
      'xen-pv': expect.stringMatching(/no ELF notes/),
    })
  })

  test('PVH', () => expect(refusals(kernel({ pvh: 0x1000100 }))).toMatchObject({ 'xen-pvh': undefined }))

  test('VMI, by the release', () => {
    const vmi = (version: string) => refusals(kernel({ bits: 32 }, { version })).vmi
    expect(vmi('2.6.36')).toBeUndefined()
    expect(vmi('2.6.21-rc1')).toBeUndefined()
    expect(vmi('unknown')).toBeUndefined()
    expect(vmi('2.6.37')).toMatch(/2\.6\.21 to 2\.6\.36/)
    expect(vmi('6.1.0')).toMatch(/2\.6\.21 to 2\.6\.36/)
  })

  test('a kernel that only Xen can start', () => {
    const xen = kernel({
      notes: [
        { type: 5, desc: text('xen-3.0\0') },
        { type: 6, desc: text('linux\0') },
        { type: 8, desc: text('generic\0') },
        { type: 1, desc: Uint8Array.from([0, 0, 0, 1, 0, 0, 0, 0]) },
      ],
    })
    expect(possiblePlatforms({ ...xen, entries: {} })).toEqual(['xen-pv'])
  })
})
