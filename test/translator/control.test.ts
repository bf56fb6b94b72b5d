/** Where control goes in translated code: calls, returns that do not match, stacks that change, interrupts, traps. */
import { expect, test } from 'vitest'
import { S } from '../../src/cpu/layout.ts'
import { Random } from '../oracle/random.ts'
import { engines, gate, IRQ, Place } from './rig.ts'

const both = await engines()
const run: typeof both.run = (text, conditions) => both.run(text, conditions)

test('a loop', () => {
  const end = run(`
    mov ecx, 20000
  again:
    add rax, rcx
    dec ecx
    jnz again
    hlt`)
  expect(end.register(S.RAX)).toBe(200_010_000n)
  expect(both.eager.core.translator!.stats.regions).toBeGreaterThan(0)
})

test('recursion', () => {
  const end = run(`
    mov edi, 17
    call fib
    hlt
  fib:
    cmp edi, 2
    jb small
    push rbx
    push rdi
    lea edi, [rdi - 1]
    call fib
    mov ebx, eax
    pop rdi
    lea edi, [rdi - 2]
    call fib
    add eax, ebx
    pop rbx
    ret
  small:
    mov eax, edi
    ret`)
  expect(end.register(S.RAX)).toBe(1597n)
})

test('recursion deeper than any stack of the host', () => {
  const end = run(
    `
    mov ebp, 5
  again:
    mov edi, 20000
    call down
    dec ebp
    jnz again
    hlt
  down:
    test edi, edi
    jz bottom
    dec edi
    call down
    inc rax
  bottom:
    ret`,
    { slices: [() => 100_000, () => 7001] },
  )
  expect(end.register(S.RAX)).toBe(100_000n)
})

test('mutual recursion through registers and memory', () => {
  const end = run(`
    mov ebp, 300
  again:
    mov edi, 12
    lea rsi, [rip + even]
    call rsi
    dec ebp
    jnz again
    hlt
    .balign 4096
  even:
    inc rax
    dec edi
    js done
    lea rdx, [rip + table]
    mov ecx, edi
    and ecx, 1
    call [rdx + rcx * 8]
    add rax, 3
  done:
    ret
    .balign 4096
  odd:
    add rbx, rdi
    dec edi
    js done
    call even
    add rbx, 5
    ret
  table: .quad even, odd`)
  expect(end.register(S.RAX)).not.toBe(0n)
})

test('functions that do not return where they were called', () => {
  const end = run(`
    mov ebp, 2000
  again:
    call skips
    .byte 0x0f, 0x0b, 0x90
    lea rax, [rip + target]
    call retpoline
    call next
  next:
    pop rcx
    sub rbx, rcx
    mov ecx, 16
  fill:
    call filled
    int3
  filled:
    dec ecx
    jnz fill
    add rsp, 16 * 8
    lea rax, [rip + here]
    push rax
    ret
  here:
    call drops
    int3
  dropped:
    dec ebp
    jnz again
    hlt
  skips:
    add qword ptr [rsp], 3
    ret
  retpoline:
    call set
  capture:
    pause
    lfence
    jmp capture
  set:
    mov [rsp], rax
    ret
  target:
    inc rbx
    ret
  drops:
    call inner
    int3
  inner:
    add rsp, 16
    inc rdx
    jmp dropped`)
  expect(end.register(S.RDX)).toBe(2000n)
})

test('a context switch at every depth', () => {
  // Two threads recurse to different depths and change stacks at each; everything they add up is in memory.
  const end = run(`
    lea rax, [rip + thread]
    mov r8d, ${Place.STACK - 0x8000}
    lea r9, [r8 - 56]
    mov [r9 + 48], rax
    mov qword ptr [other], r9
    mov r12d, 60
  again:
    mov edi, r12d
    and edi, 15
    call descend
    dec r12d
    jnz again
    hlt
  thread:
    mov r12d, 7
  forever:
    lea edi, [r12d * 2 + 1]
    and edi, 31
    call descend
    inc r12d
    jmp forever
  descend:
    push rbx
    mov ebx, edi
    call switch
    test ebx, ebx
    jz deepest
    lea edi, [rbx - 1]
    call descend
    call switch
    add [sum], rbx
  deepest:
    pop rbx
    ret
  switch:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    xchg rsp, [other]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    imul rax, rax, 31
    add rax, r12
    ret
    .balign 64
  other: .quad 0
  sum: .quad 0`)
  expect(end.register(S.RAX)).not.toBe(0n)
})

