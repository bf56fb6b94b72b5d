/** Flags that a region makes only where it leaves: what a handler of faults finds is what the interpreter has. */
import { expect, test } from 'vitest'
import { S } from '../../src/cpu/layout.ts'
import { engines, gate, Place } from './rig.ts'

const both = await engines()

const DATA = 0x150000
const ENTRY = Place.PAGES + (DATA >> 12) * 8

/** A page fault adds up the flags in R8, then the page is there. */
const HANDLER = `
  fault:
    add r8, [rsp + 24]
    rol r8, 5
    inc r9
    or qword ptr [${ENTRY}], 1
    add rsp, 8
    iretq`
const UNMAP = `
    and qword ptr [${ENTRY}], -2
    invlpg [rsi]`

test('a loop that begins with loads, to which three ways lead with flags of different kinds', () => {
  const end = both.run(`
    ${gate(14, 'fault')}
    mov rsi, ${DATA}
    mov ecx, 300
    cmp ecx, 301
  again:
    mov rdx, [rsi]
    lea rbx, [rbx + rdx]
    add rbx, rcx
    ${UNMAP}
    test cl, 3
    jz other
    imul eax, ecx, 0x1234567
    dec ecx
    jnz again
    hlt
  other:
    mov r10d, ecx
    lea ecx, [rcx - 1]
    shl r10d, 25
    jmp again
    ${HANDLER}`)
  expect(end.register(S.R9)).toBe(299n)
})

test('flags of shifts and multiplications before an access that faults, and after its repair', () => {
  const operations = [
    'shl r10d, 7',
    'shr r10, 9',
    'sar r10w, 3',
    'shl r10b, 1',
    'shld r10, rcx, 11',
    'imul r10d, r11d',
    'imul r10, r11, 0x7654321',
    'mul r11d',
    'neg r10',
    'ror r10d, 5',
  ]
  const end = both.run(`
    ${gate(14, 'fault')}
    mov rsi, ${DATA}
    mov r11d, 0x89abcdef
    mov ecx, 200
  again:
    imul r10, rcx, 0x2468ace1
    xor r11, r10
    mov rax, r10
    ${operations.map((text) => `${UNMAP}\n${text}\nadd rbx, [rsi]`).join('\n')}
    ${operations.map((text) => `${text}\nsetc dil\nseto bpl\nlea r12, [r12 + 2*rdi]\nlea r12, [r12 + rbp]`).join('\n')}
    dec ecx
    jnz again
    hlt
    ${HANDLER}`)
  expect(end.register(S.R9)).toBe(BigInt(200 * operations.length))
})

test('every condition of comparisons of 8 and 16 bits, by a jump and as a value, and their flags', () => {
  const conditions = ['o', 'b', 'e', 'be', 's', 'p', 'l', 'le', 'a', 'ge']
  const pieces = (size: string, a: string, b: string) =>
    conditions.map(
      (condition) => `
    lea rdx, [rdx + rdx * 2]
    cmp ${a}, ${b}
    j${condition} ${size}_${condition}
    inc rdx
  ${size}_${condition}:
    cmp ${a}, ${b}
    set${condition} cl
    movzx ecx, cl
    add rdx, rcx`,
    )
  const end = both.run(`
    xor r8d, r8d
  outer:
    xor r9d, r9d
  inner:
    mov eax, r8d
    mov ebx, r9d
    ${pieces('bytes', 'al', 'bl').join('')}
    shl eax, 8
    shl ebx, 8
    or eax, 0x7f0001
    ${pieces('words', 'ax', 'bx').join('')}
    cmp al, 0x80
    pushfq
    add rdx, [rsp]
    cmp ax, bx
    pushfq
    add rdx, [rsp]
    add rsp, 16
    add r9d, 15
    cmp r9d, 256
    jb inner
    add r8d, 15
    cmp r8d, 256
    jb outer
    hlt`)
  expect(end.register(S.R8)).toBe(270n)
})
