/** Translated code and the code that it was made from: changes under running callers, mappings, modes, privileges. */
import { expect, test } from 'vitest'
import { S } from '../../src/cpu/layout.ts'
import { engines, gate, Place } from './rig.ts'

const both = await engines()
const run: typeof both.run = (text, conditions) => both.run(text, conditions)
/** Regions made so far. */
const made = () => both.eager.core.translator!.stats.regions

test('a callee patches its running caller', () => {
  // The immediate after the call changes at every depth of the recursion.
  const end = run(`
    mov ebp, 200
  again:
    mov edi, 5
    call caller
    dec ebp
    jnz again
    hlt
    .balign 4096
  caller:
    dec edi
    js bottom
    call caller
    call patch
    .byte 0x05
  immediate: .int 1
    ret
  bottom:
    ret
    .balign 4096
  patch:
    inc rbx
    test ebx, 7
    jnz same
    mov [rip + immediate], ebx
  same:
    ret`)
  const sum = (n: number): number => (n === 0 ? 0 : sum(n - 1) + (n < 8 ? 1 : n - (n % 8)))
  expect(end.register(S.RAX)).toBe(BigInt(sum(1000)))
})

test('a store into the running block counts for the next instruction', () => {
  const end = run(`
    mov ebp, 1000
  again:
    mov [rip + immediate], ebp
    .byte 0xb8
  immediate: .int 0
    add rbx, rax
    dec ebp
    jnz again
    hlt`)
  expect(end.register(S.RBX)).toBe(500_500n)
})

test('stores beside the code in its page drop nothing', () => {
  const before = both.eager.core.streams.stats.drops
  const text = (line: number) => `
    mov ebp, 5000
  again:
    add [counter], rbp
    dec ebp
    jnz again
    mov rax, [counter]
    hlt
    .balign 64
    .fill ${line}
  counter: .quad 0`
  expect(run(text(64)).register(S.RAX)).toBe(12_502_500n)
  // Putting the program in place drops what was there.
  const begun = both.eager.core.streams.stats.drops - before
  expect(begun).toBeLessThan(20)
})

test('a caller whose page is another one when its callee returns', () => {
  // Two pages with the same code but for one number; the callee exchanges their mappings.
  const page = (number: number) => `
    .balign 4096
    push rbp
    mov ebp, 3
  loop${number}:
    call [rip + callee${number}]
    add rax, ${number}
    dec ebp
    jnz loop${number}
    pop rbp
    ret
  callee${number}: .quad callee`
  const end = run(`
    mov r12d, 500
  again:
    call ${Place.CODE + 0x1000}
    dec r12d
    jnz again
    hlt
    ${page(1)}
    ${page(1000)}
    .balign 4096
  callee:
    inc r13
    test r13d, 3
    jnz same
    mov rcx, [${Place.PAGES + 0x101 * 8}]
    xchg rcx, [${Place.PAGES + 0x102 * 8}]
    mov [${Place.PAGES + 0x101 * 8}], rcx
    invlpg [${Place.CODE + 0x1000}]
    invlpg [${Place.CODE + 0x2000}]
  same:
    ret`)
  // In turn three times the one, four times the other.
  let expected = 0
  let number = 1
  for (let n = 1; n <= 1500; n++) {
    if (n % 4 === 0) number = 1001 - number
    expected += number
  }
  expect(end.register(S.RAX)).toBe(BigInt(expected))
})

test('an address space that changes in a callee', () => {
  // A second set of tables maps the caller's page elsewhere.
  const end = run(`
    lea rsi, [rip + one]
    lea rdi, [rip + two]
    mov ecx, 512
    # Tables at 190000: PML4, 191000: PDPT, 192000: PD, 193000: the pages, copied.
    mov esi, ${Place.CR3}
    mov edi, 0x190000
    mov ecx, 512
    rep movsq
    mov qword ptr [0x190000], 0x191007
    mov qword ptr [0x191000], 0x192007
    mov esi, ${Place.PD}
    mov edi, 0x192000
    mov ecx, 512
    rep movsq
    mov qword ptr [0x192000], 0x193007
    mov esi, ${Place.PAGES}
    mov edi, 0x193000
    mov ecx, 512
    rep movsq
    mov rax, [0x193000 + 0x102 * 8]
    mov [0x193000 + 0x101 * 8], rax
    xor eax, eax
    mov r8d, ${Place.CR3}
    mov r9d, 0x190000
    mov r12d, 1000
  again:
    call one
    dec r12d
    jnz again
    mov rcx, ${Place.CR3}
    mov cr3, rcx
    hlt
    .balign 4096
  one:
    push rbp
    mov ebp, 3
  loop1:
    call callee
    add rax, 1
    dec ebp
    jnz loop1
    pop rbp
    ret
    .balign 4096
  two:
    push rbp
    mov ebp, 3
  loop2:
    call callee + 0x1000
    add rax, 1000
    dec ebp
    jnz loop2
    pop rbp
    ret
    .balign 4096
  callee:
    inc r13
    mov ecx, r13d
    and ecx, 3
    jnz same
    mov cr3, r9
    xchg r8, r9
  same:
    ret`)
  expect(end.register(S.RAX)).toBeGreaterThan(100_000n)
})

