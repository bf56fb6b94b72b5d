/* Entry, notes for Xen's domain builder, and the hypercall instruction of 32-bit guests. */
#define NOTE(type, value) .long 4, 4, type; .asciz "Xen"; .long value
#define TEXT_NOTE(type, text)  \
  .long 4, 2f - 1f, type;      \
  .asciz "Xen";                \
  1: .asciz text;              \
  2: .p2align 2

  .section .note.Xen, "a", @note
  TEXT_NOTE(6, "paravirt")
  TEXT_NOTE(8, "generic")
  TEXT_NOTE(5, "xen-3.0")
  TEXT_NOTE(9, "yes")
  NOTE(3, 0xc0000000)
  NOTE(1, start)
  NOTE(4, 0)
  TEXT_NOTE(10, "!writable_page_tables|pae_pgdir_above_4gb")

  .text
  .globl start
start:
  cld
  mov %esi, start_info
  mov $stack_top, %esp
  xor %ebp, %ebp
  call main
  ud2

/* long hypercall(number, a, b, c, d, e) */
  .globl hypercall
hypercall:
  push %ebx
  push %esi
  push %edi
  mov 16(%esp), %eax
  mov 20(%esp), %ebx
  mov 24(%esp), %ecx
  mov 28(%esp), %edx
  mov 32(%esp), %esi
  mov 36(%esp), %edi
  int $0x82
  pop %edi
  pop %esi
  pop %ebx
  ret

/* Where nothing comes. */
  .globl handler
handler:
  ud2

/* Events: none is pending any more, and back by the hypercall iret, which takes EAX from the stack. */
  .globl event
event:
  incl events
  movb $0, shared_page
  push %eax
  mov $23, %eax
  int $0x82
  ud2

/* Another vCPU: VCPUOP_down of itself. */
  .globl second
second:
  movl $1, mark
  mov $24, %eax
  mov $2, %ebx
  mov $1, %ecx
  xor %edx, %edx
  int $0x82
  ud2

  .bss
  .p2align 12
  .skip 16384
stack_top:
