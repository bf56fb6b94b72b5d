/**
 * SSE arithmetic in regions: loops of random instructions over numbers of all kinds (zeros, denormals, infinities, NaNs,
 * the least and the largest), so that what is known of a register in one turn is wrong in the next.
 */
import { expect, test } from 'vitest'
import { S } from '../../src/cpu/layout.ts'
import { Random } from '../oracle/random.ts'
import { engines, gate } from './rig.ts'

const both = await engines()

const doubles = [
  '0x0000000000000000',
  '0x8000000000000000',
  '0x3ff0000000000000',
  '0xbff8000000000000',
  '0x4008000000000001',
  '0x3fd5555555555555',
  '0x0010000000000000',
  '0x8010000000000001',
  '0x000fffffffffffff',
  '0x0000000000000001',
  '0x7fefffffffffffff',
  '0x7ff0000000000000',
  '0xfff0000000000000',
  '0x7ff8000000000001',
  '0x7ff0000000000123',
  '0x1ff0000000000000',
  '0x6000000000000000',
  '0x4330000000000000',
  '0x00a0000000000003',
  '0xc1e0000000000000',
] // prettier-ignore
const floats = [
  '0x00000000',
  '0x80000000',
  '0x3f800000',
  '0xbfc00000',
  '0x40400001',
  '0x3eaaaaab',
  '0x00800000',
  '0x80800001',
  '0x007fffff',
  '0x00000001',
  '0x7f7fffff',
  '0x7f800000',
  '0xff800000',
  '0x7fc00001',
  '0x7f800123',
  '0x20000000',
  '0x5f000000',
  '0x4b000000',
  '0x02000003',
  '0xcf000000',
] // prettier-ignore
/** Masked, with flags, roundings, DAZ and FTZ of their own. */
const controls = [0x1f80, 0x1fa0, 0x1fbf, 0x3fa0, 0x7fa0, 0x1fe0, 0x9fa0]

/** Text of a loop; the numbers of turn n lie at rbx. */
function program(seed: string): string {
  const random = new Random(seed)
  const number = () => `xmm${random.below(6)}`
  const usual = random.chance(60)
  const place = (bits: number) => (random.chance(25) ? `[rbx + ${random.below(4) * (bits / 8)}]` : number())
  const pick = <T>(...of: T[]) => random.pick(of)
  const lines: string[] = []
  const instruction = (): void => {
    const [suffix, bits] = pick<[string, number]>(['sd', 64], ['sd', 64], ['ss', 32], ['pd', 128], ['ps', 128])
    switch (random.below(16)) {
      case 0:
        return void lines.push(`movupd ${number()}, [rbx + ${random.below(3) * 8}]`)
      case 1:
        return void lines.push(`movsd ${number()}, [rbx + ${random.below(4) * 8}]`)
      case 2:
        return void lines.push(`${pick('movapd', 'movaps', 'movsd', 'movss', 'unpcklpd')} ${number()}, ${number()}`)
      case 3:
        return void lines.push(`${pick('sqrt', 'min', 'max')}${suffix} ${number()}, ${number()}`)
      case 4: {
        const wide = pick('sd', 'ss')
        lines.push(`${pick('ucomi', 'comi')}${wide} ${number()}, ${place(wide === 'sd' ? 64 : 32)}`)
        lines.push(`set${pick('a', 'b', 'e', 'p', 'ae', 'be', 'ne', 'l')} dl`, 'add r8, rdx')
        if (random.chance(50)) {
          const label = lines.length
          lines.push(`j${pick('a', 'b', 'e', 'np', 'ae', 'be', 'ne', 'ge')} l${label}`)
          instruction()
          instruction()
          lines.push(`l${label}:`)
        }
        return
      }
      case 5:
        return void lines.push(
          pick(
            `cvtsi2sd ${number()}, ecx`,
            `cvtss2sd ${number()}, ${number()}`,
            `cvtsd2ss ${number()}, ${number()}`,
            `cvtdq2pd ${number()}, ${number()}`,
            `cvttsd2si rdx, ${number()}\nadd r8, rdx\nmovzx edx, dl`,
          ),
        )
      case 6:
        return void lines.push(`cmp${pick('lt', 'unord', 'eq', 'nle')}${suffix} ${number()}, ${number()}`)
      case 7:
        return void lines.push(`stmxcsr [rsp]`, `add r8d, [rsp]`)
      case 8:
        if (!usual && random.chance(30)) lines.push(`mov dword ptr [rsp], ${random.pick(controls)}`, 'ldmxcsr [rsp]')
        return
      default:
        lines.push(`${pick('add', 'sub', 'mul', 'div')}${suffix} ${number()}, ${bits === 128 ? number() : place(bits)}`)
    }
  }
  for (let n = 6 + random.below(14); n > 0; n--) instruction()
  const table = Array.from({ length: 64 }, () => {
    if (random.chance(50)) return `.quad ${usual && random.chance(70) ? '0x3ff8000000000000' : random.pick(doubles)}`
    return `.long ${random.pick(floats)}, ${random.pick(floats)}`
  })
  return `
    mov dword ptr [rsp], ${usual ? 0x1fa0 : random.pick(controls)}
    ldmxcsr [rsp]
    lea r9, [rip + table]
    mov ecx, ${150 + random.below(100)}
    xor edx, edx
  turn:
    imul eax, ecx, ${random.pick([8, 24, 40, 56, 88])}
    and eax, 0x1d8
    lea rbx, [r9 + rax]
    ${lines.join('\n')}
    dec ecx
    jnz turn
    hlt
    .balign 16
  table:
    ${table.join('\n')}
    .fill 8, 8, 0`
}

