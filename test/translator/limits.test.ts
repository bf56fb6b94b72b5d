/** Few regions at a time, regions that another thread makes, and code that goes while its regions are compiled. */
import { expect, test, vi } from 'vitest'
import { S } from '../../src/cpu/layout.ts'
import { assemble } from './assemble.ts'
import { engines, Guest, Place } from './rig.ts'

test('with room for eight regions they come and go, and everything is exact', async () => {
  const LIMIT = 8
  const both = await engines({ regions: LIMIT })
  const functions = Array.from(
    { length: 40 },
    (_, n) => `
    .balign ${n % 5 ? 64 : 4096}
  f${n}:
    mov ecx, ${3 + n}
  l${n}:
    add rax, ${n * 7 + 1}
    dec ecx
    jnz l${n}
    ${n % 3 === 0 && n < 39 ? `call f${n + 1}` : 'nop'}
    ret`,
  )
  const calls = functions.map((_, n) => `call f${n}`).join('\n')
  const end = both.run(`
    mov ebp, 400
  again:
    ${calls}
    dec ebp
    jnz again
    hlt
    ${functions.join('\n')}`)
  const once = (n: number): number => (3 + n) * (n * 7 + 1) + (n % 3 === 0 && n < 39 ? once(n + 1) : 0)
  const all = functions.reduce((sum, _, n) => sum + once(n), 0)
  expect(end.register(S.RAX)).toBe(BigInt(400 * all))
  const translator = both.eager.core.translator!
  expect(translator.stats.evictions).toBeGreaterThan(3)
  expect(translator.list().length).toBeLessThanOrEqual(LIMIT)
  expect(translator.regions.length).toBe(LIMIT)
})

test('a region whose code changes while it is compiled is not entered', async () => {
  const guest = await Guest.create({ translate: true })
  const code = (value: number) =>
    assemble(
      `
  again:
    mov eax, ${value}
    add rbx, rax
    add rbx, rax
    add rbx, rax
    inc rcx
    jmp again`,
      Place.CODE,
    )
  guest.begin(code(1))
  const { stats } = guest.core.translator!
  while (stats.modules === 0 && guest.count < 10_000_000) guest.run(20_000)
  expect(stats.modules).toBeGreaterThan(0)
  expect(stats.regions).toBe(0)
  // The module is still being compiled when its code goes.
  guest.core.writeRam(Place.CODE, code(5))
  await vi.waitUntil(() => stats.bytes > 0, { timeout: 20_000 })
  expect(stats.regions).toBe(0)
  // The turn in which the code changed may have the old value.
  guest.run(6)
  const before = guest.register(S.RBX)
  const turns = guest.register(S.RCX)
  guest.run(60_000)
  expect(guest.register(S.RBX) - before).toBe(15n * (guest.register(S.RCX) - turns))
})

test('another thread makes and compiles the regions', async () => {
  const here = vi.spyOn(WebAssembly, 'Module')
  const guest = await Guest.create({ translate: true })
  guest.begin(
    assemble(
      `
  again:
    call f
    inc rcx
    jmp again
    .balign 4096
  f:
    add rbx, 3
    pushfq
    pop rdx
    ret`,
      Place.CODE,
    ),
  )
  const { stats } = guest.core.translator!
  await vi.waitUntil(
    () => {
      guest.run(200_000)
      return stats.regions > 0
    },
    { timeout: 20_000 },
  )
  guest.run(1_000_000)
  expect(here).not.toHaveBeenCalled()
  expect(stats.samples).toBeGreaterThan(stats.interpreted)
  expect(guest.register(S.RBX) / 3n - guest.register(S.RCX)).toBeLessThanOrEqual(1n)
  here.mockRestore()
})
