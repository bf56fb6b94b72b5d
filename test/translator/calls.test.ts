/** Calls that are jumps within a region: recursion, copies of callees with calls of their own, pointers that were guessed. */
import { expect, test } from 'vitest'
import { S } from '../../src/cpu/layout.ts'
import { Random } from '../oracle/random.ts'
import { engines, gate, IRQ, Place } from './rig.ts'

const both = await engines()
const run: typeof both.run = (text, conditions) => both.run(text, conditions)

const random = new Random('calls')
const irqs = Array.from({ length: 60 }, () => random.below(40_000)).sort((a, b) => a - b)

/** Sets interrupts up, and what they do. */
const interrupts = `${gate(IRQ, 'interrupted')}\n sti`
const interrupted = `
  interrupted:
    mov r15, [rsp]
    rol r8, 3
    xor r8, r15
    inc r9
    iretq`

/** Function `walk` calls itself in a loop and once more, with a pushed register and one in memory. */
const walk = `
    .balign 16
  walk:
    test edi, edi
    jz leaf
    push rbx
    push r12
    mov ebx, edi
    xor r12d, r12d
  more:
    dec ebx
    mov edi, ebx
    call walk
    add r12, rax
    test ebx, ebx
    jnz more
    lea edi, [rbx]
    call walk
    add [rip + total], rax
    lea rax, [r12 + rax + 1]
    pop r12
    pop rbx
    ret
  leaf:
    inc r13
    mov eax, 1
    ret
    .balign 64
  total: .quad 0`

test('recursion in a loop, from several places', () => {
  const end = run(`
    mov ebp, 6
  again:
    mov edi, 9
    call walk
    mov edi, 3
    call walk
    dec ebp
    jnz again
    hlt
    ${walk.replace('.balign 64', '.balign 4096')}`)
  expect(end.register(S.R13)).toBe(6n * (512n + 8n))
})

test('recursion with interrupts, and with single steps for a while', () => {
  const end = run(
    `
    ${interrupts}
    ${gate(1, 'stepped')}
    mov ebp, 5
  again:
    mov edi, 8
    call walk
    pushfq
    xor qword ptr [rsp], 0x100
    popfq
    dec ebp
    jnz again
    cli
    hlt
    ${walk.replace('.balign 64', '.balign 4096')}
  stepped:
    inc r10
    iretq
    ${interrupted}`,
    { irqs },
  )
  expect(end.register(S.R9)).toBe(BigInt(irqs.filter((at) => at < end.count).length))
  expect(end.register(S.R10)).toBeGreaterThan(5000n)
})

test('recursion without end, which jumps out before its stack is full', () => {
  const hole = Place.STACK - 0x4000
  const end = run(`
    mov ebp, 20
  again:
    lea rsp, [${Place.STACK} + rbp * 8]
    mov [rip + saved], rsp
    mov edi, 100000
    call endless
    ud2
  after:
    mov rsp, [rip + saved]
    dec ebp
    jnz again
    hlt
    .balign 16
  endless:
    inc rbx
    push rdi
    cmp rsp, ${hole + 0x1010}
    jb out
    call endless
    inc rdx
    pop rdi
    ret
  out:
    jmp after
    .balign 4096
  saved: .quad 0`)
  expect(end.register(S.RBX)).toBeGreaterThan(20n * 700n)
  expect(end.register(S.RDX)).toBe(0n)
})

test('a push of a recursion faults, and the handler gives it the page', () => {
  const hole = Place.STACK - 0x3000
  const entry = `${Place.PAGES} + ${hole >> 12} * 8`
  const end = run(`
    mov r11, ${hole}
    ${gate(14, 'fault')}
    mov ebp, 30
  again:
    mov qword ptr [${entry}], 0
    invlpg [${hole}]
    lea rsp, [${Place.STACK}]
    mov edi, 400
    mov esi, ${hole + 8}
    call deep
    dec ebp
    jnz again
    hlt
    .balign 16
  deep:
    inc qword ptr [rsi]
    test edi, edi
    jz bottom
    push rdi
    dec edi
    call deep
    pop rdi
    add rbx, rdi
  bottom:
    ret
    .balign 16
  fault:
    inc r14
    mov qword ptr [${entry}], ${hole + 7}
    add rsp, 8
    iretq`)
  expect(end.register(S.R14)).toBe(30n)
  expect(end.register(S.RBX)).toBe(30n * 200n * 401n)
})