test('longjmp out of every depth', () => {
  const end = run(`
    mov r12d, 400
  again:
    lea rax, [rip + back]
    mov [where], rax
    mov [stack], rsp
    mov edi, r12d
    and edi, 31
    call descend
    int3
  back:
    add r13, rax
    dec r12d
    jnz again
    hlt
  descend:
    push rdi
    test edi, edi
    jz jump
    dec edi
    call descend
    pop rdi
    ret
  jump:
    mov eax, 7
    mov rsp, [stack]
    jmp [where]
    .balign 64
  where: .quad 0
  stack: .quad 0`)
  expect(end.register(S.R13)).toBe(2800n)
})

/** Interrupts at these counts: in loops, in callees, before and after returns. */
const irqs = (() => {
  const random = new Random('interrupts')
  let at = 200
  return Array.from({ length: 150 }, () => (at += 40 + random.below(random.pick([30, 300, 2000]))))
})()

const interrupted = (handler: string) => `
    ${gate(IRQ, 'handler')}
    mov r15d, ${0x140000}
    sti
    mov r12d, 1500
  again:
    mov edi, 6
    call work
    lea rcx, [rip + work]
    mov edi, 3
    call rcx
    dec r12d
    jnz again
    cli
    hlt
  work:
    push rdi
  inner:
    add rax, rdi
    mov [rsp - 64], rax
    xor rax, [rsp - 64]
    add rax, 3
    dec edi
    jnz inner
    call leaf
    pop rdi
    ret
  leaf:
    add rdx, rax
    ret
  ${handler}`

test('an interrupt lands at its instruction, whatever the slices', () => {
  // The handler writes down where it came, and what the program's registers were.
  const end = run(
    interrupted(`
  handler:
    push rbx
    mov rbx, [rsp + 8]
    mov [r15], rbx
    mov [r15 + 8], rdi
    mov [r15 + 16], rax
    add r15, 24
    pop rbx
    iretq`),
    { irqs },
  )
  expect(end.register(S.R15)).toBe(BigInt(0x140000 + irqs.length * 24))
})

test('signals: the handler goes elsewhere first, and comes back', () => {
  const end = run(
    interrupted(`
  handler:
    # The signal's handler returns to the program, below whose red zone it runs.
    push rax
    push rbx
    mov rax, [rsp + 16]
    mov rbx, [rsp + 40]
    sub rbx, 136
    mov [rbx], rax
    mov [rsp + 40], rbx
    lea rax, [rip + signal]
    mov [rsp + 16], rax
    pop rbx
    pop rax
    iretq
  signal:
    pushfq
    push rax
    push rdi
    mov edi, 4
    call work2
    pop rdi
    pop rax
    popfq
    lea r14, [r14 + 1]
    ret 128
  work2:
    dec edi
    jnz work2
    ret`),
    { irqs },
  )
  expect(end.register(S.R14)).toBe(BigInt(irqs.length))
})

test('single steps through calls, loops and the end of TF', () => {
  const end = run(`
    ${gate(1, 'stepped')}
    mov ebp, 300
  again:
    mov r11d, ebp
    and r11d, 15
    inc r11d
    pushfq
    or qword ptr [rsp], 0x100
    popfq
    mov ecx, 5
  inner:
    call leaf
    dec ecx
    jnz inner
    dec ebp
    jnz again
    hlt
  leaf:
    inc rax
    ret
  stepped:
    add rbx, [rsp]
    inc r14
    dec r11d
    jnz more
    and qword ptr [rsp + 16], ~0x100
  more:
    iretq`)
  expect(end.register(S.RAX)).toBe(1500n)
  expect(end.register(S.R14)).toBeGreaterThan(2000n)
})

test('faults in callees, repaired and begun again', () => {
  // Pages are absent until touched; divisions by zero are stepped over.
  const end = run(`
    ${gate(14, 'missing')}
    ${gate(0, 'division')}
    mov ebp, 40
  again:
    mov edi, 16
    call descend
    dec ebp
    jnz again
    hlt
  descend:
    push rdi
    mov esi, edi
    shl esi, 12
    mov rax, [rsi + 0x120000]
    add rax, rdi
    mov [rsi + 0x120008], rax
    # The page goes again.
    mov ecx, esi
    shr ecx, 9
    and byte ptr [rcx + ${Place.PAGES + 0x120 * 8}], 0xfe
    invlpg [rsi + 0x120000]
    xor ecx, ecx
    test edi, 3
    setnz cl
    xor edx, edx
    mov eax, 100
    div ecx
    add rbx, rax
    dec edi
    jz up
    call descend
  up:
    pop rdi
    ret
  missing:
    inc r14
    mov r10, cr2
    shr r10, 12
    or byte ptr [r10 * 8 + ${Place.PAGES}], 1
    add rsp, 8
    iretq
  division:
    inc r13
    add qword ptr [rsp], 2
    iretq`)
  expect(end.register(S.R14)).toBe(16n * 40n - 16n)
  expect(end.register(S.R13)).toBe(4n * 40n)
})