test('one physical page at two addresses, in turn and each calling the other', () => {
  // What the code says of its place (return addresses, RIP-relative addresses) must be of where it runs.
  const end = run(`
    mov rax, [${Place.PAGES + 0x101 * 8}]
    mov [${Place.PAGES + 0x150 * 8}], rax
    xor eax, eax
    mov r12d, 1500
  again:
    mov edi, 3
    call work
    mov edi, 3
    mov ecx, 0x150000
    call rcx
    dec r12d
    jnz again
    hlt
    .balign 4096
  work:
    lea rsi, [rip + work]
    add rbx, rsi
    call here
  here:
    pop rdx
    sub rdx, rsi
    add rax, rdx
    dec edi
    jz end
    # The other mapping's copy goes on.
    xor rsi, ${Place.CODE + 0x1000}
    xor rsi, 0x150000
    call rsi
    add rax, 2
    loopy:
    inc rax
    test al, 7
    jnz loopy
  end:
    ret`)
  // Three addresses each time, in turn: 101000 150000 101000, and the other way round.
  expect(end.register(S.RBX)).toBe(1500n * 3n * BigInt(Place.CODE + 0x1000 + 0x150000))
})

test('the same code in the kernel and in user mode', () => {
  // It reads a page that only the kernel may read: in user mode each access is a fault.
  const end = run(`
    ${gate(14, 'fault')}
    ${gate(3, 'back')}
    mov rax, cr3
    and byte ptr [${Place.PAGES + 0x140 * 8}], 0xfb
    invlpg [0x140000]
    mov eax, 1
    mov [0x140000], eax
    mov r12d, 200
  again:
    mov ecx, 40
    call work
    # To user mode.
    push 0x2b
    push ${Place.STACK - 0x4000}
    pushfq
    push 0x33
    lea rax, [rip + user]
    push rax
    mov r11, rsp
    iretq
  user:
    mov ecx, 40
    call work
    int3
  back:
    mov rsp, r11
    add rsp, 40
    dec r12d
    jnz again
    hlt
  work:
    nop
  loop:
    mov edx, [0x140000]
    add rbx, rdx
    dec ecx
    jnz loop
    ret
  fault:
    inc r13
    add rsp, 8
    add qword ptr [rsp], 7
    xor edx, edx
    iretq`)
  expect(end.register(S.RBX)).toBe(8000n)
  expect(end.register(S.R13)).toBe(8000n)
})

test('alignment checks that code in user mode switches on: itself, in what it calls, and before it begins again', () => {
  const end = run(`
    ${gate(17, 'misaligned')}
    ${gate(3, 'back')}
    mov rax, cr0
    bts rax, 18
    mov cr0, rax
    mov r12d, 60
  again:
    # To user mode, with AC and without it in turn.
    push 0x2b
    push ${Place.STACK - 0x4000}
    pushfq
    mov eax, r12d
    and eax, 1
    shl eax, 18
    or [rsp], rax
    push 0x33
    lea rax, [rip + user]
    push rax
    mov r11, rsp
    iretq
  user:
    mov esi, 0x140001
    mov edi, 0x40000
    mov ecx, 12
  loop:
    mov edx, [rsi]
    add rbx, rdx
    test ecx, 3
    jnz same
    pushfq
    xor [rsp], rdi
    popfq
    add ebx, [rsi + 8]
  same:
    test ecx, 5
    jnz quiet
    call toggle
    add ebx, [rsi + 16]
  quiet:
    mov [rsi], ebx
    dec ecx
    jnz loop
    int3
  back:
    mov rsp, r11
    add rsp, 40
    dec r12d
    jnz again
    hlt
  toggle:
    pushfq
    xor [rsp], rdi
    popfq
    ret
  misaligned:
    inc r13
    add rsp, 8
    # Without AC from here.
    btr qword ptr [rsp + 16], 18
    iretq`)
  expect(end.register(S.R13)).toBe(390n)
})

test('SMAP: the same loop with AC set and clear', () => {
  const end = run(`
    ${gate(14, 'fault')}
    # The stack and the code's own data are the kernel's.
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
    mov r12d, 100
  again:
    stac
    mov dword ptr [0x140000], 1
    mov ecx, 20
    call work
    clac
    mov ecx, 20
    call work
    stac
    call work
    clac
    dec r12d
    jnz again
    hlt
  work:
    xor edx, edx
  loop:
    mov edx, [0x140000]
    add rbx, rdx
    dec ecx
    jg loop
    ret
  fault:
    inc r13
    add rsp, 8
    add qword ptr [rsp], 7
    xor edx, edx
    iretq`)
  expect(end.register(S.R13)).toBe(2000n)
  expect(end.register(S.RBX)).toBe(2100n)
})

