import { describe, expect, test } from 'vitest'
import { Mode } from '../../cpu/layout.ts'
import { Disassembler } from '../../cpu/disassemble/disassembler.ts'
import { cachedInterpreter } from '../../cpu/interpreter/cached.ts'
import { Relocation } from './call.ts'
import { calls } from './calls.ts'
import { buildRom, ROM_ADDRESS, type Rom } from './rom.ts'

const disassembler = new Disassembler(cachedInterpreter())
const code32 = Mode.D | Mode.B | Mode.FLAT

/** Instructions of the code at `at`, up to the first RET. */
function listing({ bytes }: Rom, at: number): string {
  const lines: string[] = []
  while (lines.at(-1) !== 'ret') {
    const { length, text } = disassembler.instruction(bytes, at, BigInt(ROM_ADDRESS + at), code32)
    lines.push(text.trim())
    at += length
  }
  return lines.slice(0, -1).join('; ')
}

/** What GetRelocationInfo answers, read from its tables. */
function relocation({ bytes }: Rom, number: number): { type: number; at: number } {
  const view = new DataView(bytes.buffer)
  const code = 0x88 + 5 + view.getInt32(0x89, true)
  const base = code + 12
  const types = base + view.getInt32(code + 17, true)
  const addresses = base + view.getInt32(code + 24, true)
  return { type: bytes[types + number], at: base + view.getInt32(addresses + 4 * number, true) }
}

const named = (name: string) => calls.find((call) => call.name === `VMI_CALL_${name}`)!.number

describe.each([
  ['fast', false],
  ['counting', true],
])('the %s ROM', (_, counting) => {
  const rom = buildRom(calls, counting)
  const view = new DataView(rom.bytes.buffer)
  const text = (at: number) => new TextDecoder().decode(rom.bytes.subarray(at, rom.bytes.indexOf(0, at)))

  test('has the headers that kernels look for', () => {
    expect(view.getUint16(0, true)).toBe(0xaa55)
    expect(rom.bytes.length).toBe(rom.bytes[2] * 512)
    expect(rom.bytes.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0)
    expect(text(8).slice(0, 4)).toBe('cVmi')
    expect([rom.bytes[0xd], rom.bytes[0xc]]).toEqual([3, 0])
    expect(view.getUint32(0x10, true)).toBe(0)
    expect(text(view.getUint16(0x16, true))).toBe('GPL v2')
    const pci = view.getUint16(0x18, true)
    expect(text(pci).slice(0, 4)).toBe('PCIR')
    expect(view.getUint32(pci + 4, true)).toBe(0x080115ad)
    const pnp = view.getUint16(0x1a, true)
    expect(text(pnp).slice(0, 4)).toBe('$PnP')
    expect(rom.bytes.subarray(pnp, pnp + 32).reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0)
    expect(text(view.getUint16(pnp + 14, true))).toBe('paravirt')
  })

  test('fits below the next thing that firmware puts there', () => {
    expect(rom.bytes.length).toBeLessThanOrEqual(0x8000)
  })

  test('answers for every number up to the last', () => {
    for (const { number, name } of calls) {
      const { type, at } = relocation(rom, number)
      expect(type, name).toBe(
        counting ||
          !['WBINVD', 'IODelay', 'UpdatePxE', 'UpdatePxELong', 'SetLinearMapping', 'SetLazyMode'].includes(
            name.slice(9),
          )
          ? Relocation.CALL_REL
          : Relocation.NOP,
      )
      expect(type === Relocation.NOP || at < rom.bytes.length, name).toBe(true)
    }
    expect(relocation(rom, 72).type).toBe(Relocation.NONE)
  })
})

test('code of the fast ROM', () => {
  const rom = buildRom(calls, false)
  const code = (name: string) => listing(rom, relocation(rom, named(name)).at)
  expect(
    Object.fromEntries(
      calls
        .filter((call) => call.answer === 'stub' && call.code?.includes(0xc3))
        .map(({ name }) => [name.slice(9), code(name.slice(9))]),
    ),
  ).toMatchSnapshot()
  expect(code('GetCycleFrequency')).toBe('push   0x42; vmcall; lea    esp,[esp+0x4]')
})

test('the counting ROM tells and then does the same', () => {
  const [fast, counting] = [buildRom(calls, false), buildRom(calls, true)]
  for (const { name, answer, number, code } of calls) {
    if (answer !== 'stub' || !code?.includes(0xc3)) continue
    const told = `push   0x${number.toString(16)}; vmcall; lea    esp,[esp+0x4]`
    const own = listing(fast, relocation(fast, number).at)
    expect(listing(counting, relocation(counting, number).at).replace(/0x[0-9a-f]{5}/g, ''), name).toBe(
      [told, own]
        .filter(Boolean)
        .join('; ')
        .replace(/0x[0-9a-f]{5}/g, ''),
    )
  }
})
