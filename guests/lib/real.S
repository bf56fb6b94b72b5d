/*
 * Real mode for 32-bit test kernels. Segment 0x1000 holds the code under test from 0 on, what is below from REAL_CODE
 * on and registers; the interrupt vector table at 0 points to its stubs. real.c lays all that out.
 */
#define REAL_CODE 0x7000
#define REAL_IN 0x7800
#define REAL_OUT 0x7900
#define AT(label) ((label) - real_start + REAL_CODE)

        .text
        .code32
/* void real_enter(void) */
        .globl real_enter
real_enter:
        push %ebx
        push %ebp
        push %esi
        push %edi
        mov %esp, saved_esp
        lidt real_idt
        ljmp $0x48, $AT(leave_protected)

        .globl real_back
real_back:
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        mov saved_esp, %esp
        lidt idt_table
        pushl $2
        popfl
        pop %edi
        pop %esi
        pop %ebp
        pop %ebx
        ret

        .data
real_idt:
        .word 0x3ff
        .long 0
saved_esp:
        .long 0

        .globl real_start, real_stubs, real_end
        .p2align 3
real_start:
        .code16
leave_protected:
        mov $0x30, %ax                  /* 64 KiB, as real mode wants */
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %fs
        mov %ax, %gs
        mov %ax, %ss
        mov %cr0, %eax
        and $~1, %al
        mov %eax, %cr0
        ljmp $0x1000, $AT(real)
real:
        mov %cs:REAL_IN + 44, %ss       /* ss */
        mov %cs:REAL_IN + 40, %esp      /* sp */
        mov %cs:REAL_IN + 48, %ds
        mov %cs:REAL_IN + 52, %es
        pushw %cs:REAL_IN + 36          /* flags */
        push %cs
        pushw %cs:REAL_IN + 32          /* ip */
        mov %cs:REAL_IN, %eax
        mov %cs:REAL_IN + 4, %ecx
        mov %cs:REAL_IN + 8, %edx
        mov %cs:REAL_IN + 12, %ebx
        mov %cs:REAL_IN + 20, %ebp
        mov %cs:REAL_IN + 24, %esi
        mov %cs:REAL_IN + 28, %edi
        iret

        .p2align 3
real_stubs:
        .set vector, 0
        .rept 256
        .p2align 3
        pushw $vector
        jmp real_trap
        .set vector, vector + 1
        .endr

real_trap:
        mov %eax, %cs:REAL_OUT
        mov %ecx, %cs:REAL_OUT + 4
        mov %edx, %cs:REAL_OUT + 8
        mov %ebx, %cs:REAL_OUT + 12
        mov %ebp, %cs:REAL_OUT + 20
        mov %esi, %cs:REAL_OUT + 24
        mov %edi, %cs:REAL_OUT + 28
        popw %cs:REAL_OUT + 56          /* vector */
        popw %cs:REAL_OUT + 32
        popw %cs:REAL_OUT + 60          /* cs */
        popw %cs:REAL_OUT + 36
        mov %esp, %cs:REAL_OUT + 40
        mov %ss, %cs:REAL_OUT + 44
        mov %ds, %cs:REAL_OUT + 48
        mov %es, %cs:REAL_OUT + 52
        mov %fs, %cs:REAL_OUT + 68
        mov %gs, %cs:REAL_OUT + 72
        pushf
        popw %cs:REAL_OUT + 64
        mov %cr0, %eax
        or $1, %al
        mov %eax, %cr0
        ljmpl $0x08, $real_back
        .code32
real_end:
