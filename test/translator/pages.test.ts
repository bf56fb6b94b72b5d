/** Regions remember pages that accesses by the same registers had: whatever takes a page from the TLB takes it from them. */
import { expect, test } from 'vitest'
import { S } from '../../src/cpu/layout.ts'
import { engines, gate, Place } from './rig.ts'

const both = await engines()
const run: typeof both.run = (text, conditions) => both.run(text, conditions)

const DATA = 0x150000
const OTHER = 0x151000
const entryOf = (linear: number) => Place.PAGES + (linear >> 12) * 8
/** Linear addresses 4 MiB apart have the same entry of the TLB. */
const ALIAS = DATA + 0x400000
const TABLE = 0x190000

test('a page that is mapped elsewhere between two accesses', () => {
  const end = run(`
    mov dword ptr [${DATA}], 1
    mov dword ptr [${OTHER}], 1000
    mov rsi, ${DATA}
    mov r8, [${entryOf(DATA)}]
    mov r9, [${entryOf(OTHER)}]
    mov ecx, 500
  again:
    add rax, [rsi]
    add rbx, [rsi + 8]
    inc dword ptr [rsi + 8]
    mov [${entryOf(DATA)}], r9
    invlpg [rsi]
    add rax, [rsi]
    add rbx, [rsi + 8]
    inc dword ptr [rsi + 8]
    mov [${entryOf(DATA)}], r8
    invlpg [rsi]
    dec ecx
    jnz again
    hlt`)
  expect(end.register(S.RAX)).toBe(500n * 1001n)
  expect(end.word(OTHER + 8)).toBe(500n)
})

test('a page whose entry of the TLB another one took: the walk sets its accessed bit again', () => {
  const end = run(`
    mov qword ptr [${Place.PD + 16}], ${TABLE + 7}
    mov qword ptr [${TABLE + ((DATA >> 12) & 511) * 8}], ${OTHER + 7}
    mov rsi, ${DATA}
    mov rdi, ${ALIAS}
    mov ecx, 500
  again:
    add rax, [rsi]
    and qword ptr [${entryOf(DATA)}], -33
    add rax, [rsi + 8]
    add rax, [rdi]
    add rax, [rsi + 16]
    mov rdx, [${entryOf(DATA)}]
    and edx, 32
    add rbx, rdx
    # The same for a dirty bit, and for a store.
    mov [rsi + 24], rcx
    and qword ptr [${entryOf(DATA)}], -65
    mov [rdi + 24], rcx
    mov [rsi + 32], rcx
    mov rdx, [${entryOf(DATA)}]
    and edx, 64
    add r8, rdx
    dec ecx
    jnz again
    hlt`)
  expect(end.register(S.RBX)).toBe(500n * 32n)
  expect(end.register(S.R8)).toBe(500n * 64n)
})

/** A register that is loaded each time: then no page is remembered, but its accesses are looked up together. */
const FAR = 0x158000

test('accesses at known distances: over the end of a page, pushed, and through an entry that another page took', () => {
  const end = run(`
    mov qword ptr [${Place.PD + 16}], ${TABLE + 7}
    mov qword ptr [${TABLE + ((DATA >> 12) & 511) * 8}], ${OTHER + 7}
    mov r14, ${FAR}
    mov rdi, ${ALIAS}
    mov ecx, 500
  again:
    # From 64 bytes before the end of a page on, and back.
    mov eax, ecx
    and eax, 127
    lea rax, [rax + ${DATA + 0x1000 - 64}]
    mov [r14], rax
    mov rsi, [r14]
    mov r8, [rsi]
    add r8, [rsi + 40]
    mov [rsi + 8], rcx
    add [rsi + 24], r8
    mov r9d, [rsi - 3]
    mov rbp, rsp
    mov rsp, [r14]
    push rcx
    push r8
    call next
  next:
    pop rdx
    pop r10
    pop r11
    mov rsp, rbp
    # The page loses its entry between two accesses, and its accessed and dirty bits.
    mov qword ptr [r14], ${DATA}
    mov rsi, [r14]
    mov [rsi + 8], r11
    and qword ptr [${entryOf(DATA)}], -97
    mov [rdi + 24], rcx
    mov rax, [rsi + 8]
    mov rdx, [${entryOf(DATA)}]
    and edx, 96
    add r12, rdx
    mov [rsi + 16], rax
    mov rdx, [${entryOf(DATA)}]
    and edx, 96
    add r13, rdx
    dec ecx
    jnz again
    hlt`)
  expect(end.register(S.R12)).toBeGreaterThan(0n)
  expect(end.register(S.R13)).toBe(500n * 96n)
})

test('accesses at known distances in a page that may only be read, or has code', () => {
  const end = run(`
    ${gate(14, 'fault')}
    mov rax, cr0
    or eax, 0x10000
    mov cr0, rax
    and qword ptr [${entryOf(DATA)}], -3
    invlpg [${DATA}]
    mov r14, ${FAR}
    mov ecx, 500
  again:
    lea rax, [rip + patched]
    test ecx, 1
    mov edx, ${DATA}
    cmovz rax, rdx
    mov [r14], rax
    mov rsi, [r14]
    mov r8d, [rsi + 4]
    add r8d, [rsi + 8]
    add rbx, r8
    mov [rsi + 1], ecx
    inc r10
  after:
    call patched
    add r11, rax
    dec ecx
    jnz again
    hlt
  .balign 64
  patched:
    mov eax, 0
    ret
  fault:
    add rsp, 8
    lea rax, [rip + after]
    mov [rsp], rax
    inc r9
    iretq`)
  expect(end.register(S.R9)).toBe(250n)
  expect(end.register(S.R10)).toBe(250n)
})

test('a page that may only be read', () => {
  const end = run(`
    ${gate(14, 'fault')}
    mov rax, cr0
    or eax, 0x10000
    mov cr0, rax
    and qword ptr [${entryOf(DATA)}], -3
    mov rsi, ${DATA}
    invlpg [rsi]
    mov ecx, 500
  again:
    add rax, [rsi]
    add rax, [rsi + 8]
    test ecx, 31
    jnz skip
    mov [rsi + 8], ecx
    inc rbx
  skip:
    dec ecx
    jnz again
    hlt
  fault:
    # After the store.
    add rsp, 8
    add qword ptr [rsp], 3
    inc r9
    iretq`)
  expect(end.register(S.R9)).toBe(15n)
  expect(end.register(S.RBX)).toBe(15n)
  expect(end.word(DATA + 8)).toBe(0n)
})

test('walks over pages that do not follow each other, at every alignment', () => {
  for (const step of [1, 3, 8, 24]) {
    const end = run(`
      mov r8, [${entryOf(OTHER)}]
      mov r9, [${entryOf(OTHER + 0x3000)}]
      mov [${entryOf(OTHER)}], r9
      mov [${entryOf(OTHER + 0x3000)}], r8
      mov rsi, ${OTHER}
      invlpg [rsi]
      mov rsi, ${OTHER + 0x3000}
      invlpg [rsi]
      mov rdi, ${DATA}
      mov ecx, ${Math.floor(0x4ff0 / step)}
    again:
      add [rdi], rcx
      mov rax, [rdi + 4]
      xor rbx, rax
      rol rbx, 3
      mov [rdi + 2], bx
      movdqu xmm0, [rdi]
      paddq xmm1, xmm0
      add rdi, ${step}
      dec ecx
      jnz again
      movq rax, xmm1
      hlt`)
    expect(end.register(S.RCX)).toBe(0n)
  }
})

test('an address that is not canonical', () => {
  const end = run(`
    ${gate(13, 'fault')}
    mov rsi, ${DATA}
    mov ecx, 300
  again:
    mov rdi, rsi
    cmp ecx, 7
    jne go
    mov rax, 0x5000000000000000
    add rdi, rax
  go:
    add rbx, [rdi]
    add rbx, [rdi + 8]
    add rbx, [rdi + 0x800]
    dec ecx
    jnz again
    hlt
  fault:
    mov r9, rcx
    hlt`)
  expect(end.register(S.R9)).toBe(7n)
})

test('what a function that is called does to the TLB', () => {
  const end = run(`
    mov qword ptr [${Place.PD + 16}], ${TABLE + 7}
    mov qword ptr [${TABLE + ((DATA >> 12) & 511) * 8}], ${OTHER + 7}
    mov rsi, ${DATA}
    mov rdi, ${ALIAS}
    mov ecx, 500
  again:
    add rax, [rsi]
    and qword ptr [${entryOf(DATA)}], -33
    add rax, [rsi + 8]
    call other
    add rax, [rsi + 16]
    mov rdx, [${entryOf(DATA)}]
    and edx, 32
    add rbx, rdx
    dec ecx
    jnz again
    hlt
    .balign 16
  other:
    add rax, [rdi]
    add rax, [rdi + 8]
    ret`)
  expect(end.register(S.RBX)).toBe(500n * 32n)
})

test('SMAP: an access after CLAC, where those before were allowed', () => {
  const end = run(`
    ${gate(14, 'fault')}
    mov ecx, 0x100
  kernels:
    and byte ptr [rcx * 8 + ${Place.PAGES}], 0xfb
    inc ecx
    cmp ecx, 0x13f
    jb kernels
    mov ecx, 0x160
  stack:
    and byte ptr [rcx * 8 + ${Place.PAGES}], 0xfb
    inc ecx
    cmp ecx, 0x180
    jb stack
    mov rax, cr3
    mov cr3, rax
    mov rax, cr4
    bts rax, 21
    mov cr4, rax
    mov rsi, ${DATA}
    mov ecx, 300
  again:
    stac
    add rax, [rsi]
    add rax, [rsi + 8]
    clac
    test ecx, 7
    jnz skip
    mov edx, [rsi + 16]
  skip:
    dec ecx
    jnz again
    hlt
  fault:
    inc r13
    add rsp, 8
    add qword ptr [rsp], 3
    iretq`)
  expect(end.register(S.R13)).toBe(37n)
})