/** Cases with code of different lengths, some in the next page, for jump tables. */
const cases = (count: number): string =>
  Array.from(
    { length: count },
    (_, i) => `
  case${i}:
    lea rax, [rax + rax * 2 + ${i}]
    ${i % 3 === 0 ? 'add rbx, rax' : ''}
    ${i === 5 ? 'jmp beyond\n .skip 4096\n beyond:' : ''}
    ${i % 4 === 1 ? '.balign 16' : ''}
    jmp next`,
  ).join('\n')

const labels = (count: number, entry: (label: string) => string): string =>
  Array.from({ length: count }, (_, i) => entry(`case${i}`)).join('\n')

test('a table of addresses', () => {
  const end = run(`
    mov ecx, 1000
    mov r9d, 12345
  again:
    imul r9d, r9d, 1103515245
    add r9d, 12345
    mov edx, r9d
    shr edx, 20
    and edx, 7
    jmp [table + rdx * 8]
  ${cases(8)}
  next:
    dec ecx
    jnz again
    hlt
    .balign 8
  table:
  ${labels(8, (label) => `.quad ${label}`)}`)
  expect(end.register(S.RCX)).toBe(0n)
})

test('a table of distances whose address is made outside the loop, and that changes', () => {
  const end = run(`
    mov ecx, 1500
    lea r8, [rip + table]
  again:
    mov edx, ecx
    and edx, 7
    movsxd rdx, dword ptr [r8 + rdx * 4]
    add rdx, r8
    jmp rdx
  ${cases(8)}
  next:
    test ecx, 511
    jnz same
    # Entries change places.
    mov edx, [table]
    xchg edx, [table + 12]
    xchg edx, [table + 20]
    mov [table], edx
  same:
    dec ecx
    jnz again
    hlt
    .balign 8
  table:
  ${labels(8, (label) => `.long ${label} - table`)}`)
  expect(end.register(S.RCX)).toBe(0n)
})

test('a case that a table does not lead to, and one 4 GiB away', () => {
  const end = run(`
    ${gate(14, 'fault')}
    mov ecx, 400
  again:
    mov edx, ecx
    and edx, 1
    mov rsi, [table + rdx * 8]
    cmp ecx, 20
    ja go
    lea rsi, [rip + other]
    cmp ecx, 10
    ja go
    # The place of a case but for its upper half.
    mov rdi, 0x100000000
    mov rsi, [table]
    add rsi, rdi
  go:
    mov r10, 1
    jmp rsi
  ${cases(2)}
  other:
    inc r11
  next:
    dec ecx
    jnz again
    hlt
  fault:
    mov r12, cr2
    hlt
    .balign 8
  table:
  ${labels(2, (label) => `.quad ${label}`)}`)
  expect(end.register(S.R11)).toBe(10n)
  expect(end.register(S.R12) >> 32n).toBe(1n)
})

test('STI in a loop: an interrupt that waits comes after the next instruction, and not before', () => {
  const random = new Random('sti')
  let at = 50
  const counts = Array.from({ length: 60 }, () => (at += 40 + random.below(90)))
  const end = run(
    `
    ${gate(IRQ, 'handler')}
    lea r8, [rip + shadowed]
    mov ecx, 1200
  again:
    cli
    inc rax
    xor rbx, rax
    sti
    inc rdx
  shadowed:
    add rbx, rdx
    dec ecx
    jnz again
    cli
    hlt
  handler:
    mov rsi, [rsp]
    # Never between STI and the end of the instruction after it.
    lea rdi, [r8 - 3]
    cmp rsi, rdi
    jne later
    inc r9
  later:
    rol r10, 5
    xor r10, rsi
    cmp rsi, r8
    jne other
    inc r11
  other:
    iretq`,
    { irqs: counts },
  )
  expect(end.register(S.R9)).toBe(0n)
  expect(end.register(S.R11)).toBeGreaterThan(10n)
  expect(end.register(S.RDX)).toBe(1200n)
})

