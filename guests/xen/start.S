/* Entry, notes for Xen's domain builder, and exceptions. */
#define NOTE(type, value)      \
  .long 4, 8, type;            \
  .asciz "Xen";                \
  .quad value
#define TEXT_NOTE(type, text)  \
  .long 4, 2f - 1f, type;      \
  .asciz "Xen";                \
  1: .asciz text;              \
  2: .p2align 2

  .section .note.Xen, "a", @note
  TEXT_NOTE(6, "paravirt")
  TEXT_NOTE(8, "generic")
  TEXT_NOTE(5, "xen-3.0")
  NOTE(3, 0xffffffff80000000)
  NOTE(1, start)
  NOTE(4, 0)
  TEXT_NOTE(10, "!writable_page_tables|pae_pgdir_above_4gb")

  .text
  .globl start
start:
  cld
  mov %rsi, start_info(%rip)
  lea stack_top(%rip), %rsp
  xor %ebp, %ebp
  call main
  ud2

/* int attempt(function, a, b): keeps what it needs to come back. */
  .globl attempt
attempt:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, resume(%rip)
  mov %rdi, %rax
  mov %rsi, %rdi
  mov %rdx, %rsi
  call *%rax
  xor %eax, %eax
back:
  mov resume(%rip), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

  .macro stub vector
  .p2align 4
  push $\vector
  jmp caught
  .endm
  .p2align 4
  .globl stubs
stubs:
  .set vector, 0
  .rept 256
  stub vector
  .set vector, vector + 1
  .endr

/* Callbacks: event, failsafe, syscall; told as vectors from 0x100. */
  .p2align 4
  .globl callbacks
callbacks:
  stub 0x100
  stub 0x101
  stub 0x102

/* enter_frame(frame): the hypercall iret, with arguments for what it leads to. */
  .globl enter_frame
enter_frame:
  mov %rdi, %rsp
  mov entry_arguments(%rip), %rdi
  mov entry_arguments+8(%rip), %rsi
  mov $23, %eax
  syscall
  ud2

/* The vector, then Xen's frame: rcx, r11, perhaps an error code, ... */
caught:
  mov %rsp, %rdi
  call on_trap
  mov $1, %eax
  jmp back

  .bss
  .globl stack_top
  .p2align 12
  .skip 16384
stack_top:
resume:
  .skip 8
  .globl entry_arguments
entry_arguments:
  .skip 16
