/** The disassembler writes what objdump writes: random operands of every row, and the code of real programs. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { loadKernel } from '../../src/boot/kernel.ts'
import { Disassembler } from '../../src/cpu/disassemble/disassembler.ts'
import { cachedInterpreter } from '../../src/cpu/interpreter/cached.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../../src/packages/debian.ts'
import { difference, objdump, type Bits } from './objdump.ts'
import { SLOT, slots } from './rows.ts'

const folder = mkdtempSync(join(tmpdir(), 'paravirt-objdump-'))
afterAll(() => rmSync(folder, { recursive: true }))
const d = new Disassembler(cachedInterpreter())
/** Bytes of code to compare; all of busybox and of the kernel are the same, but take a minute. */
const PIECE = 200_000

function compare(bytes: Uint8Array, bits: Bits, address: number, wanted: (at: number) => boolean = () => true) {
  const file = join(folder, `code-${bits}`)
  // An instruction that the end cuts off goes on with NOPs for both.
  const code = new Uint8Array(bytes.length + SLOT).fill(0x90)
  code.set(bytes)
  writeFileSync(file, code)
  const lines = objdump(file, bits, address).filter((line) => wanted(line.address))
  const found = lines
    .map((line) => difference(d, code.subarray(line.address - address).subarray(0, SLOT), line, bits))
    .filter((x) => x !== undefined)
  return { lines: lines.length, found: found.slice(0, 20) }
}

test.each<Bits>([64, 32, 16])('every row in %i-bit code', { timeout: 60_000 }, (bits) => {
  const { bytes, rows } = slots(bits, 6, `rows ${bits}`)
  const { lines, found } = compare(bytes, bits, 0, (address) => address % SLOT === 0 && address < bytes.length)
  expect(lines).toBe(rows.length)
  expect(found).toEqual([])
})

test.each([
  ['amd64', 64],
  ['i386', 32],
] as const)('busybox for %s', { timeout: 120_000 }, async (architecture, bits) => {
  const code = join(folder, 'text')
  execFileSync('objcopy', ['-O', 'binary', '-j', '.text', await busyboxFile(architecture), code])
  const bytes = new Uint8Array(PIECE)
  const file = openSync(code, 'r')
  readSync(file, bytes, 0, PIECE, 400_000)
  closeSync(file)
  const { lines, found } = compare(bytes, bits, 0x401000)
  expect(lines).toBeGreaterThan(40_000)
  expect(found).toEqual([])
})

test('a kernel', { timeout: 120_000 }, async () => {
  const { elf } = await loadKernel(await kernelFile(DEFAULT_KERNEL))
  const { lines, found } = compare(elf!.segments[0]!.bytes.subarray(0, PIECE), 64, 0x1000000)
  expect(lines).toBeGreaterThan(40_000)
  expect(found).toEqual([])
})

test('bytes that are no instruction', () => {
  expect(d.instruction(Uint8Array.of(0x0f, 0x05), 0, 0n, 0)).toEqual({ length: 2, text: 'syscall' })
  expect(d.instruction(Uint8Array.of(0x0f, 0x04), 0, 0n, 0)).toEqual({ length: 1, text: '(bad)' })
  expect(d.instruction(Uint8Array.of(0xe8, 0), 0, 0n, 0).text).toBe('(bad)')
})