/** A loop that calls small functions, of which regions have copies: two returns, another page, one that returns elsewhere. */
const smallFunctions = (irq: string) => `
    ${irq}
    mov r12d, 2000
  again:
    mov edi, r12d
    call early
    call away
    test r12d, 63
    jnz usual
    call elsewhere
    inc r14
  usual:
    call early
    dec r12d
    jnz again
    cli
    hlt
    .balign 16
  early:
    test edi, 3
    jz none
    lea rax, [rax + rdi * 2]
    ret
  none:
    inc rbx
    ret
    .balign 16
  elsewhere:
    # Past the increment.
    add qword ptr [rsp], 3
    inc r13
    ret
    .balign 4096
    .skip 8 * 4096
  away:
    xor rax, rbx
    rol rax, 7
    push rax
    pop rdx
    ret
  handler:
    mov r15, [rsp]
    rol r8, 3
    xor r8, r15
    inc r9
    iretq`

test('small functions that callers have copies of', () => {
  const end = run(smallFunctions(''))
  expect(end.register(S.R13)).toBe(31n)
  expect(end.register(S.R14)).toBe(0n)
  expect(end.register(S.RBX)).toBe(1000n)
})

test('interrupts in copies of small functions', () => {
  const end = run(smallFunctions(`${gate(IRQ, 'handler')}\n sti`), { irqs })
  expect(end.register(S.R9)).toBe(BigInt(irqs.filter((at) => at < end.count).length))
})

test('a small function that is patched, and one whose page is mapped elsewhere', () => {
  const other = Place.CODE + 0x3000
  const end = run(`
    # The other page has the same function but for a constant.
    lea rsi, [rip + away]
    mov edi, ${other}
    mov ecx, 64
    rep movsb
    mov byte ptr [${other + 3}], 100
    mov r12d, 300
  again:
    call near1
    call away
    mov rax, [${Place.PAGES} + ${(Place.CODE >> 12) + 1} * 8]
    mov rcx, rax
    xor rcx, ${Place.CODE + 0x1000} ^ ${other}
    mov [${Place.PAGES} + ${(Place.CODE >> 12) + 1} * 8], rcx
    invlpg [${Place.CODE + 0x1000}]
    call away
    mov [${Place.PAGES} + ${(Place.CODE >> 12) + 1} * 8], rax
    invlpg [${Place.CODE + 0x1000}]
    xor byte ptr [rip + near1 + 3], 6
    dec r12d
    jnz again
    hlt
    .balign 16
  near1:
    add rbx, 5
    ret
    .balign 4096
  away:
    add rdx, 1
    ret`)
  expect(end.register(S.RBX)).toBe(150n * 8n)
  expect(end.register(S.RDX)).toBe(300n * 101n)
})

test('a small function over the end of a page: the interpreter goes on in the second, which is mapped elsewhere in between', () => {
  const other = Place.CODE + 0x4000
  const second = `[${Place.PAGES} + ${(Place.CODE >> 12) + 2} * 8]`
  const calls = 'call over\n'.repeat(6)
  const end = run(`
    # The other page has the same second half but for a constant.
    lea rsi, [rip + half]
    mov edi, ${other}
    mov ecx, 64
    rep movsb
    mov byte ptr [${other + 3}], 100
    mov esi, ${Place.STACK - 0x1000 - 4}
    mov r12d, 300
  again:
    ${calls}
    mov rax, ${second}
    mov rcx, rax
    xor rcx, ${Place.CODE + 0x2000} ^ ${other}
    mov ${second}, rcx
    invlpg [${Place.CODE + 0x2000}]
    ${calls}
    mov ${second}, rax
    invlpg [${Place.CODE + 0x2000}]
    dec r12d
    jnz again
    hlt
    .balign 4096
    .skip 4096 - 4
  over:
    add rbx, 1
  half:
    add rdx, 1
    # No fast path: over the end of a page.
    mov r8, [rsi]
    lea r9, [rip + half]
    add r10, r9
    ret`)
  expect(end.register(S.RBX)).toBe(3600n)
  expect(end.register(S.RDX)).toBe(1800n * 101n)
  expect(end.register(S.R10)).toBe(3600n * BigInt(Place.CODE + 0x2000))
})