test('the same page as 64-bit and as 32-bit code', () => {
  // 48 FF C0 is INC RAX, or DEC EAX and INC EAX. 32-bit code is called by a far return and comes back by a far jump.
  const end = run(`
    mov rbx, [0x8010]
    btr rbx, 53
    bts rbx, 54
    mov [0x8078], rbx
    mov r12d, 300
  again:
    mov ecx, 30
    call work
    mov ecx, 30
    lea rbx, [rip + narrow]
    push 0x78
    push rbx
    rex.W retf
    .code32
  narrow:
    call work
    ljmp 0x10, offset wide
    .code64
  wide:
    add r14, rax
    dec r12d
    jnz again
    hlt
    .balign 64
  work:
    .byte 0x48, 0xff, 0xc0
    dec ecx
    jnz work
    ret`)
  expect(end.register(S.R14)).toBe(BigInt(30 * ((300 * 301) / 2)))
})

test('instructions and loops across pages, whose second page changes', () => {
  const end = run(`
    mov r12d, 600
  again:
    mov ecx, 20
    call straddling
    test r12d, 7
    jnz same
    # Another number in the second page's part of the instruction.
    inc byte ptr [${Place.CODE + 0x2000}]
  same:
    dec r12d
    jnz again
    hlt
    .org 0x1ff6
  straddling:
    add rbx, rcx
  loop:
    inc rdx
    .byte 0x48, 0x05
    .byte 1
    .byte 0, 0, 0
    dec ecx
    jnz loop
    ret`)
  expect(end.register(S.RDX)).toBe(12_000n)
})

test('a loop over two pages, the second of which is exchanged', () => {
  const second = (number: number, moved: number) => `
    .balign 4096
    lea rbx, [rbx + ${number}]
    test cl, 3
    jz short${number}
    add rdx, ${number}
  short${number}:
    # To the loop, from where this page runs.
    .byte 0xe9
    .int loop - . - 4 + ${moved}`
  const end = run(`
    mov r12d, 200
    jmp again
    .org 0x400
  again:
    mov ecx, 50
    jmp loop
    .org 0x800
  loop:
    dec ecx
    js over
    jmp ${Place.CODE + 0x1000}
  over:
    mov rax, [${Place.PAGES + 0x101 * 8}]
    xchg rax, [${Place.PAGES + 0x102 * 8}]
    mov [${Place.PAGES + 0x101 * 8}], rax
    invlpg [${Place.CODE + 0x1000}]
    dec r12d
    jnz again
    hlt
    ${second(1, 0)}
    ${second(1000, 0x1000)}`)
  expect(end.register(S.RBX)).toBe(100n * 50n * 1001n)
})

test('an instruction across two pages, the second of which is exchanged', () => {
  const second = (number: number, moved: number) => `
    .balign 4096
    .byte ${number}, 0
    dec ecx
    .byte 0x0f, 0x85
    .int loop - . - 4 + ${moved}
    ret`
  const end = run(`
    mov r12d, 200
  again:
    mov ecx, 30
    call straddling
    mov rsi, [${Place.PAGES + 0x102 * 8}]
    xchg rsi, [${Place.PAGES + 0x103 * 8}]
    mov [${Place.PAGES + 0x102 * 8}], rsi
    invlpg [${Place.CODE + 0x2000}]
    dec r12d
    jnz again
    hlt
    .org 0x1ff9
  straddling:
  loop:
    inc rdx
    .byte 0x48, 0x05, 1, 0
    ${second(0, 0)}
    ${second(1, 0x1000)}`)
  expect(end.register(S.RAX)).toBe(3000n * 1n + 3000n * 0x10001n)
})

test('functions that return by a jump to a return far away, whose page is exchanged, then patched', () => {
  const end = run(`
    mov r12d, 300
  again:
    mov ecx, 20
  loop:
    call function
    dec ecx
    jnz loop
    mov rsi, [${Place.PAGES + 0x110 * 8}]
    xchg rsi, [${Place.PAGES + 0x111 * 8}]
    mov [${Place.PAGES + 0x110 * 8}], rsi
    invlpg [thunk]
    invlpg [other]
    cmp r12d, 100
    jne same
    # What thunk means now is INC RDX, RET from here on.
    mov dword ptr [thunk], 0xc3c2ff48
  same:
    dec r12d
    jnz again
    hlt
    .balign 64
  function:
    lea rax, [rax + rcx]
    test cl, 1
    jz even
    inc rbx
  even:
    jmp thunk
    .org 0x10000
  thunk:
    ret
    .org 0x11000
  other:
    lea r8, [r8 + 1]
    ret`)
  expect(end.register(S.RAX)).toBe(300n * 210n)
  expect([end.register(S.RBX), end.register(S.R8), end.register(S.RDX)]).toEqual([3000n, 100n * 20n, 50n * 20n])
  const regions = both.eager.core.translator!.list()
  const own = regions.filter(({ linear }) => linear > Place.CODE && linear < Place.CODE + 0x1000)
  expect(own.some(({ tables }) => tables.length === 2)).toBe(true)
})

test('regions were made', () => expect(made()).toBeGreaterThan(100))