test('random loops', { timeout: 600_000 }, () => {
  for (let n = 0; n < Number(process.env['PROGRAMS'] ?? 60); n++) {
    const seed = `floats ${n}`
    const text = program(seed)
    expect(() => both.run(text, { slices: [() => 3000, () => 100_000] }), `${seed}${text}`).not.toThrow()
  }
})

test('a rounding of its own from within the loop', () => {
  const end = both.run(`
    lea r9, [rip + third]
    mov ecx, 2000
  turn:
    movsd xmm0, [r9]
    addsd xmm0, xmm0
    divsd xmm0, [r9 + 8]
    movq rax, xmm0
    add r8, rax
    cmp ecx, 500
    jne same
    mov dword ptr [rsp], 0x5fa0
    ldmxcsr [rsp]
  same:
    dec ecx
    jnz turn
    stmxcsr [rsp]
    mov r10d, [rsp]
    hlt
    .balign 8
  third:
    .double 1.0
    .double 3.0`)
  // Nearest, then up.
  const nearest = 0x3fe5555555555555n
  expect(end.register(S.R8)).toBe(BigInt.asUintN(64, 2000n * nearest + 499n))
  expect(end.register(S.R10)).toBe(0x5fa0n)
})

test('CR0.TS set between regions and within one', () => {
  const end = both.run(`
    ${gate(7, 'trapped')}
    fninit
    mov ebp, 60
  round:
    call alone
    mov rax, cr0
    or eax, 8
    mov cr0, rax
    call alone
    mov ecx, 300
  within:
    addsd xmm1, xmm0
    fld1
    fstp st(0)
    test ecx, 63
    jnz next
    mov rax, cr0
    or eax, 8
    mov cr0, rax
  next:
    addsd xmm1, xmm0
    dec ecx
    jnz within
    dec ebp
    jnz round
    hlt
  alone:
    mov ecx, 400
  turn:
    addsd xmm0, xmm0
    mulsd xmm0, xmm2
    dec ecx
    jnz turn
    ret
  trapped:
    inc r12
    clts
    iretq`)
  expect(end.register(S.R12)).toBe(60n * 5n)
})