test('recursion that is left by another stack, and returns that were moved', () => {
  const end = run(`
    mov ebp, 40
  again:
    mov [rip + saved], rsp
    lea rax, [rip + landed]
    mov [rip + place], rax
    mov edi, 30
    call jumps
    inc r13
  landed:
    mov edi, 12
    call moves
    dec ebp
    jnz again
    hlt
    .balign 16
  jumps:
    inc rbx
    dec edi
    jz jumped
    call jumps
    # Never reached.
    inc r14
    ret
  jumped:
    mov rsp, [rip + saved]
    jmp qword ptr [rip + place]
    .balign 16
  moves:
    test edi, edi
    jz bottom
    dec edi
    push rdi
    call moves
  popped:
    pop rdi
  behind:
    inc rdx
    test edi, 3
    jnz plain
    # Returns behind the caller's POP, which it does itself.
    pop rax
    add rax, behind - popped
    pop rdi
    push rax
  plain:
    ret
  bottom:
    # To the second caller.
    add rsp, 16
    ret
    .balign 4096
  saved: .quad 0
  place: .quad 0`)
  expect(end.register(S.RBX)).toBe(1200n)
  expect(end.register(S.R14)).toBe(0n)
})

test('a recursive function that patches itself', () => {
  const end = run(`
    mov ebp, 300
  again:
    mov edi, 6
    call self
    dec ebp
    jnz again
    hlt
    .balign 16
  self:
    test edi, edi
    jz bottom
    dec edi
    push rdi
    call self
  number:
    add rbx, 1
    pop rdi
    cmp edi, 2
    jne same
    xor byte ptr [rip + number + 3], 3
  same:
    call self2
    ret
  bottom:
    inc r13
    ret
    .balign 16
  self2:
    add rdx, 5
    ret`)
  // By turns one and two: the third of six returns changes it.
  expect(end.register(S.RBX)).toBe(150n * (3n * 1n + 3n * 2n + 3n * 2n + 3n * 1n))
  expect(end.register(S.RDX)).toBe(9000n)
})

/** A loop that calls `outer`, which calls two functions, one of them in another page by a stub that jumps to it. */
const nested = (set: string) => `
    ${set}
    mov ebp, 1500
  again:
    mov edi, ebp
    call outer
    add r13, rax
    dec ebp
    jnz again
    cli
    hlt
    .balign 16
  outer:
    push rdi
    call inner
    pop rdi
    push rax
    test edi, 31
    jz skipped
    call stub
  skipped:
    pop rcx
    add rax, rcx
    jmp tail
    .balign 16
  inner:
    lea eax, [rdi + rdi * 2]
    test edi, 1
    jz even
    call small
  even:
    ret
    .balign 16
  small:
    add rax, 7
    ret
    .balign 16
  stub:
    jmp [rip + pointer]
    .balign 16
  tail:
    xor eax, edi
    ret
    .balign 4096
    .skip 7 * 4096
  away:
    mov rax, [rsp + 8]
    rol rax, 9
    inc r14
    ret
  other:
    mov rax, [rsp + 8]
    dec r14
    ret
    ${interrupted}
    .balign 4096
  pointer: .quad away`

test('callees with calls of their own, in other pages, and by stubs', () => {
  const end = run(nested(''))
  expect(end.register(S.R14)).toBe(1500n - 46n)
})

test('interrupts and single steps in copies of callees', () => {
  const end = run(nested(interrupts), { irqs })
  expect(end.register(S.R9)).toBe(BigInt(irqs.filter((at) => at < end.count).length))
  run(
    `${gate(1, 'stepped')}
    pushfq
    or qword ptr [rsp], 0x100
    popfq
    ${nested('')}
  stepped:
    inc r10
    iretq`,
    { slices: [() => 3000, () => 1 + random.below(2000)] },
  )
})

