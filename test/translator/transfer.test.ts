/** Instructions after which control is elsewhere, in another mode or at another privilege: regions go on there. */
import { expect, test } from 'vitest'
import { S } from '../../src/cpu/layout.ts'
import { engines, gate, IRQ, Place } from './rig.ts'

const both = await engines()

/** SYSCALL leads to `kernel`, whose page only the kernel has; `body` is user code, which ends by INT3. */
const system = (body: string, kernel: string): string => `
  ${gate(3, 'end')}
  ${gate(14, 'fault')}
  ${gate(IRQ, 'interrupt')}
  mov ecx, 0xc0000080
  rdmsr
  or eax, 1
  wrmsr
  mov ecx, 0xc0000081
  xor eax, eax
  mov edx, 0x230010
  wrmsr
  mov ecx, 0xc0000082
  lea rax, [rip + kernel]
  xor edx, edx
  wrmsr
  mov ecx, 0xc0000084
  mov eax, 0x200
  wrmsr
  and byte ptr [${Place.PAGES + 0x101 * 8}], 0xfb
  invlpg [0x101000]
  mov [rip + stack], rsp
  push 0x2b
  push ${Place.STACK - 0x4000}
  push 0x202
  push 0x33
  lea rax, [rip + user]
  push rax
  iretq
user:
  ${body}
  int3
end:
  hlt
stack: .quad 0
  .org 0x1000
kernel:
  ${kernel}
fault:
  inc r13
  mov rsp, [rip + stack]
  jmp again
interrupt:
  inc r15
  iretq`

test('system calls in a loop', () => {
  const end = both.run(
    system(
      `
    mov ebp, 3000
  loop:
    mov edi, ebp
    call call
    add rbx, rax
    xor rbx, rcx
    dec ebp
    jnz loop
    jmp done
  call:
    mov eax, edi
    syscall
    cmp rax, -4095
    jae error
    ret
  error:
    neg rax
    ret
  done:`,
      `
    xchg rsp, [rip + stack]
    push rcx
    push r11
    call work
    pop r11
    pop rcx
    xchg rsp, [rip + stack]
    sysretq
  again:
    hlt
  work:
    inc r12
    lea rax, [rdi * 2 + 1]
    test edi, 15
    jnz plain
    mov rax, -5
  plain:
    ret`,
    ),
    { irqs: [500, 501, 1777, 4001, 9000, 20_003, 30_007] },
  )
  expect(end.register(S.R12)).toBe(3000n)
  expect(end.register(S.R15)).toBe(7n)
})

test('user code returns to where a caller in the kernel expects a return', () => {
  const end = both.run(
    system(
      `
    syscall
    .balign 16
  back:
    # On this stack is the address after the kernel's call.
    inc r12
    mov ecx, 60
  busy:
    dec ecx
    jnz busy
    ret`,
      `
    mov rsp, [rip + stack]
    mov ebp, 1200
  again:
    dec ebp
    js out
    call leave
    # User code may not execute here.
    inc r14
    jmp again
  out:
    hlt
    # Too far for a copy in the caller.
    .org 0x8000
  leave:
    .rept 40
    inc r11
    .endr
    test ebp, 1
    jnz returns
    mov rax, [rsp]
    mov [${Place.STACK - 0x4000}], rax
    push 0x2b
    push ${Place.STACK - 0x4000}
    push 0x202
    push 0x33
    lea rax, [rip + back]
    push rax
    iretq
  returns:
    ret`,
    ),
  )
  expect(end.register(S.R12)).toBe(600n)
  expect(end.register(S.R13)).toBe(600n)
  expect(end.register(S.R14)).toBe(600n)
})

test('to 32-bit user code and back', () => {
  const end = both.run(
    system(
      `
    mov ebp, 500
  loop:
    syscall
    jmp after
    .code32
  narrow:
    # INC EAX and DEC EAX here, a prefix in 64-bit code.
    .byte 0x40, 0x48
    add ebx, 3
    lea esi, [esi + 1]
    ljmp 0x33, offset wide
    .code64
  wide:
    inc rdx
  after:
    dec ebp
    jnz loop`,
      `
    lea rcx, [rip + narrow]
    .byte 0x0f, 0x07
  again:
    hlt`,
    ),
  )
  expect(end.register(S.RDX)).toBe(500n)
  expect(end.register(S.RBX)).toBe(1500n)
})
