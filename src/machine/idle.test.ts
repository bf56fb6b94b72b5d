/** A deterministic machine whose guest mostly waits: time jumps from timer to timer, and the host still gets its turn. */
import { expect, test } from 'vitest'
import type { Kernel } from '../boot/entries.ts'
import { Machine } from './machine.ts'

const ENTRY = 0x100000
const HANDLER = 0x101000
const COUNTER = 0x101800
const TABLE_POINTER = 0x101900
const IDT = 0x102000
const VECTOR = 0x40
const CODE_SELECTOR = 0x10
/** Interrupts after which it ends itself, by an exception without a handler. */
const WAKES = 300_000

const word = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff)
/** mov dword [address], value */
const store = (address: number, value: number): number[] => [0xc7, 0x05, ...word(address), ...word(value)]
const LAPIC = 0xfee00000

// biome-ignore format: an instruction a line
const parts: readonly (readonly [address: number, bytes: readonly number[]])[] = [
  [
    ENTRY,
    [
      // lidt; mov esp, ENTRY
      0x0f, 0x01, 0x1d, ...word(TABLE_POINTER), 0xbc, ...word(ENTRY),
      // The local APIC: on, its timer periodic, undivided.
      ...store(LAPIC + 0xf0, 0x1ff),
      ...store(LAPIC + 0x320, 0x20000 | VECTOR),
      ...store(LAPIC + 0x3e0, 0xb),
      ...store(LAPIC + 0x380, 10_000),
      // sti; hlt; jmp to the hlt
      0xfb, 0xf4, 0xeb, 0xfd,
    ],
  ],
  // EOI; dec dword [COUNTER]; jz to the ud2; iret; ud2
  [HANDLER, [...store(LAPIC + 0xb0, 0), 0xff, 0x0d, ...word(COUNTER), 0x74, 0x01, 0xcf, 0x0f, 0x0b]],
  [COUNTER, word(WAKES)],
  [TABLE_POINTER, [VECTOR * 8 + 7, VECTOR >> 5, ...word(IDT)]],
  [IDT + VECTOR * 8, [...word(HANDLER).slice(0, 2), CODE_SELECTOR, 0, 0, 0x8e, ...word(HANDLER).slice(2)]],
]
const kernel: Kernel = {
  name: 'idle',
  version: 'unknown',
  bits: 32,
  compression: undefined,
  elf: {
    bits: 32,
    segments: parts.map(([address, bytes]) => ({ address, bytes: Uint8Array.from(bytes), size: bytes.length })),
    entry: ENTRY,
    pvh: ENTRY,
    notes: [],
    headerEntry: BigInt(ENTRY),
  },
  image: undefined,
  entries: { pvh: ENTRY },
}

test('it can be stopped', async () => {
  const machine = await Machine.create({
    memory: 16 << 20,
    cpu: 'inorder',
    platform: 'native',
    deterministic: true,
    serial: {},
    boot: { kernel, cmdline: '' },
  })
  const stop = new AbortController()
  // Not at once: a machine gives the host a turn before it first waits, too.
  let turns = 0
  const later = () => void (++turns < 5 ? setImmediate(later) : stop.abort())
  later()
  expect((await machine.run(stop.signal)).kind).toBe('aborted')
})
