/** 32-bit code: addresses that wrap at 4 GiB, segments of all kinds, 16-bit addressing, stacks near the ends. */
import { expect, test } from 'vitest'
import { S } from '../../src/cpu/layout.ts'
import { engines, gate, Place } from './rig.ts'

const both = await engines()

/** Entries of the guest's LDT, which lies at 0x8800. */
const LDT = 0x8800
const FIRST = 0x04
const SECOND = 0x0c
const entry = (selector: number, descriptor: bigint) => `
  mov rax, ${descriptor}
  mov [${LDT + (selector & 0xf8)}], rax`

/** Base, limit in pages - 1, access byte. */
const segment = (base: number, limit: number, access = 0x93): bigint =>
  BigInt(limit & 0xffff) |
  (BigInt(base & 0xffffff) << 16n) |
  (BigInt(access) << 40n) |
  (BigInt((limit >> 16) | 0xc0) << 48n) |
  (BigInt(base >>> 24) << 56n)
const FLAT = 0xfffff

/** The page below 4 GiB is mapped, as is page 0. */
const mapTop = `
  mov qword ptr [0x2018], 0x1a0007
  mov qword ptr [0x1a0ff8], 0x1a1007
  mov qword ptr [0x1a1ff8], 0x1a2007`

/** `setup`, then `body` as flat 32-bit code, then a HLT; An instruction that raises #GP or #SS is skipped: its length is in r13. */
const narrow = (setup: string, body: string): string => `
  ${gate(13, 'fault')}
  ${gate(12, 'fault')}
  ${setup}
  mov rbx, [0x8010]
  btr rbx, 53
  bts rbx, 54
  mov [0x8078], rbx
  lea rbx, [rip + narrow]
  push 0x78
  push rbx
  xor ebx, ebx
  rex.W retf
  .code32
narrow:
  ${body}
  ljmp 0x10, offset wide
  .code64
wide:
  hlt
fault:
  inc r14
  add rsp, 8
  add [rsp], r13
  iretq`

test('accesses whose distances are known wrap at 4 GiB', () => {
  const end = both.run(
    narrow(
      mapTop,
      `
    mov ebp, 400
  again:
    mov esi, 0xffffffd0
    mov edi, 96
  loop:
    mov eax, [esi + 4]
    add [esi - 8], eax
    mov edx, [esi + 12]
    inc dword ptr [esi]
    mov [esi + 20], edx
    lea ecx, [esi + 40]
    add eax, [ecx - 36]
    add [ecx - 56], dl
    add ebx, eax
    inc esi
    dec edi
    jnz loop
    dec ebp
    jnz again`,
    ),
  )
  expect(end.register(S.RBX)).not.toBe(0n)
})

test('a stack that wraps at 4 GiB', () => {
  const end = both.run(
    narrow(
      mapTop,
      `
    mov ebp, esp
    mov edi, 300
  again:
    mov ecx, 64
  loop:
    lea esp, [ecx - 32]
    push ecx
    push edi
    push dword ptr [esp + 4]
    call add
    pop eax
    add ebx, eax
    pop edx
    pop eax
    xor ebx, edx
    dec ecx
    jnz loop
    dec edi
    jnz again
    mov esp, ebp
    jmp done
  add:
    mov eax, [esp + 4]
    add [esp + 8], eax
    ret
  done:`,
    ),
  )
  expect(end.register(S.RBX)).not.toBe(0n)
})

test('segments with a base, with limits, read-only, downwards, null, and how an access through each goes', () => {
  // The same code with another FS each time; what is refused is skipped.
  const end = both.run(
    narrow(
      `mov r13d, 7
    ${mapTop}
    ${entry(FIRST, segment(0x181000, FLAT))}
    ${entry(SECOND, segment(0x182000, 1))}
    ${entry(0x14, segment(0x183000, FLAT, 0x91))}
    ${entry(0x1c, segment(0x184000, 1, 0x97))}
    ${entry(0x24, segment(0xffffe000, FLAT))}
    ${entry(0x2c, segment(0, FLAT, 0x9b))}
    ${entry(0x34, segment(0x185000, 1, 0x9b))}`,
      `
    mov edi, 40
  again:
    mov esi, 0x3c
  next:
    sub esi, 8
    js out
    mov eax, esi
    cmp esi, 0x34
    jbe given
    xor eax, eax
  given:
    mov fs, eax
    mov ebp, 30
  loop:
    lea edx, [ebp * 4 + 0xfe0]
    mov eax, fs:[edx + 0x1000]
    mov fs:[edx + 0x10000], eax
    add fs:[0x1ff0], ebp
    add ebx, eax
    dec ebp
    jnz loop
    jmp next
  out:
    dec edi
    jnz again`,
    ),
  )
  expect(end.register(S.R14)).toBeGreaterThan(1000n)
})

test('16-bit addressing, CS as a data segment, segment registers that code changes', () => {
  const end = both.run(
    narrow(
      `mov r13d, 8
    ${entry(FIRST, segment(0x181000, FLAT))}
    ${entry(SECOND, segment(0x186000, FLAT))}`,
      `
    mov edi, 300
    mov eax, 0x0c
    mov gs, eax
  again:
    mov ecx, 40
    mov eax, edi
    and eax, 8
    or eax, 4
    mov fs, eax
  loop:
    mov ebx, 0x10ff00
    lea esi, [ecx + 0x7000f0]
    mov eax, fs:[bx + si + 0x20]
    add fs:[bx + si + 0x40], ecx
    add eax, [bx + si - 4]
    add dword ptr gs:[ecx * 4 + 0x100], 3
    add eax, gs:[ecx * 4 + 0x104]
    add eax, cs:[ecx + 0x181000]
    xor edx, eax
    push dword ptr gs:[0x120]
    pop dword ptr fs:[0x220]
    add byte ptr cs:[ecx + 0x181000], 1
    dec ecx
    jnz loop
    dec edi
    jnz again`,
    ),
  )
  expect(end.register(S.R14)).toBe(12_000n)
  expect(end.register(S.RDX)).not.toBe(0n)
})

test('32-bit addresses and segments with bases in 64-bit code', () => {
  const end = both.run(`
    mov edi, 300
  again:
    mov ecx, 60
  loop:
    mov rsi, 0x500000000
    lea rsi, [rsi + rcx + ${Place.STACK}]
    mov eax, [esi + 8]
    add [esi], ecx
    add [esi + 16], rax
    add rbx, [eip + here]
  here:
    xor rbx, rcx
    dec ecx
    jnz loop
    dec edi
    jnz again
    hlt`)
  expect(end.register(S.RBX)).not.toBe(0n)
})
