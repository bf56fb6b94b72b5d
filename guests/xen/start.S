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
  movq $0, resume(%rip)
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

/* Callbacks: event, failsafe, syscall, syscall32, sysenter; told as vectors from 0x100. */
  .p2align 4
  .globl callbacks
callbacks:
  stub 0x100
  stub 0x101
  stub 0x102
  stub 0x103
  stub 0x104

/* Pieces of user code of 32 bits, 16 bytes each, with EDI and ESI; it runs elsewhere. */
  .macro piece
  .p2align 4, 0xcc
  .endm
  .p2align 4
  .code32
  .globl low_start
low_start:
  int3
  piece
  ud2
  piece
  syscall
  ud2
  piece
  int $0x80
  ud2
  piece
  mov %esi, %es
  int3
  piece
  mov %esi, %ds
  int3
  piece
  mov %esi, %fs
  int3
  piece
  mov %esi, %ss
  int3
  piece
  mov %ss:(%edi), %eax
  int3
  piece
  mov %edi, %esp
  push %eax
  int3
  piece
  push %esi
  push $0x400000
  lret
  piece
  cli
  int3
  piece
  xor %eax, %eax
  div %eax
  piece
  mov %esi, %gs
  mov %gs:(%edi), %eax
  int3
  piece
  .globl low_end
low_end:
  /* For processors that have it; in 64-bit code it is the same. */
  .globl low_enter
low_enter:
  sysenter
  ud2
  .globl low_enter_end
low_enter_end:
  .code64

/* enter_frame(frame): the hypercall iret, with arguments for what it leads to. */
  .globl enter_frame
enter_frame:
  mov %rdi, %rsp
  mov entry_arguments(%rip), %rdi
  mov entry_arguments+8(%rip), %rsi
  mov $23, %eax
  syscall
  ud2

/* Where another vCPU begins: what it finds, in `entered`; then #UD. In user mode CR0 cannot be read. */
  .globl begin
begin:
  mov %rax, entered(%rip)
  mov %rcx, entered+8(%rip)
  mov %rdx, entered+16(%rip)
  mov %rbx, entered+24(%rip)
  mov %rsp, entered+32(%rip)
  mov %rbp, entered+40(%rip)
  mov %rsi, entered+48(%rip)
  mov %rdi, entered+56(%rip)
  mov %r8, entered+64(%rip)
  mov %r11, entered+72(%rip)
  mov %r15, entered+80(%rip)
  mov begin_stack(%rip), %rsp
  pushfq
  popq entered+88(%rip)
  mov %cs, %eax
  mov %rax, entered+96(%rip)
  mov %ss, %eax
  mov %rax, entered+104(%rip)
  mov %ds, %eax
  mov %rax, entered+112(%rip)
  mov %es, %eax
  mov %rax, entered+120(%rip)
  mov %fs, %eax
  mov %rax, entered+128(%rip)
  mov %gs, %eax
  mov %rax, entered+136(%rip)
  mov %gs:0, %rax
  mov %rax, entered+144(%rip)
  mov entered+32(%rip), %rsp
  mov %cr0, %rax
  and $8, %eax
  mov %rax, entered+152(%rip)
  jnz 1f
  fnstcw entered+160(%rip)
  stmxcsr entered+168(%rip)
1:
  mov %cr4, %rax
  and $12, %eax
  mov %rax, entered+176(%rip)
  ud2

/* The hypercall iret to the caller, with events masked. */
  .globl return_here
return_here:
  pop %rdx
  mov %rsp, %rax
  push $0xe02b
  push %rax
  push $2
  push $0xe030
  push %rdx
  push $0
  push $0
  push $0
  push $0
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
  .globl resume
resume:
  .skip 8
  .globl entered
entered:
  .skip 192
  .globl begin_stack
begin_stack:
  .skip 8
  .globl entry_arguments
entry_arguments:
  .skip 16
