/** What --hot shows: regions with counters do the same as without, and count what they do. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { hotLines } from '../../src/cli/hot.ts'
import { assemble } from './assemble.ts'
import { engines, gate, Guest, Place } from './rig.ts'

const text = `
    ${gate(14, 'fault')}
    mov ebp, 20000
  again:
    mov edi, 5
    # By a pointer that changes, so that no region has copies of both.
    lea rsi, [rip + inner]
    lea rbx, [rip + beyond]
    test ebp, 3
    cmovz rsi, rbx
    call rsi
    test ebp, 1023
    jnz same
    mov [rip + beside], eax
    and byte ptr [${Place.PAGES + 0x140 * 8}], 0xfe
    invlpg [0x140000]
    mov ecx, [0x140000]
  same:
    dec ebp
    jnz again
    hlt
  fault:
    or byte ptr [${Place.PAGES + 0x140 * 8}], 1
    add rsp, 8
    iretq
    .balign 64
  beside: .int 0
    .balign 4096
  inner:
    dec edi
    jnz inner
    imul rdx, rdi, 3
    ret
    .balign 64
  beyond:
    xor edx, edi
    ret`

test('regions that count do what the interpreter does', async () => {
  const both = await engines({ profile: true })
  both.run(text)
  expect(both.eager.core.translator!.profile!.hottest(1).regions[0]!.executed).toBeGreaterThan(100_000)
})

test('counts and reasons', async () => {
  const guest = await Guest.create({ translate: 'eager', profile: true })
  const code = assemble(text, Place.CODE)
  guest.begin(code)
  while (!guest.halted) guest.run(10_000)
  const profile = guest.core.translator!.profile!
  const { regions, executed } = profile.hottest(1000)
  expect(executed).toBe(regions.reduce((sum, r) => sum + r.executed, 0))
  expect(executed).toBeLessThanOrEqual(guest.count)
  expect(executed).toBeGreaterThan(guest.count * 0.9)
  const exits = regions.flatMap((r) => r.exits)
  const seen = new Set(exits.map(({ reason, detail }) => `${reason} ${detail}`.trim()))
  for (const reason of ['return', 'write page with code']) expect(seen).toContain(reason)
  // The inner loop turns five times for each call, but where a slice ends in it.
  const loops = regions.filter((r) => r.linear === BigInt(Place.CODE + 0x1000))
  expect(loops.length).toBeGreaterThan(0)
  for (const { instructions } of loops) {
    const [dec, , imul] = instructions.map((i) => i.executions)
    expect(instructions.map((i) => Buffer.from(i.bytes).toString('hex'))).toEqual(['ffcf', '75fc', '486bd703', 'c3'])
    expect(dec! / imul!).toBeCloseTo(5, 1)
  }

  const folder = mkdtempSync(join(tmpdir(), 'paravirt-hot-'))
  try {
    const lines = await hotLines(profile, 2, guest.count, folder)
    expect(lines[0]).toMatch(
      /^2 hottest of [\d,]+ regions, which executed [\d,]+ of [\d,]+ instructions \(9\d\.\d %\)$/,
    )
    expect(lines.filter((line) => line.startsWith('#')).length).toBe(2)
    expect(lines.some((line) => /^ +[\d,]+ {2}00101000 {2}dec {4}edi$/.test(line))).toBe(true)
    expect(lines.some((line) => /^ {2}left +[\d,]+ {2}00101008 {2}return$/.test(line))).toBe(true)
    const files = readdirSync(folder).sort()
    expect(files.length).toBe(2)
    const wasm = readFileSync(join(folder, files[0]!), 'utf8')
    expect(wasm).toMatch(/^;; 00.*-bit code/)
    expect(wasm).toMatch(/\n\(module\n[\s\S]*\n {2}\(func [\s\S]*i64\.add[\s\S]*\n {2}\)\n\)\n$/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