test('pointers that change: in memory, in a table, in a register', () => {
  const end = run(`
    mov ebp, 4000
  again:
    call [rip + pointer]
    mov eax, ebp
    and eax, 3
    lea rcx, [rip + table]
    call [rcx + rax * 8]
    mov rdx, [rip + pointer]
    call rdx
    test ebp, 255
    jnz same
    lea rax, [rip + second]
    xchg [rip + pointer], rax
    mov [rip + table + 16], rax
  same:
    dec ebp
    jnz again
    hlt
    .balign 16
  first:
    inc r12
    ret
    .balign 16
  second:
    inc r13
    ret
    .balign 16
  third:
    add r14, 3
    ret
    .balign 4096
  pointer: .quad first
  table: .quad first, second, third, first`)
  expect(end.register(S.R12) + end.register(S.R13)).toBeGreaterThan(10_000n)
})

test('a callee whose page is another one from call to call, and between a nested call and its return', () => {
  const other = Place.CODE + 0x6000
  const entry = `[${Place.PAGES} + ${(Place.CODE >> 12) + 1} * 8]`
  const end = run(`
    # The other page has the same functions but for a constant.
    lea rsi, [rip + away]
    mov edi, ${other}
    mov ecx, 64
    rep movsb
    mov byte ptr [${other} + constant - away + 3], 100
    mov ebp, 300
  again:
    call middle
    call middle
    call swap
    call middle
    call swap
    call away
    dec ebp
    jnz again
    hlt
    .balign 16
  middle:
    push rbp
    mov ebp, 4
  more:
    call away
    dec ebp
    jnz more
    pop rbp
    ret
    .balign 16
  swap:
    mov rax, ${entry}
    xor rax, ${Place.CODE + 0x1000} ^ ${other}
    mov ${entry}, rax
    invlpg [${Place.CODE + 0x1000}]
    ret
    .balign 4096
  away:
    call inside
    test r12d, 15
    jnz constant
    # Comes back to the other page.
    call swap
    call inside
  constant:
    add rdx, 1
    test r12d, 15
    jnz back
    call swap
  back:
    ret
    .balign 16
  inside:
    inc r12
    ret`)
  expect(end.register(S.R12)).toBeGreaterThan(3000n)
})

test('recursion and nested calls in 32-bit code', () => {
  const end = run(`
    mov rbx, [0x8010]
    btr rbx, 53
    bts rbx, 54
    mov [0x8078], rbx
    mov r12d, 30
  again:
    lea rbx, [rip + narrow]
    push 0x78
    push rbx
    rex.W retf
    .code32
  narrow:
    mov edi, 7
    call tree
    mov ecx, 20
  more:
    call [pointer]
    dec ecx
    jnz more
    ljmp 0x10, offset wide
    .balign 16
  tree:
    test edi, edi
    jz bottom
    push edi
    dec edi
    call tree
    call tree
    pop edi
    add eax, edi
    ret
  bottom:
    inc edx
    mov eax, 1
    ret
    .balign 16
  stub:
    jmp [final]
    .balign 16
  counts:
    inc ebp
    ret
    .code64
  wide:
    dec r12d
    jnz again
    hlt
    .balign 4096
  pointer: .quad stub
  final: .quad counts`)
  expect(end.register(S.RBP)).toBe(600n)
})

test('parts of a callee that are executed for the first time when its copy is there', () => {
  const end = run(`
    mov ebp, 3000
  again:
    call mostly
    dec ebp
    jnz again
    hlt
    .balign 16
  mostly:
    inc r12
    test ebp, 255
    jz seldom
    test ebp, 1023
    jz never
    ret
    .balign 16
  seldom:
    push rbp
    call late
    pop rbp
    cmp ebp, 1024
    je never
    ret
  never:
    inc r14
    ret
    .balign 4096
  late:
    inc r13
    ret`)
  expect(end.register(S.R12)).toBe(3000n)
  expect(end.register(S.R13)).toBe(11n)
  expect(end.register(S.R14)).toBe(1n)
})
